"""Our own run files: what ``huohou plan`` would plan, without its data.

Where the length of the run is one of its data (epochs), flags have to say how many sequences or tokens there are. The
rates are those of the plan's own curves, bit for bit; their pieces say the same as formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from huohou.audit.applied import Applied
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.errors import UserError
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.config import RunConfig
    from huohou.schedule.curve import Curve, Knot

name = "huohou"
title = "huohou"

_SECTIONS = ("model", "tokenizer", "data", "batch", "train", "optimizer", "checkpoint", "groups", "lora")
_SCHEDULE = ("peak", "learning_rate", "lr", "warmup", "decay", "floor")


def sees(document: Document) -> int:
    """A section ``schedule`` with a peak or a warmup in it, and two more of our sections, or ``train.updates``."""
    settings = document.settings
    if settings is None or not any(f"schedule.{key}" in settings for key in _SCHEDULE):
        return 0
    tops = {key.split(".")[0] for key in settings}
    ours = sum(section in tops for section in _SECTIONS) >= 2 and bool(tops & {"model", "stage"})
    return 99 if ours or "train.updates" in settings else 0


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file.

    Raises:
        UserError: It is no run file; the sentence is that of ``huohou plan``.
    """
    from huohou.config import RunConfig

    reading = Reading(name, title, document.settings or Settings(name=document.source.name))
    run = RunConfig.from_text(document.source.text, name=document.source.name, overrides=_flags(given, reading))
    reading.facts |= {
        "family": "huohou", "framework": name, "scheduler": run.schedule.decay, "peak": float(run.schedule.peak),
        "optimizer_state": run.optimizer.state,
    }  # fmt: skip
    try:
        _plan(run, given, reading)
    except UserError as error:
        # The file is understood, and asks for what cannot be.
        reading.facts["cannot_be"] = error.text
        reading.refused = error.text
    return [reading]


def _flags(given: Given, reading: Reading) -> list[str]:
    """The flags as overrides of the run file."""
    said = {"train.updates": given.updates, "batch.gpus": given.gpus, "batch.accumulation": given.accumulation}
    flags = {"train.updates": "--updates", "batch.gpus": "--gpus", "batch.accumulation": "--accumulation"}
    found: list[str] = []
    for key, value in said.items():
        if value is not None:
            found.append(f"{key}={value}")
            reading.assume(f"{flags[key]} {value}: {key}.", f"{flags[key]} {value}：{key}。")
    if not any(key.split(".")[0] in ("data", "dataset") for key in reading.settings):
        # A run file for somebody else's trainer needs no data; how long the run is must then stand in it.
        found.append("data.embedded={}")
    return found


def _plan(run: RunConfig, given: Given, reading: Reading) -> None:
    from huohou.plan.planner import own_schedules, schedules
    from huohou.plan.requests import model_of, request_of
    from huohou.plan.sizes import resolve

    sequences = given.samples
    if sequences is None and given.tokens is not None:
        sequences = max(1, given.tokens // run.data.sequence_length)
        reading.assume(
            f"{given.tokens} tokens make {sequences} sequences of {run.data.sequence_length}.",
            f"{given.tokens} 个词元合 {sequences} 条长 {run.data.sequence_length} 的序列。",
        )
    if run.train.epochs is not None and sequences is None:
        reading.need(
            "how many updates: give --updates, or the sequences as --samples or the data's --tokens; huohou plan "
            "counts them.",
            "更新步数未知：请给出 --updates，或用 --samples 给出序列数、用 --tokens 给出词元数；huohou plan 会统计。",
        )
        return
    facts: dict[str, Any] = {"sequences": sequences, "exact": True, "interval": None, "data": {}}
    request = request_of(run, model_of(run, None, None), **facts)
    sizes = resolve(request.asked)
    planned = schedules(request, sizes)
    warmup, updates = planned.built.warmup, sizes.updates
    said = run.schedule.warmup
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            reading.settings.find("schedule.warmup", "schedule.num_warmup_steps", "schedule.warmup_ratio"),
            Text(
                f"{said if said is not None else 'chosen by the plan'}, of {updates} updates: W = {warmup}",
                f"{said if said is not None else '由计划选定'}，共 {updates} 步：W = {warmup}",
            ),
        )
    )
    model = run.model.path or run.model.preset
    main = Role("model", applied(planned.built.curve, updates), float(warmup), None, model, float(updates))
    reading.roles.append(main)
    waiting: set[str] = set()
    for part, own in own_schedules(request, planned, None).items():
        # A part that waits, or stops before the end, stands at 0 because the run file says so.
        waiting.add(part)
        role = Role(part, applied(own.curve, updates), float(own.start + own.warmup), None, model, float(updates))
        reading.roles.append(role)
    tokens = sizes.tokens_per_update
    reading.facts |= {
        "updates": updates, "warmup_steps": warmup, "planned_zeros": waiting,
        "tokens_per_update": None if tokens is None else int(tokens),
    }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Rates(Mapping[int, float]):
    """The rates of a curve as a mapping from updates, computed when they are asked for."""

    curve: Curve
    updates: int

    def __getitem__(self, update: int) -> float:
        if update not in self:
            raise KeyError(update)
        return self.curve(update)

    def __contains__(self, update: object) -> bool:
        return isinstance(update, int) and 1 <= update <= self.updates

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self.updates + 1))

    def __len__(self) -> int:
        return self.updates

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rates) and (self.curve, self.updates) == (other.curve, other.updates)

    def __hash__(self) -> int:
        return hash(self.updates)


@dataclass(frozen=True, slots=True)
class _Way:
    """The value of a curve behind a knot, for shapes that have no name among the pieces."""

    curve: Curve
    start: int

    def __call__(self, x: float) -> float:
        return self.curve(self.start + round(x)) / float(self.curve.peak)


def applied(curve: Curve, updates: int) -> Applied:
    """One of our curves as the audit holds curves: the same rates to the bit, and the formulas that give them."""
    pieces = tuple(
        piece
        for place, knot in enumerate(curve.knots)
        for piece in (_piece(curve, knot, place == len(curve.knots) - 1),)
    )
    # Position and update are the same number here.
    return Applied(float(curve.peak), updates, pieces, offset=1.0, overrides=_Rates(curve, updates))


def _piece(curve: Curve, knot: Knot, last: bool) -> Piece:
    shape, first, value = knot.shape, float(knot.update), float(knot.value)
    if last or shape.constant:
        return Piece(first, "hold", value)
    start, end, origin = float(shape.first), float(shape.last), float(shape.start)
    span, rising = float(shape.end - shape.start), shape.last > shape.first
    parameter = float(shape.parameter if shape.parameter is not None else Fraction(1, 2))
    match shape.name:
        case "linear" | "cosine":
            return Piece(first, shape.name, start, end, span, origin, 0.5)
        case "1-sqrt":
            return Piece(first, "1-sqrt mirrored" if rising else "1-sqrt", start, end, span, origin)
        case "power":
            return Piece(first, "rising power" if rising else "power", start, end, span, origin, parameter)
        case "inverse_sqrt":
            return Piece(first, "inverse sqrt", start, origin=origin, parameter=parameter)
        case "geometric":
            return Piece(first, "geometric", start, origin=origin, parameter=math.exp(math.log(end / start) / span))
        case "halving":
            return Piece(first, "geometric", start, origin=origin, parameter=2.0 ** (-1.0 / parameter))
        case _:
            return Piece(first, shape.name, 1.0, span=span, function=_Way(curve, knot.update))
