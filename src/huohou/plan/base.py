"""The model that a run goes on from: its folder, its shape and its vocabulary, read without loading a weight."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.config import RunConfig
from huohou.config.shapes import count_adapters, count_parameters
from huohou.errors import UserError
from huohou.plan.groups import ROW_MODULES

if TYPE_CHECKING:
    from huohou.data.tokenizer import Tokenizer

SHAPE = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "tie_word_embeddings",
)
"""What a plan takes from a config.json, where it is there."""

_SCALED = ("gemma", "vaultgemma", "minicpm3", "xglm", "biogpt", "inkling")
_BIASED = ("phi", "gptj", "codegen", "ctrl")
"""Kinds of models whose embedding or head is more than a table of rows, as transformers 5.24 makes them."""

_NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_ENDS = 64 * 1024
"""Bytes at either end of a weight file that tell whether it is the same: the header and the last tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A model on this machine.

    Attributes:
        folder: Where it lies.
        config: Its config.json.
        content: A hash of config.json and of the names, sizes and ends of the weight files.
    """

    folder: Path
    config: Mapping[str, Any]
    content: str

    @property
    def rows(self) -> int | None:
        """Rows of its embedding."""
        rows = self.config.get("vocab_size")
        return rows if isinstance(rows, int) else None

    @property
    def shape(self) -> dict[str, Any]:
        """Its shape under Hugging Face's names, as far as config.json says it."""
        known = {name: self.config[name] for name in SHAPE if self.config.get(name) is not None}
        known.setdefault("tie_word_embeddings", self.config.get("model_type") == "gemma")
        if "num_attention_heads" in known:
            known.setdefault("num_key_value_heads", known["num_attention_heads"])
        return known


_LARGEST_CONFIG = 1024 * 1024


def open_base(folder: Path) -> Base:
    """Read what there is to know of a model's folder.

    Raises:
        UserError: Its config.json is missing, too large, or no JSON object.
    """
    path = folder / "config.json"
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_CONFIG + 1)
        config = json.loads(data) if len(data) <= _LARGEST_CONFIG else None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}.", f"无法读取 {path}：{error}。") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is no model's config.json.", f"{path} 不是模型的 config.json。")
    return Base(folder=folder, config=config, content=_content(folder))  # pyright: ignore[reportUnknownArgumentType]


def base_of(run: RunConfig, *, given: Path | None = None) -> Base | None:
    """The model that a run file names.

    Args:
        run: The run file.
        given: Its folder, where somebody has fetched it.

    Returns:
        ``None`` for a run that begins from nothing, and for a hub's model that is not on this machine.

    Raises:
        UserError: It is written as a folder and is none, or holds no model.
    """
    if run.model.path is None:
        return None
    folder = given or local_folder(run) or _cached(run)
    return None if folder is None else open_base(folder)


def _cached(run: RunConfig) -> Path | None:
    """A hub's model in the cache of Hugging Face, if it was downloaded once."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    folder = cache / f"models--{str(run.model.path).replace('/', '--')}"
    revision = run.model.revision or "main"
    with contextlib.suppress(OSError):
        revision = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    snapshot = folder / "snapshots" / revision
    return snapshot if (snapshot / "config.json").is_file() else None


def local_folder(run: RunConfig) -> Path | None:
    """The folder that ``model.path`` names, or the model in the run folder that it names; ``None`` for a hub's name.

    Raises:
        UserError: The folder holds no model, or is none though it is written like one.
    """
    written = run.model.path
    assert written is not None
    path = Path(written).expanduser()
    where = run.place("model.path") or "model.path"
    if path.is_dir():
        for folder in (path, path / "model"):
            if (folder / "config.json").is_file():
                return folder
        if (path / "adapter" / "adapter_config.json").is_file() or (path / "adapter_config.json").is_file():
            raise UserError(
                f"{where}: {written} holds an adapter and no whole model; merge it first: huohou export {written} "
                "--output FOLDER.",
                f"{where}：{written} 只有适配器，没有完整的模型；请先合并：huohou export {written} --output 文件夹。",
            )
        unfinished = (path / "plan.json").is_file()
        raise UserError(
            f"{where}: {written} "
            + (
                "is a run that is not finished: it has no model yet."
                if unfinished
                else "holds no config.json, so it is no model."
            ),
            f"{where}：{written} "
            + ("是未完成的训练，还没有模型。" if unfinished else "中没有 config.json，不是模型目录。"),
        )
    # A hub's name is owner/name; what lies in a folder that is there, or in runs, was meant as a folder.
    inside = path.parent != Path() and (path.parent.is_dir() or path.parent == Path("runs"))
    if path.exists() or inside or written.startswith((".", "/", "~", "\\")) or written.count("/") > 1:
        raise UserError(f"{where}: there is no folder {written}.", f"{where}：没有文件夹 {written}。")
    return None


def _content(folder: Path) -> str:
    """A hash that changes when the model does, from a few bytes of each file."""
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name != "config.json" and path.suffix not in (".safetensors", ".bin", ".pt", ".pth"):
            continue
        size = path.stat().st_size
        content.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            content.update(file.read(_ENDS))
            if size > 2 * _ENDS:
                file.seek(-_ENDS, 2)
                content.update(file.read(_ENDS))
    return content.hexdigest()[:32]


def adapters_content(folders: tuple[str, ...]) -> list[str]:
    """The hashes of adapters that are merged into the base before.

    Raises:
        UserError: One of them is no adapter.
    """
    hashes: list[str] = []
    for written in folders:
        folder = Path(written).expanduser()
        if not (folder / "adapter_config.json").is_file():
            folder = folder / "adapter"
        if not (folder / "adapter_config.json").is_file():
            raise UserError(
                f"lora.adapters: {written} holds no adapter_config.json, so it is no adapter.",
                f"lora.adapters：{written} 中没有 adapter_config.json，不是适配器。",
            )
        hashes.append(_content(folder))
    return hashes


def base_tokenizer(base: Base) -> Tokenizer | None:
    """The tokenizer that lies beside a model's weights, if one does."""
    from huohou.data.tokenizer import Tokenizer

    if not any((base.folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        return None
    return Tokenizer.load(base.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """How the rows of a model and the pieces of a tokenizer go together.

    Attributes:
        pieces: Of the run's tokenizer.
        first_new: The first id that the model's own tokenizer does not have.
        rows: Of embedding and head in the run, padding included.
    """

    pieces: int
    first_new: int
    rows: int

    @property
    def new(self) -> int:
        """Rows of added pieces."""
        return self.pieces - self.first_new


def vocabulary(base: Base, tokenizer: Tokenizer, *, pad_rows_to: int) -> Vocabulary:
    """Settle the rows of the vocabulary.

    Raises:
        UserError: The tokenizer is no extension of the model's own.
    """
    own = base_tokenizer(base)
    rows = base.rows or (own.vocab_size if own is not None else tokenizer.vocab_size)
    pieces = tokenizer.vocab_size
    first_new = min(pieces, own.vocab_size if own is not None else rows)
    if own is not None and pieces != own.vocab_size:
        from huohou.data.tokenizer_growth import check_grown

        check_grown(own, tokenizer)
    most = max(rows, pieces)
    found = Vocabulary(pieces=pieces, first_new=first_new, rows=-(-most // pad_rows_to) * pad_rows_to)
    if found.new or found.rows != rows:
        _refuse_more_than_rows(base)
    return found


def _refuse_more_than_rows(base: Base) -> None:
    """What would be found out when the model is opened, said before hours of tokenising."""
    kind = str(base.config.get("model_type"))
    if kind.startswith(_SCALED):
        en, zh = "its embedding scales the rows that it looks up", "它的词嵌入会缩放取出的行"
    elif kind in _BIASED:
        en, zh = "its head has a bias beside its rows", "它的输出层在各行之外还有偏置"
    else:
        return
    raise UserError(
        f"{base.folder}: the vocabulary of a model of the kind {kind} cannot be grown, since {en}; leave tokenizer and "
        "model.pad_rows_to out to train it with its own vocabulary.",
        f"{base.folder}：{kind} 类模型的词表不能扩充，因为{zh}；请去掉 tokenizer 与 model.pad_rows_to，"
        "用它自己的词表训练。",
    )


def model_facts(run: RunConfig, base: Base, words: Vocabulary | None) -> dict[str, Any]:
    """What a plan says of the model that a run goes on from."""
    shape = base.shape
    lora = run.lora
    facts: dict[str, Any] = {
        **shape,
        "architecture": base.config.get("model_type"),
        "path": str(base.folder),
        "content": base.content,
        "base_vocab_size": words.first_new if words else base.rows,
        "base_rows": base.rows,
        "vocab_size": words.pieces if words else base.rows,
        "rows": words.rows if words else base.rows,
        "grow": run.model.grow,
        "pad_rows_to": run.model.pad_rows_to,
        "lora": None if lora is None else lora_settings(run),
        "parameters": None,
    }
    if all(isinstance(shape.get(name), int) for name in _NEEDED) and facts["rows"]:
        facts["parameters"] = count_parameters(shape, facts["rows"]).total
    return facts


def lora_settings(run: RunConfig) -> dict[str, Any]:
    """The section ``lora`` as plain data."""
    plain: dict[str, Any] = dict(run.resolved()["lora"])
    plain["bits"] = None if plain["bits"] == "off" else plain["bits"]
    if run.lora is not None and run.lora.adapters:
        plain["adapters_content"] = adapters_content(run.lora.adapters)
    return plain


def sizes_of_parts(model: Mapping[str, Any]) -> dict[str, int] | None:
    """Parameters of each part of a model that goes on; ``None`` where its shape is not known."""
    if any(not isinstance(model.get(name), int) for name in _NEEDED) or not model.get("rows"):
        return None
    lora: Mapping[str, Any] | None = model.get("lora")
    counted = count_parameters(model, model["rows"])
    places = 1 if counted.head == 0 else 2
    new = max(0, model["vocab_size"] - model["base_vocab_size"]) * model["hidden_size"] * places
    sizes = {"new_rows": new, "old_rows": counted.embedding + counted.head - new, "body": counted.body}
    if lora is not None:
        a, b = count_adapters(model, tuple(lora["targets"]), int(lora["rank"]))
        sizes |= {"adapters": a, "adapters_b": b}
        saved = {str(name).rpartition(".")[2] for name in lora["save"]} & set(ROW_MODULES)
        if saved and places == 2 and len(saved) == 1:
            # One of embedding and head is trained whole, the other stays.
            sizes = sizes | {"new_rows": new // 2, "old_rows": sizes["old_rows"] // 2}
    return sizes


def last_rate(source: str) -> float | None:
    """The rate of the last update that the run behind ``optimizer.from`` made, where its folder says it.

    Raises:
        UserError: There is no such folder.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UserError(f"optimizer.from: there is no folder {source}.", f"optimizer.from：没有文件夹 {source}。")
    at: int | None = None
    name = folder.name.rpartition("-")[2]
    if folder.parent.name == "checkpoints" and name.isdigit():
        at, folder = int(name), folder.parent.parent
    try:
        from huohou.plan.result import Plan

        plan = Plan.from_plain(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, UserError):
        return None
    return plan.curve(at or plan.updates)
