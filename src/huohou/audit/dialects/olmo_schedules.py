"""The schedulers of OLMo-core (``olmo_core.optim.scheduler``) and of OLMo before it, as applied curves.

They are functions of c, the updates or tokens that are made when the rate is set: the step is counted first, so update
u stands at c = u, or u times the tokens of a batch, and none is at zero. Floors of warmup and decay are absolute rates,
``alpha_f`` is a share. Past ``t_max`` the cosine and the line hold their floor; WSD and the power law go below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from huohou.audit.applied import Applied
from huohou.audit.pieces import Piece


@dataclass(frozen=True, slots=True)
class Words:
    """What a scheduler is written with; lengths in its own units, resolved.

    Attributes:
        kind: The class's name, such as ``CosWithWarmup``.
        warmup, decay: W and D.
        end: ``t_max``.
        run: The trainer's own end, from which ``CosWithWarmupAndLinearDecay`` counts its decay back.
        floor: ``alpha_f``, a share of the peak.
        start, last: ``warmup_min_lr`` and ``decay_min_lr``, rates.
        exponent: That of the power law.
    """

    kind: str
    warmup: float
    end: float
    decay: float = 0.0
    floor: float = 0.1
    start: float = 0.0
    last: float = 0.0
    exponent: float = -0.51
    run: float | None = None


KINDS = (
    "ConstantScheduler",
    "ConstantWithWarmup",
    "LinearWithWarmup",
    "CosWithWarmup",
    "HalfCosWithWarmup",
    "InvSqrtWithWarmup",
    "CosWithWarmupAndLinearDecay",
    "WSD",
    "PowerLR",
    "ExponentialScheduler",
)


def pieces(words: Words, peak: float) -> tuple[Piece, ...]:
    """The pieces over c, in multiples of ``peak``, which is the group's initial rate."""
    warmup, end, floor = words.warmup, words.end, words.floor
    hold = Piece(0, "hold", 1.0)
    if words.kind == "ConstantScheduler":
        return (hold,)
    if words.kind == "ExponentialScheduler":
        least = words.start / peak
        grow = Piece(0, "formula", 1.0, function=lambda c: least * (1.0 / least) ** (c / end))
        return grow, Piece(end, "hold", 1.0)
    top = floor + (1.0 - floor) / 2.0 if words.kind == "HalfCosWithWarmup" else 1.0
    rise = (Piece(0, "linear", words.start / peak, top, warmup),) if warmup > 0 else ()
    rest = max(end - warmup, 1e-300)
    after = Piece(max(end, warmup), "hold", floor)
    match words.kind:
        case "ConstantWithWarmup":
            return *rise, Piece(warmup, "hold", 1.0)
        case "LinearWithWarmup":
            return *rise, Piece(warmup, "linear", 1.0, floor, rest), after
        case "CosWithWarmup":
            return *rise, Piece(warmup, "cosine", 1.0, floor, rest), after
        case "HalfCosWithWarmup":
            # The second half of a cosine twice as long.
            return *rise, Piece(warmup, "cosine", 1.0, floor, 2.0 * rest, origin=warmup - rest), after
        case "InvSqrtWithWarmup":
            falls: Callable[[float], float] = lambda c: floor + (1.0 - floor) * math.sqrt(warmup / c)  # noqa: E731
            return *rise, Piece(warmup, "formula", 1.0, origin=0.0, function=falls)
        case "CosWithWarmupAndLinearDecay":
            begin = (end if words.run is None else words.run) - words.decay
            whole = pieces(replace(words, kind="CosWithWarmup"), peak)
            joined = _at(whole, begin)
            tail = Piece(begin, "linear", joined, words.last / peak, max(words.decay, 1e-300))
            return *(piece for piece in whole if piece.first < begin), tail
        case "PowerLR":
            power: Callable[[float], float] = lambda c: (c / warmup) ** words.exponent  # noqa: E731
            first = math.nextafter(warmup, math.inf)
            begin = max(end - words.decay, first)
            tail = Piece(
                begin, "linear", power(end - words.decay), words.last / peak, words.decay, origin=end - words.decay
            )
            return *rise, Piece(first, "formula", 1.0, origin=0.0, function=power), tail
        case _:
            # The warmup goes before the decay where both meet.
            begin = end - words.decay
            first = math.nextafter(warmup, math.inf) if warmup > 0 else 0.0
            tail = Piece(max(begin, first), "linear", 1.0, words.last / peak, words.decay, origin=begin)
            return *rise, Piece(warmup, "hold", 1.0), tail


def _at(curve: tuple[Piece, ...], position: float) -> float:
    return Applied(1.0, 1, curve, offset=position).value(1)


def sequence(parts: list[tuple[Words, float]], peak: float) -> tuple[Piece, ...]:
    """``SequentialScheduler``: each begins at its own 0 behind the one before it, from the rate that that one ended at.

    Args:
        parts: Each scheduler and the length it runs for; that of the last one is not looked at.
        peak: The group's initial rate.
    """
    found: list[Piece] = []
    begin, top = 0.0, 1.0
    for place, (words, length) in enumerate(parts):
        # Up to and with its last position it is the earlier one's.
        first = begin if place == 0 else math.nextafter(begin, math.inf)
        own = pieces(words, peak * top)
        until = begin + length if place + 1 < len(parts) else math.inf
        for piece in own:
            if piece.first + begin > until:
                continue
            origin = (piece.first if piece.origin is None else piece.origin) + begin
            found.append(
                replace(
                    piece,
                    first=max(first, piece.first + begin),
                    origin=origin,
                    start=piece.start * top,
                    end=piece.end * top,
                )
            )
        top *= _at(own, length) if place + 1 < len(parts) else 1.0
        begin += length
    return tuple(found)
