"""minimind: its ``train_*.py`` scripts and the commands that start them.

The rate is set before every micro-batch, ``lr · (0.1 + 0.45 · (1 + cos(π · it / all)))``: no warmup, from the whole
rate to a tenth of it. An update is made with the rate of its last micro-batch, and the rest of an epoch makes one of
its own. Versions before late 2025 have ``lr / 10 + 0.5 · lr · (1 + cos(…))``, which begins at 1.1 times the rate,
count micro-batches from 0, and leave the rest of an epoch to the next. PPO and GRPO step a ``CosineAnnealingLR`` to a
tenth once in an update.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass

from huohou.audit.applied import Applied
from huohou.audit.dialects import torch_schedules
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Module
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "minimind"
title = "minimind"

_PROGRAMS: dict[str, tuple[int, int, float, int]] = {
    "train_pretrain": (2, 32, 5e-4, 8),
    "train_full_sft": (2, 16, 1e-5, 1),
    "train_lora": (10, 32, 1e-4, 1),
    "train_dpo": (1, 4, 4e-8, 1),
    "train_distillation": (6, 32, 5e-6, 1),
    "train_ppo": (1, 2, 3e-7, 1),
    "train_grpo": (1, 2, 3e-7, 1),
    "train_agent": (1, 2, 3e-7, 1),
}
"""Epochs, batch, rate and accumulation that each program takes where nothing is written, as of August 2026."""
_ANNEALED = ("train_ppo", "train_grpo", "train_agent")
_CLEAR = ("train_pretrain", "train_full_sft", "train_distillation")
_OWN = ("accumulation_steps", "from_weight", "save_weight", "from_resume", "use_moe")
_FOREIGN = ("pretrain", "plugin", "config_file", "dataset", "checkpoint_path", "lr", "model_name_or_path",
            "per_device_train_batch_size", "output_dir", "tokenizer_dir", "deepspeed")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Loop:
    """How a version counts: where its curve begins, the first micro-batch's number, what becomes of the rest."""

    start: float = 1.0
    low: float = 0.1
    first: int = 1
    flushes: bool = True


def _program(text: str) -> str:
    return text.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py").rsplit(".", 1)[-1]


def _of_module(document: Document) -> Settings | None:
    """The arguments of a script with its own defaults, if it is one of minimind's."""
    module = document.module
    if module is None or "args.accumulation_steps" not in module.names or "args.learning_rate" not in module.names:
        return None
    program = _program(document.source.name)
    sets = any(
        call.last_name == "get_lr" and any("args.learning_rate" in each.written for each in call.positional)
        for call in module.calls
    )
    if not sets and program not in _ANNEALED:
        return None
    found = {key.removeprefix("args."): value for key, value in module.names.items() if key.startswith("args.")}
    return Settings(found, program, 1)


def _of_commands(document: Document) -> list[Settings]:
    found = list[Settings]()
    for each in document.commands:
        program = _program(each.name)
        if program in _PROGRAMS and each.name.endswith(".py"):
            found.append(Settings(dict(each.values), program, each.line))
    return found


def sees(document: Document) -> int:
    """Its scripts, and commands that start one of them."""
    if document.module is not None:
        return 85 if _of_module(document) is not None else 0
    commands = _of_commands(document)
    # Others call their programs so too, and have other flags.
    if not commands or any(key in each for each in commands for key in _FOREIGN):
        return 0
    own = any(key in each for each in commands for key in _OWN)
    return 70 if own else 40 if any(each.name in _CLEAR for each in commands) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """The run of a script with its defaults, or one for each command."""
    settings = _of_module(document)
    if settings is not None and document.module is not None:
        return [_read(settings, _loop(document, document.module), given, True)]
    found = list[Reading]()
    for each in _of_commands(document):
        other = document.other(f"{each.name}.py") or document.other(f"trainer/{each.name}.py")
        module = None if other is None else other.over(each).module
        own = None if other is None or module is None else _of_module(other.over(each))
        if other is not None and module is not None and own is not None:
            merged = Settings({**own.values, **each.values}, each.name, each.line)
            found.append(_read(merged, _loop(other, module), given, True))
        else:
            found.append(_read(each, _Loop(), given, False))
    return found


def _loop(document: Document, module: Module) -> _Loop:
    """The version by the script's own lines, and those of ``trainer_utils.py`` where ``get_lr`` comes from there."""
    written = _get_lr(module)
    if written is None:
        utilities = document.other("trainer/trainer_utils.py") or document.other("trainer_utils.py")
        written = None if utilities is None or utilities.module is None else _get_lr(utilities.module)
    old = written is not None and re.search(r"lr / 10 \+ 0\.5 \* lr", written) is not None
    text = document.source.text
    newest = re.search(r"enumerate\(\s*loader\s*,\s*start\s*=\s*start_step\s*\+\s*1", text) is not None
    flushes = re.search(r"if (last_)?step > start_step and (last_)?step % args\.accumulation_steps", text) is not None
    return _Loop(1.1 if old else 1.0, 0.1, 1 if newest else 0, flushes)


def _get_lr(module: Module) -> str | None:
    for node in module.tree.body if module.tree is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == "get_lr":
            return ast.unparse(node.body[-1])
    return None


def _read(settings: Settings, loop: _Loop, given: Given, defaults_read: bool) -> Reading:
    reading = Reading(name, f"{title} {settings.name}", settings)
    epochs, batch, rate, accumulation = _PROGRAMS.get(settings.name, (1, 32, 1e-4, 1))

    def number(key: str, default: float) -> float:
        value = settings.number(key)
        if value is None or (not defaults_read and key not in settings):
            reading.assume(
                f"--{key}: its default {default:g} (August 2026).", f"--{key}：取默认值 {default:g}（2026 年 8 月版）。"
            )
        elif defaults_read and settings.values[key].line:
            reading.assume(f"--{key}: {value:g}, as the script has it.", f"--{key}：{value:g}，取脚本中的值。")
        return float(default if value is None else value)

    peak, epochs = number("learning_rate", rate), max(1, int(number("epochs", epochs)))
    batch = max(1, int(number("batch_size", batch)))
    accumulation = max(1, given.accumulation or int(number("accumulation_steps", accumulation)))
    gpus = given.gpus or 1
    annealed = settings.name in _ANNEALED
    reading.facts |= {
        "family": "minimind", "framework": name, "scheduler": "cosine", "peak": peak, "warmup_steps": 0,
        "accumulation": accumulation, "epochs": epochs, "floor": 0.1,
    }  # fmt: skip
    micro: int | None = None
    if given.updates is None and given.samples is not None:
        micro = math.ceil(math.ceil(given.samples / gpus) / batch)
        reading.assume(
            f"{given.samples} samples on {gpus} processes in batches of {batch} make {micro} micro-batches an epoch.",
            f"{given.samples} 个样本，{gpus} 个进程、批大小 {batch}，每轮 {micro} 个微批。",
        )
    if annealed:
        _annealed(reading, settings, given, micro, peak)
        return reading
    if given.updates is not None:
        reading.assume(
            f"--updates: the run makes {given.updates} updates, each of {accumulation} micro-batches.",
            f"--updates：训练共 {given.updates} 个更新步，每步 {accumulation} 个微批。",
        )
        each, every, epochs = given.updates, given.updates * accumulation, 1
    elif micro is not None:
        each, every = (math.ceil if loop.flushes else math.floor)(micro / accumulation), micro
    else:
        reading.need(
            "how many updates: give --updates, or --samples (with --gpus where there are several).",
            "更新步数未知：请给出 --updates，或 --samples（多卡时加 --gpus）。",
        )
        return reading
    whole = epochs * every

    def value(x: float) -> float:
        epoch, place = divmod(int(x), max(1, each))
        step = min((place + 1) * accumulation, every) - 1 + loop.first
        half = 0.5 * (1.0 - loop.low) if loop.start == 1.0 else 0.5
        return loop.low + half * (1.0 + math.cos(math.pi * (epoch * every + step) / whole))

    # The rate that people mean by the peak; older versions begin above it.
    curve = Applied(peak, max(1, epochs * each), (Piece(0, "formula", 1.0, function=value),))
    reading.steps.append(
        Resolved(
            Text("rate", "学习率"),
            settings.find("learning_rate"),
            Text(
                f"set before every micro-batch, {whole} in all; {accumulation} make an update",
                f"每个微批之前设置一次，共 {whole} 个；{accumulation} 个微批一次更新",
            ),
        )
    )
    reading.facts["horizon"] = epochs * each
    reading.roles.append(Role("model", curve, 0.0, None, settings.text("from_weight"), float(epochs * each)))
    return reading


def _annealed(reading: Reading, settings: Settings, given: Given, micro: int | None, peak: float) -> None:
    """PPO (actor and critic), GRPO and the agent's training: ``CosineAnnealingLR`` to a tenth, a step an update."""
    ppo = settings.name == "train_ppo"
    updates = given.updates
    if updates is None and micro is not None:
        epochs, accumulation = int(reading.facts["epochs"]), int(reading.facts["accumulation"])
        if ppo:
            again = settings.whole("ppo_update_iters") or 2
            share = (settings.whole("batch_size") or 2) / (settings.whole("mini_batch_size") or 2)
            updates = math.ceil(micro * epochs * again * max(1, math.ceil(share)) / accumulation)
        else:
            updates = math.ceil(micro / accumulation) * epochs
    if updates is None:
        reading.need("how many updates: give --updates, or --samples.", "更新步数未知：请给出 --updates 或 --samples。")
        return
    reading.facts["horizon"] = updates
    rates = {"model": peak}
    if ppo:
        critic = settings.number("critic_learning_rate")
        if critic is None:
            reading.assume("--critic_learning_rate: its default 5e-07.", "--critic_learning_rate：取默认值 5e-07。")
        rates = {"actor": peak, "critic": float(5e-7 if critic is None else critic)}
    for role, rate in rates.items():
        curve = torch_schedules.cosine(rate, updates, updates, rate / 10)
        reading.roles.append(Role(role, curve, 0.0, None, settings.text("from_weight"), float(updates)))
