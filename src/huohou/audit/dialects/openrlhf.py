"""OpenRLHF: its command-line programs. The schedule is the Transformers', to a tenth of the rate unless said otherwise.

``--lr_warmup_ratio`` is rounded up over ⌈epochs × ⌊samples / train_batch_size⌋⌉ updates (``cli/train_sft.py``); in PPO
over ⌊prompts × answers / train_batch_size⌋ × episodes × epochs (``trainer/ppo_trainer.py``).
"""

from __future__ import annotations

import math

from huohou.audit.dialects import transformers_schedules
from huohou.audit.dialects.intended import intended
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
    online = program.startswith("ppo") or any(key in settings for key in ("actor_learning_rate", "actor.adam.lr"))
    # Newer versions write the flags of a part behind its name: --adam.lr, --train.batch_size, --actor.lr_scheduler.
    rates = {
        "actor": (("actor_learning_rate", "actor.adam.lr"), 1e-6),
        "critic": (("critic_learning_rate", "critic.adam.lr"), 9e-6),
    }
    if not online:
        rates = {"model": (("learning_rate", "adam.lr"), _RATES.get(program, 5e-6))}
    elif (settings.text("algo.advantage.estimator", "advantage_estimator") or "gae") != "gae":
        # Without the critic's values nothing trains a critic.
        del rates["critic"]
    updates = given.updates or _counted(settings, given, program, reading, online=online)
    reading.facts |= {"family": "transformers", "framework": name, "warmup_ratio": 0, "warmup_steps": 0}
    for role, (flags, default) in rates.items():
        _role(settings, updates, reading, role, flags, default)
    if not updates and not reading.missing:
        asked = "--updates, or --samples"
        reading.need(f"how many updates: give {asked}.", "更新步数未知：请给出 --updates 或 --samples。")
    return reading


def _role(
    settings: Settings, updates: int | None, reading: Reading, role: str, flags: tuple[str, str], default: float
) -> None:
    """The curve of one optimizer; of actor and critic each has words of its own in newer versions."""
    kind = settings.text(f"{role}.lr_scheduler", "lr_scheduler") or "cosine_with_min_lr"
    reading.facts.setdefault("scheduler", kind)
    written = settings.number(*flags)
    if written is None:
        flag = flags[1] if settings.under("train").values else flags[0]
        reading.assume(f"--{flag}: its default {default:g}.", f"--{flag}：取默认值 {default:g}。")
    if settings.text(f"{role}.optim", "optim") == "muon":
        reading.assume(
            "Muon: the matrices have a rate of their own (muon.lr); what is shown is that of the rest.",
            "Muon：矩阵参数使用自己的学习率（muon.lr）；此处是其余参数的学习率。",
        )
    if kind not in transformers_schedules.TYPES or kind in transformers_schedules.UNPLANNED:
        reading.need(f"--lr_scheduler {kind} is none that is known before.", f"--lr_scheduler {kind} 事先无法得知。")
        return
    if not updates:
        return
    ratio = settings.number(f"{role}.lr_warmup_ratio", "lr_warmup_ratio")
    ratio = 0.03 if ratio is None else float(ratio)
    share = settings.number(f"{role}.min_lr_ratio", "min_lr_ratio")
    share = 0.1 if share is None else float(share)
    warmup = 0 if kind in transformers_schedules.WITHOUT_WARMUP else math.ceil(updates * ratio)
    peak = float(default if written is None else written)
    reading.facts |= {"warmup_steps": warmup, "peak": peak}
    kwargs = {"min_lr": share * peak} if kind.endswith("min_lr") else {}
    curve = transformers_schedules.applied(kind, peak, warmup, updates, updates, kwargs)
    old = "critic_pretrain" if role == "critic" else "pretrain"
    model = settings.text(f"{role}.model_name_or_path", old)
    meant = intended(kind, peak, warmup, updates, kwargs)
    reading.roles.append(Role(role, curve, float(warmup), meant, model, float(updates)))


def _counted(settings: Settings, given: Given, program: str, reading: Reading, *, online: bool) -> int | None:
    """The updates from the samples: those that are given, or as many as the file takes at most."""
    most = settings.whole("data.max_samples", "max_samples")
    samples = given.samples
    if samples is None and most is not None:
        samples = most
        reading.assume(
            f"the data fill max_samples: {most} samples (--samples).",
            f"数据填满 max_samples：{most} 个样本（--samples）。",
        )
    if samples is None:
        return None
    samples = min(samples, most) if most is not None else samples
    batch = settings.whole("train.batch_size", "train_batch_size") or 128
    epochs = settings.whole("train.max_epochs", "max_epochs") or _EPOCHS.get(program, 1)
    if online:
        answers = settings.whole("rollout.n_samples_per_prompt", "n_samples_per_prompt") or 1
        episodes = settings.whole("train.num_episodes", "num_episodes") or 1
        updates = samples * answers // batch * episodes * epochs
    else:
        updates = math.ceil(epochs * (samples // batch))
    reading.assume(f"{samples} samples in batches of {batch}.", f"{samples} 个样本，批大小 {batch}。")
    return updates or None
