"""What is to be exported, whatever it lies in: a base's tensors and settings, and the adapters for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huohou.errors import UserError
from huohou.export.checkpoints import has_tokenizer, open_checkpoint
from huohou.export.minimind import open_minimind
from huohou.model.adapter import Adapter, is_adapter
from huohou.model.base import Base
from huohou.model.hub import model_folder
from huohou.model.load import open_weights
from huohou.model.merge import Tensors
from huohou.model.trust import check_config
from huohou.model.weights import read_json
from huohou.records import RunFolder

PICKLED = (".pth", ".pt", ".bin")
TOKENIZER = re.compile(
    r"(tokenizer|special_tokens|added_tokens|vocab|chat_template).*\.(json|model|jinja|txt)|merges\.txt"
)
"""Files that make up a tokenizer, with its chat template."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that can be read tensor by tensor."""

    tensors: Tensors
    """The base's."""
    config: Mapping[str, Any]
    """The base's ``config.json``."""
    folder: Path | None
    """Where the base lies, if it is a Hugging Face folder."""
    adapters: list[Adapter] = field(default_factory=list)
    tokenizer: Path | None = None
    """A folder with a tokenizer's files."""


def open_source(
    source: Path, *, adapters: Sequence[Path] = (), base: str | None = None, checkpoint: str | None = None
) -> Opened:
    """Find out what a path is: a run folder, a model's or an adapter's folder, or a file of weights.

    Raises ``UserError`` for anything else, and where what an adapter needs is not there.
    """
    if source.is_file():
        return _file(source, adapters, base)
    if not source.is_dir():
        raise UserError(
            f"{source} does not exist; give a run folder, a model's or an adapter's folder, or a .pth file.",
            f"{source} 不存在；请给出训练目录、模型或适配器的文件夹，或 .pth 文件。",
        )
    run = RunFolder(source)
    if run.plan.is_file() or run.checkpoints.is_dir():
        return _run(run, adapters, base, checkpoint)
    if checkpoint is not None:
        raise UserError(
            f"--checkpoint is for run folders, but {source} is none (there is no plan.json in it).",
            f"--checkpoint 只用于训练目录，而 {source} 不是（其中没有 plan.json）。",
        )
    return _folder(source, adapters, base)


def _folder(source: Path, adapters: Sequence[Path], base: str | None) -> Opened:
    """A model's folder, or an adapter's with its base."""
    if is_adapter(source):
        first = Adapter(source)
        return _with_adapters(_base_folder(first, base), [source, *adapters])
    if base is not None:
        raise UserError(
            f"--base says what adapters belong to, but {source} is no adapter: give the base itself and the adapters "
            "with --adapter.",
            f"--base 用来指明适配器的基座，而 {source} 不是适配器：请直接给出基座，适配器用 --adapter 给出。",
        )
    return _with_adapters(source, adapters)


def _with_adapters(base: Path, folders: Sequence[Path]) -> Opened:
    read = [Adapter(folder) for folder in folders]
    where = base / "config.json"
    config = read_json(where)
    check_config(config, where)
    if config.get("quantization_config"):
        raise UserError(
            f"{where}: the weights are quantised (quantization_config), and nothing can be merged into such weights; "
            "give the model that they were made from with --base.",
            f"{where}：权重已量化（quantization_config），无法向其中合并；请用 --base 给出量化之前的模型。",
        )
    tokenizer = next((folder for folder in (*reversed(folders), base) if has_tokenizer(folder)), None)
    return Opened(open_weights(base), config, base, read, tokenizer)


def _run(run: RunFolder, adapters: Sequence[Path], base: str | None, checkpoint: str | None) -> Opened:
    adapter = run.path / "adapter"
    if checkpoint is None and is_adapter(adapter):
        first = Adapter(adapter)
        before = _adapters_of_run(run)
        return _with_adapters(_base_folder(first, base), [*before, adapter, *adapters])
    if checkpoint is None and (run.model / "config.json").is_file():
        return _folder(run.model, adapters, base)
    opened = open_checkpoint(run, checkpoint or "last", base)
    folder = opened.base
    before = [Adapter(path) for path in _adapters_of_run(run)]
    later = [Adapter(path) for path in adapters]
    own = [] if opened.adapter is None else [opened.adapter]
    return Opened(opened.tensors, opened.config, folder, [*before, *own, *later], opened.tokenizer)


def _adapters_of_run(run: RunFolder) -> list[Path]:
    """What the run merged into its base before it began."""
    if not run.plan.is_file():
        return []
    model = read_json(run.plan).get("model") or {}
    return [Path(path) for path in ((model.get("lora") or {}).get("adapters") or ())]


def _base_folder(adapter: Adapter, base: str | None) -> Path:
    named = base or (adapter.base.path if adapter.base else adapter.config.get("base_model_name_or_path"))
    if not named:
        raise UserError(
            f"{adapter.folder} is an adapter that does not say which base it belongs to; give it with --base.",
            f"{adapter.folder} 是适配器，但没有说明它的基座；请用 --base 给出。",
        )
    revision = adapter.base.revision if adapter.base and base is None else None
    try:
        return model_folder(named, revision=revision)
    except UserError as error:
        raise UserError(
            f"the base of {adapter.folder} is not found ({error.text.en.rstrip('.')}); give it with --base.",
            f"找不到 {adapter.folder} 的基座（{error.text.zh.rstrip('。')}）；请用 --base 给出。",
        ) from None


def _file(source: Path, adapters: Sequence[Path], base: str | None) -> Opened:
    if source.suffix not in PICKLED:
        raise UserError(
            f"{source} is no file of weights that can be read; give a folder, or a file that ends in "
            f"{', '.join(PICKLED)}.",
            f"{source} 不是可读取的权重文件；请给出文件夹，或以 {'、'.join(PICKLED)} 结尾的文件。",
        )
    tensors, config = open_minimind(source, None if base is None else Path(base))
    tokenizer = next(
        (one for one in (Path(base) if base else source.parent, source.parent) if has_tokenizer(one)), None
    )
    return Opened(tensors, config, None, [Adapter(path) for path in adapters], tokenizer)


def record(opened: Opened) -> Base | None:
    """The identity of the base, where an adapter says which one it wants (the base is read once for this)."""
    from huohou.model.base import identify

    if opened.folder is None or not any(adapter.base for adapter in opened.adapters):
        return None
    return identify(opened.folder)
