"""litgpt: one YAML file. Pretraining sets the rate anew before every micro-batch; finetuning once in an update.

In pretraining an update is made with the rate of its last micro-batch, which stands at it = G · u − 1 for an
accumulation of G. Finetuning chains i / W with a cosine to 0 over T − W, and its ``min_lr`` is not used.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied
from huohou.audit.dialects import transformers_schedules
from huohou.audit.dialects.tokens import note
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "litgpt"
title = "litgpt"

_OWN = ("train.global_batch_size", "train.micro_batch_size", "train.lr_warmup_steps", "train.save_interval",
        "train.log_interval", "eval.interval", "train.max_tokens", "train.tie_embeddings", "train.min_lr")  # fmt: skip


def sees(document: Document) -> int:
    """Several of the words of its ``train`` section; three are enough beside one of its checkpoint folders."""
    settings = document.settings
    own = 0 if settings is None else sum(key in settings for key in _OWN)
    enough = 3 if settings is not None and ("checkpoint_dir" in settings or "out_dir" in settings) else 4
    return 0 if own < enough else min(95, 60 + 5 * own)


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
    length = settings.whole("train.max_seq_length")
    note(reading, float(gpus * micro * accumulation * length) if length else None)
    iterations = _iterations(settings, given, gpus, micro, accumulation, pretrains)
    updates = None if iterations is None else iterations // accumulation or None
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
        assert iterations is not None
        first, last = float(min(iterations, warmup * accumulation)), float(iterations)
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


def _iterations(
    settings: Settings, given: Given, gpus: int, micro: int, accumulation: int, pretrains: bool
) -> int | None:
    """The micro-batches of the run on a process. Pretraining counts its tokens and does not stop at ``max_steps``."""
    if given.updates is not None:
        return given.updates * accumulation
    most = settings.whole("train.max_steps")
    if not pretrains:
        if given.samples is None:
            return None if most is None else most * accumulation
        per_epoch = math.ceil(given.samples / (gpus * micro)) // accumulation
        updates = (settings.whole("train.epochs") or 1) * per_epoch
        return min(updates, updates if most is None else most) * accumulation
    tokens, length = given.tokens or settings.whole("train.max_tokens"), settings.whole("train.max_seq_length")
    if tokens is not None and length:
        return tokens // gpus // (micro * length)
    if given.samples is not None:
        return math.ceil(given.samples / (gpus * micro))
    return None if most is None else most * accumulation
