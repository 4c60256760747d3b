"""DeepSpeed-Chat: supervised tuning, reward model, DPO and PPO, from its launch scripts.

The scheduler is the Transformers' with ``num_warmup_steps`` as it stands and a horizon of epochs × ⌈micro-batches of
an epoch / accumulation⌉; the engine steps it after each update that was applied, so a skipped one does not move it.
What is made is ⌊epochs × micro-batches / accumulation⌋: the accumulation goes on over the ends of epochs. In PPO actor
and critic have the same horizon and warmup, rates of their own, and scheduler and loss scale of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from huohou.audit.dialects import transformers_schedules
from huohou.audit.dialects.trainer import intended
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "deepspeed-chat"
title = "DeepSpeed-Chat"

_OWN = (
    "actor_learning_rate",
    "actor_model_name_or_path",
    "critic_model_name_or_path",
    "num_padding_at_beginning",
    "data_output_path",
    "only_optimize_lora",
    "lora_module_name",
    "per_device_generation_batch_size",
    "per_device_training_batch_size",
    "actor_zero_stage",
    "zero_stage",
    "data_split",
    "num_warmup_steps",
    "offload",
)
"""Flags that its argument parsers have and the Trainer's have not."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One of its four programs, with the defaults of its argument parser."""

    title: str
    rates: dict[str, tuple[str, float]]
    warmup: int = 0
    epochs: int = 1
    batch: int = 16


_SFT = _Step("step 1: SFT", {"model": ("learning_rate", 1e-3)})
_REWARD = _Step("step 2: reward model", {"model": ("learning_rate", 5e-5)})
_DPO = _Step("step 2: DPO", {"model": ("learning_rate", 1e-3)})
_PPO = _Step(
    "step 3: PPO",
    {"actor": ("actor_learning_rate", 9.65e-6), "critic": ("critic_learning_rate", 5e-6)},
    warmup=100,
)


def sees(document: Document) -> int:
    """Several of its own flags in one command."""
    most = max((sum(key in each for key in _OWN) for each in document.commands), default=0)
    return 0 if most < 2 else min(95, 50 + 10 * most)


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each command that starts one of the programs."""
    return [_read(each, document, given) for each in document.commands if sum(key in each for key in _OWN) >= 2]


def _step(settings: Settings, document: Document) -> _Step:
    if "actor_model_name_or_path" in settings or "actor_learning_rate" in settings:
        return _PPO
    where = f"{document.source.name} {settings.name}".lower().replace("\\", "/")
    if "dpo" in where or "beta" in settings or "label_smoothing" in settings:
        return _DPO
    if "num_padding_at_beginning" in settings or "reward" in where or "step2" in where:
        return _REWARD
    return _SFT


def _read(settings: Settings, document: Document, given: Given) -> Reading:
    step = _step(settings, document)
    reading = Reading(name, f"{title}, {step.title}", settings)
    kind = (settings.text("lr_scheduler_type") or "cosine").lower()
    warmup = settings.whole("num_warmup_steps")
    warmup = step.warmup if warmup is None else warmup
    accumulation = given.accumulation or settings.whole("gradient_accumulation_steps") or 1
    epochs = settings.whole("num_train_epochs") or step.epochs
    horizon, updates = _lengths(settings, given, step, epochs, accumulation, reading)
    reading.facts |= {
        "family": "transformers",
        "framework": name,
        "scheduler": kind,
        "warmup_steps": warmup,
        "accumulation": accumulation,
        "epochs": epochs,
        "skips": not settings.flag("bf16"),
        "stage": step.title,
    }
    if kind not in transformers_schedules.TYPES or kind in transformers_schedules.UNPLANNED:
        reading.need(
            f"--lr_scheduler_type {kind} is none that it knows.", f"--lr_scheduler_type {kind} 不是它支持的类型。"
        )
        return reading
    if horizon is None or updates is None:
        reading.need(
            "how many updates: give --updates, or --samples with --gpus.",
            "更新步数未知：请给出 --updates，或 --samples 与 --gpus。",
        )
        return reading
    used = 0 if kind in transformers_schedules.WITHOUT_WARMUP else warmup
    for role, (flag, default) in step.rates.items():
        peak = settings.number(flag)
        if peak is None:
            peak = default
            reading.assume(f"--{flag}: its default {default:g}.", f"--{flag}：取默认值 {default:g}。")
        curve = transformers_schedules.applied(kind, float(peak), used, horizon, updates)
        model = settings.text(f"{role}_model_name_or_path", "model_name_or_path")
        meant = intended(kind, float(peak), used, updates, {})
        reading.roles.append(Role(role, curve, float(used), meant, model, float(horizon)))
    reading.facts["peak"] = reading.roles[0].applied.peak
    written = settings.find("num_warmup_steps")
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            written,
            Text(f"W = {used} of a horizon of {horizon} updates", f"W = {used}，调度器总步数 {horizon}"),
        )
    )
    if not settings.flag("bf16"):
        reading.assume(
            "fp16: an update that overflows is skipped and does not move the schedule; none is counted here.",
            "fp16：溢出的更新步会被跳过，曲线不前进；此处不计任何跳过。",
        )
    return reading


def _lengths(
    settings: Settings, given: Given, step: _Step, epochs: int, accumulation: int, reading: Reading
) -> tuple[int | None, int | None]:
    """(horizon of the scheduler, updates that are made)."""
    horizon = updates = None
    if given.samples is not None:
        gpus = given.gpus or _gpus(settings)
        batch = settings.whole("per_device_train_batch_size") or step.batch
        if step is _PPO:
            generated = settings.whole("per_device_generation_batch_size") or 16
            trained = settings.whole("per_device_training_batch_size") or 16
            repeats = settings.whole("ppo_epochs") or 1
            prompts = math.ceil(given.samples / (gpus * generated))
            horizon = int(epochs * prompts * (generated / trained) * repeats / accumulation)
            updates = horizon
        else:
            micro = math.ceil(given.samples / (gpus * batch))
            horizon = epochs * math.ceil(micro / accumulation)
            updates = epochs * micro // accumulation
        reading.assume(f"{given.samples} samples over {gpus} processes.", f"{given.samples} 个样本，{gpus} 个进程。")
    if given.updates is not None:
        updates = given.updates
        horizon = updates if horizon is None else horizon
        reading.assume(f"--updates: the run makes {updates} updates.", f"--updates：训练共 {updates} 个更新步。")
    return horizon, updates


def _gpus(settings: Settings) -> int:
    return settings.whole("num_gpus") or settings.whole("nproc_per_node") or 1
