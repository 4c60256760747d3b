"""timm's schedulers (``timm.scheduler``, 1.0.31) as functions of t, which is an update or an epoch, from 0.

Unless ``warmup_prefix`` is set the warmup lies over the decay, which has gone on meanwhile when it ends: the rate jumps
down and the peak is never used. Rates are absolute; what is given here are multiples of the base rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KINDS = (
    "CosineLRScheduler",
    "PolyLRScheduler",
    "TanhLRScheduler",
    "StepLRScheduler",
    "MultiStepLRScheduler",
    "WSDLRScheduler",
)


@dataclass(frozen=True, slots=True)
class Words:
    """The arguments of a scheduler; ``least`` and ``start`` are multiples of the base rate."""

    kind: str
    length: float
    least: float = 0.0
    warmup: float = 0.0
    start: float = 0.0
    prefix: bool = False
    cycle_mul: float = 1.0
    cycle_decay: float = 1.0
    cycle_limit: int = 1
    k_decay: float = 1.0
    power: float = 0.5
    low: float = -7.0
    high: float = 3.0
    decay: float = 1.0
    rate: float = 1.0
    places: Sequence[float] = ()
    stable: str = "constant"
    timescale: float | None = None
    shape: str = "1-sqrt"


def value(words: Words) -> Callable[[float], float]:
    """The multiple of the base rate at t."""
    decayed = _decayed(words)
    # The warmup of the tangent goes to where its decay stands at the warmup's end.
    top = decayed(words.warmup) if words.kind == "TanhLRScheduler" and not words.prefix and words.warmup else 1.0
    prefix = words.prefix or words.kind == "WSDLRScheduler"

    def at(t: float) -> float:
        if t < words.warmup:
            return words.start + t * ((top - words.start) / words.warmup)
        return decayed(t - words.warmup if prefix else t)

    return at


def _decayed(words: Words) -> Callable[[float], float]:
    if words.kind == "StepLRScheduler":
        return lambda t: words.rate ** (t // words.decay)
    if words.kind == "MultiStepLRScheduler":
        return lambda t: words.rate ** sum(place <= t + 1 for place in words.places)
    if words.kind == "WSDLRScheduler":
        return _stable(words)

    def at(t: float) -> float:
        mul = words.cycle_mul
        if mul != 1:
            cycle = math.floor(math.log(1 - t / words.length * (1 - mul), mul))
            length = mul**cycle * words.length
            here = t - (1 - mul**cycle) / (1 - mul) * words.length
        else:
            cycle, length = t // words.length, words.length
            here = t - words.length * cycle
        if cycle >= words.cycle_limit:
            return words.least
        top = words.cycle_decay**cycle - words.least
        share = here**words.k_decay / length**words.k_decay
        if words.kind == "PolyLRScheduler":
            return words.least + top * (1 - share) ** words.power
        if words.kind == "TanhLRScheduler":
            share = here / length
            return words.least + 0.5 * top * (1 - math.tanh(words.low * (1.0 - share) + words.high * share))
        return words.least + 0.5 * top * (1 + math.cos(math.pi * share))

    return at


def _stable(words: Words) -> Callable[[float], float]:
    hold = words.length - words.decay

    def held(t: float) -> float:
        if words.stable != "rsqrt":
            return 1.0
        scale = words.timescale or words.warmup or 1.0
        return 1.0 / math.sqrt(1.0 + t / scale)

    def at(t: float) -> float:
        if t < hold:
            return max(held(t), words.least)
        share = min(1.0, (t - hold) / words.decay)
        # What is held before goes on falling under the decay.
        top = max(held(t), words.least)
        way: float = {"linear": 1 - share, "cosine": 0.5 * (1 + math.cos(math.pi * share))}.get(
            words.shape, 1.0 - math.sqrt(share)
        )
        return words.least + (top - words.least) * way

    return at
