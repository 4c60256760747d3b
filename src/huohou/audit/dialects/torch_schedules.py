"""The schedulers of ``torch.optim.lr_scheduler`` as applied curves, as of 2.13: update u stands at i = u − 1.

They write the learning rate of a group from its initial one; ``peak`` is that, and values are multiples of it. None of
them says at what update the run ends, so the curves here are made for a number of updates that is told to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from huohou.audit.applied import Applied
from huohou.audit.pieces import Piece


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
    way: str = "cos", three: bool = False,
) -> Applied:  # fmt: skip
    """``OneCycleLR``: up from peak / divisor, down to peak / divisor / last, in three phases back to where it began
    first; past its end it raises."""
    shape = "linear" if way == "linear" else "cosine"
    start = 1.0 / divisor
    turns = [(share * length - 1, 1.0), (2 * share * length - 2, start)] if three else [(share * length - 1, 1.0)]
    pieces: list[Piece] = []
    begin, value = 0.0, start
    for turn, after in (*turns, (length - 1, start / last)):
        span = turn - begin
        pieces.append(Piece(max(0.0, begin), shape, value, after, span if span > 0 else 1e-9, origin=begin))
        begin, value = turn, after
    return Applied(peak, updates, tuple(pieces), end=length, past="raises")


def warm_restarts(peak: float, updates: int, length: float, factor: float = 1.0, least: float = 0.0) -> Applied:
    """``CosineAnnealingWarmRestarts``: cosines to ``eta_min``, each ``T_mult`` times as long as the one before."""
    return Applied(peak, updates, (Piece(0, "warm restarts", 1.0, least / peak, length, parameter=factor),))


def cyclic(
    base: float, peak: float, updates: int, up: float = 2000, down: float | None = None, mode: str = "triangular",
    gamma: float = 1.0,
) -> Applied:  # fmt: skip
    """``CyclicLR``: from ``base_lr`` to ``max_lr`` and back, for ever; ``peak`` is ``max_lr``."""
    span = up + (up if down is None else down)
    more = (0.0, 0.0, 0.5 if mode == "triangular2" else 1.0, gamma if mode == "exp_range" else 1.0)
    return Applied(peak, updates, (Piece(0, "cycle", base / peak, 1.0, span, parameter=up / span, more=more),))


def function(peak: float, updates: int, value: Callable[[float], float]) -> Applied:
    """``LambdaLR``: the initial rate times a function of the steps made."""
    return Applied(peak, updates, (Piece(0, "function", 1.0, function=value),))


def product(peak: float, updates: int, curves: Sequence[Applied]) -> Applied:
    """``ChainedScheduler`` of schedulers that each multiply the rate by how much they fall: the product of them all."""
    return replace(
        curves[0], peak=peak, updates=updates, factors=tuple(replace(curve, peak=1.0) for curve in curves[1:])
    )


_MOST = 100_000


def product_with_floor(
    peak: float, updates: int, curves: Sequence[Applied], place: int, length: float, least: float
) -> Applied | None:
    """``ChainedScheduler`` with a cosine that has a floor: it moves what is above the floor, the others everything.

    While another one changes the rate there is no closed form, and the steps are made one by one.

    Args:
        peak: The initial rate.
        updates: Those of the run.
        curves: All schedulers in order.
        place: Which of them is the cosine.
        length: Its ``T_max``.
        least: Its ``eta_min``.

    Returns:
        The curve; ``None`` where another scheduler never comes to rest.
    """
    others = [curve for number, curve in enumerate(curves) if number != place]
    if any(curve.pieces[-1].shape != "hold" for curve in others):
        return None
    rest = math.ceil(max(curve.pieces[-1].first for curve in others))
    if not 0 <= rest <= min(_MOST, length - 1) or any(curve.value(1) == 0.0 for curve in others):
        return None
    rate = peak * math.prod(curve.value(1) for curve in others)
    overrides = {1: rate}
    for step in range(1, rest + 1):
        for number, curve in enumerate(curves):
            if number == place:
                share = (1 + math.cos(math.pi * step / length)) / (1 + math.cos(math.pi * (step - 1) / length))
                rate = share * (rate - least) + least
            else:
                before = curve.value(step)
                if before == 0.0:
                    return None
                rate *= curve.value(step + 1) / before
        overrides[step + 1] = rate
    above = (rate - least) * 2 / (1 + math.cos(math.pi * rest / length))
    pieces = (
        Piece(0, "cosine", (least + above) / peak, least / peak, length),
        # Once it has come down, it rises to the initial rate again.
        Piece(length, "cosine", 1.0, least / peak, length, origin=0.0),
    )
    return Applied(peak, updates, pieces, end=length, overrides=overrides)


def sequence(peak: float, updates: int, curves: Sequence[Applied], milestones: Sequence[float]) -> Applied:
    """``SequentialLR``: each scheduler begins at its own 0 where the one before it ends."""
    pieces: list[Piece] = []
    begins = [0.0, *milestones]
    last = curves[-1]
    end = last.end + begins[-1] if last.end is not None else None
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
    return Applied(peak, updates, tuple(pieces), end=end, past=last.past)
