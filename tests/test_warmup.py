"""Warmup: where it starts, where it ends, how it rises, and how long it is when nobody says."""

from __future__ import annotations

import math

import pytest

from huohou.errors import UserError
from huohou.schedule import Schedule, build
from huohou.schedule.warmup import SHAPES, default_warmup


def rates(updates: int, **words: object) -> list[float]:
    curve = build(Schedule(peak=1, **words), updates).curve  # pyright: ignore[reportArgumentType]
    return [curve(u) for u in range(updates + 3)]


@pytest.mark.parametrize(
    ("warmup", "updates", "expected"),
    [
        # origin, updates 1 … T, then past the end; a straight fall to half the peak.
        ("off", 1, [1, 1, 1, 1]),
        ("off", 3, [1, 1, 0.75, 0.5, 0.5, 0.5]),
        ("1 step", 3, [0, 1, 0.75, 0.5, 0.5, 0.5]),
        ("2 steps", 3, [0, 0.5, 1, 0.5, 0.5, 0.5]),
        ("4 steps", 6, [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.5, 0.5]),
    ],
)
def test_golden_tables(warmup: str, updates: int, expected: list[float]) -> None:
    assert rates(updates, warmup=warmup, decay="linear", floor="50%") == expected


def test_a_floor_of_zero_is_first_reached_after_the_run() -> None:
    assert rates(4, warmup="off", decay="linear", floor=0) == [1, 1, 0.75, 0.5, 0.25, 0, 0]


@pytest.mark.parametrize("updates", [1, 2, 7, 1000])
def test_w_of_t_or_more_is_refused_with_both_numbers(updates: int) -> None:
    for warmup in (f"{updates} steps", "100%", f"{updates + 5} steps"):
        with pytest.raises(UserError, match=rf"{updates}.*{updates}|{updates + 5}.*{updates}"):
            build(Schedule(peak=1, warmup=warmup), updates)
    build(Schedule(peak=1, warmup=f"{updates - 1} steps"), updates)


def test_shapes_rise_from_the_start_value_to_the_peak() -> None:
    w = 100
    laws = {
        "linear": lambda x: x,
        "cosine": lambda x: (1 - math.cos(math.pi * x)) / 2,
        "1-sqrt": lambda x: 1 - math.sqrt(1 - x),
        "exponential": lambda x: ((w + 1) ** x - 1) / w,
        "logarithmic": lambda x: math.log(1 + w * x) / math.log(1 + w),
    }
    assert set(laws) == set(SHAPES)
    for shape, law in laws.items():
        made = rates(200, warmup="100 steps", warmup_shape=shape, warmup_start="20%")
        assert made[0] == 0.2
        assert made[100] == 1
        for u in range(1, 100):
            assert made[u] == pytest.approx(0.2 + 0.8 * law(u / 100), rel=1e-13), (shape, u)


@pytest.mark.parametrize(
    ("updates", "scratch", "expected"),
    [
        (1, True, 0),
        (2, True, 1),
        (2, False, 1),
        (100, True, 25),
        (100, False, 5),
        (600, True, 150),
        (1000, True, 200),
        (1000, False, 50),
        (10_000, True, 500),
        (100_000, True, 2000),
        (10**7, False, 2000),
    ],
)
def test_the_default_length(updates: int, scratch: bool, expected: int) -> None:
    assert default_warmup(updates, scratch=scratch) == expected
