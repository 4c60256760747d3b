"""The measures against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from huohou.report.measures import (
    applied,
    compare,
    dispersion,
    early_bump,
    ema,
    final_loss,
    lower_for_good,
    measure,
    oscillation,
    spikes,
)
from huohou.report.runs import Run, load_run

from .conftest import curve_of


def lines_of(losses: list[float], **more: Any) -> list[dict[str, Any]]:
    return [{"update": u, "rate": 0.0, "loss": loss, "skipped": False, **more} for u, loss in enumerate(losses, 1)]


@pytest.fixture
def run_of(build: Any) -> Any:
    count = iter(range(100))

    def make(losses: list[float], updates: int | None = None, **more: Any) -> Run:
        return load_run(
            build(f"r{next(count)}", updates=updates or len(losses), warmup=0, lines=lines_of(losses, **more))
        )

    return make


def value(run: Run, key: str) -> float:
    return next(m.value for m in measure(run) if m.key == key)


def test_ema_starts_at_the_first_value_and_passes_over_nan() -> None:
    assert ema(np.array([4.0, 2.0, math.nan, 2.0]), 3).tolist() == [4.0, 3.0, 3.0, 2.5]


def test_final_loss_is_the_mean_of_the_last_twentieth(run_of: Any) -> None:
    assert final_loss(run_of([9.0] * 38 + [2.0, 4.0])) == 3.0
    assert final_loss(run_of([9.0, 5.0])) == 5.0, "one update at least"


def test_early_bump_is_the_rise_over_the_lowest_average_before(run_of: Any) -> None:
    # EMA10 after 5, 3: 5 + 2/11 * (3 - 5) = 4.6364; update 3 lies 6 - 4.6364 above it; update 4 is outside of 30 %.
    run = run_of([5.0, 3.0, 6.0, 100.0] + [1.0] * 6)
    assert early_bump(run) == pytest.approx(6 - (5 - 4 / 11))
    assert early_bump(run_of([5.0, 3.0], updates=10)) == -2.0, "a loss is not held against its own average"
    assert math.isnan(early_bump(run_of([5.0])))


def test_oscillation_adds_the_rises_of_ema3_over_the_first_tenth(run_of: Any) -> None:
    # EMA3 of 4, 6, 2, 8 is 4, 5, 3.5, 5.75: rises 1 and 2.25. Update 5 is outside of the first tenth of 40.
    assert oscillation(run_of([4.0, 6.0, 2.0, 8.0, 100.0], updates=40)) == pytest.approx(3.25)


def test_dispersion_is_the_standard_deviation_of_the_logarithms(run_of: Any) -> None:
    run = run_of([1.0] * 4, layers={"a": math.e, "b": math.e**3, "c": 0.0})
    assert dispersion(run).tolist() == pytest.approx([1.0] * 4)
    assert value(run, "dispersion") == pytest.approx(1.0)


def test_early_dispersion_looks_at_the_first_tenth(build: Any) -> None:
    lines = lines_of([1.0] * 20)
    for line in lines:
        line["layers"] = {"a": 1.0, "b": math.exp(4.0 if line["update"] <= 2 else 0.0)}
    run = load_run(build(updates=20, lines=lines))
    assert value(run, "dispersion_early") == pytest.approx(2.0)
    assert value(run, "dispersion") == pytest.approx(0.2)


def test_clipping_speed_and_evaluation(build: Any) -> None:
    lines = [
        {"update": u, "loss": 1.0, "clipped": u <= 1, "tokens": 100, "seconds": s, "evaluation": {"loss": e}}
        for u, s, e in ((1, 100.0, 3.0), (2, 1.0, 1.5), (3, 2.0, 2.0), (4, 1.0, 2.5))
    ]
    run = load_run(build(updates=4, lines=lines))
    assert value(run, "clipped") == 0.25
    assert value(run, "tokens_per_second") == 75.0
    assert value(run, "final_evaluation_loss") == 2.5
    assert value(run, "best_evaluation_loss") == 1.5


def test_spikes_stand_six_deviations_above_the_window(run_of: Any) -> None:
    calm = [1.0, 1.2] * 70
    assert spikes(run_of(calm)) == 0.0
    assert spikes(run_of([*calm[:139], 1.69])) == 0.0, "5.9 sd"
    assert spikes(run_of([*calm[:139], 1.72])) == pytest.approx(1 / 12), "6.2 sd, of 12 updates behind a full window"
    assert math.isnan(spikes(run_of(calm[:128])))


def test_planned_equals_applied_to_the_last_bit(build: Any) -> None:
    held = applied(load_run(build(updates=500, warmup=70, peak=1e-3)))
    assert (held.compared, held.equal, held.largest, held.at) == (500, 500, 0.0, None)
    assert held.exact


def test_a_rate_that_was_not_planned_is_found(build: Any) -> None:
    curve = curve_of(20, 4, 3e-3)
    lines = [{"update": u, "rate": curve(u) + {7: 1e-5, 9: math.ulp(curve(9))}.get(u, 0.0)} for u in range(1, 21)]
    held = applied(load_run(build(updates=20, warmup=4, lines=lines)))
    assert (held.compared, held.equal, held.at) == (20, 18, 7)
    assert held.largest == pytest.approx(1e-5)


def test_better_for_good(run_of: Any) -> None:
    # EMA10 crosses where the sum of the weighted differences changes its sign, some updates after the losses do.
    slow = run_of([5.0] * 10 + [1.0] * 90)
    fast = run_of([4.0] * 10 + [2.0] * 90)
    u = lower_for_good(slow, fast)
    assert u is not None and 11 < u < 20
    assert (ema(slow.loss, 10) < ema(fast.loss, 10)).tolist() == [v >= u for v in range(1, 101)]
    assert lower_for_good(fast, slow) is None
    late = run_of([5.0] * 97 + [-50.0] * 3)
    assert lower_for_good(late, run_of([5.0] * 100)) is None, "the last 3 % are too few to be for good"
    assert lower_for_good(slow, slow) is None


def test_differences_are_those_to_the_first_run(run_of: Any) -> None:
    runs = [run_of([3.0] * 20), run_of([2.5] * 20)]
    (difference,) = compare(runs, [measure(run) for run in runs])
    assert difference.final_loss == -0.5
    assert (difference.lower, difference.higher) == (1, None)
    assert math.isnan(difference.final_evaluation_loss)


def test_a_run_without_updates_has_no_values(build: Any) -> None:
    assert all(math.isnan(m.value) for m in measure(load_run(build(lines=[]))))
