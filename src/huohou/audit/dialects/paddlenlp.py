"""PaddleNLP and PaddleFormers: their Trainer's arguments in JSON, YAML or on a command line.

The Trainer floors the updates of an epoch and the warmup (``int(ratio · T)``), and ``warmup_steps`` above 0 go before
the ratio. ``run_pretrain.py`` makes a scheduler of its own down to ``min_learning_rate``, which begins at position 1,
so that update 1 uses 1/W, and whose share of warmup is not rounded.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied
from huohou.audit.dialects import transformers_schedules
from huohou.audit.dialects.intended import intended
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "paddlenlp"
title = "PaddleNLP"

_OWN = (
    "tensor_parallel_degree",
    "pipeline_parallel_degree",
    "sharding_parallel_degree",
    "sep_parallel_degree",
    "sharding",
    "sharding_parallel_config",
    "pipeline_parallel_config",
    "tensor_parallel_config",
    "virtual_pp_degree",
    "sequence_parallel",
    "recompute",
    "recompute_granularity",
    "unified_checkpoint",
    "fp16_opt_level",
    "distributed_dataloader",
    "src_length",
    "zero_padding",
    "use_fused_rms_norm",
    "use_flash_attention",
    "dataset_name_or_path",
    "fuse_attention_qkv",
    "min_learning_rate",
)
_TYPES = ("linear", "cosine", "constant", "constant_with_warmup", "polynomial")


_MEGATRON = ("micro_batch_size", "lr_warmup_fraction", "lr_warmup_iters", "train_iters", "lr", "lr_decay_style")


def _own(settings: Settings) -> int:
    if any(key in settings for key in _MEGATRON):
        return 0
    trains = "learning_rate" in settings or "max_steps" in settings or "num_train_epochs" in settings
    return sum(key in settings for key in _OWN) if trains else 0


def _candidates(document: Document) -> list[Settings]:
    return [document.settings] if document.settings is not None else document.commands


def sees(document: Document) -> int:
    """Several of the words that only its Trainer has."""
    if document.module is not None:
        return 0
    most = max((_own(each) for each in _candidates(document)), default=0)
    return 0 if most < 2 else min(94, 60 + 5 * most)


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for the file, or for each command."""
    return [_read(each, given) for each in _candidates(document) if _own(each) >= 2]


def _pretrains(settings: Settings) -> bool:
    """``run_pretrain.py``: it alone reads tokens from ``input_dir``."""
    return "input_dir" in settings or "min_learning_rate" in settings or "run_pretrain" in settings.name


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    pretrains = _pretrains(settings)
    kind = (settings.text("lr_scheduler_type") or "linear").rsplit(".", 1)[-1].lower()
    peak = settings.number("learning_rate")
    if peak is None:
        peak = 5e-5
        reading.assume(
            "no learning_rate: PaddleNLP's default 5e-05.", "没有 learning_rate：取 PaddleNLP 的默认值 5e-05。"
        )
    peak = float(peak)
    accumulation = given.accumulation or settings.whole("gradient_accumulation_steps") or 1
    steps, ratio = settings.number("warmup_steps") or 0, float(settings.number("warmup_ratio") or 0.0)
    reading.facts |= {
        "family": "paddlenlp", "framework": name, "scheduler": kind, "peak": peak, "warmup_ratio": ratio,
        "accumulation": accumulation,
    }  # fmt: skip
    if kind not in _TYPES:
        reading.need(
            f"lr_scheduler_type {kind!r} is not one of PaddleNLP's: {', '.join(_TYPES)}.",
            f"lr_scheduler_type {kind!r} 不是 PaddleNLP 的类型：{'、'.join(_TYPES)}。",
        )
        return reading
    horizon = _length(settings, given, reading, accumulation)
    updates = given.updates or horizon
    if not updates:
        reading.need(
            "how many updates: give --updates, or --samples (with --gpus where there are several).",
            "更新步数未知：请给出 --updates，或 --samples（多卡时加 --gpus）。",
        )
        return reading
    horizon = horizon or updates
    share = ratio * horizon
    warmup = float(steps) if steps > 0 else (share if pretrains and kind in ("linear", "cosine") else float(int(share)))
    if kind == "constant":
        warmup = 0.0
    decay = settings.whole("decay_steps") or horizon
    # What was written, as the rules about both words have it.
    reading.facts |= {"warmup_steps": float(steps), "horizon": decay}
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            settings.find("warmup_steps", "warmup_ratio"),
            Text(f"of {horizon} updates: W = {warmup:g}", f"共 {horizon} 步：W = {warmup:g}"),
        )
    )
    if pretrains and kind in ("linear", "cosine"):
        curve, floor = _annealing(settings, reading, kind, peak, warmup, float(decay), updates)
    else:
        kwargs = {key: settings.get(key) for key in ("num_cycles", "lr_end", "power") if settings.get(key) is not None}
        floor = float(settings.number("min_lr") or 0.0) / peak if peak else 0.0
        # PaddleFormers' cosine has a floor.
        own = kind if kind != "cosine" or not floor else "cosine_with_min_lr"
        curve = transformers_schedules.applied(own, peak, warmup, decay, updates, {**kwargs, "min_lr_rate": floor})
    reading.facts["floor"] = floor
    meant = intended(
        "cosine_with_min_lr" if kind == "cosine" else kind, peak, int(warmup), updates, {"min_lr_rate": floor}
    )
    model = settings.text("model_name_or_path")
    reading.roles.append(
        Role("model", curve, warmup, meant if kind != "linear" or not floor else None, model, float(decay))
    )
    return reading


def _length(settings: Settings, given: Given, reading: Reading, accumulation: int) -> int | None:
    """``max_steps``, or the epochs of as many updates as are whole."""
    most = settings.whole("max_steps")
    if most is not None and most > 0:
        return most
    if given.samples is None:
        return None
    model = (settings.whole("tensor_parallel_degree") or 1) * (settings.whole("pipeline_parallel_degree") or 1)
    replicas = max(1, (given.gpus or 1) // max(1, model))
    batch = settings.whole("per_device_train_batch_size") or 8
    micro = math.ceil(given.samples / (replicas * batch))
    epochs = settings.number("num_train_epochs")
    reading.assume(
        f"{given.samples} samples over {replicas} replicas of {batch} make {micro} micro-batches an epoch.",
        f"{given.samples} 个样本，{replicas} 个副本、每个 {batch}，每轮 {micro} 个微批。",
    )
    return int(max(1, micro // accumulation) * (1.0 if epochs is None else epochs))


def _annealing(
    settings: Settings, reading: Reading, kind: str, peak: float, warmup: float, decay: float, updates: int
) -> tuple[Applied, float]:
    """``LinearAnnealingWithWarmupDecay`` and its cosine: update u stands at u, and after the decay comes the floor."""
    least = settings.number("min_learning_rate", "min_lr")
    if least is None:
        least = 1e-5
        reading.assume(
            "no min_learning_rate: run_pretrain.py's default 1e-05.",
            "没有 min_learning_rate：取 run_pretrain.py 的默认值 1e-05。",
        )
    floor = float(least) / peak
    rise = (Piece(0, "linear", 0.0, 1.0, warmup),) if warmup > 0 else ()
    first = math.nextafter(warmup, math.inf) if warmup > 0 else 0.0
    fall = Piece(first, kind, 1.0, floor, max(decay - warmup, 1e-300), origin=warmup)
    after = Piece(max(first, math.nextafter(decay, math.inf)), "hold", floor)
    return Applied(peak, updates, (*rise, fall, after), offset=1.0), floor
