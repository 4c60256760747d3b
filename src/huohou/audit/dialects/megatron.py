"""Megatron-LM: ``OptimizerParamScheduler`` from its command line. It counts samples: one update adds a global batch.

Warmup from ``--lr-warmup-init``; a fraction is one of ``--lr-decay-iters`` and is not rounded; what follows the decay
holds ``--min-lr``. Update u uses the position of u − 1 batches.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied
from huohou.audit.dialects.tokens import note
from huohou.audit.dialects.tokens import updates as tokens_to_updates
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "megatron"
title = "Megatron-LM"

_OWN = (
    "lr_warmup_iters",
    "lr_warmup_samples",
    "lr_warmup_fraction",
    "lr_warmup_init",
    "lr_decay_iters",
    "lr_decay_samples",
    "lr_decay_style",
    "lr_wsd_decay_iters",
    "lr_wsd_decay_style",
    "train_iters",
    "train_samples",
    "global_batch_size",
    "micro_batch_size",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "rampup_batch_size",
    "override_opt_param_scheduler",
    "use_checkpoint_opt_param_scheduler",
    "seq_length",
    "num_attention_heads",
)


_TRAINS = ("lr", "min_lr", "train_iters", "train_samples", *(key for key in _OWN if key.startswith("lr_")))


def _candidates(document: Document) -> list[Settings]:
    if document.settings is None:
        return document.commands
    # YAML files of recipes write the flags with dashes, at the top or under MODEL_ARGS.
    found = document.settings
    values = {key.rsplit(".", 1)[-1].lstrip("-").replace("-", "_"): value for key, value in found.values.items()}
    return [Settings(values, found.name, found.line)]


def _swift(settings: Settings) -> bool:
    """Whether it is a command of ms-swift's ``megatron sft``."""
    return settings.name.rsplit("/", 1)[-1] == "megatron"


def _own(settings: Settings) -> int:
    found = sum(key in settings for key in _OWN)
    if not _swift(settings) and not any(key in settings for key in _TRAINS):
        # Serving, text generation and evaluation share the flags of the model.
        return 0
    return found + 3 if found and _swift(settings) else found


def sees(document: Document) -> int:
    """Several of its flags in one command or file."""
    most = max((_own(each) for each in _candidates(document)), default=0)
    return 0 if most < 3 else min(95, 45 + 8 * most)


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each command that trains."""
    return [_read(each, given) for each in _candidates(document) if _own(each) >= 3]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    # ``megatron sft`` of ms-swift has defaults of its own, and counts epochs.
    swift = _swift(settings)
    style = settings.text("lr_decay_style") or ("cosine" if swift else "linear")
    peak = settings.number("lr")
    batch = settings.whole("global_batch_size") or (16 if swift else None)
    if swift and peak is None:
        peak = 1e-5 if settings.text("tuner_type", "train_type") == "full" else 1e-4
        reading.assume(f"no --lr: ms-swift's default {peak:g}.", f"没有 --lr：取 ms-swift 的默认值 {peak:g}。")
    samples, iters = settings.whole("train_samples"), settings.whole("train_iters")
    by_samples = samples is not None
    reading.facts |= {
        "family": "megatron",
        "framework": name,
        "scheduler": style,
        "unit": "samples" if by_samples else "iterations",
    }
    if batch is None:
        micro = settings.whole("micro_batch_size") or 1
        batch = micro * (given.gpus or 1) * (given.accumulation or 1)
        if by_samples:
            reading.assume(f"a global batch of {batch} samples.", f"全局批大小为 {batch} 个样本。")
    if peak is None:
        reading.need("--lr is not written, or not as a number.", "没有写 --lr，或不是数字。")
        return reading
    length = settings.whole("seq_length")
    per_update = float(batch * length) if length else None
    note(reading, per_update)
    updates = given.updates or tokens_to_updates(given, reading, per_update)
    updates = updates or iters or (math.ceil(samples / batch) if samples is not None else None)
    if updates is None and swift and given.samples is not None:
        epochs = settings.whole("num_train_epochs", "max_epochs") or 1
        updates = given.samples * epochs // batch or None
        reading.assume(f"{given.samples} samples in batches of {batch}.", f"{given.samples} 个样本，批大小 {batch}。")
    if updates is None:
        reading.need(
            "how many updates: give --updates (or --samples for megatron sft).",
            "更新步数未知：请给出 --updates（megatron sft 也可给 --samples）。",
        )
        return reading
    # Iterations are multiplied by the global batch: what is counted are samples.
    unit = batch
    run = samples if samples is not None else (iters or updates) * unit
    decay = settings.number("lr_decay_samples") if by_samples else settings.number("lr_decay_iters")
    decay = float(run if decay is None else decay * (1 if by_samples else unit))
    fraction = settings.number("lr_warmup_fraction")
    written = settings.number("lr_warmup_samples") if by_samples else settings.number("lr_warmup_iters")
    warmup = float(fraction) * decay if fraction is not None else float(written or 0.0) * (1 if by_samples else unit)
    least, start = float(settings.number("min_lr") or 0.0), float(settings.number("lr_warmup_init") or 0.0)
    reading.facts |= {
        "peak": float(peak),
        "floor": least,
        "warmup_fraction": fraction,
        "decay_length": decay,
        "updates": updates,
    }
    if warmup >= decay:
        reading.refused = Text(
            "Megatron-LM asserts that the warmup is shorter than the decay, so this run does not start.",
            "Megatron-LM 断言预热短于衰减长度，因此该训练无法启动。",
        )
    curve = _curve(settings, style, float(peak), warmup, decay, least, start, updates, float(unit), by_samples)
    reading.roles.append(Role("model", curve, warmup / unit, None, settings.text("load"), decay / unit))
    return reading


def _curve(
    settings: Settings,
    style: str,
    peak: float,
    warmup: float,
    decay: float,
    least: float,
    start: float,
    updates: int,
    unit: float,
    by_samples: bool,
) -> Applied:
    floor = least / peak if peak else 0.0
    pieces: list[Piece] = []
    if warmup > 0:
        pieces.append(Piece(0, "linear", start / peak if peak else 0.0, 1.0, warmup))
    # The warmup holds up to and with its last position.
    after = math.nextafter(warmup, math.inf) if warmup > 0 else 0.0
    end = math.nextafter(decay, math.inf)
    rest = max(decay - warmup, 1e-300)
    match style:
        case "constant":
            return Applied(peak, updates, (*pieces, Piece(after, "hold", 1.0)), scale=unit)
        case "linear":
            pieces.append(Piece(after, "linear", 1.0, floor, rest, origin=warmup))
        case "cosine":
            pieces.append(Piece(after, "cosine", 1.0, floor, rest, origin=warmup))
        case "inverse-square-root":
            # max_lr · √max(W, 1) / √max(n, 1), not below the least.
            least_position = max(warmup, 1.0)
            if after < 1.0:
                pieces.append(Piece(after, "hold", 1.0))
                after = 1.0
            pieces.append(
                Piece(after, "inverse sqrt", 1.0, origin=least_position, parameter=least_position, lowest=floor)
            )
        case "WSD":
            tail = settings.number("lr_wsd_decay_samples") if by_samples else settings.number("lr_wsd_decay_iters")
            tail = float(tail or 0.0) * (1.0 if by_samples else unit)
            way = settings.text("lr_wsd_decay_style") or "exponential"
            begin = max(decay - tail, 0.0)
            pieces.append(Piece(after, "hold", 1.0))
            shape = {"linear": "linear", "cosine": "cosine", "exponential": "exponential", "minus_sqrt": "1-sqrt"}.get(
                way, "linear"
            )
            parameter = 0.5
            pieces.append(
                Piece(
                    max(after, math.nextafter(begin, math.inf)),
                    shape,
                    1.0,
                    floor,
                    max(tail, 1e-300),
                    origin=begin,
                    parameter=parameter,
                )
            )
        case _:
            pieces.append(Piece(after, "hold", 1.0))
    pieces.append(Piece(max(end, after), "hold", floor))
    return Applied(peak, updates, tuple(pieces), scale=unit)
