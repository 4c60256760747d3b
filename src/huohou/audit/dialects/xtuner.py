"""xtuner: MMEngine configurations in Python with a ``param_scheduler``, and those of its version 1 with an
``LRConfig``.

MMEngine steps the schedulers after every micro-batch; an update is made with the rate of its last one. What is
written in epochs is turned into micro-batches, rounded down, where ``convert_to_iter_based`` is set; else the rate
changes once an epoch. Version 1 steps once in an update: i / W, then a line or cosine to ``lr_min``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from huohou.audit.applied import Applied
from huohou.audit.dialects import mmengine_schedules
from huohou.audit.dialects.calls import number
from huohou.audit.dialects.mmengine_schedules import KINDS, Part
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Call, Module
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings, Value
from huohou.language import Text

name = "xtuner"
title = "xtuner"


def _kind(call: Call) -> str:
    value = call.settings.values.get("type")
    return "" if value is None else value.written.strip("'\"").rsplit(".", 1)[-1].replace("ParamScheduler", "LR")


def _schedulers(module: Module) -> list[Call]:
    """``dict(type=LinearLR, …)`` of the list."""
    return [
        call
        for call in module.calls
        if call.last_name == "dict" and _kind(call) in KINDS and "param_scheduler" in module.names
    ]


def _configured(module: Module) -> list[Call]:
    return [call for call in module.calls if call.last_name == "LRConfig"]


def sees(document: Document) -> int:
    """A ``param_scheduler`` of MMEngine's, or an ``LRConfig`` beside a trainer of xtuner's."""
    module = document.module
    if module is None:
        return 0
    if "xtuner" in document.source.text and _configured(module):
        return 91
    return 88 if _schedulers(module) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file."""
    module = document.module
    assert module is not None
    if _schedulers(module):
        return [_mmengine(module, document, given)]
    return [_version_one(call, module, given) for call in _configured(module)]


@dataclass(frozen=True, slots=True)
class _Length:
    """Micro-batches of an epoch and of the run, and how many make an update."""

    epoch: float
    run: int
    accumulation: int

    @property
    def updates(self) -> int:
        return math.ceil(self.run / self.accumulation)


def _first(module: Module, *keys: str) -> tuple[float | None, Value | None]:
    """The number under the first of these names, or the first argument of that name."""
    for key in keys:
        for value in (module.names.get(key), *(call.settings.values.get(key) for call in module.calls)):
            found = number(value, module)
            if found is not None:
                return found, value
    return None, None


def _length(module: Module, document: Document, given: Given, reading: Reading) -> _Length | None:
    accumulation = given.accumulation or int(_first(module, "accumulative_counts")[0] or 1)
    parallel = int(_first(module, "sequence_parallel_size")[0] or 1)
    if parallel > 1 and given.accumulation is None and "accumulative_counts *= sequence" in document.source.text:
        accumulation *= parallel
    epochs, most = _first(module, "max_epochs")[0], _first(module, "max_iters")[0]
    reading.facts |= {"accumulation": accumulation, "epochs": epochs}
    epoch: float | None = None
    if given.samples is not None:
        replicas, batch = max(1, (given.gpus or 1) // parallel), int(_first(module, "batch_size")[0] or 1)
        epoch = math.ceil(math.ceil(given.samples / replicas) / batch)
        reading.assume(
            f"{given.samples} (packed) samples over {replicas} replicas of {batch}: {epoch} micro-batches an epoch.",
            f"{given.samples} 个（打包后的）样本，{replicas} 个副本、每个 {batch}：每轮 {epoch} 个微批。",
        )
    if given.updates is not None:
        run = given.updates * accumulation
        reading.assume(
            f"--updates: {given.updates} updates of {accumulation} micro-batches.",
            f"--updates：{given.updates} 个更新步，每步 {accumulation} 个微批。",
        )
        return _Length(epoch or run / (epochs or 1), run, accumulation)
    if most is not None and epochs is None:
        return _Length(epoch or most, int(most), accumulation)
    if epoch is None or epochs is None:
        return None
    return _Length(epoch, int(epoch * epochs), accumulation)


def _mmengine(module: Module, document: Document, given: Given) -> Reading:
    calls = _schedulers(module)
    settings = Settings(name=document.source.name, line=calls[0].line)
    for key in ("lr", "accumulative_counts", "max_epochs", "max_iters", "warmup_ratio", "batch_size"):
        value = _first(module, key)[1]
        if value is not None:
            settings.values[key] = value
    settings.values |= {f"{_kind(call)}.{key}": call.settings.values[key] for call in calls for key in call.settings}
    reading = Reading(name, title, settings)
    reading.facts |= {"family": "mmengine", "framework": name, "scheduler": "+".join(_kind(call) for call in calls)}
    peak = next(
        (
            found
            for call in module.calls
            if call.last_name == "dict" and "lr" in call.settings
            if (found := number(call.settings.values["lr"], module)) is not None
        ),
        number(module.names.get("lr"), module),
    )
    if peak is None or peak <= 0:
        reading.need("the optimizer's lr cannot be read from the file.", "无法从文件读出优化器的 lr。")
        return reading
    length = _length(module, document, given, reading)
    if length is None:
        reading.need(
            "how many updates: give --updates, or --samples (packed ones) with --gpus.",
            "更新步数未知：请给出 --updates，或 --samples（打包后的样本数）与 --gpus。",
        )
        return reading
    parts: list[Part] = []
    by_epoch = False
    for call in calls:
        part = _part(call, module, length, peak)
        if part is None:
            reading.need(
                f"{_kind(call)} in line {call.line} cannot be read without running the file.",
                f"第 {call.line} 行的 {_kind(call)} 不运行文件就无法得知。",
            )
            return reading
        by_epoch = by_epoch or _by_epoch(call)
        parts.append(part)
    if any(part.end <= part.begin for part in parts):
        reading.refused = Text(
            "a scheduler's range is empty once it is in micro-batches, which MMEngine refuses; it is left out here.",
            "换算成微批后有调度器的区间为空，MMEngine 会拒绝；此处略去它。",
        )
        parts = [part for part in parts if part.end > part.begin]
    made = mmengine_schedules.pieces(parts)
    # The last micro-batch of the run makes an update, whether its accumulation is full or not.
    size, run = length.accumulation, length.run
    if by_epoch:
        epochs = max(1, math.ceil(length.epoch / size))
        curve = Applied(peak, length.updates, made, held=epochs)
    elif run % size == 0:
        curve = Applied(peak, length.updates, made, offset=size - 1.0, scale=float(size))
    else:
        curve = Applied(peak, length.updates, made, offset=size - 1.0, scale=float(size))
        last = Applied(peak, 1, made, offset=run - 1.0).rate(1)
        curve = Applied(
            peak, length.updates, made, offset=size - 1.0, scale=float(size), overrides={length.updates: last}
        )
    rising = next((part for part in parts if part.kind == "LinearLR" and part.start < part.last), None)
    unit = 1 if by_epoch else size
    warmup = 0.0 if rising is None else (rising.end - rising.begin) / unit
    reading.facts |= {"peak": peak, "warmup_steps": warmup, "horizon": length.updates, "micro_batches": run}
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            module.names.get("warmup_ratio"),
            Text(
                f"{0 if rising is None else rising.end - rising.begin:g} of {run} micro-batches, {size} an update",
                f"{run} 个微批中的 {0 if rising is None else rising.end - rising.begin:g} 个，每 {size} 个一次更新",
            ),
        )
    )
    reading.roles.append(Role("model", curve, warmup, None, _model(module), float(length.updates)))
    return reading


def _model(module: Module) -> str | None:
    value = module.names.get("pretrained_model_name_or_path") or module.names.get("llm_name_or_path")
    return value.value if value is not None and isinstance(value.value, str) else None


def _by_epoch(call: Call) -> bool:
    """Whether a scheduler is stepped once an epoch: MMEngine's default."""
    return call.settings.flag("by_epoch") is not False and call.settings.flag("convert_to_iter_based") is not True


def _part(call: Call, module: Module, length: _Length, peak: float) -> Part | None:
    values = call.settings.values

    def plain(key: str, default: float) -> float:
        value = values.get(key)
        if value is None or (value.known and value.value is None):
            return default
        found = number(value, module)
        if found is None:
            raise _Unreadable
        return found

    times = length.epoch if call.settings.flag("by_epoch") is not False and not _by_epoch(call) else 1.0
    try:
        begin, end = plain("begin", 0.0), plain("end", math.inf)
        whole = plain("T_max", 0.0)
        # Without an end it runs as long as the run does.
        begin, end = int(begin * times), math.inf if end == math.inf else int(end * times)
        if _kind(call) == "CosineAnnealingLR" and end == math.inf and not whole:
            end = length.run if not _by_epoch(call) else length.run / length.epoch
        ratio = plain("eta_min_ratio", -1.0)
        least = ratio if ratio >= 0 else plain("eta_min", 0.0) / peak
        factor = plain("start_factor", 1 / 3) if _kind(call) == "LinearLR" else plain("factor", 1 / 3)
        power = plain("power", 1.0) if _kind(call) == "PolyLR" else plain("gamma", 0.1)
        steps = plain("step_size", 0.0) * times if _kind(call) == "StepLR" else whole * times
        return Part(_kind(call), begin, end, factor, plain("end_factor", 1.0), least, steps, power)
    except _Unreadable:
        return None


class _Unreadable(Exception):
    """A number that only running the file could tell."""


def _version_one(call: Call, module: Module, given: Given) -> Reading:
    reading = Reading(name, f"{title} 1", call.settings)
    values = call.settings.values
    kind = call.settings.text("lr_type") or "constant"
    rate = next(
        (
            found
            for each in module.calls
            if each.last_name.endswith("Config") and "lr" in each.settings
            if (found := number(each.settings.values["lr"], module)) is not None
        ),
        None,
    )
    if rate is None:
        rate = 1e-5
        reading.assume("no lr: xtuner's default 1e-05.", "没有 lr：取 xtuner 的默认值 1e-05。")
    share = number(values.get("warmup_ratio"), module) if "warmup_ratio" in values else 0.03
    least = number(values.get("lr_min"), module) if "lr_min" in values else 1e-6
    reading.facts |= {"family": "xtuner", "framework": name, "scheduler": kind, "peak": rate}
    updates = given.updates or _first(module, "total_step")[0]
    if share is None or least is None or kind not in ("constant", "linear", "cosine"):
        reading.need(
            f"LRConfig in line {call.line} cannot be read without running the file.",
            f"第 {call.line} 行的 LRConfig 不运行文件就无法得知。",
        )
        return reading
    if not updates:
        reading.need("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
        return reading
    updates = int(updates)
    warmup = int(share * updates) if share < 1 else int(share)
    floor, rest = least / rate, float(max(1, updates - warmup))
    rise = (Piece(0, "linear", 0.0, 1.0, float(warmup)),) if warmup > 0 else ()
    fall = Piece(warmup, "hold", 1.0) if kind == "constant" else Piece(warmup, kind, 1.0, floor, rest)
    after = (Piece(float(warmup) + rest, "hold", floor),) if kind == "linear" else ()
    reading.facts |= {"warmup_steps": warmup, "floor": floor, "horizon": updates}
    curve = Applied(rate, updates, (*rise, fall, *after))
    reading.roles.append(Role("model", curve, float(warmup), None, None, float(updates)))
    return reading
