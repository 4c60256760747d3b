"""The curves that an explanation is looked for among: what frameworks make of a peak, a warmup, a length and a floor.

A *kind* is a way of rising with a way of falling; its members place the same curve a step earlier or later, as
``i/W``, ``(i+1)/W``, ``(i+1)/(W+1)`` and DeepSpeed's do. A kind is fitted once, then its members are tried around the
solution. Every curve has the peak 1; positions are i = update − 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from huohou.audit.applied import Applied
from huohou.audit.dialects import transformers_schedules
from huohou.audit.pieces import Piece


@dataclass(frozen=True, slots=True)
class Shape:
    """What is fitted.

    Attributes:
        warmup: W, updates.
        total: T, updates; 0 for a curve without an end.
        floor: The lowest rate after the decay, as a share of the peak.
        decay: Updates of the decay, for curves that hold the peak before.
        lead: By how many updates the rates that are fitted are ahead; found as a number of any kind, then 0 or 1.
    """

    warmup: float = 0.0
    total: float = 0.0
    floor: float = 0.0
    decay: float = 0.0
    lead: float = 1.0


Build = Callable[[Shape], Applied]


@dataclass(frozen=True, slots=True)
class Member:
    """One framework's placement of a curve.

    Attributes:
        name: Such as ``cosine, i/W``.
        who: Dialects that do so.
        build: The curve.
        late: By how many updates its T is greater than that of the first member for the same decay.
    """

    name: str
    who: tuple[str, ...]
    build: Build
    late: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """Curves that differ by where they are placed only.

    Attributes:
        name: In words of the field.
        rises, falls, holds: Whether W, T and the length of the decay belong to it.
        floors: Whether its floor is free; the second number is the one that is tried first.
        members: The first one is the one that is fitted.
    """

    name: str
    members: tuple[Member, ...]
    rises: bool = True
    falls: bool = True
    holds: bool = False
    floors: bool = True
    first_floor: float = 0.0


_MANY = 10**9


def _rise(warmup: float, plus: float = 0.0, over: float = 0.0, start: float = 0.0) -> tuple[Piece, ...]:
    """(i + plus) / (W + over), from ``start`` of the peak."""
    if warmup <= 0:
        return ()
    return (Piece(-1, "linear", start, 1.0, warmup + over, origin=-plus),)


def _fall(shape: str, begin: float, end: float, floor: float, parameter: float = 0.5) -> tuple[Piece, ...]:
    span = max(end - begin, 1e-9)
    # The shape's own end is not cut off at a whole position, so the piece that holds begins where it is reached.
    return (Piece(begin, shape, 1.0, floor, span, parameter=parameter), Piece(begin + span, "hold", floor))


def _curve(pieces: tuple[Piece, ...]) -> Applied:
    return Applied(1.0, _MANY, pieces)


def _begun(begin: float, rise: tuple[Piece, ...], fall: tuple[Piece, ...]) -> Applied:
    """Rise and fall; where the fall's formula begins before the rise has ended, it waits for it."""
    fixed = tuple(
        Piece(max(begin, piece.first), piece.shape, piece.start, piece.end, piece.span, _origin(piece), piece.parameter)
        for piece in fall
    )
    return _curve((*rise, *fixed))


def _origin(piece: Piece) -> float:
    return piece.first if piece.origin is None else piece.origin


def _whole(s: Shape, *, shape: str, plus: float, over: float, shift: float, hold: bool = False) -> Applied:
    """The linear rise with a whole fall: from W − shift to T − shift."""
    rise = _rise(s.warmup, plus, over)
    begin = s.warmup - shift if s.warmup else 0.0
    if hold:
        # (i + 1)/W is at the peak in i = W − 1 and again in i = W, from where the fall counts.
        begin = s.warmup
    fall = _fall(shape, begin, s.total - shift, s.floor)
    return _begun(s.warmup - plus + over if s.warmup else 0.0, rise, fall)


def _trapezoid(s: Shape, *, shape: str, plus: float, shift: float, start: bool = False) -> Applied:
    """The linear rise, a hold, and a decay of the last D updates."""
    rise = _rise(s.warmup, plus, 0.0, s.floor if start else 0.0)
    begin = max(s.warmup - plus, 0.0)
    fall = _fall(shape, s.total - s.decay - shift, s.total - shift, s.floor)
    return _curve((*rise, Piece(begin, "hold", 1.0), *_after(begin, fall)))


def _after(begin: float, fall: tuple[Piece, ...]) -> tuple[Piece, ...]:
    return tuple(
        Piece(max(begin, piece.first), piece.shape, piece.start, piece.end, piece.span, _origin(piece), piece.parameter)
        for piece in fall
    )


def _geometric(s: Shape, *, plus: float, shift: float) -> Applied:
    """The linear rise, a hold, and the same share lost in each of the last D updates, down to the floor."""
    begin, bend = max(s.warmup - plus, 0.0), s.total - s.decay - shift
    bend = max(begin, bend)
    fall = Piece(bend, "geometric", 1.0, parameter=max(s.floor, 1e-9) ** (1.0 / max(s.decay, 1e-9)))
    after = Piece(max(bend, s.total - shift), "hold", s.floor)
    return _curve((*_rise(s.warmup, plus), Piece(begin, "hold", 1.0), fall, after))


def _constant(s: Shape, *, plus: float, over: float = 0.0) -> Applied:
    return _curve((*_rise(s.warmup, plus, over), Piece(max(s.warmup - plus + over, 0.0), "hold", 1.0)))


def _library(s: Shape, *, kind: str, **more: float) -> Applied:
    kwargs = {**more, "min_lr_rate": s.floor, "lr_end": s.floor}
    return transformers_schedules.applied(kind, 1.0, s.warmup, s.total or _MANY, _MANY, kwargs)  # pyright: ignore[reportArgumentType]


def _rising_only(s: Shape, *, shape: str, exponent: float) -> Applied:
    rise = (Piece(-1, shape, 0.0, 1.0, s.warmup, origin=0.0, parameter=exponent),) if s.warmup > 0 else ()
    return _begun(s.warmup, rise, _fall("cosine", s.warmup, s.total, s.floor))


def _deepspeed(s: Shape, *, fall: str, log: bool, early: float = 0.0) -> Applied:
    """DeepSpeed's three: they begin at −1, so update 1 and 2 stand at the least rate."""
    warmup = max(2.0, s.warmup)
    rise = Piece(0, "logarithmic" if log else "linear", 0.0, 1.0, warmup, parameter=warmup)
    pieces = (Piece(-1, "hold", 0.0), rise)
    if fall == "hold":
        return Applied(1.0, _MANY, (*pieces, Piece(warmup, "hold", 1.0)), offset=-1)
    begun = _after(warmup, _fall(fall, warmup - early, s.total - early, s.floor))
    return Applied(1.0, _MANY, (*pieces, *begun), offset=-1)


def _start_factor(s: Shape, *, start: float, shape: str) -> Applied:
    return _begun(s.warmup, _rise(s.warmup, 0.0, 0.0, start), _fall(shape, s.warmup, s.total, s.floor))


def _overlapping(s: Shape) -> Applied:
    """timm's default: the cosine runs under the warmup and is met on its way."""
    return _begun(s.warmup, _rise(s.warmup), _fall("cosine", 0.0, s.total, s.floor))


def _one_cycle(s: Shape) -> Applied:
    """torch's OneCycleLR: cosine from peak/25 to the peak in W − 1, cosine to peak/25/1e4 in T − 1."""
    up = Piece(-1, "cosine", 1 / 25, 1.0, max(s.warmup - 1, 1e-9), origin=0.0)
    return _begun(s.warmup - 1, (up,), _fall("cosine", s.warmup - 1, s.total - 1, 1 / 25e4))


def _four(shape: str, word: str) -> tuple[Member, ...]:
    """The placements of a linear rise with a whole fall."""

    def make(*, plus: float, over: float, shift: float, hold: bool = False) -> Build:
        return partial(_whole, shape=shape, plus=plus, over=over, shift=shift, hold=hold)

    return (
        Member(
            f"{word}, i/W",
            ("transformers", "megatron", "torchtune", "litgpt", "optax", "deepspeed-chat", "llamafactory", "openrlhf"),
            make(plus=0.0, over=0.0, shift=0.0),
        ),
        Member(f"{word}, (i+1)/W", ("huohou", "olmo-core", "axolotl"), make(plus=1.0, over=0.0, shift=1.0), 1),
        Member(f"{word}, (i+1)/(W+1)", ("nanogpt",), make(plus=1.0, over=1.0, shift=0.0)),
        Member(f"{word}, (i+1)/W, one step late", ("torchtitan",), make(plus=1.0, over=0.0, shift=0.0, hold=True)),
    )


def _three(shape: str, word: str) -> tuple[Member, ...]:
    """The placements of a trapezoid."""

    def make(*, plus: float, shift: float) -> Build:
        return partial(_trapezoid, shape=shape, plus=plus, shift=shift)

    return (
        Member(f"{word}, i/W", ("transformers", "megatron", "llamafactory"), make(plus=0.0, shift=0.0)),
        Member(f"{word}, (i+1)/W", ("huohou", "olmo-core"), make(plus=1.0, shift=1.0), 1),
        Member(f"{word}, (i+1)/W, one step late", ("torchtitan", "nanochat"), make(plus=1.0, shift=0.0)),
    )


def _both(fall: str, word: str, early: float) -> tuple[Kind, ...]:
    falls = fall != "hold"
    return tuple(
        Kind(
            f"{'logarithmic' if log else 'linear'} warmup of DeepSpeed, {word}",
            (Member(f"DeepSpeed {word}, {way}", ("deepspeed",), partial(_deepspeed, fall=fall, log=log, early=early)),),
            falls=falls,
            floors=falls,
            first_floor=1e-4 if fall == "cosine" else 0.0,
        )
        for log, way in ((True, "log"), (False, "linear"))
    )


KINDS: tuple[Kind, ...] = (
    Kind(
        "constant",
        (
            Member("constant, i/W", ("transformers", "deepspeed-chat"), partial(_constant, plus=0.0)),
            Member("constant, (i+1)/W", ("huohou", "olmo-core", "torchtitan"), partial(_constant, plus=1.0)),
            Member("constant, (i+1)/(W+1)", ("nanogpt",), partial(_constant, plus=1.0, over=1.0)),
        ),
        falls=False,
        floors=False,
    ),
    Kind("cosine", _four("cosine", "cosine")),
    Kind("linear", _four("linear", "linear")),
    Kind("warmup, hold, linear decay", _three("linear", "hold then linear"), holds=True),
    Kind("warmup, hold, cosine decay", _three("cosine", "hold then cosine"), holds=True),
    Kind("warmup, hold, 1-sqrt decay", _three("1-sqrt", "hold then 1-sqrt"), holds=True),
    Kind("warmup, hold, exponential decay", _three("exponential", "hold then exponential"), holds=True),
    *(
        Kind(
            f"warmup from the floor, hold, {word} decay",
            (
                Member(
                    f"hold then {word}, from the floor",
                    ("transformers",),
                    partial(_trapezoid, shape=word, plus=0.0, shift=0.0, start=True),
                ),
            ),
            holds=True,
            first_floor=0.1,
        )
        for word in ("linear", "cosine", "1-sqrt")
    ),
    Kind(
        "warmup, hold, geometric decay",
        (
            Member("hold then geometric, i/W", (), partial(_geometric, plus=0.0, shift=0.0)),
            Member("hold then geometric, (i+1)/W", ("huohou",), partial(_geometric, plus=1.0, shift=1.0)),
        ),
        holds=True,
        first_floor=0.1,
    ),
    *_both("hold", "WarmupLR", 0.0),
    *_both("linear", "WarmupDecayLR", 0.0),
    *_both("cosine", "WarmupCosineLR", 1.0),
    Kind(
        "inverse square root",
        (Member("inverse sqrt, i/W", ("transformers", "megatron"), partial(_library, kind="inverse_sqrt")),),
        falls=False,
        floors=False,
    ),
    *(
        Kind(
            f"cosine with {cycles} restarts",
            (
                Member(
                    f"cosine with {cycles} restarts",
                    ("transformers",),
                    partial(_library, kind="cosine_with_restarts", num_cycles=float(cycles)),
                ),
            ),
            floors=False,
        )
        for cycles in (2, 3, 4, 5)
    ),
    Kind("rex", (Member("rex, (i+1)/W", ("axolotl",), partial(_whole, shape="rex", plus=1.0, over=0.0, shift=1.0)),)),
    Kind(
        "quadratic warmup, cosine",
        (
            Member(
                "quadratic warmup, cosine",
                ("axolotl",),
                partial(_rising_only, shape="rising power", exponent=2.0),
            ),
        ),
    ),
    *(
        Kind(
            f"LinearLR from {start:.3g}, {shape}",
            (
                Member(
                    f"LinearLR from {start:.3g}, then {shape}",
                    ("torch",),
                    partial(_start_factor, start=start, shape=shape),
                ),
            ),
        )
        for start in (1 / 3, 0.1, 0.01, 0.001)
        for shape in ("cosine", "linear")
    ),
    Kind("cosine under the warmup", (Member("cosine under the warmup", ("torch", "timm"), _overlapping),)),
    Kind("one cycle", (Member("OneCycleLR", ("torch",), _one_cycle),), floors=False),
)
