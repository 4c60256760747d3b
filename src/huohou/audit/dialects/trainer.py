"""What the Transformers Trainer makes of its arguments, whoever writes them: shared by the dialects that end in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from huohou.audit.data_size import samples_of
from huohou.audit.dialects import trainer_deepspeed, transformers_schedules
from huohou.audit.dialects.intended import intended, meant_updates
from huohou.audit.dialects.tokens import note
from huohou.audit.dialects.trainer_length import ERAS, Length, era_of, warmup_updates
from huohou.audit.dialects.world_size import processes
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where nothing is written; a framework on top of the Trainer has its own."""

    learning_rate: float = 5e-5
    scheduler: str = "linear"
    epochs: float = 3.0
    batch: int = 8
    accumulation: int = 1
    warmup_ratio: float = 0.0
    warmup_steps: float = 0.0
    max_steps: int = -1


TRANSFORMERS = Defaults()


def read_trainer(
    settings: Settings,
    document: Document,
    given: Given,
    *,
    dialect: str,
    title: str,
    defaults: Defaults = TRANSFORMERS,
    role: str = "model",
    kwargs: Mapping[str, Any] | None = None,
) -> Reading:
    """The reading of one set of the Trainer's arguments.

    ``kwargs`` are the scheduler's own, where the framework fills them in; else ``lr_scheduler_kwargs`` is read.
    """
    reading = Reading(dialect, title, settings)
    era = _era(settings, given, reading)
    length = _length(settings, document, given, defaults, reading)
    kind = (settings.text("lr_scheduler_type") or defaults.scheduler).rsplit(".", 1)[-1].lower()
    peak = settings.number("learning_rate")
    if peak is None:
        peak = defaults.learning_rate
        reading.assume(
            f"no learning_rate that can be read: {title}'s default {peak:g}.",
            f"没有可读的 learning_rate：取 {title} 的默认值 {peak:g}。",
        )
    peak = float(peak)
    steps = _or(settings.number("warmup_steps"), defaults.warmup_steps)
    ratio = _or(settings.number("warmup_ratio"), defaults.warmup_ratio)
    own = scheduler_kwargs(settings) if kwargs is None else dict(kwargs)
    reading.facts |= {
        "family": "transformers",
        "era": era,
        "scheduler": kind,
        "peak": peak,
        "kwargs": own,
        "warmup_steps": steps,
        "warmup_ratio": ratio,
        "accumulation": length.accumulation,
        "epochs": length.epochs,
        "max_steps": length.max_steps,
        "micro_batches": length.micro_batches,
        "skips": bool(settings.flag("fp16")),
    }
    model = settings.text("model_name_or_path", "model", "model_id_or_path")
    if kind not in transformers_schedules.TYPES:
        reading.need(
            f"lr_scheduler_type {kind!r} is not one of the Transformers': {', '.join(transformers_schedules.TYPES)}.",
            f"lr_scheduler_type {kind!r} 不是 Transformers 的类型：{'、'.join(transformers_schedules.TYPES)}。",
        )
        return reading
    if kind in transformers_schedules.UNPLANNED:
        reading.need(
            f"{kind} follows measurements of the run, so its rates cannot be known before it.",
            f"{kind} 随训练中的测量而变，事先无法知道学习率。",
        )
        return reading
    horizon = length.updates(era)
    updates = given.updates if given.updates is not None else horizon
    if updates is None:
        reading.need(
            "how many updates: give --updates, or --samples (with --gpus where there are several).",
            "更新步数未知：请给出 --updates，或 --samples（多卡时加 --gpus）。",
        )
        return reading
    if given.updates is not None:
        reading.assume(f"--updates: the run makes {updates} updates.", f"--updates：训练共 {updates} 个更新步。")
        horizon = length.max_steps if length.max_steps > 0 else updates
    assert horizon is not None
    made = warmup_updates(steps, ratio, horizon, era)
    warmup = 0 if kind in transformers_schedules.WITHOUT_WARMUP else made.updates
    used = transformers_schedules.taken(kind, own, era)
    if used != own:
        reading.assume(
            f"transformers before 5.0 hands no lr_scheduler_kwargs to {kind}.",
            f"transformers 5.0 之前不会把 lr_scheduler_kwargs 传给 {kind}。",
        )
    curve = transformers_schedules.applied(kind, peak, warmup, horizon, updates, used)
    reading.steps += _steps(settings, steps, ratio, made.updates, made.word, horizon)
    wanted = meant_updates(steps, ratio, horizon, made.word)
    own_role = Role(role, curve, float(warmup), intended(kind, peak, wanted, updates, own), model, float(horizon))
    config = trainer_deepspeed.config_of(settings, document, reading)
    if config is not None and config.text("scheduler.type") is not None:
        filled = trainer_deepspeed.filled_in(
            config,
            peak=peak,
            warmup=made.updates,
            horizon=horizon,
            updates=updates,
            version=given.version("deepspeed"),
        )
        wrong = trainer_deepspeed.mismatches(config, peak=peak, warmup=made.updates, horizon=horizon)
        if wrong:
            named = "; ".join(f"{key} {ours} / {theirs}" for key, ours, theirs in wrong)
            reading.refused = Text(
                f"the Trainer refuses {config.name}, whose values are not its own: {named}.",
                f"Trainer 会拒绝 {config.name}：其中的值与训练参数不一致：{named}。",
            )
        reading.facts["deepspeed_scheduler"] = config.text("scheduler.type")
        reading.facts["deepspeed_config"] = config
        if filled is not None:
            own_role = replace(own_role, applied=filled.applied, warmup=filled.warmup)
            reading.assume(
                f"the scheduler of {config.name} is used, and lr_scheduler_type {kind} is not.",
                f"使用 {config.name} 中的调度器，lr_scheduler_type {kind} 不起作用。",
            )
    reading.roles.append(own_role)
    _other_eras(reading, length, given, era, own_role, steps, ratio, kind, peak, own, role)
    return reading


def _or(value: float | int | None, default: float) -> float:
    return float(default if value is None else value)


def scheduler_kwargs(settings: Settings) -> dict[str, Any]:
    """``lr_scheduler_kwargs``, as a mapping, as JSON text, or as keys below it."""
    value = settings.get("lr_scheduler_kwargs")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    found = dict(cast("dict[str, Any]", value)) if isinstance(value, dict) else {}
    return found | {
        key: member.value for key, member in settings.under("lr_scheduler_kwargs").values.items() if member.known
    }


def _era(settings: Settings, given: Given, reading: Reading) -> str:
    version = given.version("transformers")
    era = era_of(version)
    ratio = settings.number("warmup_ratio")
    if version is None and ratio is not None:
        era = "5.0-5.14"
        reading.refused = Text(
            "transformers 5.15 and newer refuse warmup_ratio (TypeError); what is shown is 5.0–5.14.",
            "transformers 5.15 及以后拒绝 warmup_ratio（TypeError）；此处按 5.0–5.14 显示。",
        )
    elif version is None:
        reading.assume(
            "transformers 5.15 or newer (--version transformers=…).",
            "按 transformers 5.15 或更新版本（--version transformers=…）。",
        )
    elif era == ">=5.15" and ratio is not None:
        reading.refused = Text(
            "this version refuses warmup_ratio (TypeError); what is shown is 5.0–5.14.",
            "该版本拒绝 warmup_ratio（TypeError）；此处按 5.0–5.14 显示。",
        )
        era = "5.0-5.14"
    return era


def _length(settings: Settings, document: Document, given: Given, defaults: Defaults, reading: Reading) -> Length:
    accumulation = given.accumulation or settings.whole("gradient_accumulation_steps") or defaults.accumulation
    accumulation = max(1, accumulation)
    if given.accumulation is not None:
        reading.assume(f"--accumulation {accumulation}.", f"--accumulation {accumulation}。")
    epochs = _or(settings.number("num_train_epochs"), defaults.epochs)
    max_steps = settings.whole("max_steps")
    max_steps = defaults.max_steps if max_steps is None else max_steps
    micro: int | None = None
    gpus = given.gpus or processes(settings, document) or 1
    batch = settings.whole("per_device_train_batch_size", "per_gpu_train_batch_size") or defaults.batch
    words = settings.whole(*_SEQUENCE)
    samples = given.samples
    if words:
        note(reading, float(gpus * batch * accumulation * words))
        if samples is None and given.tokens is not None and given.updates is None and max_steps <= 0:
            samples = -(-given.tokens // words)
            reading.assume(
                f"{given.tokens} tokens packed into {samples} sequences of {words}.",
                f"{given.tokens} 个词元打包成 {samples} 条长度 {words} 的序列。",
            )
    if samples is None and given.updates is None and max_steps <= 0:
        samples = samples_of(settings, document, reading)
    if samples is not None:
        share = samples / (gpus * batch)
        micro = math.floor(share) if settings.flag("dataloader_drop_last") else math.ceil(share)
        reading.assume(
            f"{samples} samples over {gpus} processes of {batch} make {micro} micro-batches an epoch.",
            f"{samples} 个样本，{gpus} 个进程、每个 {batch}，每轮 {micro} 个微批。",
        )
    return Length(micro, accumulation, epochs, max_steps)


_SEQUENCE = ("max_length", "max_seq_length", "cutoff_len", "block_size", "sequence_len", "model_max_length")
"""Names of the length of a sequence, each of another framework on top of the Trainer."""


def _steps(settings: Settings, steps: float, ratio: float, warmup: int, word: str, horizon: int) -> list[Resolved]:
    key = "warmup_ratio" if word == "ratio" and ratio > 0 else "warmup_steps"
    written = settings.find(key)
    value = ratio if key == "warmup_ratio" else steps
    return [
        Resolved(
            Text("warmup", "预热"),
            written,
            Text(
                f"{key} {value:g} of {horizon} updates: W = {warmup}", f"{key} {value:g}，共 {horizon} 步：W = {warmup}"
            ),
        )
    ]


def _other_eras(
    reading: Reading,
    length: Length,
    given: Given,
    era: str,
    shown: Role,
    steps: float,
    ratio: float,
    kind: str,
    peak: float,
    kwargs: Mapping[str, Any],
    role: str,
) -> None:
    """Where the era decides T or W and none was named, the other curves are shown too."""
    if given.version("transformers") is not None or reading.facts.get("deepspeed_scheduler"):
        return
    seen = {(shown.applied.updates, shown.warmup)}
    others: list[tuple[str, Role]] = []
    for other in ERAS:
        horizon = length.updates(other)
        updates = given.updates if given.updates is not None else horizon
        if other == era or horizon is None or updates is None or (other == ">=5.15" and ratio > 0):
            continue
        if given.updates is not None and length.max_steps <= 0:
            horizon = updates
        warmup = (
            0 if kind in transformers_schedules.WITHOUT_WARMUP else warmup_updates(steps, ratio, horizon, other).updates
        )
        if (updates, float(warmup)) in seen:
            continue
        seen.add((updates, float(warmup)))
        own = transformers_schedules.taken(kind, kwargs, other)
        curve = transformers_schedules.applied(kind, peak, warmup, horizon, updates, own)
        others.append((other, Role(role, curve, float(warmup), None, shown.model, float(horizon))))
    reading.other = tuple(others)
