"""OLMo-core: Python scripts with a ``TrainConfig``, the ``config.json`` that it saves, and the YAML of OLMo before it.

The run's length is ``max_duration`` in updates, epochs or tokens (rounded up to whole batches), and ``t_max`` is that
unless the scheduler has its own. Batches are written in tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from huohou.audit.applied import Applied
from huohou.audit.dialects import olmo_schedules
from huohou.audit.dialects.calls import arguments, inner, members, number
from huohou.audit.dialects.olmo_schedules import KINDS, Words
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Call, Module
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings, Value, as_number
from huohou.language import Text

name = "olmo-core"
title = "OLMo-core"

_SEQUENCE = "SequentialScheduler"
_OLD = {
    "cosine_with_warmup": "CosWithWarmup",
    "linear_with_warmup": "LinearWithWarmup",
    "inverse_sqrt_with_warmup": "InvSqrtWithWarmup",
    "constant_with_warmup": "ConstantWithWarmup",
    "constant": "ConstantScheduler",
}
_LENGTHS = ("warmup", "warmup_steps", "warmup_fraction", "decay", "decay_steps", "decay_fraction", "t_max")


def _scheduled(module: Module) -> list[Call]:
    """The scheduler calls that are no part of a sequence."""
    found = [call for call in module.calls if call.last_name in (*KINDS, _SEQUENCE)]
    inside = {
        value.written
        for call in found
        if call.last_name == _SEQUENCE
        for value in members(arguments(call, ()).get("schedulers"))
    }
    return [
        call
        for call in found
        if not any(written.startswith(f"{call.name}(") or call.target == written for written in inside)
    ]


def sees(document: Document) -> int:
    """Its schedulers in a file that imports it; its saved configuration; the old YAML."""
    if document.module is not None:
        return 92 if "olmo_core" in document.source.text and _scheduled(document.module) else 0
    settings = document.settings
    if settings is None:
        return 0
    if any("olmo_core." in value.written for key, value in settings.values.items() if key.endswith("_CLASS_")):
        return 97
    return 92 if settings.text("scheduler.name") in _OLD and settings.number("scheduler.t_warmup") is not None else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each scheduler of a script; that of a saved configuration."""
    if document.module is not None:
        return [_script(call, document.module, given) for call in _scheduled(document.module)]
    settings = document.settings
    assert settings is not None
    return [_old(settings, given) if "scheduler.t_warmup" in settings else _saved(settings, given)]


@dataclass(slots=True)
class _Run:
    """What the trainer is told, apart from the scheduler."""

    reading: Reading
    given: Given
    peak: float | None
    batch: float | None
    duration: tuple[float, str] | None
    stop: tuple[float, str] | None = None

    def stopped(self, updates: int) -> int:
        """The updates that are made where ``hard_stop`` ends the run before its schedule."""
        if self.stop is None or self.given.updates is not None:
            return updates
        amount, unit = self.stop
        if unit == "tokens" and self.batch:
            amount, unit = math.ceil(amount / self.batch), "steps"
        if unit != "steps" or amount >= updates:
            return updates
        self.reading.assume(
            f"hard_stop: the run ends after {amount:g} of the {updates} updates of its schedule.",
            f"hard_stop：训练在 {updates} 步的计划中于第 {amount:g} 步停止。",
        )
        return int(amount)

    def length(self) -> tuple[int, float] | None:
        """(updates, tokens) of the run."""
        batch = self.batch or 0.0
        if self.given.updates is not None:
            self.reading.assume(
                f"--updates: the run makes {self.given.updates} updates.",
                f"--updates：训练共 {self.given.updates} 个更新步。",
            )
            return self.given.updates, self.given.updates * batch
        amount, unit = self.duration or (1.0, "epochs")
        if unit == "steps":
            return int(amount), amount * batch
        if unit == "tokens" and batch:
            return math.ceil(amount / batch), amount
        if unit == "epochs" and batch and self.given.tokens is not None:
            # The loader leaves out what does not fill a batch.
            updates = int(amount) * int(self.given.tokens // batch)
            return updates, updates * batch
        asked = "--updates" if unit != "epochs" or not batch else "--updates, or --tokens"
        self.reading.need(
            f"how many updates: max_duration is {amount:g} {unit}; give {asked}.",
            f"更新步数未知：max_duration 为 {amount:g} {unit}；请给出 {asked.replace(', or ', ' 或 ')}。",
        )
        return None


def _script(call: Call, module: Module, given: Given) -> Reading:
    reading = Reading(name, f"{title} {call.last_name}", call.settings)
    lines = [each for each in module.calls if "lr" in each.settings and each.last_name.endswith("Config")]
    rate = next((found for each in lines if (found := number(each.settings.find("lr"), module)) is not None), None)
    if rate is None and not lines and (made := [c for c in module.calls if re.search(r"(AdamW|Lion)Config$", c.name)]):
        rate = 1e-4 if "Lion" in made[0].name else 1e-3
        reading.assume(f"no lr: the optimizer's default {rate:g}.", f"没有 lr：取优化器的默认值 {rate:g}。")
    run = _Run(reading, given, rate, _batch(module), _duration(module, "max_duration"), _duration(module, "hard_stop"))

    def words(each: Call | object, end: float) -> Words | None:
        found = arguments(each, ()) if isinstance(each, Call) else {}
        return _words(call.last_name, found, lambda value: number(value, module), end)

    if call.last_name == _SEQUENCE:
        return _sequential(call, module, run)
    tokens = _in_tokens(call.settings)
    return _finish(run, tokens, lambda end: words(call, end), call.last_name)


def _in_tokens(settings: Settings) -> bool:
    written = settings.find("units")
    return written is not None and "tokens" in (written.written or str(written.value))


def _batch(module: Module) -> float | None:
    """The tokens of a batch: the argument of that name, or the constant."""
    for call in module.calls:
        value = call.settings.values.get("global_batch_size")
        if (found := number(value, module)) is not None:
            return found
    return number(module.names.get("GLOBAL_BATCH_SIZE"), module)


def _duration(module: Module, key: str) -> tuple[float, str] | None:
    for call in module.calls:
        value = call.settings.values.get(key)
        seen = 0
        while value is not None and inner(value) is None and value.written in module.names and seen < 5:
            value, seen = module.names[value.written], seen + 1
        made = inner(value)
        if made is None:
            continue
        amount = number(next(iter((*made.positional, *made.named.values())), None), module)
        if amount is None:
            return None
        if made.last_name in ("steps", "epochs", "tokens"):
            return amount, made.last_name
        units = [each.written for each in (*made.positional[1:], *made.named.values())]
        unit = next((unit for unit in ("steps", "epochs", "tokens") for each in units if each.endswith(unit)), None)
        return None if unit is None else (amount, unit)
    return None


def _words(
    kind: str, found: dict[str, Value], plain: Callable[[Value | None], float | None], end: float
) -> Words | None:
    """The lengths of a scheduler, shares rounded as Python rounds; ``None`` where one is not a number."""
    numbers = {key: plain(value) for key, value in found.items() if key != "units"}
    if any(key in numbers and numbers[key] is None and found[key].value is not None for key in _LENGTHS):
        return None

    def default(key: str, otherwise: float) -> float:
        value = numbers.get(key)
        return otherwise if value is None else value

    own = numbers.get("t_max")
    whole = end if own is None else own
    warmup, share = numbers.get("warmup"), numbers.get("warmup_fraction")
    warmup = numbers.get("warmup_steps") if warmup is None else warmup
    if warmup is None:
        warmup = 0.0 if share is None else float(round(whole * share))
    decay, tail = numbers.get("decay"), default("decay_fraction", 0.1)
    decay = numbers.get("decay_steps") if decay is None else decay
    decay = float(round(end * tail)) if decay is None else decay
    start = default("lr_min", 1e-9) if kind == "ExponentialScheduler" else default("warmup_min_lr", 0.0)
    return Words(
        kind,
        warmup,
        whole,
        decay,
        default("alpha_f", 0.1),
        start,
        default("decay_min_lr", 0.0),
        default("b", -0.51),
        end,
    )


def _sequential(call: Call, module: Module, run: _Run) -> Reading:
    found = arguments(call, ())
    parts: list[tuple[str, dict[str, Value]]] = []
    for value in members(found.get("schedulers")):
        made = inner(value)
        named = next((each for each in reversed(module.calls) if each.target == value.written), None)
        if made is not None:
            parts.append((made.last_name, arguments(made, ())))
        elif named is not None:
            parts.append((named.last_name, arguments(named, ())))
    lengths = [
        number(each, module) for each in members(found.get("schedulers_max") or found.get("schedulers_max_steps"))
    ]
    plain = [each for each in lengths if each is not None][: max(0, len(parts) - 1)]
    tokens = any("tokens" in value.written for value in found.values() if "SchedulerUnits" in value.written)

    def made_of(end: float) -> list[tuple[Words, float]] | None:
        rest, made = end, list[tuple[Words, float]]()
        for place, (kind, words) in enumerate(parts):
            own = min(rest, plain[place]) if place < len(plain) else rest
            resolved = _words(kind, words, lambda value: number(value, module), own) if kind in KINDS else None
            if resolved is None:
                return None
            made.append((resolved, own))
            rest -= own
        return made if len(plain) + 1 == len(parts) and rest >= 0 else None

    return _finish(run, tokens, made_of, _SEQUENCE)


def _saved(settings: Settings, given: Given) -> Reading:
    """The ``config.json`` beside a checkpoint."""
    reading = Reading(name, title, settings)
    section = settings.under("train_module.scheduler")
    kind = (section.text("_CLASS_") or "ConstantScheduler").rsplit(".", 1)[-1]
    kind = kind if section.values else "ConstantScheduler"
    amount, unit = settings.number("trainer.max_duration.value"), settings.text("trainer.max_duration.unit")
    batch, peak = settings.number("data_loader.global_batch_size"), settings.number("train_module.optim.lr")
    run = _Run(
        reading,
        given,
        None if peak is None else float(peak),
        None if batch is None else float(batch),
        (float(amount), unit) if amount is not None and unit is not None else None,
    )
    found = {key: value for key, value in section.values.items() if value.value is not None}
    return _finish(
        run,
        section.text("units") == "tokens",
        lambda end: _words(kind, found, _plain, end) if kind in KINDS else None,
        kind,
    )


def _old(settings: Settings, given: Given) -> Reading:
    """OLMo's YAML. A warmup begins at a tenth of the rate unless the file says another."""
    reading = Reading(name, "OLMo", settings)
    peak = float(settings.number("optimizer.learning_rate") or 1e-4)
    length = settings.whole("model.max_sequence_length") or 1024
    batch = (settings.whole("global_train_batch_size") or 512) * length
    written = settings.text("max_duration") or "10000"
    amount = as_number(written.removesuffix("ep").removesuffix("T").strip())
    unit = "epochs" if written.endswith("ep") else "tokens" if written.endswith("T") else "steps"
    run = _Run(reading, given, peak, float(batch), None if amount is None else (float(amount), unit))
    kind = _OLD[settings.text("scheduler.name") or "constant"]
    start = settings.number("scheduler.warmup_min_lr")
    floor = settings.number("scheduler.alpha_f")

    def words(end: float) -> Words:
        own = settings.number("scheduler.t_max")
        whole = end if own is None else float(own)
        least = 0.1 * peak if start is None else float(start)
        alpha = 0.0 if kind == "InvSqrtWithWarmup" else 0.1 if floor is None else float(floor)
        return Words(kind, float(settings.number("scheduler.t_warmup") or 0), whole, floor=alpha, start=least)

    return _finish(run, settings.text("scheduler.units") == "tokens", words, kind)


def _plain(value: Value | None) -> float | None:
    found = None if value is None else as_number(value.value)
    return None if found is None else float(found)


def _finish(
    run: _Run, tokens: bool, make: Callable[[float], Words | Sequence[tuple[Words, float]] | None], kind: str
) -> Reading:
    reading = run.reading
    unit = "tokens" if tokens else "steps"
    reading.facts |= {"family": "olmo", "framework": name, "scheduler": kind, "unit": unit}
    if run.peak is None:
        reading.need("the optimizer's lr cannot be read from the file.", "无法从文件读出优化器的 lr。")
        return reading
    if tokens and not run.batch:
        reading.need(
            "the scheduler counts tokens, and global_batch_size cannot be read from the file.",
            "调度器按 token 计数，但无法从文件读出 global_batch_size。",
        )
        return reading
    length = run.length()
    if length is None:
        return reading
    updates, end = run.stopped(length[0]), length[1] if tokens else float(length[0])
    made = make(end)
    if made is None:
        reading.need(
            f"the lengths of {kind} cannot be read without running the file.",
            f"{kind} 的各段长度不运行文件就无法得知。",
        )
        return reading
    scale = (run.batch or 1.0) if tokens else 1.0
    first = made if isinstance(made, Words) else made[0][0]
    whole = (
        olmo_schedules.pieces(made, run.peak)
        if isinstance(made, Words)
        else olmo_schedules.sequence(list(made), run.peak)
    )
    curve = Applied(run.peak, updates, whole, offset=scale, scale=scale)
    last = made if isinstance(made, Words) else made[-1][0]
    if last.kind in ("WSD", "PowerLR") and last.decay <= 0:
        # It divides by the decay's length at the very end.
        reading.refused = Text(
            "a decay of 0 makes OLMo-core divide by zero in the last update; what is shown is the run up to it.",
            "长度为 0 的衰减会使 OLMo-core 在最后一个更新步除以零；此处显示到它之前为止。",
        )
        held = tuple(piece for piece in whole if piece.span > 0)
        curve = Applied(run.peak, max(1, updates - 1), held or (Piece(0, "hold", 1.0),), offset=scale, scale=scale)
    warmup = first.warmup / scale
    reading.facts |= {
        "peak": run.peak,
        "floor": last.floor,
        "warmup_steps": warmup,
        "decay_steps": last.decay / scale,
        "horizon": last.end / scale,
        "updates": updates,
    }
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            reading.settings.find(*_LENGTHS[:3]),
            Text(f"{first.warmup:g} {unit}: W = {warmup:g}", f"{first.warmup:g} {unit}：W = {warmup:g}"),
        )
    )
    reading.roles.append(Role("model", curve, warmup, _intended(first, run.peak, updates, warmup), None, end / scale))
    return reading


def _intended(words: Words, peak: float, updates: int, warmup: float) -> Applied | None:
    from huohou.audit.dialects.intended import intended

    kind = {
        "LinearWithWarmup": "linear",
        "CosWithWarmup": "cosine_with_min_lr",
        "ConstantWithWarmup": "constant_with_warmup",
    }
    if words.kind not in kind:
        return None
    return intended(kind[words.kind], peak, round(warmup), updates, {"min_lr_rate": words.floor})
