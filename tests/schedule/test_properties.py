"""What holds for every recipe and every size."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from huohou.errors import UserError
from huohou.schedule import Built, Curve, Schedule, build, shift, slice
from huohou.schedule.recipes import DECAYS
from huohou.schedule.warmup import SHAPES


@st.composite
def schedules(draw: st.DrawFn, most: int = 3000) -> Built:
    """A schedule of any recipe that fits."""
    updates = draw(st.integers(1, most))
    decay = draw(st.sampled_from(DECAYS))
    words: dict[str, object] = {
        "peak": draw(st.sampled_from(["3e-4", "1", "7.123e-5", "0.1", "2.5e-3"])),
        "warmup": f"{draw(st.integers(0, updates - 1))} steps",
        "warmup_shape": draw(st.sampled_from(SHAPES)),
        "warmup_start": draw(st.sampled_from(["0", "1%", "33.3%", "100%"])),
        "decay": decay,
        "floor": draw(st.sampled_from(["0", "10%", "1e-7", "99.9%", "100%", "0.001%"])),
    }
    if decay == "polynomial":
        words["power"] = draw(st.sampled_from(["1", "2", "3", "0.5", "1.7"]))
    if decay == "restarts":
        words["cycles"] = draw(st.integers(1, 5))
    if decay == "wsd" or (decay in ("cosine", "linear", "1-sqrt") and draw(st.booleans())):
        words["decay_length"] = f"{draw(st.integers(0, updates))} steps"
    if decay == "wsd":
        words["decay_shape"] = draw(st.sampled_from(["linear", "cosine", "1-sqrt", "exponential"]))
    if decay == "exponential" and draw(st.booleans()):
        words["half_life"] = f"{draw(st.integers(1, updates))} steps"
    if decay == "inverse_sqrt" and draw(st.booleans()):
        words["timescale"] = f"{draw(st.integers(1, 20_000))} steps"
    try:
        return build(Schedule(**words), updates)  # pyright: ignore[reportArgumentType]
    except UserError:
        assume(False)
        raise


@settings(max_examples=300, deadline=None)
@given(schedules())
def test_bounds_monotony_phases_and_ends(built: Built) -> None:
    curve, updates = built.curve, built.curve.updates
    assert updates is not None
    rates = [curve(u) for u in range(1, updates + 1)]
    peak = float(curve.peak)
    assert all(0 < rate <= peak for rate in rates)
    assert max(rates) == peak
    assert rates[max(built.warmup, 1) - 1] == peak
    assert all(a <= b for a, b in pairwise(rates[: built.warmup]))
    covered = [u for phase in built.phases for u in range(phase.first, phase.last + 1)]
    assert covered == list(range(1, updates + 1))
    for phase in built.phases:
        part = rates[phase.first - 1 : phase.last]
        if phase.name in ("decay", "hold", "cycle"):
            assert all(a >= b for a, b in pairwise(part)), phase
        if phase.name == "hold":
            assert set(part) == {peak}
    assert all(curve(u) == curve(updates + 2) for u in (updates + 3, 10 * updates, 10**14))
    below = sum(1 for rate in rates[max(built.warmup, 1) :] if rate < peak)
    assert below <= updates - max(built.warmup, 1)


@settings(max_examples=200, deadline=None)
@given(schedules(), st.data())
def test_vectors_streams_json_slices_and_shifts(built: Built, data: st.DataObject) -> None:
    curve, updates = built.curve, built.curve.updates
    assert updates is not None
    single = [curve(u) for u in range(-1, updates + 4)]
    assert curve.vector(-1, updates + 3).tolist() == single
    assert np.concatenate(list(curve.stream(-1, updates + 3, data.draw(st.integers(1, 500))))).tolist() == single
    assert Curve.from_plain(json.loads(json.dumps(curve.to_plain(), allow_nan=False))) == curve
    first = data.draw(st.integers(-2, updates + 2))
    last = data.draw(st.integers(first, updates + 3))
    piece = slice(curve, first, last)
    assert [piece(u) for u in range(first, last + 1)] == [curve(u) for u in range(first, last + 1)]
    k = data.draw(st.integers(-(10**6), 10**6))
    moved = shift(piece, k)
    assert [moved(u + k) for u in range(first, last + 1)] == [curve(u) for u in range(first, last + 1)]
    assert Curve.from_plain(json.loads(json.dumps(moved.to_plain()))) == moved
    if first <= 1 and last >= updates:
        assert slice(curve, first, updates).fingerprint == curve.fingerprint


@settings(max_examples=100, deadline=None)
@given(schedules(most=10**12), st.data())
def test_very_long_runs_stay_monotone_between_neighbours(built: Built, data: st.DataObject) -> None:
    curve, updates = built.curve, built.curve.updates
    assert updates is not None
    u = data.draw(st.integers(1, updates))
    near = [curve(v) for v in range(max(1, u - 3), min(updates, u + 3) + 1)]
    phases = {built.phases.index(p) for p in built.phases if p.last >= max(1, u - 3) and p.first <= min(updates, u + 3)}
    if len(phases) == 1:
        rising = built.phases[phases.pop()].name == "warmup"
        assert near == sorted(near, reverse=not rising)
    assert all(0 < rate <= float(curve.peak) for rate in near)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 10**7), st.integers(1, 9999), st.sampled_from(["3e-4", "1e-3", "0.00042"]))
def test_two_spellings_have_one_fingerprint(updates: int, share: int, peak: str) -> None:
    steps = math.ceil(Fraction(share, 10_000) * updates)
    assume(steps < updates)
    percent = build(Schedule(peak=peak, warmup=f"{share / 100:.2f}%"), updates)
    count = build(Schedule(peak=float(peak), warmup=f"{steps} steps", floor=float(Fraction(peak) / 10)), updates)
    assert percent.warmup == count.warmup == steps
    assert percent.curve.fingerprint == count.curve.fingerprint
