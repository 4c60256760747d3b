"""The optimizer state of an earlier run, taken along into a new one (``optimizer.state: carried``).

Moments belong to a parameter by its name and shape. What the earlier run did not have (new rows, adapters) begins
fresh; what this one does not have is left behind. Rates never come along: they are the plan's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from huohou.errors import UserError
from huohou.language import Text
from huohou.train import checkpoint, state
from huohou.train.checkpoint import Checkpoint
from huohou.train.engine import Engine
from huohou.train.manifest import Unusable, read_manifest, verify
from huohou.train.state import Source


class _Some(Source):
    """Those tensors of a source that have these names."""

    def __init__(self, source: Source, names: list[str]) -> None:
        self._source, self._names = source, names

    def shape(self, name: str) -> tuple[int, ...]:
        return self._source.shape(name)

    def read(self, name: str, start: int, count: int) -> torch.Tensor:
        return self._source.read(name, start, count)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._source[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def find_state(path: str) -> Checkpoint:
    """The checkpoint that ``optimizer.from`` means: the newest of a run folder, or one by its own path.

    Raises :class:`UserError` where there is none that can be used.
    """
    folder = Path(path).expanduser()
    inner = folder / "checkpoints"
    try:
        if inner.is_dir():
            found = checkpoint.find(inner)
            if found.newest is not None:
                return found.newest
            if found.unusable:
                raise found.unusable[0]
            raise UserError(
                f"optimizer.from: {path} holds no checkpoint whose state could be carried over.",
                f"optimizer.from：{path} 中没有可沿用其状态的检查点。",
            )
        manifest = read_manifest(folder)
        verify(folder, manifest)
    except Unusable as error:
        raise UserError(f"optimizer.from: {error.text.en}", f"optimizer.from：{error.text.zh}") from None
    return Checkpoint(folder, manifest)


def carry(engine: Engine, path: str) -> Text:
    """Put the earlier run's moments into the engine's optimizer; says how many parameters have them.

    Raises :class:`UserError` where the state does not fit any parameter, or the engine cannot take one in.
    """
    if engine.name == "deepspeed":
        raise UserError(
            "optimizer.state is carried, but train.engine deepspeed can only begin with a fresh one: write fresh, or "
            "train.engine: fsdp2.",
            "optimizer.state 为 carried，但 train.engine deepspeed 只能从新状态开始：请写 fresh，"
            "或 train.engine: fsdp2。",
        )
    given = state.source(checkpoint.load(find_state(path)).tensors.get("optimizer", {}))
    own = {name: tuple(p.shape) for name, p in engine.model.named_parameters() if p.requires_grad}
    kept = {
        parameter
        for parameter, _, key in (name.rpartition("/") for name in given)
        if key == "exp_avg" and own.get(parameter) == given.shape(f"{parameter}/{key}")
    }
    if not kept:
        raise UserError(
            f"optimizer.from: the state in {path} fits no parameter of this model; write optimizer.state: fresh.",
            f"optimizer.from：{path} 中的状态与本模型的任何参数都不符；请写 optimizer.state: fresh。",
        )
    names = [name for name in given if name.rpartition("/")[0] in kept]
    state.load_optimizer(engine.optimizer, engine.model, _Some(given, names))
    return Text(
        f"carried over the optimizer state of {len(kept)} of {len(own)} parameters from {path}.",
        f"沿用了 {path} 中 {len(kept)}/{len(own)} 个参数的优化器状态。",
    )
