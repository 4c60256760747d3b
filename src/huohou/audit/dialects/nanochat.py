"""nanochat: commands that start ``scripts.base_train``, ``mid_train``, ``chat_sft`` or ``chat_rl``, and those
scripts.

Every group of parameters has a rate of its own and one multiplier for all. Pretraining: (i + 1) / W, then 1, then a
line to ``final_lr_frac`` at the end, one update short of it. SFT follows the progress through the data, which is
counted one micro-batch ahead. Rates of AdamW groups are scaled by √(768 / model dimension), all of them by √(batch /
2¹⁹).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from huohou.audit.applied import Applied
from huohou.audit.dialects import nanochat_size
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings, as_number
from huohou.language import Text

name = "nanochat"
title = "nanochat"

_DEFAULTS: dict[str, dict[str, float]] = {
    "base_train": {
        "depth": 20, "aspect_ratio": 64, "head_dim": 128, "num_iterations": -1, "target_param_data_ratio": 12,
        "total_batch_size": -1, "embedding_lr": 0.3, "unembedding_lr": 0.008, "matrix_lr": 0.02, "scalar_lr": 0.5,
        "warmup_steps": 40, "warmdown_ratio": 0.65, "final_lr_frac": 0.05,
    },
    "chat_sft": {
        "num_iterations": -1, "total_batch_size": 524288, "embedding_lr": 0.3, "unembedding_lr": 0.004,
        "matrix_lr": 0.02, "init_lr_frac": 0.8, "warmup_ratio": 0.0, "warmdown_ratio": 0.5, "final_lr_frac": 0.0,
    },
    "mid_train": {
        "num_iterations": -1, "total_batch_size": 524288, "embedding_lr": 0.2, "unembedding_lr": 0.004,
        "matrix_lr": 0.02, "init_lr_frac": 1.0,
    },
    "chat_rl": {
        "num_epochs": 1, "examples_per_step": 16, "embedding_lr": 0.2, "unembedding_lr": 0.004, "matrix_lr": 0.02,
        "init_lr_frac": 0.05,
    },
}  # fmt: skip
"""What each script takes where nothing is written, as of July 2026."""


def _program(text: str) -> str | None:
    found = text.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".py").rsplit(".", 1)[-1]
    return found if found in _DEFAULTS else None


def _of_module(document: Document) -> Settings | None:
    """A script with its own defaults: arguments, or in the first versions names at its top."""
    module, program = document.module, _program(document.source.name)
    if module is None or (program is None and "nanochat" not in document.source.text):
        return None
    found = {key.removeprefix("args."): value for key, value in module.names.items() if key.startswith("args.")}
    if "matrix_lr" not in found:
        found = {key: value for key, value in module.names.items() if "." not in key}
    if "matrix_lr" not in found or "embedding_lr" not in found:
        return None
    if program is None:
        program = "base_train" if "warmup_steps" in found or "depth" in found else "chat_sft"
    return Settings(found, program, 1)


def _of_commands(document: Document) -> list[tuple[Settings, str]]:
    found = [(each, _program(each.name)) for each in document.commands]
    return [(each, program) for each, program in found if program is not None]


def sees(document: Document) -> int:
    """Its scripts, and commands that start one of them."""
    if document.module is not None:
        return 90 if _of_module(document) is not None else 0
    commands = _of_commands(document)
    if not commands:
        return 0
    bare = any("scripts" in each.name for each, _ in commands)
    return 94 if bare else 60 if any(key in each for each, program in commands for key in _DEFAULTS[program]) else 30


def read(document: Document, given: Given) -> list[Reading]:
    """The run of a script with its defaults, or one for each command."""
    settings = _of_module(document)
    if settings is not None:
        return [_read(settings, settings.name, given, True)]
    found = list[Reading]()
    for each, program in _of_commands(document):
        other = document.other(f"scripts/{program}.py")
        own = None if other is None else _of_module(other.over(each))
        # A number that was written goes before what the script says.
        merged = each if own is None else Settings({**own.values, **each.values}, each.name, each.line)
        found.append(_read(merged, program, given, own is not None))
    return found


@dataclass(slots=True)
class _Numbers:
    """The numbers of a script; what is not written is its default and an assumption."""

    settings: Settings
    program: str
    reading: Reading

    def __call__(self, key: str) -> float:
        value = self.settings.number(key)
        if value is None:
            value = _DEFAULTS[self.program].get(key, 0.0)
            flag = key.replace("_", "-")
            self.reading.assume(
                f"--{flag}: its default {value:g} (July 2026).", f"--{flag}：取默认值 {value:g}（2026 年 7 月版）。"
            )
        return float(value)


def _read(settings: Settings, program: str, given: Given, script: bool) -> Reading:
    reading = Reading(name, f"{title} {program}", settings)
    number = _Numbers(settings, program, reading)
    reading.facts |= {"family": "nanochat", "framework": name, "scheduler": "wsd", "progress": program != "base_train"}
    peaks = _peaks(settings, number)
    if program == "base_train":
        made = _pretrained(settings, number, given)
    elif program == "chat_rl" or (script and program == "chat_sft" and "warmdown_ratio" not in settings):
        # So do the first versions of SFT: a line from the first update to 0 behind the last.
        updates = given.updates or _positive(settings.whole("num_iterations"))
        if updates is None and given.samples is not None and program == "chat_rl":
            updates = int(given.samples // number("examples_per_step") * number("num_epochs"))
        made = None
        if updates:
            made = _Made(updates, 0.0, (Piece(0, "linear", 1.0, 0.0, float(updates)),), 0.0, 1.0)
    else:
        made = _progressing(settings, number, program, given)
    if made is None:
        reading.need(
            "how many updates: give --updates, or --num-iterations to the script.",
            "更新步数未知：请给出 --updates，或给脚本 --num-iterations。",
        )
        return reading
    reading.facts |= {"warmup_steps": made.warmup, "horizon": made.updates, "updates": made.updates}
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            settings.find("warmup_steps", "warmup_ratio"),
            Text(f"W = {made.warmup:g} of {made.updates} updates", f"{made.updates} 个更新步中 W = {made.warmup:g}"),
        )
    )
    for role, peak in peaks.items():
        curve = Applied(peak, made.updates, made.pieces, offset=made.offset, scale=made.scale)
        reading.roles.append(Role(role, curve, made.warmup, None, None, float(made.updates)))
    reading.facts["peak"] = peaks["matrix"]
    return reading


@dataclass(frozen=True, slots=True)
class _Made:
    updates: int
    warmup: float
    pieces: tuple[Piece, ...]
    offset: float
    scale: float


def _positive(number: int | None) -> int | None:
    return number if number is not None and number > 0 else None


def _peaks(settings: Settings, number: _Numbers) -> dict[str, float]:
    """The rate that each group begins with."""
    reading = number.reading
    share = 1.0 if number.program == "base_train" else number("init_lr_frac")
    width = 1.0
    if number.program == "base_train" or "depth" in settings:
        width = (nanochat_size.width(number("depth"), number("aspect_ratio"), number("head_dim")) / 768.0) ** -0.5
    else:
        reading.assume(
            "a model of dimension 768; AdamW's rates go with the square root of 768 / dimension.",
            "模型维度按 768；AdamW 各组的学习率与 √(768/维度) 成正比。",
        )
    whole = 1.0
    if number.program == "base_train" and "warmup_ratio" not in settings:
        whole = (_chosen(settings, number)[0] / nanochat_size.REFERENCE) ** 0.5
    elif number.program == "base_train":
        whole = (float(settings.number("total_batch_size") or 2**19) / 2**19) ** 0.5
    peaks = {
        "matrix": number("matrix_lr") * whole * share,
        "embedding": number("embedding_lr") * whole * width * share,
        "unembedding": number("unembedding_lr") * whole * width * share,
    }
    if number.program == "base_train" and ("scalar_lr" in settings or "warmup_ratio" not in settings):
        peaks["scalar"] = number("scalar_lr") * whole
    return peaks


def _chosen(settings: Settings, number: _Numbers) -> tuple[int, int]:
    """(tokens of a batch, updates) as the script itself works them out."""
    batch = _positive(settings.whole("total_batch_size")) or 0
    ratio = number("target_param_data_ratio")
    made = nanochat_size.length(
        int(number("depth")), number("aspect_ratio"), number("head_dim"), ratio if ratio > 0 else 12.0, batch
    )
    if not batch:
        number.reading.assume(
            f"a vocabulary of {nanochat_size.VOCABULARY}: the script chooses batches of {made[0]} tokens.",
            f"词表大小按 {nanochat_size.VOCABULARY}：脚本选定每批 {made[0]} 个 token。",
        )
    return made


def _pretrained(settings: Settings, number: _Numbers, given: Given) -> _Made | None:
    updates = given.updates
    updates = updates or _positive(settings.whole("num_iterations"))
    batch = settings.number("total_batch_size")
    if updates is None and given.tokens is not None and batch is not None and batch > 0:
        updates = int(given.tokens // batch)
    flops, share = settings.number("target_flops") or -1, settings.number("target_param_data_ratio")
    if updates is None and flops <= 0 and (share is None or share > 0) and "warmup_ratio" not in settings:
        updates = _chosen(settings, number)[1]
        number.reading.assume(
            f"no --num-iterations: the script makes {updates} updates of the data that its model wants.",
            f"没有 --num-iterations：脚本按模型所需的数据量做 {updates} 个更新步。",
        )
    if not updates:
        return None
    ratio = settings.number("warmup_ratio")
    # Earlier versions write the warmup as a share.
    warmup = float(round(float(ratio) * updates)) if ratio is not None else number("warmup_steps")
    decay = round(number("warmdown_ratio") * updates)
    begin = float(updates - decay)
    rise = (Piece(0, "linear", 0.0, 1.0, warmup, origin=-1.0),) if warmup > 0 else ()
    first = max(warmup, math.nextafter(begin, math.inf))
    hold = (Piece(warmup, "hold", 1.0),) if first > warmup else ()
    fall = (Piece(first, "linear", 1.0, number("final_lr_frac"), float(decay), origin=begin),) if decay > 0 else ()
    return _Made(updates, warmup, (*rise, *hold, *fall) or (Piece(0, "hold", 1.0),), 0.0, 1.0)


def _progressing(settings: Settings, number: _Numbers, program: str, given: Given) -> _Made | None:
    """SFT: the progress at update u is (1 + G·u) micro-batches of ``num_iterations``, for an accumulation of G."""
    each = given.accumulation or _accumulation(settings, number, given)
    whole = _positive(settings.whole("num_iterations"))
    if given.updates is not None:
        updates, whole = given.updates, whole or given.updates * each + 1
    elif whole is not None:
        updates = math.ceil((whole - 1) / each)
    else:
        return None
    if updates < 1:
        return None
    old = program == "mid_train" and "warmdown_ratio" not in settings
    warmup = 0.0 if old else number("warmup_ratio")
    down, last = (0.2, 0.0) if old else (number("warmdown_ratio"), number("final_lr_frac"))
    scale = each / whole
    begin = 1.0 - down
    rise = (Piece(0, "linear", 0.0, 1.0, warmup, origin=-1e-8),) if warmup > 0 else ()
    first = max(warmup, math.nextafter(begin, math.inf))
    hold = (Piece(warmup, "hold", 1.0),) if first > warmup else ()
    fall = (Piece(first, "linear", 1.0, last, down, origin=begin),) if down > 0 else ()
    pieces = (*rise, *hold, *fall) or (Piece(0, "hold", 1.0),)
    return _Made(updates, warmup * whole / each, pieces, (1.0 + each) / whole, scale)


def _accumulation(settings: Settings, number: _Numbers, given: Given) -> int:
    device, length = settings.number("device_batch_size"), settings.number("max_seq_len")
    whole = as_number(settings.get("total_batch_size"))
    if device is None or length is None or whole is None or whole <= 0:
        number.reading.assume("one micro-batch an update (--accumulation).", "每个更新步一个微批（--accumulation）。")
        return 1
    return max(1, int(whole // (device * length * (given.gpus or 1))))
