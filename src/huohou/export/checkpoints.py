"""The model in a checkpoint of a run: the tensors that the run trained, over those that it found.

A checkpoint holds what moves and nothing else. It is read as an adapter is: trained tensors replace the base's, new
rows follow its rows, low-rank matrices stand beside it; so it is merged by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from huohou.errors import UserError
from huohou.model.adapter import PREFIX, ROWS, Adapter
from huohou.model.config import ModelConfig
from huohou.model.hub import model_folder
from huohou.model.load import open_weights
from huohou.model.merge import Tensors
from huohou.model.peft_layers import NAME
from huohou.model.rows import INNER, NEW
from huohou.model.trust import check_config
from huohou.model.weights import read_json
from huohou.records import RunFolder
from huohou.train import checkpoint as checkpoints
from huohou.train.checkpoint import Checkpoint
from huohou.train.manifest import Unusable, verify
from huohou.train.state import Source


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint's base (the checkpoint itself where the run began from nothing), and what it does to it."""

    tensors: Tensors
    config: Mapping[str, Any]
    base: Path | None
    adapter: Adapter | None
    tokenizer: Path | None


class Named:
    """Tensors of a checkpoint under other names."""

    def __init__(self, given: Mapping[str, tuple[tuple[int, ...], Callable[[], Tensor]]]) -> None:
        self._given = given

    def names(self) -> list[str]:
        return list(self._given)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._given[name][0]

    def dtype(self, name: str) -> torch.dtype:
        return self.get(name).dtype

    def get(self, name: str) -> Tensor:
        return self._given[name][1]()


def open_checkpoint(run: RunFolder, which: str, base: str | None) -> OpenedCheckpoint:
    """Open ``last``, ``best`` or the checkpoint of an update, every byte of it checked.

    Raises ``UserError`` where there is no such checkpoint or it is damaged, and where its base is not found.
    """
    found = _choose(run, which)
    source: Source = checkpoints.load(found).tensors["model"]  # pyright: ignore[reportAssignmentType]
    plan = read_json(run.plan)
    model: Mapping[str, Any] = plan.get("model") or {}
    tokenizer = _tokenizer_folder(run)
    path = base or model.get("path")
    if path is None:
        tensors = Named({name.removeprefix(INNER): _entry(source, name) for name in source})
        return OpenedCheckpoint(tensors, _config(model, run, tokenizer), None, None, tokenizer)
    folder = model_folder(path, revision=None if base else model.get("revision"))
    config = read_json(folder / "config.json")
    check_config(config, folder / "config.json")
    weights = open_weights(folder)
    adapter = Adapter(found.folder, _as_adapter(source, model), _settings(source, model))
    _refuse_lost_rows(adapter, weights, int(model.get("rows") or 0), found)
    if tokenizer is None and model.get("vocab_size") == model.get("base_vocab_size") and has_tokenizer(folder):
        tokenizer = folder
    return OpenedCheckpoint(weights, config, folder, adapter, tokenizer)


def _choose(run: RunFolder, which: str) -> Checkpoint:
    listed = [one for one in checkpoints.listing(run.checkpoints) if one.checkpoint is not None]
    if which == "best":
        measured = [(one.loss, -index, one) for index, one in enumerate(listed) if one.loss is not None]
        chosen = min(measured)[2] if measured else None
        lacking = ("a validation loss was measured with none of them", "都没有对应的验证损失")
    else:
        chosen = next((one for one in reversed(listed) if which in ("last", _update(one.checkpoint))), None)
        known = ", ".join(_update(one.checkpoint) for one in listed) or "none"
        lacking = (f"there are: {known}", f"现有：{known}")
    if chosen is None or chosen.checkpoint is None:
        raise UserError(
            f"{run.checkpoints} has no checkpoint {which!r} ({lacking[0]}).",
            f"{run.checkpoints} 中没有检查点 {which!r}（{lacking[1]}）。",
        )
    try:
        verify(chosen.folder, chosen.checkpoint.manifest)
    except Unusable as error:
        raise UserError(error.text.en, error.text.zh) from None
    return chosen.checkpoint


def _update(found: Checkpoint | None) -> str:
    return "" if found is None else str(found.manifest.position.update)


def _entry(source: Source, name: str) -> tuple[tuple[int, ...], Callable[[], Tensor]]:
    return source.shape(name), lambda: source[name]


def _as_adapter(source: Source, model: Mapping[str, Any]) -> Named:
    """What a checkpoint holds, under the names that an adapter's file would have."""
    given: dict[str, tuple[tuple[int, ...], Callable[[], Tensor]]] = {}
    for name in source:
        plain = name.removeprefix(INNER).replace(".base_layer.", ".")
        stem, _, last = plain.rpartition(".")
        old = f"{name.removesuffix(NEW)}weight"
        if ".lora_" in plain:
            given[PREFIX + plain.replace(f".{NAME}", "")] = _entry(source, name)
        elif last == NEW and old in source:
            # Old and new rows were both trained: together they are the matrix.
            shape = (source.shape(old)[0] + source.shape(name)[0], *source.shape(name)[1:])
            given[f"{PREFIX}{stem}.weight"] = (shape, lambda a=old, b=name: torch.cat((source[a], source[b])))
        elif last == NEW:
            given[PREFIX + stem + ROWS] = _entry(source, name)
        elif f"{name.removesuffix('weight')}{NEW}" not in source:
            given[PREFIX + plain] = _entry(source, name)
    return Named(given)


def _refuse_lost_rows(adapter: Adapter, weights: Tensors, rows: int, found: Checkpoint) -> None:
    """New rows that never move are in no checkpoint, and not in the base either."""
    touched = {*adapter.rows, *(name.removesuffix(".weight") for name in adapter.whole)}
    embedding = "model.embed_tokens"
    name = f"{embedding}.weight"
    if embedding not in touched and name in weights.names() and weights.shape(name)[0] < rows:
        raise UserError(
            f"{found.folder} cannot be exported: the vocabulary grew to {rows} rows, but the new ones did not train, "
            "so only the finished run's model has them.",
            f"无法导出 {found.folder}：词表已扩充到 {rows} 行，但新增的行不参与训练，只有训练结束后的模型才有这些行。",
        )


def _settings(source: Source, model: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter's settings, from the plan."""
    lora: Mapping[str, Any] = model.get("lora") or {}
    rows: dict[str, list[int]] = {}
    total = int(model.get("rows") or 0)
    for name in source:
        if name.endswith(f".{NEW}"):
            count = source.shape(name)[0]
            rows[name.removeprefix(INNER).removesuffix(f".{NEW}")] = list(range(total - count, total))
    return {
        "peft_type": "LORA",
        "lora_alpha": lora.get("alpha", 1),
        "use_rslora": bool(lora.get("rslora")),
        "use_dora": bool(lora.get("dora")),
        "trainable_token_indices": rows,
        "ensure_weight_tying": True,
    }


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))


def _tokenizer_folder(run: RunFolder) -> Path | None:
    """A folder with the run's tokenizer: one of its own, or the one that its run file names."""
    folders = [run.tokenizer, run.path / "adapter", run.model]
    if run.config.is_file():
        from huohou.config import load_run

        named = load_run(run.config).tokenizer.path
        folders += [] if named is None else [Path(named)]
    return next((folder for folder in folders if has_tokenizer(folder)), None)


def _config(model: Mapping[str, Any], run: RunFolder, tokenizer: Path | None) -> dict[str, Any]:
    """The ``config.json`` of a model that the run began from nothing."""
    shape = ModelConfig.from_huggingface(dict(model), str(run.plan))
    values = shape.to_huggingface()
    if tokenizer is not None:
        from huohou.data.tokenizer import Tokenizer

        loaded = Tokenizer.load(tokenizer)
        values |= {"bos_token_id": loaded.bos_id, "eos_token_id": loaded.eos_id, "pad_token_id": loaded.pad_id}
    return values
