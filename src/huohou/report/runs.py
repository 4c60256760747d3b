"""A run folder, read into arrays: what was planned, what every update did, what happened.

The folder may belong to a run that goes on while it is read, that was killed and resumed, or of which only some files
were kept. Only a folder that is no run folder is an error.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from huohou.errors import UserError
from huohou.records import RunFolder
from huohou.schedule.curve import Curve

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Record = Mapping[str, Any]
LONGEST_NAME = 60
"""Characters of a run's name that are shown anywhere."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Gradient norms by layer: ``norms[i, j]`` is that of layer ``names[j]`` in update ``updates[i]``."""

    updates: Ints
    names: tuple[str, ...]
    norms: Floats


@dataclass(frozen=True, slots=True)
class Evaluations:
    """Losses on data that was not trained on (nats per target token), and bits per byte where they were recorded."""

    updates: Ints
    loss: Floats
    bits_per_byte: Floats


@dataclass(frozen=True, slots=True)
class Run:
    """One run. The arrays have one entry for each applied update, in order; NaN stands where nothing was recorded."""

    name: str
    path: Path
    plan: Record
    environment: Record
    updates: Ints
    rates: Mapping[str, Floats]
    loss: Floats
    tokens: Floats
    gradient_norm: Floats
    clipped: Floats
    seconds: Floats
    layers: Layers
    evaluations: Evaluations
    skipped: tuple[Record, ...]
    events: tuple[Record, ...]
    unreadable: int
    """Lines that are no record, such as the half line that a power cut leaves."""
    remade: int
    """Updates that were made again after a resume; the arrays hold the later ones."""

    @property
    def planned_updates(self) -> int | None:
        value = self.plan.get("updates")
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    @property
    def length(self) -> int:
        """T as planned; without a plan, the last update that was made."""
        return self.planned_updates or (int(self.updates[-1]) if len(self.updates) else 0)

    @property
    def complete(self) -> bool:
        """Whether every planned update was made."""
        return self.planned_updates is not None and len(self.updates) >= self.planned_updates

    def events_of(self, *kinds: str) -> list[Record]:
        """The events of these kinds, in the order in which they happened."""
        return [event for event in self.events if event.get("event") in kinds]

    def replans(self) -> list[Replan]:
        """The changes of the plan, in order; those that only left a change aside included."""
        found: list[Replan] = []
        for plain in cast(Sequence[Any], self.plan.get("replans") or ()):
            record = mapping(plain)
            update, choice = record.get("update"), str(record.get("choice", ""))[:20]
            if not isinstance(update, int):
                continue
            try:
                before = Curve.from_plain(mapping(mapping(record.get("curves")).get("before")))
            except (KeyError, TypeError, ValueError, UserError):
                before = None
            last = before.updates or 0 if before is not None and choice != "keep" else 0
            found.append(Replan(update, choice, before, min(last, self.length), record))
        return found

    def curves(self) -> dict[str, Curve]:
        """The planned curve of every parameter group that moves."""
        groups = self.plan.get("groups")
        if not isinstance(groups, Mapping):
            return {}
        parts = mapping(self.plan.get("parts"))
        used = {str(name) for name in parts.values()} or {str(name) for name in groups}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        try:
            return {
                str(name): Curve.from_plain(plain)
                for name, plain in cast(Mapping[str, Any], groups).items()
                if str(name) in used
            }
        except (KeyError, TypeError, ValueError, UserError) as error:
            path = RunFolder(self.path).plan
            raise UserError(
                f"{path}: groups holds no curve that this version can read ({error}).",
                f"{path}：groups 里没有本版本能读的曲线（{error}）。",
            ) from error


@dataclass(frozen=True, slots=True)
class Replan:
    """A change of the plan on the way: after which update, what was consented to, and the main curve before it."""

    update: int
    choice: str
    before: Curve | None
    last: int
    record: Record


def load_run(path: str | Path) -> Run:
    """Read one run folder. Raises :class:`UserError` where the path is no run folder or its plan cannot be read."""
    folder = RunFolder(Path(path))
    if not folder.path.is_dir():
        what = ("is a file", "是文件") if folder.path.exists() else ("does not exist", "不存在")
        raise UserError(
            f"{path} {what[0]}; report needs a run folder, such as runs/demo.",
            f"{path} {what[1]}；report 需要训练目录，例如 runs/demo。",
        )
    if not folder.plan.is_file() and not folder.metrics.is_file():
        raise UserError(
            f"{path} is not a run folder: it holds neither plan.json nor metrics.jsonl.",
            f"{path} 不是训练目录：其中既没有 plan.json，也没有 metrics.jsonl。",
        )
    plan = _object(folder.plan)
    metrics = _Metrics()
    for record in _records(folder.metrics, metrics):
        metrics.take(record)
    events: list[Record] = list(_records(folder.events, metrics))
    given = plan.get("name")
    name = given if isinstance(given, str) and given.strip() else folder.path.resolve().name
    return metrics.run(
        name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…",
        folder.path,
        plan,
        _object(folder.environment),
        events,
    )


def load_runs(paths: Sequence[str | Path]) -> tuple[Run, ...]:
    """Read several run folders; runs of one name are told apart by their folders."""
    runs = [load_run(path) for path in paths]
    names = [run.name for run in runs]
    return tuple(
        replace(run, name=f"{run.name} ({run.path.as_posix()})") if names.count(run.name) > 1 else run for run in runs
    )


def _object(path: Path) -> Record:
    """A file that holds one JSON object; nothing where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", f"{path} 无法读取：{error.strerror}。") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}.", f"{path} 不是 JSON：{error}。") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} should hold one JSON object.", f"{path} 应当是一个 JSON 对象。")
    return cast(Record, value)


def _records(path: Path, metrics: _Metrics) -> Iterator[Record]:
    """The complete lines of a file; a last line still being written is left out, a broken one is counted."""
    try:
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                if not line.strip():
                    continue
                try:
                    value = json.loads(line.decode("utf-8"))
                except (ValueError, RecursionError):
                    value = None
                if isinstance(value, dict):
                    yield cast(Record, value)
                else:
                    metrics.unreadable += 1
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", f"{path} 无法读取：{error.strerror}。") from error


def mapping(value: Any) -> Record:
    """A recorded object; empty where it is none."""
    return cast(Record, value) if isinstance(value, Mapping) else {}


def number(value: Any) -> float:
    """A recorded number as a float; JSON has no NaN and no infinity, so that those come as their names."""
    if value.__class__ is float:
        return value
    if isinstance(value, int | float | str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan


def _doubles() -> array[float]:
    return array("d")


@dataclass(slots=True)
class _Metrics:
    """Collects metrics line by line in flat arrays, so that a million updates take some tens of megabytes."""

    updates: array[float] = field(default_factory=_doubles)
    loss: array[float] = field(default_factory=_doubles)
    tokens: array[float] = field(default_factory=_doubles)
    gradient_norm: array[float] = field(default_factory=_doubles)
    clipped: array[float] = field(default_factory=_doubles)
    seconds: array[float] = field(default_factory=_doubles)
    rates: dict[str, array[float]] = field(default_factory=dict[str, "array[float]"])
    layers: list[tuple[int, dict[str, float]]] = field(default_factory=list[tuple[int, dict[str, float]]])
    evaluations: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])
    skipped: list[Record] = field(default_factory=list[Record])
    unreadable: int = 0
    remade: int = 0

    def take(self, record: Record) -> None:
        update: Any = record.get("update")
        if update.__class__ is not int or update < 1:
            self.unreadable += 1
            return
        if len(self.updates) and update <= self.updates[-1]:
            self._rewind(update)
        if record.get("skipped"):
            self.skipped.append({k: v for k, v in record.items() if k != "layers"})
            return
        self.updates.append(update)
        self.loss.append(number(record.get("loss")))
        self.tokens.append(number(record.get("tokens")))
        self.gradient_norm.append(number(record.get("gradient_norm")))
        self.clipped.append(number(record.get("clipped")))
        self.seconds.append(number(record.get("seconds")))
        rate = record.get("rate")
        for group, value in mapping(rate).items() if isinstance(rate, dict) else (("all", rate),):
            self._rate(str(group), number(value))
        for rates in self.rates.values():
            if len(rates) < len(self.updates):
                rates.append(math.nan)
        layers = record.get("layers")
        if isinstance(layers, dict):
            self.layers.append((update, {str(k): number(v) for k, v in mapping(layers).items()}))
        evaluation = record.get("evaluation")
        if isinstance(evaluation, dict):
            self._evaluation(update, mapping(evaluation))

    def _rate(self, group: str, value: float) -> None:
        if group not in self.rates:
            self.rates[group] = array("d", [math.nan]) * (len(self.updates) - 1)
        self.rates[group].append(value)

    def _evaluation(self, update: int, record: Record) -> None:
        self.evaluations.append((update, number(record.get("loss")), number(record.get("bits_per_byte"))))

    def _rewind(self, update: int) -> None:
        """A number that was there before: the run went on from a checkpoint, and what followed it is made again."""
        keep = len(self.updates)
        while keep and self.updates[keep - 1] >= update:
            keep -= 1
        self.remade += len(self.updates) - keep
        for column in (self.updates, self.loss, self.tokens, self.gradient_norm, self.clipped, self.seconds):
            del column[keep:]
        for rates in self.rates.values():
            del rates[keep:]
        self.layers = [row for row in self.layers if row[0] < update]
        self.evaluations = [row for row in self.evaluations if row[0] < update]
        self.skipped = [row for row in self.skipped if row["update"] < update]

    def run(self, name: str, path: Path, plan: Record, environment: Record, events: list[Record]) -> Run:
        if not self.evaluations:
            for event in events:
                if event.get("event") == "evaluation" and isinstance(event.get("update"), int):
                    self._evaluation(event["update"], event)
        evaluations = sorted({row[0]: row for row in self.evaluations}.values())
        names = tuple(dict.fromkeys(name for _, norms in self.layers for name in norms))
        norms = np.array([[row.get(n, math.nan) for n in names] for _, row in self.layers], dtype=np.float64)

        def floats(values: Sequence[float]) -> Floats:
            return np.array(values, dtype=np.float64)

        return Run(
            name=name,
            path=path,
            plan=plan,
            environment=environment,
            updates=floats(self.updates).astype(np.int64),
            rates={group: floats(rates) for group, rates in self.rates.items()},
            loss=floats(self.loss),
            tokens=floats(self.tokens),
            gradient_norm=floats(self.gradient_norm),
            clipped=floats(self.clipped),
            seconds=floats(self.seconds),
            layers=Layers(
                np.array([u for u, _ in self.layers], dtype=np.int64),
                names,
                norms.reshape(len(self.layers), len(names)),
            ),
            evaluations=Evaluations(
                np.array([row[0] for row in evaluations], dtype=np.int64),
                floats([row[1] for row in evaluations]),
                floats([row[2] for row in evaluations]),
            ),
            skipped=tuple(self.skipped),
            events=tuple(events),
            unreadable=self.unreadable,
            remade=self.remade,
        )
