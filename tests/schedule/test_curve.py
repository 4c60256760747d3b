"""Curves: evaluation one by one, as vectors and streams; cutting, moving, joining, comparing; plain data."""

from __future__ import annotations

import itertools
import json
import math
import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from huohou.errors import UserError
from huohou.schedule import Curve, Knot, Schedule, Shape, build, close, diff, join, knots, rewarm, shift, slice
from huohou.schedule.curve import hold

COSINE = build(Schedule(peak="3e-4", warmup="1000 steps", floor="10%"), 10_000).curve


def test_the_clock_and_the_ends() -> None:
    assert COSINE(0) == 0.0
    assert COSINE(1) == 3e-7
    assert COSINE(500) == 0.00015
    assert COSINE(1000) == 3e-4
    assert COSINE(1001) < 3e-4
    assert COSINE(10_000) == 3e-5
    assert COSINE(-5) == 0.0
    assert COSINE(10**9) == 3e-5


@pytest.mark.parametrize("chunk", [1, 7, 1000, 8192])
def test_stream_and_vector_have_the_bits_of_single_updates(chunk: int) -> None:
    wanted = [COSINE(u) for u in range(-3, 10_010)]
    assert list(itertools.chain.from_iterable(part.tolist() for part in COSINE.stream(-3, 10_009, chunk))) == wanted
    assert COSINE.vector(-3, 10_009).tolist() == wanted
    assert COSINE.vector(5, 4).size == 0


def test_a_line_whose_numbers_do_not_fit_a_float_is_exact_too() -> None:
    curve = Curve(Fraction("0.00012345678901234567"), knots([(0, "0.1234567", "linear"), (99_991, 1, "hold")]))
    assert curve.vector(1, 300).tolist() == [curve(u) for u in range(1, 301)]
    exact = curve.peak * (Fraction("0.1234567") + (1 - Fraction("0.1234567")) * 77 / 99_991)
    assert curve(77) == float(exact)


def test_streaming_takes_constant_memory() -> None:
    long = build(Schedule(peak="3e-4", warmup="10%"), 10**8).curve
    stream = long.stream(1, 10**8)
    next(stream)
    tracemalloc.start()
    for _ in range(50):
        next(stream)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_000_000


def test_the_total_is_the_sum_of_the_rates() -> None:
    assert COSINE.total(1, 1000) == pytest.approx(3e-4 * 1001 / 2, rel=1e-12)
    assert COSINE.total(1, 10_000) == pytest.approx(sum(COSINE(u) for u in range(1, 10_001)), rel=1e-12)


def test_slices_and_shifts_are_exact() -> None:
    piece = slice(COSINE, 1500, 4200)
    assert [piece(u) for u in range(1500, 4201)] == [COSINE(u) for u in range(1500, 4201)]
    assert piece(1) == COSINE(1500)
    assert piece(10_000) == COSINE(4200)
    moved = shift(piece, -1234)
    assert [moved(u - 1234) for u in range(1500, 4201)] == [COSINE(u) for u in range(1500, 4201)]
    assert slice(COSINE, 300, 300)(300) == COSINE(300)
    with pytest.raises(UserError, match="before its start"):
        slice(COSINE, 5, 4)


def test_join_takes_each_side_bit_for_bit() -> None:
    other = build(Schedule(peak="7e-4", warmup="off", decay="linear", floor=0), 10_000).curve
    for a, b in ((COSINE, other), (other, COSINE)):
        joined = join(a, b, 4000)
        assert [joined(u) for u in range(1, 4000)] == [a(u) for u in range(1, 4000)]
        assert [joined(u) for u in range(4000, 10_002)] == [b(u) for u in range(4000, 10_002)]
    put_back = join(slice(COSINE, 1, 3000), slice(COSINE, 3000, 10_000), 3000)
    assert put_back.fingerprint == COSINE.fingerprint


def test_diff_says_where_two_curves_part() -> None:
    assert diff(COSINE, Curve.from_plain(COSINE.to_plain()), 10_000) is None
    other = build(Schedule(peak="3e-4", warmup="1000 steps", floor=0), 10_000).curve
    found = diff(COSINE, other, 10_000)
    assert found is not None
    assert found.update == 1001
    assert found.rates == (COSINE(1001), other(1001))
    apart = np.abs(COSINE.vector(1, 10_000) - other.vector(1, 10_000))
    assert found.count == int((apart > 0).sum())
    assert abs(found.largest[0] - found.largest[1]) == apart.max()


def test_plain_data_is_json_and_reads_back_to_an_equal_curve() -> None:
    for curve in (COSINE, slice(COSINE, 37, 420), shift(slice(COSINE, 1500, 4200), 99)):
        text = json.dumps(curve.to_plain(), allow_nan=False)
        again = Curve.from_plain(json.loads(text))
        assert again == curve
        assert again.vector(1, 5000).tolist() == curve.vector(1, 5000).tolist()
    third = Curve(Fraction("3e-4"), knots([(1, 1, "linear"), (9, Fraction(1, 30), "hold")]), 9)
    assert third(9) == 1e-5
    assert Curve.from_plain(json.loads(json.dumps(third.to_plain()))) == third
    for wrong in ({}, {"peak": 1, "knots": []}, {"peak": 1, "knots": [{"update": 1}]}, {"peak": "x", "knots": []}):
        with pytest.raises(UserError, match="curve"):
            Curve.from_plain(wrong)


@pytest.mark.parametrize(
    ("one", "other", "updates"),
    [
        ({"warmup": "10%"}, {"warmup": "1000 steps"}, 10_000),
        ({"warmup": "off"}, {"warmup": "1 step"}, 10_000),
        ({"warmup": "10%", "floor": "10%"}, {"warmup": "10%", "floor": "3e-5"}, 777),
        ({"warmup": "off", "decay": "constant"}, {"warmup": "off", "floor": "100%"}, 50),
        ({"warmup": "10%", "decay": "constant"}, {"warmup": "10%", "decay": "open"}, 50),
        ({"warmup": "10%", "decay": "linear"}, {"warmup": "10%", "decay": "polynomial", "power": 1}, 50),
        (
            {"warmup": "10%", "decay": "wsd", "decay_length": "20%"},
            {"warmup": "10%", "decay": "linear", "decay_length": "20%"},
            50,
        ),
    ],
)
def test_one_curve_has_one_fingerprint(one: dict[str, str], other: dict[str, str], updates: int) -> None:
    first, second = (build(Schedule(peak="3e-4", **words), updates).curve for words in (one, other))
    if one.get("decay") == "linear":
        # A power of one is a line too, said in floats: equal to rounding, not to the bit.
        assert np.allclose(first.vector(1, updates), second.vector(1, updates), rtol=1e-15, atol=0)
    else:
        assert first.fingerprint == second.fingerprint
        assert first.vector(1, updates).tolist() == second.vector(1, updates).tolist()


def test_different_curves_have_different_fingerprints() -> None:
    said = [{"warmup": f"{w} steps"} for w in (0, 2, 3, 9)] + [
        {"decay": d} for d in ("linear", "1-sqrt", "exponential")
    ]
    assert len({build(Schedule(peak="3e-4", **words), 100).curve.fingerprint for words in said}) == len(said)
    assert (
        build(Schedule(peak="3e-4"), 100).curve.fingerprint
        != build(Schedule(peak="3.0000001e-4"), 100).curve.fingerprint
    )


def test_a_knot_that_changes_nothing_is_not_in_the_fingerprint() -> None:
    plain = Curve(Fraction("3e-4"), knots([(0, 0, "linear"), (100, 1, "linear"), (200, 0, "hold")]), 150)
    split = Curve(
        Fraction("3e-4"),
        knots([(0, 0, "linear"), (50, "0.5", "linear"), (100, 1, "linear"), (101, "0.99", "linear"), (200, 0, "hold")]),
        150,
    )
    assert split.fingerprint == plain.fingerprint
    moved = Curve(Fraction("3e-4"), knots([(0, 0, "linear"), (100, 1, "linear"), (150, "0.5", "hold")]), 150)
    assert moved.fingerprint == plain.fingerprint


def test_a_knot_may_stand_beside_the_shape_that_leaves_it() -> None:
    ramp = Shape("linear", 0, 10, Fraction(0), Fraction(1))
    curve = Curve(Fraction(1), (Knot(5, Fraction(9, 10), ramp), hold(10, 1)), 12)
    assert [curve(u) for u in (4, 5, 6, 9, 10)] == [0.9, 0.9, 0.6, 0.9, 1.0]
    assert curve.vector(1, 12).tolist() == [curve(u) for u in range(1, 13)]
    assert Curve.from_plain(json.loads(json.dumps(curve.to_plain()))) == curve


def test_decays_that_keep_their_law_stop_at_the_floor() -> None:
    halving = build(Schedule(peak=1, warmup="10 steps", decay="exponential", half_life="100 steps", floor="20%"), 1000)
    assert halving.curve(110) == pytest.approx(0.5, rel=1e-14)
    assert halving.curve(210) == pytest.approx(0.25, rel=1e-14)
    crossing = 10 + math.ceil(100 * math.log2(5))
    assert halving.curve(crossing - 1) > 0.2 == halving.curve(crossing) == halving.curve(1000)
    root = build(Schedule(peak=1, warmup="100 steps", decay="inverse_sqrt", floor="20%"), 10_000).curve
    assert root(400) == 0.5
    assert root(2499) > 0.2 == root(2500) == root(10_000)
    short = build(Schedule(peak=1, warmup="100 steps", decay="inverse_sqrt", floor="20%"), 400).curve
    assert short(400) == 0.5 == short(10**6)
    free = build(Schedule(peak=1, warmup="off", decay="inverse_sqrt", timescale="300 steps", floor=0), 901).curve
    assert free(901) == 0.5
    level = build(Schedule(peak=1, warmup="off", decay="exponential", half_life="9 steps", floor="100%"), 50).curve
    assert set(level.vector(1, 50)) == {1.0}


@pytest.mark.parametrize(
    ("words", "phases"),
    [
        ({"warmup": "off"}, [("decay", 1, 100)]),
        ({"warmup": "10%"}, [("warmup", 1, 10), ("decay", 11, 100)]),
        ({"warmup": "10%", "decay_length": "20%"}, [("warmup", 1, 10), ("hold", 11, 80), ("decay", 81, 100)]),
        ({"warmup": "off", "decay_length": "20%"}, [("hold", 1, 80), ("decay", 81, 100)]),
        ({"warmup": "off", "decay": "constant"}, [("hold", 1, 100)]),
        (
            {"warmup": "10%", "decay": "restarts", "cycles": 2},
            [("warmup", 1, 10), ("cycle", 11, 54), ("cycle", 55, 100)],
        ),
    ],
)
def test_phases(words: dict[str, Any], phases: list[tuple[str, int, int]]) -> None:
    built = build(Schedule(peak=1, **words), 100)
    assert [(p.name, p.first, p.last) for p in built.phases] == phases


def test_restarts_jump_from_the_floor_to_the_peak() -> None:
    curve = build(Schedule(peak=1, warmup="off", decay="restarts", cycles=2), 10).curve
    assert [curve(u) for u in (1, 5, 6, 10)] == [1.0, 0.1, 1.0, 0.1]
    free = build(Schedule(peak=1, warmup="off", decay="restarts", cycles=2, floor=0), 10).curve
    assert [free(u) for u in (1, 6, 11)] == [1.0, 1.0, 0.0]
    assert free(5) == free(10) == pytest.approx((1 + math.cos(math.pi * 4 / 5)) / 2)


def test_what_is_no_curve_is_refused() -> None:
    for wrong in (
        lambda: Curve(Fraction(0), (hold(1, 1),)),
        lambda: Curve(Fraction(-1), (hold(1, 1),)),
        lambda: Curve(Fraction(1), ()),
        lambda: Curve(Fraction(1), (hold(2, 1), hold(2, 1))),
        lambda: Curve(Fraction(1), (hold(1, Fraction(11, 10)),)),
        lambda: Curve(Fraction(1), (hold(1, Fraction(-1, 10)),)),
        lambda: knots([(0, 0, "zigzag"), (1, 1, "hold")]),
        lambda: knots([(0, 0, ("power", 0)), (1, 1, "hold")]),
        lambda: knots([(0, 0, "geometric"), (1, 1, "hold")]),
    ):
        with pytest.raises(UserError):
            wrong()


def test_closing_an_open_curve() -> None:
    opened = build(Schedule(peak="3e-4", warmup="10%", decay="open"), 1000).curve
    closed = close(opened, after=800, length=200)
    assert closed.updates == 1000
    assert [closed(u) for u in range(1, 801)] == [opened(u) for u in range(1, 801)]
    assert closed(801) < closed(800) == 3e-4
    assert closed(1000) == 3e-5
    with pytest.raises(UserError, match="above the peak"):
        close(opened, 800, 200, floor=Schedule(peak=1, floor="1").floor)


def test_rewarming_leaves_the_old_curve_and_rises_to_the_new_peak() -> None:
    old = build(Schedule(peak="3e-4", warmup="10%"), 1000).curve
    made = rewarm(old, after=1000, length=50, updates=2000, spec=Schedule(peak="1e-3"))
    curve = made.curve
    assert [curve(u) for u in range(1, 1001)] == [old(u) for u in range(1, 1001)]
    assert curve(1001) > curve(1000) == 3e-5
    assert curve(1050) == 1e-3 == max(curve.vector(1, 2000))
    assert curve(2000) == 1e-4
    assert [(p.name, p.first, p.last) for p in made.phases] == [("re-warm", 1001, 1050), ("decay", 1051, 2000)]
    with pytest.raises(UserError, match="must rise"):
        rewarm(old, 500, 10, 2000, Schedule(peak="1e-5"))
    with pytest.raises(UserError, match="1999"):
        rewarm(old, 1000, 999, 1999, Schedule(peak="1e-3"))
