"""A DeepSpeed JSON by itself: the ``scheduler`` section, with the optimizer's own rate where it needs one."""

from __future__ import annotations

from huohou.audit.applied import Applied
from huohou.audit.dialects import deepspeed_scheduler
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "deepspeed"
title = "DeepSpeed"

_OWN = (
    "train_batch_size", "train_micro_batch_size_per_gpu", "zero_optimization", "fp16", "bf16", "gradient_clipping",
    "steps_per_print", "wall_clock_breakdown", "zero_allow_untested_optimizer", "gradient_accumulation_steps",
)  # fmt: skip


def sees(document: Document) -> int:
    """A scheduler section, and more of its words."""
    settings = document.settings
    if settings is None or ("scheduler.type" not in settings and settings.number("optimizer.params.lr") is None):
        return 0
    top = {key.split(".")[0] for key in settings}
    own = sum(key in top for key in _OWN) + ("optimizer.type" in settings)
    return 0 if own < 2 else min(90, 60 + 5 * own)


def read(document: Document, given: Given) -> list[Reading]:
    """The run that the file alone configures."""
    assert document.settings is not None
    return [_read(document.settings, given)]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    kind = settings.text("scheduler.type") or ""
    rate = settings.number("optimizer.params.lr")
    section = settings.under("scheduler.params")
    total = section.number("total_num_steps")
    if kind == "OneCycle":
        up = section.number("cycle_first_step_size")
        up = 2000 if up is None else up
        down = section.number("cycle_second_step_size")
        total = up + (up if down is None else down)
    updates = given.updates or (int(total) if total else None)
    reading.facts |= {
        "family": "deepspeed", "framework": name, "scheduler": kind, "deepspeed_scheduler": kind,
        "deepspeed_config": settings, "skips": "fp16.enabled" in settings and settings.flag("fp16.enabled"),
    }  # fmt: skip
    automatic = sorted(key for key, value in section.values.items() if value.value == "auto")
    if automatic or settings.text("optimizer.params.lr") == "auto":
        names = ", ".join(automatic) or "optimizer.params.lr"
        reading.need(
            f"auto is filled in by the Trainer ({names}): audit the file that names this one.",
            f"auto 由 Trainer 填写（{names}）：请审计引用本文件的训练配置。",
        )
        return reading
    if updates is None:
        reading.need("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
        return reading
    if not kind:
        # Only the rate is here; the program that is started may bring a scheduler of its own.
        peak = float(1e-3 if rate is None else rate)
        reading.assume(
            "no scheduler section: the rate stays, unless the program hands deepspeed.initialize one of its own.",
            "没有 scheduler 一节：学习率保持不变，除非程序自己把调度器交给 deepspeed.initialize。",
        )
        reading.facts |= {"peak": peak, "updates": updates}
        reading.roles.append(Role("model", Applied(peak, updates, (Piece(0, "hold", 1.0),)), 0.0))
        return reading
    filled = deepspeed_scheduler.schedule(
        settings,
        auto={},
        optimizer_rate=float(1e-3 if rate is None else rate),
        updates=updates,
        version=given.version("deepspeed"),
    )
    if filled is None:
        reading.need(
            f"scheduler {kind} with these parameters gives no curve that can be told.",
            f"调度器 {kind} 及其参数无法给出曲线。",
        )
        return reading
    reading.facts |= {"peak": filled.applied.peak, "updates": updates}
    reading.roles.append(Role("model", filled.applied, filled.warmup, None, None, None if not total else float(total)))
    return reading
