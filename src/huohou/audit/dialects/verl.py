"""verl: commands that start ``verl.trainer.main_ppo`` or its SFT trainers with Hydra's ``key=value``, and their YAML.

In PPO and its kin the scheduler is stepped once in a training step, which is a batch of rollouts; all the updates of
that step (``train_batch_size / ppo_mini_batch_size`` of them, ``ppo_epochs`` times) have one rate. The warmup's first
step is at 0, and so are all its updates. A critic is trained where advantages are estimated by GAE. Formulas:
``verl/utils/torch_functional.py`` and, for the Megatron backend, Megatron's scheduler counting steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from huohou.audit.applied import Applied
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "verl"
title = "verl"

_ACTOR, _CRITIC = "actor_rollout_ref.actor", "critic"


def _program(settings: Settings) -> str | None:
    text = settings.name.replace("/", ".").removesuffix(".py")
    if "main_ppo" in text or ("recipe." in text and ".main_" in text) or f"{_ACTOR}.optim.lr" in settings:
        return "ppo"
    if "fsdp_sft_trainer" in text:
        return "fsdp sft"
    return "sft" if "verl" in text and "sft_trainer" in text else None


def _candidates(document: Document) -> list[tuple[Settings, str]]:
    if document.settings is not None:
        settings = document.settings
        if f"{_ACTOR}.ppo_mini_batch_size" in settings or f"{_ACTOR}.optim.lr" in settings:
            return [(settings, "ppo")]
        sft = "optim.lr" in settings and "model.partial_pretrain" in settings
        return [(settings, "fsdp sft")] if sft else []
    found = [(each, _program(each)) for each in document.commands]
    return [(each, program) for each, program in found if program is not None]


def sees(document: Document) -> int:
    """Its programs, and the names that its configuration gives an actor."""
    return 97 if document.module is None and _candidates(document) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each command, or for the file."""
    return [
        _reinforced(settings, given) if program == "ppo" else _tuned(settings, program, given)
        for settings, program in _candidates(document)
    ]


@dataclass(frozen=True, slots=True)
class _Optimizer:
    """The ``optim`` section of a role.

    Attributes:
        start, floor: Shares of the peak.
        cycles: Whole waves of the cosine.
        decay: Where Megatron's decay ends, in steps.
    """

    kind: str
    peak: float
    warmup: int
    start: float = 0.0
    floor: float = 0.0
    cycles: float = 0.5
    decay: float = 0.0
    megatron: bool = False


def _optimizer(section: Settings, peak: float, total: int, kind: str, ratio: float, megatron: bool) -> _Optimizer:
    share = section.number("lr_warmup_steps_ratio")
    share = ratio if share is None else float(share)
    steps = section.whole("lr_warmup_steps")
    if megatron:
        decay = section.whole("lr_decay_steps") or total
        warmup = steps if steps is not None and steps > 0 else int(share * decay)
        least, start = section.number("min_lr"), section.number("lr_warmup_init")
        style = section.text("lr_decay_style") or "constant"
        return _Optimizer(
            style, peak, warmup, float(start or 0.0) / peak, float(least or 0.0) / peak, 0.5, float(decay), True
        )
    warmup = steps if steps is not None and steps >= 0 else int(share * total)
    cycles, floor = section.number("num_cycles"), section.number("min_lr_ratio")
    kind = section.text("warmup_style") or section.text("lr_scheduler_type", "lr_scheduler") or kind
    return _Optimizer(
        kind, peak, warmup, 0.0, float(floor or 0.0), 0.5 if cycles is None else float(cycles), float(total)
    )


def _pieces(own: _Optimizer, total: int) -> tuple[Piece, ...] | None:
    warmup = float(own.warmup)
    if own.megatron:
        # The warmup holds up to and with its last step, and what follows the decay is the floor.
        rise = (Piece(0, "linear", own.start, 1.0, warmup),) if warmup > 0 else ()
        first = math.nextafter(warmup, math.inf) if warmup > 0 else 0.0
        if own.kind == "constant":
            return *rise, Piece(first, "hold", 1.0)
        if own.kind not in ("linear", "cosine"):
            return None
        fall = Piece(first, own.kind, 1.0, own.floor, max(own.decay - warmup, 1e-300), origin=warmup)
        return *rise, fall, Piece(max(first, math.nextafter(own.decay, math.inf)), "hold", own.floor)
    rise = (Piece(0, "linear", own.start, 1.0, max(1.0, warmup)),) if warmup > 0 else ()
    rest = max(1.0, total - warmup)
    match own.kind:
        case "constant":
            return *rise, Piece(warmup, "hold", 1.0)
        case "cosine":
            return *rise, Piece(warmup, "cosine", 1.0, own.floor, rest, parameter=own.cycles, lowest=own.floor)
        case "wsd":
            # Nine tenths of what follows the warmup are held.
            left = max(0, total - own.warmup)
            stable = int(left * 0.9)
            begin = warmup + stable
            fall = Piece(
                begin, "cosine", 1.0, own.floor, max(1.0, left - stable), parameter=own.cycles, lowest=own.floor
            )
            return *rise, Piece(warmup, "hold", 1.0), fall, Piece(max(begin, float(total)), "hold", own.floor)
        case _:
            return None


def _steps(settings: Settings, given: Given, reading: Reading, epochs: int, batch: int, many: int) -> int | None:
    """Training steps of the run; ``many`` updates are made in each."""
    written = settings.whole("trainer.total_training_steps")
    if given.updates is not None:
        reading.assume(
            f"--updates: the run makes {given.updates} updates.", f"--updates：训练共 {given.updates} 个更新步。"
        )
        return written or max(1, math.ceil(given.updates / many))
    if written:
        return written
    if given.samples is not None:
        reading.assume(
            f"{given.samples} samples in batches of {batch}, {epochs} epochs; what does not fill a batch is dropped.",
            f"{given.samples} 个样本，批大小 {batch}，共 {epochs} 轮；不足一批的丢弃。",
        )
        return given.samples // batch * epochs
    reading.need(
        "how many updates: give --updates, or --samples, or write trainer.total_training_steps.",
        "更新步数未知：请给出 --updates 或 --samples，或写明 trainer.total_training_steps。",
    )
    return None


def _default(reading: Reading, settings: Settings, key: str, default: int) -> int:
    value = settings.whole(key)
    if value is None:
        reading.assume(f"{key}: verl's default {default}.", f"{key}：取 verl 的默认值 {default}。")
    return default if value is None else value


def _reinforced(settings: Settings, given: Given) -> Reading:
    estimator = settings.text("algorithm.adv_estimator") or "gae"
    reading = Reading(name, f"{title} {estimator}", settings)
    batch = max(1, _default(reading, settings, "data.train_batch_size", 1024))
    mini = max(1, _default(reading, settings, f"{_ACTOR}.ppo_mini_batch_size", 256))
    again = settings.whole(f"{_ACTOR}.ppo_epochs") or 1
    epochs = settings.whole("trainer.total_epochs") or 30
    many = math.ceil(batch / mini) * again
    reading.facts |= {"family": "verl", "framework": name, "scheduler": "constant", "updates_per_step": many}
    total = _steps(settings, given, reading, epochs, batch, many)
    if total is None or total < 1:
        return reading
    reading.assume(
        f"each training step of {batch} prompts makes {many} updates, all at one rate.",
        f"每个训练步（{batch} 条提示）做 {many} 个更新步，学习率相同。",
    )
    written = settings.flag("critic.enable")
    with_critic = estimator == "gae" if written is None else written
    megatron = "megatron" in (settings.text("actor_rollout_ref.actor.strategy") or settings.text("config_name") or "")
    megatron = megatron or any("ppo_megatron_trainer" in value.written for value in settings.values.values())
    roles = {"actor": (_ACTOR, 1e-6, "actor_rollout_ref.model.path")}
    if with_critic:
        roles["critic"] = (_CRITIC, 1e-5, "critic.model.path")
    for role, (section, rate, model) in roles.items():
        peak = settings.number(f"{section}.optim.lr")
        if peak is None:
            reading.assume(f"{section}.optim.lr: verl's default {rate:g}.", f"{section}.optim.lr：取默认值 {rate:g}。")
        # A critic takes the actor's numbers where it has none.
        own_mini = settings.whole(f"{section}.ppo_mini_batch_size") or mini
        own_again = settings.whole(f"{section}.ppo_epochs") or again
        held = max(1, math.ceil(batch / max(1, own_mini)) * own_again)
        own = _optimizer(
            settings.under(f"{section}.optim"),
            float(peak if peak is not None else rate),
            total,
            "constant",
            0.0,
            megatron,
        )
        updates = given.updates if given.updates is not None and role == "actor" else total * held
        _role(reading, role, own, total, updates, held, settings.text(model))
    return reading


def _role(reading: Reading, role: str, own: _Optimizer, total: int, updates: int, held: int, model: str | None) -> None:
    pieces = _pieces(own, total)
    if pieces is None:
        reading.need(
            f"the scheduler {own.kind!r} of the {role} is not one that verl has.",
            f"verl 没有 {own.kind!r} 这种调度器（{role}）。",
        )
        return
    curve = Applied(own.peak, updates, pieces, held=held)
    reading.facts |= {"scheduler": own.kind, "peak": own.peak, "warmup_steps": own.warmup * held, "floor": own.floor}
    reading.steps.append(
        Resolved(
            Text(f"{role}'s warmup", f"{role} 的预热"),
            reading.settings.find(f"{_ACTOR}.optim.lr_warmup_steps_ratio", f"{_ACTOR}.optim.lr_warmup_steps"),
            Text(
                f"{own.warmup} of {total} training steps, {held} updates each: W = {own.warmup * held}",
                f"{total} 个训练步中的 {own.warmup} 个，每步 {held} 个更新步：W = {own.warmup * held}",
            ),
        )
    )
    reading.roles.append(Role(role, curve, float(own.warmup * held), None, model, float(total * held)))


def _tuned(settings: Settings, program: str, given: Given) -> Reading:
    reading = Reading(name, f"{title} {program}", settings)
    batch = max(1, _default(reading, settings, "data.train_batch_size", 256))
    epochs = settings.whole("trainer.total_epochs") or 4
    peak = settings.number("optim.lr")
    old = program == "fsdp sft"
    if peak is None:
        peak = 1e-5 if old else 1e-3
        reading.assume(f"optim.lr: verl's default {peak:g}.", f"optim.lr：取默认值 {peak:g}。")
    reading.facts |= {"family": "verl", "framework": name, "scheduler": "cosine"}
    total = _steps(settings, given, reading, epochs, batch, 1)
    if total is None or total < 1:
        return reading
    section = settings.under("optim")
    megatron = "lr_decay_style" in section or settings.text("engine") == "megatron"
    if old:
        # It knows no number of steps, only the share.
        section.values.pop("lr_warmup_steps", None)
        section.values.pop("min_lr_ratio", None)
    own = _optimizer(section, float(peak), total, "cosine" if old else "constant", 0.1 if old else 0.0, megatron)
    model = settings.text("model.partial_pretrain", "model.path")
    _role(reading, "model", own, total, given.updates or total, 1, model)
    return reading
