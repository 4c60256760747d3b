"""Thinning, axes, and what the figures hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.report import numbers
from huohou.report.axis import Axis
from huohou.report.figures import Figure, figures
from huohou.report.heat import Strips
from huohou.report.runs import load_run
from huohou.report.thinning import even, thin

from .conftest import metrics_of, plan_of


def test_thinning_keeps_every_extreme() -> None:
    updates = np.arange(1, 10_001)
    values = np.sin(updates / 700.0)
    values[4321], values[77] = 50.0, -50.0
    kept_updates, kept = thin(updates, values, 100, Axis(1, 10_000))
    assert len(kept) <= 200
    assert 50.0 in kept and -50.0 in kept
    assert kept_updates[kept.argmax()] == 4322
    assert (np.diff(kept_updates) > 0).all()


def test_thinning_leaves_out_what_is_not_finite_and_what_lies_outside() -> None:
    updates, values = np.arange(1, 7), np.array([1.0, math.nan, math.inf, 2.0, 3.0, 4.0])
    assert thin(updates, values, 10, Axis(1, 5))[0].tolist() == [1, 4, 5]
    assert even(updates, values, 10, Axis(1, 5))[1].tolist() == [1, 2, 3]


@pytest.mark.parametrize("log", [True, False])
def test_even_points_begin_and_end_with_the_line(log: bool) -> None:
    updates = np.arange(1, 5001)
    kept, _ = even(updates, updates.astype(np.float64), 50, Axis(1, 5000, log))
    assert len(kept) <= 52 and kept[0] == 1 and kept[-1] == 5000


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(4, 9))
def test_ticks_of_an_even_axis_are_few_and_inside(low: float, span: float, most: int) -> None:
    axis = Axis(low, low + span)
    if axis.high - axis.low < 1e-6 * abs(low):
        return
    found = axis.ticks(most)
    assert 1 <= len(found) <= most + 1
    assert all(axis.low - span * 1e-6 <= tick <= axis.high + span * 1e-6 for tick in found)


@settings(max_examples=100, deadline=None)
@given(st.floats(-9, 6), st.floats(0.01, 9))
def test_ticks_of_a_log_axis_are_few_and_inside(low: float, decades: float) -> None:
    axis = Axis(10**low, 10 ** (low + decades), True)
    found = axis.ticks()
    assert 1 <= len(found) <= 7
    assert all(axis.low * 0.999 <= tick <= axis.high * 1.001 for tick in found)


def test_ticks_are_round_at_any_size() -> None:
    assert Axis(0, 3.18e-13).ticks() == [0.0, 1e-13, 2e-13, 3e-13]
    assert Axis(2.9, 8.4).ticks() == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert Axis(0.31, 10.5, True).ticks() == [0.5, 1.0, 2.0, 5.0, 10.0]


def test_places_on_both_axes() -> None:
    assert Axis(0, 10).place(2.5) == 0.25
    assert Axis(1, 10_000, True).place(100) == pytest.approx(0.5)


def test_what_the_figures_hold(build: Any) -> None:
    plan = plan_of("run", 200, 20, 3e-3, 1)
    run = load_run(build(plan=plan, lines=metrics_of(plan)))
    found = {figure.key: figure for figure in figures([run])}
    assert list(found) == ["rate", "loss", "early_loss", "gradient_norm", "layers", "dispersion", "throughput"]
    rate, norm, layers, early = found["rate"], found["gradient_norm"], found["layers"], found["early_loss"]
    assert (
        isinstance(rate, Figure)
        and isinstance(norm, Figure)
        and isinstance(layers, Strips)
        and isinstance(early, Figure)
    )
    planned, used = rate.lines
    assert planned.role == "planned" and planned.values.max() == 3e-3 and used.values.max() == 3e-3
    assert norm.y.log and [line.values[0] for line in norm.lines if line.role == "limit"] == [1.0]
    assert layers.strips[0].names[0] == "embed_tokens" and len(layers.strips[0].levels) == 7
    assert early.x.high == 60 and not early.x.log
    assert [(p.kind, p.first, p.last) for p in rate.phases] == [("warmup", 1, 20), ("decay", 21, 200)]


def test_a_long_run_has_its_start_on_a_log_scale(build: Any) -> None:
    plan = plan_of("run", 5000, 20, 3e-3, 1)
    lines = [{"update": u, "rate": 0.0, "loss": 9.0 / u, "seconds": 1.0} for u in range(1, 5001)]
    found = {figure.key: figure for figure in figures([load_run(build(plan=plan, lines=lines))])}
    early = found["early_loss"]
    assert isinstance(early, Figure) and early.x.log and "log scale" in early.caption.en
    assert "gradient_norm" not in found, "nothing recorded, nothing drawn"


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e-4, "3e-4"), (1.25e-5, "1.25e-5"), (3e-3, "3e-3"), (0.02, "0.02"), (0.0, "0"), (1.0, "1"), (1e-10, "1e-10")],
)
def test_rates_are_written_as_people_type_them(value: float, text: str) -> None:
    assert numbers.rate(value) == text


def test_numbers_for_people() -> None:
    assert [numbers.short(v) for v in (0, 0.5, 950, 1500, 40_000, 2e6)] == ["0", "0.5", "950", "1.5k", "40k", "2M"]
    assert [numbers.signed(v, 3) for v in (0.35, -0.35, 0.0001, -0.0001)] == ["+0.350", "−0.350", "0.000", "0.000"]
    assert [numbers.share(v) for v in (0, 0.1, 0.002, 0.1234, 1)] == ["0 %", "10 %", "0.2 %", "12.3 %", "100 %"]
    assert [numbers.duration(v).en for v in (5, 41, 200, 7500, 273_600)] == [
        "5 s",
        "41 s",
        "3 min 20 s",
        "2 h 5 min",
        "3 d 4 h",
    ]
