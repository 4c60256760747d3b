"""litgpt: one YAML file. Pretraining sets the rate anew before every micro-batch; finetuning once in an update.

In pretraining an update is made with the rate of its last micro-batch, which stands at it = G · u − 1 for an
accumulation of G. Finetuning chains i / W with a cosine to 0 over T − W, and its ``min_lr`` is not used.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied, Piece
from huohou.audit.dialects import transformers_schedules
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "litgpt"
title = "litgpt"

_OWN = ("train.global_batch_size", "train.micro_batch_size", "train.lr_warmup_steps", "train.save_interval",
        "train.log_interval", "eval.interval", "train.max_tokens", "train.tie_embeddings", "train.min_lr")  # fmt: skip


def sees(document: Document) -> int:
    """Several of the words of its ``train`` section."""
    settings = document.settings
    own = 0 if settings is None else sum(key in settings for key in _OWN)
    return 0 if own < 4 else min(95, 60 + 5 * own)


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file."""
    assert document.settings is not None
    return [_read(document.settings, given)]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    pretrains = "tokenizer_dir" in settings or "initial_checkpoint_dir" in settings or "model_name" in settings
    peak = settings.number("optimizer.init_args.lr")
    gpus = given.gpus or settings.whole("devices") or 1
    whole, micro = settings.whole("train.global_batch_size") or 1, settings.whole("train.micro_batch_size") or 1
    accumulation = given.accumulation or max(1, whole // gpus // micro)
    warmup = settings.whole("train.lr_warmup_steps")
    warmup = 100 if warmup is None else warmup
    updates = given.updates or settings.whole("train.max_steps") or _counted(settings, given, gpus, micro, accumulation)
    reading.facts |= {
        "family": "litgpt", "framework": name, "scheduler": "cosine", "warmup_steps": warmup,
        "accumulation": accumulation,
    }  # fmt: skip
    if not peak:
        reading.need("optimizer.init_args.lr is not written as a number.", "optimizer.init_args.lr 没有写成数字。")
        return reading
    if updates is None:
        reading.need(
            "how many updates: give --updates, or --samples or --tokens.",
            "更新步数未知：请给出 --updates，或 --samples、--tokens。",
        )
        return reading
    peak = float(peak)
    reading.facts["peak"] = peak
    reading.assume(
        f"{accumulation} micro-batches an update on {gpus} processes.", f"{gpus} 个进程，每步 {accumulation} 个微批。"
    )
    if pretrains:
        least = float(settings.number("train.min_lr") or 0.0) / peak
        first, last = float(warmup * accumulation), float(updates * accumulation)
        rise = (Piece(0, "linear", 0.0, 1.0, first),) if first > 0 else ()
        fall = Piece(first, "cosine", 1.0, least, max(1.0, last - first))
        after = Piece(max(first, math.nextafter(last, math.inf)), "hold", least)
        curve = Applied(peak, updates, (*rise, fall, after), offset=accumulation - 1.0, scale=float(accumulation))
    else:
        curve = transformers_schedules.applied("cosine", peak, warmup, updates, updates)
        if settings.number("train.min_lr"):
            reading.assume("finetuning does not use min_lr: it ends at 0.", "微调不使用 min_lr：最后降到 0。")
    model = settings.text("model_name", "checkpoint_dir")
    reading.roles.append(Role("model", curve, float(warmup), None, model, float(updates)))
    return reading


def _counted(settings: Settings, given: Given, gpus: int, micro: int, accumulation: int) -> int | None:
    epochs = settings.whole("train.epochs") or 1
    if given.samples is not None:
        return epochs * math.ceil(given.samples / (gpus * micro)) // accumulation
    tokens = given.tokens or settings.whole("train.max_tokens")
    length = settings.whole("train.max_seq_length")
    if tokens is None or length is None:
        return None
    return tokens // (gpus * micro * length) // accumulation
