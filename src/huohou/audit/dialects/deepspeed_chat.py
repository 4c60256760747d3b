"""DeepSpeed-Chat: supervised tuning, reward model, DPO and PPO, from its launch scripts.

The scheduler is the Transformers' with ``num_warmup_steps`` as it stands and a horizon of epochs × ⌈micro-batches of
an epoch / accumulation⌉; the engine steps it after each update that was applied, so a skipped one does not move it.
What is made is ⌊epochs × micro-batches / accumulation⌋: the accumulation goes on over the ends of epochs. In PPO actor
and critic have the same horizon and warmup, rates of their own, and scheduler and loss scale of their own; the horizon
takes the ratio of generation and training batch as a fraction, and what is made takes every part of a batch for one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from huohou.audit.dialects import transformers_schedules
from huohou.audit.dialects.deepspeed_chat_length import Epochs, Rounds
from huohou.audit.dialects.intended import intended
from huohou.audit.dialects.world_size import processes
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
    "lora_dim",
    "actor_lora_dim",
    "critic_lora_dim",
    "enable_tensorboard",
    "tensorboard_path",
    "print_loss",
    "enable_hybrid_engine",
    "compute_fp32_loss",
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
    most = max((_words(each) for each in document.commands), default=0)
    return 0 if most < 2 else min(95, 50 + 10 * most)


def _words(settings: Settings) -> int:
    """How many of its own flags a command has; its main.py with a warmup, which no Trainer spells so, is enough."""
    named = settings.name.replace("\\", "/").rsplit("/", 1)[-1] == "main.py" and "num_warmup_steps" in settings
    return sum(key in settings for key in _OWN) + 2 * named


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each command that starts one of the programs."""
    return [_read(each, document, given) for each in document.commands if _words(each) >= 2]


def _step(settings: Settings, document: Document) -> _Step:
    if "actor_model_name_or_path" in settings or "actor_learning_rate" in settings:
        return _PPO
    place = document.source.path.resolve() if document.source.path is not None else document.source.name
    where = f"{place} {settings.name}".lower().replace("\\", "/")
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
    horizon, updates = _lengths(settings, given, step, epochs, accumulation, reading, document)
    scaled = (settings.text("dtype") or "fp16").lower() != "bf16" and not settings.flag("bf16")
    reading.facts |= {
        "family": "transformers",
        "framework": name,
        "scheduler": kind,
        "warmup_steps": warmup,
        "accumulation": accumulation,
        "epochs": epochs,
        "skips": scaled,
        "stage": step.title,
    }
    if kind not in transformers_schedules.TYPES or kind in transformers_schedules.UNPLANNED:
        reading.need(
            f"--lr_scheduler_type {kind} is none that it knows.", f"--lr_scheduler_type {kind} 不是它支持的类型。"
        )
        return reading
    if horizon is None or not updates:
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
        peak = _adapter_rate(settings, "" if role == "model" else f"{role}_", float(peak), reading)
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
    if scaled:
        reading.assume(
            "fp16: an update that overflows is skipped and does not move the schedule; none is counted here.",
            "fp16：溢出的更新步会被跳过，曲线不前进；此处不计任何跳过。",
        )
    return reading


def _adapter_rate(settings: Settings, prefix: str, peak: float, reading: Reading) -> float:
    """The peak of what is trained: LoRA's matrices have a rate of their own, and may be all that is trained."""
    if not settings.whole(f"{prefix}lora_dim"):
        return peak
    flag = f"{prefix}lora_learning_rate"
    own = settings.number(flag)
    own = 5e-4 if own is None else float(own)
    if settings.flag("only_optimize_lora"):
        reading.assume(
            f"only LoRA is trained, at --{flag} {own:g} (since August 2023).",
            f"只训练 LoRA，学习率为 --{flag} {own:g}（2023 年 8 月起）。",
        )
        return own
    reading.assume(
        f"LoRA's matrices have a rate of their own, --{flag} {own:g}, on the same curve; the other's is shown.",
        f"LoRA 矩阵另有学习率 --{flag} {own:g}，曲线相同；此处显示其余参数的学习率。",
    )
    return peak


def _lengths(
    settings: Settings, given: Given, step: _Step, epochs: int, accumulation: int, reading: Reading, document: Document
) -> tuple[int | None, int | None]:
    """(horizon of the scheduler, updates that are made)."""
    horizon = updates = None
    if step is _PPO:
        # The second names are those of its first months.
        batch = settings.whole("per_device_generation_batch_size", "per_device_train_batch_size") or step.batch
        trained = settings.whole("per_device_training_batch_size", "per_device_mini_train_batch_size") or step.batch
        repeats, together = settings.whole("ppo_epochs") or 1, _together(settings)
        length = Rounds(epochs, accumulation, batch, trained, repeats, together)
        if settings.get("unsupervised_dataset_name") and settings.get("unsupervised_dataset_config_name"):
            reading.assume(
                "the unsupervised data fill at least as many batches as the prompts.",
                "无监督数据的批数不少于提示数据。",
            )
    else:
        batch = settings.whole("per_device_train_batch_size") or step.batch
        length = Epochs(epochs, accumulation)
    if given.samples is not None:
        gpus = given.gpus or processes(settings, document) or 1
        share = math.ceil(given.samples / gpus)
        batches = math.ceil(share / batch)
        horizon = length.horizon(batches)
        last = share - (batches - 1) * batch
        updates = length.made(batches, last) if isinstance(length, Rounds) else length.made(batches)
        reading.assume(
            f"{given.samples} samples over {gpus} processes of {batch}: {batches} batches an epoch.",
            f"{given.samples} 个样本，{gpus} 个进程、每个 {batch}：每轮 {batches} 个批。",
        )
    if given.updates is not None:
        updates = given.updates
        horizon = length.horizon_of(updates) if horizon is None else horizon
        reading.assume(
            f"--updates: the run makes {updates} updates; the scheduler is made for {horizon}.",
            f"--updates：训练共 {updates} 个更新步；调度器总步数为 {horizon}。",
        )
    return horizon, updates


def _together(settings: Settings) -> int:
    return settings.whole("generation_batches", "generation_batch_numbers") or 1
