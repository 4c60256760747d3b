"""OpenRLHF: its command-line programs. The schedule is the Transformers', to a tenth of the rate unless said otherwise.

``--lr_warmup_ratio`` is rounded up over ⌈epochs × ⌊samples / train_batch_size⌋⌉ updates (``cli/train_sft.py``).
"""

from __future__ import annotations

import math

from huohou.audit.dialects import transformers_schedules
from huohou.audit.dialects.trainer import intended
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "openrlhf"
title = "OpenRLHF"

_RATES = {"sft": 5e-6, "rm": 9e-6, "dpo": 1e-5, "kto": 5e-7}
_EPOCHS = {"sft": 2}


def _program(settings: Settings) -> str | None:
    if "openrlhf" not in settings.name:
        return None
    return settings.name.replace("/", ".").removesuffix(".py").rsplit("train_", 1)[-1]


def sees(document: Document) -> int:
    """A program of its own."""
    return 98 if any(_program(each) is not None for each in document.commands) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each command."""
    return [_read(each, given) for each in document.commands if _program(each) is not None]


def _read(settings: Settings, given: Given) -> Reading:
    program = _program(settings) or ""
    reading = Reading(name, f"{title} {program}", settings)
    kind = settings.text("lr_scheduler") or "cosine_with_min_lr"
    ratio = settings.number("lr_warmup_ratio")
    ratio = 0.03 if ratio is None else float(ratio)
    online = program.startswith("ppo") or "actor_learning_rate" in settings
    # Newer versions write the flags of a part behind its name: --adam.lr, --train.batch_size.
    rates = {
        "actor": ("actor_learning_rate", "actor.adam.lr", 1e-6),
        "critic": ("critic_learning_rate", "critic.adam.lr", 9e-6),
    }
    if not online:
        rates = {"model": ("learning_rate", "adam.lr", _RATES.get(program, 5e-6))}
    updates = given.updates
    if updates is None and given.samples is not None and not online:
        batch = settings.whole("train_batch_size", "train.batch_size") or 128
        epochs = settings.whole("max_epochs", "train.max_epochs") or _EPOCHS.get(program, 1)
        updates = math.ceil(epochs * (given.samples // batch))
        reading.assume(f"{given.samples} samples in batches of {batch}.", f"{given.samples} 个样本，批大小 {batch}。")
    reading.facts |= {"family": "transformers", "framework": name, "scheduler": kind, "warmup_ratio": 0}
    if kind not in transformers_schedules.TYPES or kind in transformers_schedules.UNPLANNED:
        reading.need(f"--lr_scheduler {kind} is none that is known before.", f"--lr_scheduler {kind} 事先无法得知。")
        return reading
    if not updates:
        asked = "--updates" if online else "--updates, or --samples"
        reading.need(f"how many updates: give {asked}.", f"更新步数未知：请给出 {asked.replace(', or ', ' 或 ')}。")
        return reading
    warmup = 0 if kind in transformers_schedules.WITHOUT_WARMUP else math.ceil(updates * ratio)
    reading.facts["warmup_steps"] = warmup
    share = settings.number("min_lr_ratio")
    share = 0.1 if share is None else float(share)
    for role, (flag, newer, default) in rates.items():
        written = settings.number(flag, newer)
        if written is None:
            reading.assume(f"--{flag}: its default {default:g}.", f"--{flag}：取默认值 {default:g}。")
        peak = float(default if written is None else written)
        kwargs = {"min_lr": share * peak} if kind.endswith("min_lr") else {}
        curve = transformers_schedules.applied(kind, peak, warmup, updates, updates, kwargs)
        meant = intended(kind, peak, warmup, updates, kwargs)
        old = "critic_pretrain" if role == "critic" else "pretrain"
        model = settings.text(f"{role}.model_name_or_path", old)
        reading.roles.append(Role(role, curve, float(warmup), meant, model, float(updates)))
    return reading
