"""The optimizer state of an earlier run, taken along into a new one (``optimizer.state: carried``).

Moments belong to a parameter by its name and shape. What the earlier run did not have (new rows, adapters) begins
fresh; what this one does not have is left behind. Rows that the earlier run's vocabulary gained have joined the others.
Rates never come along: they are the plan's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from huohou.errors import UserError
from huohou.language import Text
from huohou.train import checkpoint, state
from huohou.train.checkpoint import Checkpoint
from huohou.train.engine import Engine
from huohou.train.manifest import Unusable, read_manifest, verify
from huohou.train.state import Source

_NEW = "new_weight"
"""What a model calls the rows that its vocabulary gained, beside ``weight``; a run after has both as one."""


class _Carried(Source):
    """What of an earlier run's state belongs to the parameters of this one, under the names that they have here.

    ``known``: for each parameter of this run those of the earlier one whose rows, one after another, are its own.
    """

    def __init__(self, given: Source, known: Mapping[str, tuple[str, ...]]) -> None:
        self._given = given
        held: dict[str, list[str]] = {}
        for name in given:
            parameter, _, key = name.rpartition("/")
            held.setdefault(parameter, []).append(key)
        self._parts = {
            f"{own}/{key}": tuple(f"{before}/{key}" for before in parts)
            for own, parts in known.items()
            for key in held[parts[0]]
        }

    def __getitem__(self, name: str) -> torch.Tensor:
        parts = [self._given[part] for part in self._parts[name]]
        # Counts of updates are no rows: where they differ, the larger one belongs to moments that are further on.
        return torch.cat(parts) if parts[0].dim() else torch.stack(parts).amax()

    def shape(self, name: str) -> tuple[int, ...]:
        shapes = [self._given.shape(part) for part in self._parts[name]]
        return (sum(shape[0] for shape in shapes), *shapes[0][1:]) if shapes[0] else ()

    def read(self, name: str, start: int, count: int) -> torch.Tensor:
        if len(self._parts[name]) == 1:
            return self._given.read(self._parts[name][0], start, count)
        return super().read(name, start, count)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _known(given: Source, own: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[str, ...]]:
    """For each parameter of this run whose moments the earlier one left, what they are called there.

    The rows that a vocabulary had and those that it gained are one parameter again in the run after.
    """
    known: dict[str, tuple[str, ...]] = {}
    for name, shape in own.items():
        for parts in ((name,), (name, f"{name.rpartition('.')[0]}.{_NEW}")):
            shapes = [given.shape(f"{part}/exp_avg") for part in parts if f"{part}/exp_avg" in given]
            alike = len(shapes) == len(parts) and all(one[1:] == shape[1:] for one in shapes)
            if alike and sum(one[0] for one in shapes) == shape[0]:
                known[name] = parts
    return known


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


def check_carried(optimizer: str, engine: str) -> None:
    """Raise :class:`UserError` where no state can be taken in, before anything is computed."""
    if engine == "deepspeed":
        raise UserError(
            "optimizer.state is carried, but train.engine deepspeed can only begin with a fresh one: write fresh, or "
            "train.engine: fsdp2.",
            "optimizer.state 为 carried，但 train.engine deepspeed 只能从新状态开始：请写 fresh，"
            "或 train.engine: fsdp2。",
        )
    if optimizer != "adamw":
        raise UserError(
            f"optimizer.state is carried, but only AdamW takes moments over, and optimizer.name is {optimizer}: write "
            "adamw, or state: fresh.",
            f"optimizer.state 为 carried，但只有 AdamW 能接着用已有的动量，而 optimizer.name 为 {optimizer}：请写 "
            "adamw，或 state: fresh。",
        )


def carry(engine: Engine, path: str) -> Text:
    """Put the earlier run's moments into the engine's optimizer; says how many parameters have them.

    Raises :class:`UserError` where the state does not fit any parameter.
    """
    given = state.source(checkpoint.load(find_state(path)).tensors.get("optimizer", {}))
    own = {name: tuple(p.shape) for name, p in engine.model.named_parameters() if p.requires_grad}
    known = _known(given, own)
    if not known:
        raise UserError(
            f"optimizer.from: the state in {path} fits no parameter of this model; write optimizer.state: fresh.",
            f"optimizer.from：{path} 中的状态与本模型的任何参数都不符；请写 optimizer.state: fresh。",
        )
    state.load_optimizer(engine.optimizer, engine.model, _Carried(given, known))
    return Text(
        f"carried over the optimizer state of {len(known)} of {len(own)} parameters from {path}.",
        f"沿用了 {path} 中 {len(known)}/{len(own)} 个参数的优化器状态。",
    )
