"""timm: its scheduler calls in Python, and the arguments of its ``train.py`` on a command line or as its
``args.yaml``.

Update u uses t = u − 1 where the scheduler counts updates, else the number of the epoch, so that the rate changes
between epochs only.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied
from huohou.audit.dialects import timm_schedules
from huohou.audit.dialects.calls import arguments, number
from huohou.audit.dialects.timm_schedules import KINDS, Words
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Call, Module
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "timm"
title = "timm"

_MADE = ("create_scheduler", "create_scheduler_v2")
_PLACES = {
    "CosineLRScheduler": ("optimizer", "t_initial", "lr_min"),
    "PolyLRScheduler": ("optimizer", "t_initial", "power", "lr_min"),
    "TanhLRScheduler": ("optimizer", "t_initial", "lb", "ub", "lr_min"),
    "StepLRScheduler": ("optimizer", "decay_t", "decay_rate"),
    "MultiStepLRScheduler": ("optimizer", "decay_t", "decay_rate"),
    "WSDLRScheduler": ("optimizer", "t_initial", "decay_t", "lr_min"),
    "create_scheduler_v2": ("optimizer", "sched", "num_epochs"),
}
_SCHED = {
    "cosine": "CosineLRScheduler",
    "tanh": "TanhLRScheduler",
    "poly": "PolyLRScheduler",
    "step": "StepLRScheduler",
    "multistep": "MultiStepLRScheduler",
    "constant": "StepLRScheduler",
    "wsd": "WSDLRScheduler",
    "rsqrt": "WSDLRScheduler",
}


def _calls(module: Module) -> list[Call]:
    return [call for call in module.calls if call.last_name in KINDS or call.last_name == "create_scheduler_v2"]


def _args(document: Document) -> list[Settings]:
    """Arguments of its ``train.py``: a schedule by name, with lengths in epochs."""
    found = [document.settings] if document.settings is not None else document.commands
    return [each for each in found if each.text("sched") in _SCHED and ("epochs" in each or "warmup_epochs" in each)]


def sees(document: Document) -> int:
    """A call of one of its schedulers, or its arguments."""
    if document.module is not None:
        return 70 if _calls(document.module) else 0
    return 75 if _args(document) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each call, command or file."""
    if document.module is not None:
        return [_called(call, document.module, given) for call in _calls(document.module)]
    return [_written(settings, given) for settings in _args(document)]


def _called(call: Call, module: Module, given: Given) -> Reading:
    settings = Settings(arguments(call, _PLACES.get(call.last_name, ())), call.name, call.line)
    reading = Reading(name, f"{title} {call.last_name}", settings)
    rates = [
        found
        for each in module.calls
        for value in (each.settings.values.get("lr"),)
        if (found := number(value, module)) is not None and found > 0 and each.last_name not in KINDS
    ]
    peak = rates[0] if rates else None
    values = {key: number(value, module) for key, value in settings.values.items()}
    if call.last_name == "create_scheduler_v2":
        plain = {key: value.value for key, value in settings.values.items() if value.known}
        per_epoch = values.get("updates_per_epoch")
        on_updates = settings.flag("step_on_epochs") is False
        renamed = {"num_epochs": "epochs", **{f"cycle_{key}": f"lr_cycle_{key}" for key in ("mul", "decay", "limit")}}
        found = {renamed.get(key, key): value for key, value in values.items()}
        kind = str(plain.get("sched", "cosine"))
        return _finish(reading, given, peak, found, kind, on_updates, per_epoch, {"lr_cycle_decay": 0.1, "epochs": 300})
    unread = next((key for key in ("t_initial", "decay_t", "warmup_t") if key in values and values[key] is None), None)
    if unread is not None and call.last_name != "MultiStepLRScheduler":
        written = settings.values[unread].written
        reading.need(
            f"{unread} = {written} in line {call.line} cannot be read without running the file.",
            f"第 {call.line} 行的 {unread} = {written} 不运行文件就无法得知。",
        )
        return reading
    base = peak or 1.0

    def plain_number(key: str, default: float) -> float:
        value = values.get(key)
        return default if value is None else value

    prefix = settings.flag("warmup_prefix")
    if prefix is None:
        # The two that step down count from the warmup's end unless they are told otherwise.
        prefix = call.last_name in ("StepLRScheduler", "MultiStepLRScheduler")
    places = settings.get("decay_t") if call.last_name == "MultiStepLRScheduler" else None
    words = Words(
        call.last_name,
        plain_number("t_initial", 1.0),
        plain_number("lr_min", 0.0) / base,
        plain_number("warmup_t", 0.0),
        plain_number("warmup_lr_init", 0.0) / base,
        prefix,
        plain_number("cycle_mul", 1.0),
        plain_number("cycle_decay", 1.0),
        int(plain_number("cycle_limit", 1)),
        plain_number("k_decay", 1.0),
        plain_number("power", 0.5),
        plain_number("lb", -7.0),
        plain_number("ub", 3.0),
        plain_number("decay_t", 1.0) or 1.0,
        plain_number("decay_rate", 1.0),
        [float(each) for each in places] if isinstance(places, list) else (),  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        settings.text("stable_fn") or "constant",
        values.get("stable_timescale"),
        settings.text("decay_fn") or "1-sqrt",
    )
    return _role(reading, given, peak, words, settings.flag("t_in_epochs") is not False, None)


def _written(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    values = {key: settings.number(key) for key in settings}
    found = {key: None if value is None else float(value) for key, value in values.items()}
    peak = settings.number("lr")
    if peak is None:
        base, size = float(settings.number("lr_base") or 0.1), float(settings.number("lr_base_size") or 256)
        batch = (
            (settings.whole("batch_size", "b") or 128) * (given.gpus or 1) * (settings.whole("grad_accum_steps") or 1)
        )
        optimizer = (settings.text("opt") or "sgd").lower()
        scale = settings.text("lr_base_scale") or ("sqrt" if "ada" in optimizer or "lamb" in optimizer else "linear")
        share = batch / size
        peak = base * (math.sqrt(share) if scale == "sqrt" else share)
        reading.assume(
            f"no --lr: {base:g} scaled ({scale}) from a batch of {size:g} to {batch}.",
            f"没有 --lr：由 {base:g} 按批大小 {size:g} 缩放（{scale}）到 {batch}。",
        )
    per_epoch = None
    if given.samples is not None:
        batch = (settings.whole("batch_size", "b") or 128) * (given.gpus or 1)
        accumulation = given.accumulation or settings.whole("grad_accum_steps") or 1
        per_epoch = max(1, math.ceil(given.samples // max(1, batch) / max(1, accumulation)))
        reading.assume(
            f"{given.samples} samples make {per_epoch} updates an epoch.",
            f"{given.samples} 个样本，每轮 {per_epoch} 个更新步。",
        )
    kind = settings.text("sched") or "cosine"
    defaults = {"lr_cycle_decay": 0.5, "epochs": 300.0, "warmup_epochs": 5.0, "decay_epochs": 90.0}
    if kind in ("wsd", "rsqrt"):
        defaults["decay_epochs"] = 0.2
    return _finish(
        reading, given, float(peak), found, kind, settings.flag("sched_on_updates") is True, per_epoch, defaults
    )


def _finish(
    reading: Reading,
    given: Given,
    peak: float | None,
    values: dict[str, float | None],
    sched: str,
    on_updates: bool,
    per_epoch: float | None,
    defaults: dict[str, float],
) -> Reading:
    """``create_scheduler_v2`` from the arguments of ``train.py``."""

    def plain(key: str, default: float) -> float:
        value = values.get(key)
        return defaults.get(key, default) if value is None else value

    settings = reading.settings
    epochs, warmup, prefix = plain("epochs", 300), plain("warmup_epochs", 0), settings.flag("warmup_prefix") is True
    total = epochs + (warmup if prefix else 0) + plain("cooldown_epochs", 0)
    if per_epoch is None and given.updates is not None:
        per_epoch = max(1, math.ceil(given.updates / total))
    if per_epoch is None or per_epoch < 1:
        reading.need(
            "how many updates: give --updates, or --samples with --gpus.",
            "更新步数未知：请给出 --updates，或 --samples 与 --gpus。",
        )
        return reading
    times = per_epoch if on_updates else 1.0
    length = epochs * times
    decay = plain("decay_epochs", 90)
    stable = sched in ("wsd", "rsqrt")
    if stable:
        length = length if prefix else length - warmup * times
        decay = float(round(decay * length if 0 < decay < 1 else decay * times))
    else:
        decay *= times
    base = peak or 1.0
    timescale = values.get("lr_stable_timescale") or values.get("stable_timescale")
    words = Words(
        _SCHED[sched],
        length,
        plain("min_lr", 0.0) / base,
        warmup * times,
        plain("warmup_lr", 1e-5) / base,
        prefix,
        plain("lr_cycle_mul", 1.0),
        plain("lr_cycle_decay", 1.0),
        int(plain("lr_cycle_limit", 1)),
        plain("lr_k_decay", plain("k_decay", 1.0)),
        plain("decay_rate", 0.1),
        decay=decay if sched != "constant" else 1.0,
        rate=plain("decay_rate", 0.1) if sched != "constant" else 1.0,
        stable="rsqrt" if sched == "rsqrt" else "constant",
        timescale=None if timescale is None else timescale * times,
        shape=settings.text("lr_decay_fn", "decay_fn") or ("linear" if sched == "rsqrt" else "1-sqrt"),
    )
    if given.updates is None:
        given = Given(updates=int(total * per_epoch), gpus=given.gpus)
    return _role(reading, given, peak, words, not on_updates, int(per_epoch))


def _role(
    reading: Reading, given: Given, peak: float | None, words: Words, in_epochs: bool, per_epoch: int | None
) -> Reading:
    reading.facts |= {"family": "timm", "framework": name, "scheduler": words.kind, "warmup_prefix": words.prefix}
    if peak is None or peak <= 0:
        reading.need("the optimizer's lr cannot be read from the file.", "无法从文件读出优化器的 lr。")
        return reading
    whole = words.length + (words.warmup if words.prefix or words.kind == "WSDLRScheduler" else 0.0)
    updates = given.updates
    held = 1
    if in_epochs:
        if per_epoch is None and updates is not None and words.kind not in ("StepLRScheduler", "MultiStepLRScheduler"):
            per_epoch = max(1, math.ceil(updates / whole))
            reading.assume(
                f"the scheduler counts {whole:g} epochs (t_in_epochs), of {per_epoch} updates each.",
                f"调度器按 {whole:g} 轮计数（t_in_epochs），每轮 {per_epoch} 个更新步。",
            )
        if per_epoch is None:
            reading.need(
                "the scheduler counts epochs (t_in_epochs): give --updates.",
                "调度器按轮计数（t_in_epochs）：请给出 --updates。",
            )
            return reading
        held = per_epoch
    elif updates is None:
        updates = int(whole)
        reading.assume(
            f"the run makes the {updates} updates that the scheduler was made for (--updates).",
            f"训练的更新步数即调度器的总步数 {updates}（--updates）。",
        )
    assert updates is not None
    curve = Applied(peak, updates, (Piece(0, "formula", 1.0, function=timm_schedules.value(words)),), held=held)
    reading.facts |= {"peak": peak, "warmup_steps": words.warmup * held, "horizon": whole * held, "floor": words.least}
    reading.roles.append(Role("model", curve, words.warmup * held, None, None, whole * held))
    return reading
