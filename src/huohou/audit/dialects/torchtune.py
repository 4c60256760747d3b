"""torchtune: one YAML file. Its schedule is the Transformers' cosine over epochs × ⌊micro-batches / accumulation⌋."""

from __future__ import annotations

from huohou.audit.applied import Applied
from huohou.audit.dialects import transformers_schedules
from huohou.audit.dialects.intended import intended
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "torchtune"
title = "torchtune"


def sees(document: Document) -> int:
    """Components of its own."""
    settings = document.settings
    if settings is None or "optimizer._component_" not in settings:
        return 0
    own = sum("torchtune" in value.written for key, value in settings.values.items() if key.endswith("_component_"))
    return 95 if own >= 2 else 0


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file; of a file that trains nothing, none."""
    assert document.settings is not None
    return [_read(document.settings, given)]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    peak = settings.number("optimizer.lr")
    component = settings.text("lr_scheduler._component_") or ""
    accumulation = given.accumulation or settings.whole("gradient_accumulation_steps") or 1
    epochs, most = settings.whole("epochs") or 1, settings.whole("max_steps_per_epoch")
    warmup = settings.whole("lr_scheduler.num_warmup_steps") or 0
    reading.facts |= {
        "family": "transformers", "framework": name, "scheduler": "cosine" if component else "constant",
        "warmup_steps": warmup, "accumulation": accumulation, "epochs": epochs,
    }  # fmt: skip
    if not peak or (component and not component.endswith("get_cosine_schedule_with_warmup")):
        reading.need("the optimizer's lr or the scheduler cannot be read.", "无法读出优化器的 lr 或调度器。")
        return reading
    horizon = None
    if given.samples is not None:
        # The loader drops what does not fill a batch, and the recipe what does not fill an accumulation.
        gpus = given.gpus or 1
        per_epoch = given.samples // (gpus * (settings.whole("batch_size") or 1)) // accumulation
        horizon = epochs * (per_epoch if not most else min(per_epoch, most))
        reading.assume(f"{given.samples} samples over {gpus} processes.", f"{given.samples} 个样本，{gpus} 个进程。")
    elif given.updates is None and most:
        horizon = epochs * most
        reading.assume(
            f"the data fill max_steps_per_epoch: {most} updates an epoch.", f"数据足够每轮 {most} 个更新步。"
        )
    updates = given.updates or horizon
    if not updates:
        reading.need(
            "how many updates: give --updates, or --samples with --gpus.",
            "更新步数未知：请给出 --updates，或 --samples 与 --gpus。",
        )
        return reading
    horizon = horizon or updates
    peak = float(peak)
    if component:
        curve = transformers_schedules.applied("cosine", peak, warmup, horizon, updates)
    else:
        curve, warmup = Applied(peak, updates, (Piece(0, "hold", 1.0),)), 0
    reading.facts["peak"] = peak
    model = settings.text("model._component_")
    meant = intended("cosine" if component else "constant", peak, warmup, updates, {})
    reading.roles.append(Role("model", curve, float(warmup), meant, model, float(horizon)))
    return reading
