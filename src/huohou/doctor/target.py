"""Whether a run file or a model's folder will work on this machine: its paths, its space, what it needs installed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.doctor.check import Check, size
from huohou.doctor.machine import existing
from huohou.doctor.packages import installed
from huohou.errors import UserError
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.config import RunConfig

_MOMENTS = 2
"""AdamW keeps two numbers beside each weight."""
_FP32 = 4
_SPARE = 1.2
"""A checkpoint is begun where so many times its size is free."""

_CODE = ("auto_map", "custom_pipelines", "_attn_implementation_internal", "_experts_implementation_internal")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_MODEL_FILES = ("*.safetensors", "pytorch_model*.bin")


def target(path: Path, torch: dict[str, Any] | None) -> Iterator[Check]:
    """The checks of a run file (YAML), a run folder, or a model's folder; ``torch`` is what :func:`probe` found."""
    if path.is_dir():
        if (path / "config.yaml").is_file():
            yield from _run_file(path / "config.yaml", torch, folder=path)
        elif (path / "config.json").is_file():
            yield from model_folder(path)
        else:
            yield _bad(
                "folder",
                f"{path} is neither a run folder (config.yaml) nor a model's (config.json)",
                f"{path} 既不是训练目录（config.yaml），也不是模型文件夹（config.json）",
            )
    elif path.is_file():
        yield from _run_file(path, torch)
    else:
        yield _bad("path", f"{path} does not exist", f"{path} 不存在")


def _bad(key: str, en: str, zh: str, data: Any = None) -> Check:
    return Check("target", key, "bad", Text(en, zh), data)


def _ok(key: str, en: str, zh: str, data: Any = None) -> Check:
    return Check("target", key, "ok", Text(en, zh), data)


def _note(key: str, en: str, zh: str, data: Any = None) -> Check:
    return Check("target", key, "note", Text(en, zh), data)


def _run_file(path: Path, torch: dict[str, Any] | None, folder: Path | None = None) -> Iterator[Check]:
    try:
        from huohou.config import load_run

        run = load_run(path)
    except UserError as error:
        yield _bad("run_file", error.text.en, error.text.zh)
        return
    except ModuleNotFoundError as error:
        yield _bad("run_file", f"{path} cannot be read without {error.name}", f"没有 {error.name}，无法读取 {path}")
        return
    yield _ok("run_file", f"{path}: a run file for stage {run.stage}", f"{path}：训练配置，阶段 {run.stage}")
    yield from _paths(run)
    yield from _device(run, torch)
    yield from _packages(run)
    yield from _space(run, folder or run.folder)


def _sources(run: RunConfig) -> Iterator[tuple[str, Sequence[str]]]:
    """Every key that names files of data."""
    data = run.data
    if data.train:
        yield "data.train", data.train
    if data.validation_files:
        yield "data.validation", data.validation_files
    for name, source in (data.mix or {}).items():
        if source.train:
            yield f"data.mix.{name}", source.train
    if data.dataset_info:
        yield "data.dataset_info", (data.dataset_info,)


def _paths(run: RunConfig) -> Iterator[Check]:
    from huohou.data.files import find_sources

    for key, files in _sources(run):
        try:
            found = [path for source in find_sources(list(files)) for path in source.files]
        except UserError as error:
            yield _bad(key, f"{key}: {error.text.en}", f"{key}：{error.text.zh}")
            continue
        total = sum(path.stat().st_size for path in found)
        yield _ok(key, f"{key}: {len(found)} files, {size(total)}", f"{key}：{len(found)} 个文件，{size(total)}", total)
    template = run.data.template
    if template is not None and template.endswith((".jinja", ".j2")) and not Path(template).expanduser().is_file():
        yield _bad("data.template", f"data.template: {template} does not exist", f"data.template：{template} 不存在")
    if run.tokenizer.path is not None:
        yield from _tokenizer(Path(run.tokenizer.path).expanduser(), "tokenizer.path")
    if run.model.path is not None:
        yield from _model(run)
    others = [("lora.adapters", one) for one in (run.lora.adapters if run.lora else ())]
    if run.optimizer.from_:
        others.append(("optimizer.from", run.optimizer.from_))
    for key, one in others:
        if not Path(one).expanduser().is_dir():
            yield _bad(key, f"{key}: {one} is no folder", f"{key}：{one} 不是文件夹")


def _tokenizer(path: Path, key: str) -> Iterator[Check]:
    from huohou.data.tokenizer import Tokenizer

    try:
        tokenizer = Tokenizer.load(path)
    except UserError as error:
        yield _bad(key, f"{key}: {error.text.en}", f"{key}：{error.text.zh}")
        return
    count = tokenizer.vocab_size
    if tokenizer.eos_id is None:
        yield _bad(
            key,
            f"{key}: the tokenizer has no end token, which must part documents",
            f"{key}：分词器没有结束符，无法分隔文档",
        )
    else:
        yield _ok(key, f"{key}: {count:,} tokens", f"{key}：{count:,} 个词元", count)


def _model(run: RunConfig) -> Iterator[Check]:
    named = str(run.model.path)
    path = Path(named).expanduser()
    if path.is_dir():
        inner = path / "model" if (path / "plan.json").is_file() else path
        yield from model_folder(inner, remote_code=run.model.remote_code)
    elif _HUB_ID.fullmatch(named):
        yield _note(
            "model.path",
            f"model.path: {named} is no folder here, so it is looked for in the caches and then on a hub",
            f"model.path：本机没有文件夹 {named}，将先查缓存，再从模型库下载",
        )
    else:
        yield _bad(
            "model.path",
            f"model.path: {named} is no folder, and no id of a hub",
            f"model.path：{named} 不是文件夹，也不是模型库编号",
        )


def model_folder(folder: Path, *, remote_code: bool = False) -> Iterator[Check]:
    """The files of a model's folder, without reading a weight."""
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        yield _bad(
            "config.json",
            f"{folder / 'config.json'} cannot be read ({str(error)[:100]})",
            f"{folder / 'config.json'} 无法读取（{str(error)[:100]}）",
        )
        return
    kind = str(config.get("model_type", "?"))
    yield _ok("config.json", f"{folder}: a model of the kind {kind}", f"{folder}：{kind} 类模型", kind)
    for key in dict.fromkeys(_keys(config)):
        if key in _CODE and not (remote_code and key in _CODE[:2]):
            yield _bad(
                key,
                f"{folder / 'config.json'}: {key} names code, which huohou does not run unless it is asked to by "
                "name (model.remote_code)",
                f"{folder / 'config.json'}：{key} 指向代码；除非明确写了 model.remote_code，否则不会运行",
            )
    if config.get("quantization_config"):
        yield _bad(
            "quantization_config",
            f"{folder}: the weights are quantised; take the model that they were made from",
            f"{folder}：权重已量化；请使用量化之前的模型",
        )
    weights = [file for pattern in _MODEL_FILES for file in folder.glob(pattern)]
    total = sum(file.stat().st_size for file in weights)
    if not weights:
        yield _bad(
            "weights",
            f"{folder}: there are no weights in it (*.safetensors)",
            f"{folder}：里面没有权重（*.safetensors）",
        )
    elif not any(file.suffix == ".safetensors" for file in weights):
        yield _note(
            "weights",
            f"{folder}: {size(total)} of pickled weights (.bin); only their tensors are read, nothing in them is run",
            f"{folder}：{size(total)} 的 pickle 权重（.bin）；只读取张量，不执行其中任何内容",
        )
    else:
        yield _ok(
            "weights",
            f"weights: {len(weights)} files, {size(total)}",
            f"权重：{len(weights)} 个文件，{size(total)}",
            total,
        )
    yield from _vocabulary(folder, config)


def _keys(value: Any) -> Iterator[str]:
    """Every key of nested objects."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _vocabulary(folder: Path, config: dict[str, Any]) -> Iterator[Check]:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        yield _note("tokenizer", f"{folder}: there is no tokenizer in it", f"{folder}：里面没有分词器")
        return
    from huohou.data.tokenizer import Tokenizer

    try:
        tokenizer = Tokenizer.load(folder)
    except UserError as error:
        yield _bad("tokenizer", error.text.en, error.text.zh)
        return
    rows, count = config.get("vocab_size"), tokenizer.vocab_size
    if isinstance(rows, int) and count > rows:
        yield _bad(
            "tokenizer",
            f"{folder}: the tokenizer has {count:,} tokens, the model only {rows:,} rows",
            f"{folder}：分词器有 {count:,} 个词元，模型只有 {rows:,} 行",
            [count, rows],
        )
    else:
        own = (
            Text("with a chat template", "带对话模板")
            if tokenizer.chat_template
            else Text("without a chat template", "没有对话模板")
        )
        yield _ok(
            "tokenizer", f"tokenizer: {count:,} tokens, {own.en}", f"分词器：{count:,} 个词元，{own.zh}", [count, rows]
        )


def _device(run: RunConfig, torch: dict[str, Any] | None) -> Iterator[Check]:
    if torch is None or "error" in torch:
        yield _bad(
            "torch",
            "torch is needed to train (pip install 'huohou[train]')",
            "训练需要 torch（pip install 'huohou[train]'）",
        )
        return
    devices: list[dict[str, Any]] | None = torch.get("devices")
    if devices is None:
        return
    if run.train.device == "cuda" and not devices:
        yield _bad(
            "train.device",
            "train.device: cuda, but torch finds no GPU here",
            "train.device：写的是 cuda，但 torch 在本机找不到 GPU",
        )
    if run.batch.gpus > 1 and run.batch.gpus > max(len(devices), 1):
        yield _note(
            "batch.gpus",
            f"batch.gpus: {run.batch.gpus}, and {len(devices)} GPUs are here",
            f"batch.gpus：{run.batch.gpus}，而本机有 {len(devices)} 块 GPU",
        )


def _packages(run: RunConfig) -> Iterator[Check]:
    needed: list[tuple[str, str, str]] = []
    if run.train.engine == "deepspeed":
        needed.append(("train.engine: deepspeed", "deepspeed", "deepspeed"))
    if "8bit" in run.optimizer.name:
        needed.append((f"optimizer.name: {run.optimizer.name}", "bitsandbytes", "bits"))
    if run.lora is not None:
        needed.append(("lora", "peft", "lora"))
        if run.lora.bits:
            needed.append(("lora.bits", "bitsandbytes", "bits"))
    if run.model.hub == "modelscope":
        needed.append(("model.hub: modelscope", "modelscope", "modelscope"))
    for key, package, extra in needed:
        if installed(package) is None:
            yield _bad(
                key,
                f"{key} needs {package}: pip install 'huohou[{extra}]'",
                f"{key} 需要 {package}：pip install 'huohou[{extra}]'",
            )


def _space(run: RunConfig, folder: Path) -> Iterator[Check]:
    """Room for the checkpoints that are kept and the one that is being written, and for the model at the end."""
    parameters = _parameters(run)
    place = existing(folder)
    free = shutil.disk_usage(place).free
    if parameters is None:
        yield _note(
            "space",
            f"{place}: {size(free)} free; the model's size is not known here",
            f"{place}：剩余 {size(free)}；这里不知道模型大小",
        )
        return
    moving = parameters if run.lora is None else _adapter_share(run, parameters)
    one = moving * _FP32 * (1 + _MOMENTS)
    kept = run.checkpoint.keep + (1 if run.checkpoint.keep_best else 0) + 1 if run.checkpoint.every else 1
    needed = int(one * kept * _SPARE + moving * _FP32)
    data = {"needed": needed, "free": free, "checkpoint": one}
    en = f"{kept} checkpoints of about {size(one)} and the model need {size(needed)}; {size(free)} are free in {place}"
    zh = f"{kept} 个检查点（每个约 {size(one)}）和模型共需 {size(needed)}；{place} 剩余 {size(free)}"
    yield (_bad if needed > free else _ok)("space", en, zh, data)


def _parameters(run: RunConfig) -> int | None:
    """The model's parameters, as far as its shape or its files tell."""
    from huohou.config.shapes import count_parameters

    if run.model.path is None:
        return count_parameters(run.model.shape(), run.tokenizer.vocab_size or 0).total
    path = Path(run.model.path).expanduser()
    files = [*path.glob("*.safetensors"), *(path / "model").glob("*.safetensors")]
    try:
        config = json.loads(
            next(p for p in (path / "config.json", path / "model" / "config.json") if p.is_file()).read_text(
                encoding="utf-8-sig"
            )
        )
        kind = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    except (OSError, ValueError, StopIteration, AttributeError):
        return None
    total = sum(file.stat().st_size for file in files)
    return total // (4 if kind == "float32" else 2) if total else None


def _adapter_share(run: RunConfig, parameters: int) -> int:
    """About how many numbers LoRA trains: the square root of a matrix's size on both sides, times the rank."""
    assert run.lora is not None
    # A body of P numbers in square matrices of width w: each matrix of w² has 2·w·rank numbers of adapters.
    width = max(64, round((parameters / 400) ** 0.5))
    return min(parameters, round(parameters * 2 * run.lora.rank / width))
