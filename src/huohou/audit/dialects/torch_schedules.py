"""The schedulers of ``torch.optim.lr_scheduler`` as applied curves, as of 2.13: update u stands at i = u − 1.

They write the learning rate of a group from its initial one; ``peak`` is that, and values are multiples of it. None of
them says at what update the run ends, so the curves here are made for a number of updates that is told to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from huohou.audit.applied import Applied, Piece


def linear(peak: float, updates: int, start: float = 1 / 3, end: float = 1.0, length: float = 5) -> Applied:
    """``LinearLR``: from one factor to another over ``total_iters``, then the second."""
    if length <= 0:
        return Applied(peak, updates, (Piece(0, "hold", end),))
    return Applied(peak, updates, (Piece(0, "linear", start, end, length), Piece(length, "hold", end)))


def constant(peak: float, updates: int, factor: float = 1 / 3, length: float = 5) -> Applied:
    """``ConstantLR``: a factor for ``total_iters``, then none."""
    return Applied(peak, updates, (Piece(0, "hold", factor), Piece(length, "hold", 1.0)))


def cosine(peak: float, updates: int, length: float, least: float = 0.0) -> Applied:
    """``CosineAnnealingLR``: to ``eta_min`` at ``T_max``, and up again after it."""
    return Applied(peak, updates, (Piece(0, "cosine", 1.0, least / peak, length),), end=length, past="goes on")


def exponential(peak: float, updates: int, gamma: float) -> Applied:
    """``ExponentialLR``: times gamma with every step."""
    return Applied(peak, updates, (Piece(0, "geometric", 1.0, parameter=gamma),))


def stairs(peak: float, updates: int, size: float, gamma: float) -> Applied:
    """``StepLR``: times gamma every so many positions."""
    return Applied(peak, updates, (Piece(0, "stairs", 1.0, span=size, parameter=gamma),))


def steps(peak: float, updates: int, places: Sequence[float], gamma: float) -> Applied:
    """``MultiStepLR``: times gamma at each of these positions."""
    pieces = [Piece(0, "hold", 1.0)]
    for number, place in enumerate(sorted(places), 1):
        pieces.append(Piece(place, "hold", gamma**number))
    return Applied(peak, updates, tuple(pieces))


def polynomial(peak: float, updates: int, length: float = 5, power: float = 1.0) -> Applied:
    """``PolynomialLR``: to 0 at ``total_iters``, then 0."""
    return Applied(peak, updates, (Piece(0, "power", 1.0, 0.0, length, parameter=power), Piece(length, "hold", 0.0)))


def one_cycle(
    peak: float, updates: int, length: float, share: float = 0.3, divisor: float = 25.0, last: float = 1e4,
    way: str = "cos",
) -> Applied:  # fmt: skip
    """``OneCycleLR`` of two phases: up from peak / divisor, down to peak / divisor / last; past its end it raises."""
    shape = "linear" if way == "linear" else "cosine"
    turn, end = share * length - 1, length - 1
    start = 1.0 / divisor
    pieces = [
        Piece(0, shape, start, 1.0, turn if turn > 0 else 1e-9),
        Piece(turn if turn > 0 else 0.0, shape, 1.0, start / last, end - turn, origin=turn),
    ]
    return Applied(peak, updates, tuple(pieces), end=length, past="raises")


def sequence(peak: float, updates: int, curves: Sequence[Applied], milestones: Sequence[float]) -> Applied:
    """``SequentialLR``: each scheduler begins at its own 0 where the one before it ends."""
    pieces: list[Piece] = []
    begins = [0.0, *milestones]
    for place, (curve, begin) in enumerate(zip(curves, begins, strict=True)):
        until = begins[place + 1] if place + 1 < len(begins) else float("inf")
        scale = curve.peak / peak
        for piece in curve.pieces:
            if piece.first + begin >= until:
                continue
            pieces.append(
                replace(
                    piece,
                    first=piece.first + begin,
                    origin=(piece.first if piece.origin is None else piece.origin) + begin,
                    start=piece.start * scale,
                    end=piece.end * scale,
                )
            )
    return Applied(peak, updates, tuple(pieces))
