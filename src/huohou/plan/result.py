"""The Plan: everything that is decided before a run, as frozen data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from huohou.errors import UserError
from huohou.language import Text
from huohou.schedule.curve import Curve
from huohou.schedule.recipes import Phase

FORMAT = 1
"""The version of plan.json; a reader refuses a newer one."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice.

    Attributes:
        id: Its short name.
        text: What is advised, and why.
        source: Where the evidence is.
        strength: ``strong``, ``moderate`` or ``weak``.
    """

    id: str
    text: Text
    source: Text
    strength: str


@dataclass(frozen=True, slots=True)
class Batch:
    """How the sequences of one update are shared out.

    Attributes:
        sequences: Of a full batch, over all processes; ``None`` where a plan made from flags does not know it.
        tokens: Of a full batch.
        micro_batch: Sequences of one forward and backward pass in one process.
        accumulation: Micro-batches of one process in one update.
        world_size: Processes.
        last: Sequences of update T's batch.
    """

    sequences: int | None
    tokens: int | None
    micro_batch: int | None
    accumulation: int | None
    world_size: int
    last: int | None


_WHERE_AND_COUNTED = ("path", "parameters", "trainable")
"""Of a model, what does not decide anything: where it lies, and what follows from its shape."""


def _without(plain: Mapping[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    return None if plain is None else {name: value for name, value in plain.items() if name not in names}


def _plain_phases(phases: tuple[Phase, ...]) -> list[dict[str, Any]]:
    return [{"name": p.name, **p.text.plain(), "first": p.first, "last": p.last} for p in phases]


def _phases(rows: list[Mapping[str, Any]]) -> tuple[Phase, ...]:
    return tuple(Phase(p["name"], Text(p["en"], p["zh"]), p["first"], p["last"]) for p in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything decided before the run.

    Attributes:
        name: The run's name.
        stage: ``pretrain`` and so on.
        updates: T.
        exact: Whether T is certain; otherwise it was estimated from a sample.
        interval: The lowest and highest T that the sample allows.
        curve: The rate of the main parameter group.
        groups: The curves of the parts that do not follow the main one, by part; over 1 … T like the main one. A
            part whose rate is exactly 0 in an update is left alone by it.
        group_phases: The named stretches of those curves.
        parts: Which curve each part follows (``all`` or its own name), for the parts that there are and that move.
        frozen: The parts that never move.
        replans: What was changed on the way, in order: one mapping for each consent (see :mod:`huohou.plan.changes`).
        phases: The named stretches of the main curve.
        warmup_updates: W.
        decay_updates: D.
        floor: The rate that the decay aims at.
        sequence_length: Tokens of one sequence.
        batch: How a batch is shared out.
        data: Documents, characters, bytes, tokens, sequences, padded, dropped, epochs, tokens_total.
        model: Hugging Face names, and ``parameters``.
        optimizer: Its settings.
        execution: What decides bits on a machine: device, dtype, compile, threads, fused, seed, deterministic.
        budget: Parameters, FLOPs, memory, hours, and what they rest on.
        advice: In order of weight.
        config: The resolved run file.
    """

    name: str
    stage: str
    updates: int
    exact: bool
    interval: tuple[int, int] | None
    curve: Curve
    phases: tuple[Phase, ...]
    warmup_updates: int
    decay_updates: int
    floor: float
    sequence_length: int | None
    batch: Batch
    groups: Mapping[str, Curve] = field(default_factory=dict[str, Curve])
    group_phases: Mapping[str, tuple[Phase, ...]] = field(default_factory=dict[str, tuple[Phase, ...]])
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    frozen: tuple[str, ...] = ()
    replans: tuple[Mapping[str, Any], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model: Mapping[str, Any] | None = None
    optimizer: Mapping[str, Any] | None = None
    execution: Mapping[str, Any] | None = None
    budget: Mapping[str, Any] = field(default_factory=dict[str, Any])
    advice: tuple[Advice, ...] = ()
    config: Mapping[str, Any] | None = None

    @property
    def fingerprint(self) -> str:
        """The curve's fingerprint: equal for plans that use the same rates."""
        return self.curve.fingerprint

    @property
    def plan_fingerprint(self) -> str:
        """A hash of everything that decides what the run computes, except the machine it runs on."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()[:16]

    def deciding(self) -> dict[str, Any]:
        """What the plan's fingerprint is made of, as plain data: when two plans differ, these say where."""
        data = {
            key: self.data.get(key)
            for key in ("tokens", "sequences", "sequence_length", "epochs", "content", "attention")
        }
        execution = self.execution or {}
        return {
            "stage": self.stage,
            "updates": self.updates,
            "curves": {name: curve.fingerprint for name, curve in self.all_groups().items()},
            "batch": {"sequences": self.batch.sequences, "last": self.batch.last},
            "data": data,
            **({"tokenizer": self.data["tokenizer"]} if self.data.get("tokenizer") else {}),
            "model": _without(self.model, _WHERE_AND_COUNTED),
            "optimizer": _without(self.optimizer, ("from",)),
            "seed": execution.get("seed"),
            **({"frozen": sorted(self.frozen)} if self.frozen else {}),
        }

    def all_groups(self) -> dict[str, Curve]:
        """Every parameter group's curve by name, the main one first."""
        return {"all": self.curve, **self.groups}

    def applied_curves(self) -> dict[str, Curve]:
        """The curves that some part follows: what a run applies, and proves."""
        used = set(self.parts.values()) or {"all"}
        return {name: curve for name, curve in self.all_groups().items() if name in used}

    def curve_name(self, part: str) -> str | None:
        """The name of the curve that a part follows; ``None`` for one that never moves."""
        return None if part in self.frozen else self.parts.get(part, "all")

    def leading_phases(self) -> tuple[Phase, ...]:
        """The phases of the curve that leads: the main one, or where no part follows that, the first part's own."""
        leading = next(iter(self.applied_curves()))
        return self.phases if leading == "all" else self.group_phases.get(leading, self.phases)

    def phase_of(self, update: int) -> Phase | None:
        """The phase that an update belongs to."""
        return next((phase for phase in self.phases if phase.first <= update <= phase.last), None)

    def with_execution(self, execution: Mapping[str, Any]) -> Plan:
        """The same plan, settled on a machine."""
        return replace(self, execution=dict(execution))

    def milestones(self) -> list[tuple[int, Text]]:
        """Updates worth looking at, in order, with what each is."""
        t, w = self.updates, self.warmup_updates
        named: dict[int, Text] = {1: Text("first update", "第一步")}
        if w > 1:
            named.setdefault(-(-w // 2), Text("half of the warmup", "预热过半"))
            named[w] = Text("warmup ends: the peak", "预热结束：峰值")
        for phase in self.phases:
            if phase.name in ("decay", "cycle") and phase.first - 1 > max(w, 1):
                named[phase.first - 1] = Text(f"last update before {phase.text.en}", f"{phase.text.zh}前的最后一步")
        for share in (25, 50, 75):
            update = -(-t * share // 100)
            if all(abs(update - known) > t // 50 for known in named):
                named[update] = Text(f"{share}% of the run", f"全程的 {share}%")
        named.setdefault(t, Text("last update", "最后一步"))
        return sorted(named.items())

    def to_plain(self) -> dict[str, Any]:
        """Plain data for ``plan.json`` and ``plan --json``."""
        main = self.curve.to_plain()
        return {
            "format": FORMAT,
            "name": self.name,
            "stage": self.stage,
            "updates": self.updates,
            "exact": self.exact,
            "interval": list(self.interval) if self.interval else None,
            "warmup_updates": self.warmup_updates,
            "decay_updates": self.decay_updates,
            "peak": float(self.curve.peak),
            "floor": self.floor,
            "first_rate": self.curve(1),
            "last_rate": self.curve(self.updates),
            "fingerprint": self.fingerprint,
            "plan_fingerprint": self.plan_fingerprint,
            "knots": main["knots"],
            "groups": {name: curve.to_plain() for name, curve in self.all_groups().items()},
            "parts": dict(self.parts),
            "frozen": list(self.frozen),
            "phases": _plain_phases(self.phases),
            "group_phases": {part: _plain_phases(phases) for part, phases in self.group_phases.items()},
            "replans": [dict(one) for one in self.replans],
            "milestones": [
                {"update": update, "rate": self.curve(update), **text.plain()} for update, text in self.milestones()
            ],
            "data": dict(self.data),
            "batch": {name: getattr(self.batch, name) for name in Batch.__dataclass_fields__},
            "sequence_length": self.sequence_length,
            "model": None if self.model is None else dict(self.model),
            "optimizer": None if self.optimizer is None else dict(self.optimizer),
            "execution": None if self.execution is None else dict(self.execution),
            "budget": dict(self.budget),
            "advice": [
                {
                    "id": a.id,
                    **a.text.plain(),
                    "source": a.source.en,
                    "source_zh": a.source.zh,
                    "strength": a.strength,
                }
                for a in self.advice
            ],
            "config": None if self.config is None else dict(self.config),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, where: str = "plan.json") -> Plan:
        """The plan that :meth:`to_plain` wrote.

        Raises:
            UserError: The data is no plan, or one of a newer format.
        """
        if plain.get("format") != FORMAT:
            raise UserError(
                f"{where} has format {plain.get('format')!r}, but this version of huohou reads format {FORMAT}.",
                f"{where} 的格式是 {plain.get('format')!r}，而这个版本的 huohou 读的是格式 {FORMAT}。",
            )
        try:
            curves = {name: Curve.from_plain(curve) for name, curve in plain["groups"].items()}
            return cls(
                name=plain["name"],
                stage=plain["stage"],
                updates=plain["updates"],
                exact=plain["exact"],
                interval=tuple(plain["interval"]) if plain["interval"] else None,
                curve=curves.pop("all"),
                groups=curves,
                phases=_phases(plain["phases"]),
                group_phases={part: _phases(rows) for part, rows in plain.get("group_phases", {}).items()},
                parts=plain.get("parts", {}),
                frozen=tuple(plain.get("frozen", ())),
                replans=tuple(plain.get("replans", ())),
                warmup_updates=plain["warmup_updates"],
                decay_updates=plain["decay_updates"],
                floor=plain["floor"],
                sequence_length=plain["sequence_length"],
                batch=Batch(**plain["batch"]),
                data=plain["data"],
                model=plain["model"],
                optimizer=plain["optimizer"],
                execution=plain["execution"],
                budget=plain["budget"],
                advice=tuple(
                    Advice(a["id"], Text(a["en"], a["zh"]), Text(a["source"], a["source_zh"]), a["strength"])
                    for a in plain["advice"]
                ),
                config=plain["config"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{where} is no plan: {type(error).__name__} {error}.",
                f"{where} 不是计划文件：{type(error).__name__} {error}。",
            ) from error
