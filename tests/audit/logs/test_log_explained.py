"""A log of any known curve, thinned, rounded and with skipped updates, is explained by a curve that reproduces it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from huohou.audit.logs.explain import Explanation, explain
from huohou.audit.logs.families import KINDS, Kind, Shape
from huohou.audit.logs.log import Log, Point, Track


@dataclass(frozen=True)
class Case:
    """A curve and how it was logged."""

    kind: str
    member: int
    shape: Shape
    peak: float
    ahead: int
    every: int
    digits: int | None
    skips: tuple[int, ...]
    until: int

    def track(self, *, told: bool) -> Track:
        """What the log shows; whether it counts the skipped updates."""
        curve = kind_of(self.kind).members[self.member].build(self.shape)
        points: list[Point] = []
        skipped = 0
        for update in range(1, self.until + 1):
            rate = self.peak * curve.value(update - skipped)
            skipped += update in self.skips
            if self.ahead:
                rate = self.peak * curve.value(update - skipped + 1)
            if update % self.every == 0:
                text = repr(rate) if self.digits is None else f"{rate:.{self.digits - 1}e}"
                points.append(Point(update, float(text), text, update + 1, skipped if told else None))
        return Track("model", points)


def kind_of(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def explained(track: Track, total: int | None = None) -> Explanation:
    return explain(track, Log("log", "csv", [track], total=total))


def reproduces(found: Explanation) -> None:
    """Every fit gives every logged rate within what was printed."""
    for fit in found.fits:
        curve = fit.curve(10**6)
        for sample in found.samples():
            rates = [curve.rate(sample.made + fit.ahead + more) for more in range(1 + (sample.late and not fit.ahead))]
            assert any(sample.low <= rate * (1 + 1e-15) and rate * (1 - 1e-15) <= sample.high for rate in rates)


USUAL = ("cosine", "linear", "warmup, hold, linear decay", "warmup, hold, 1-sqrt decay", "warmup, hold, cosine decay")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind = kind_of(draw(st.sampled_from(USUAL)))
    member = draw(st.integers(0, len(kind.members) - 1))
    total = draw(st.integers(120, 3000))
    warmup = draw(st.integers(0, total // 5).filter(lambda w: w == 0 or w > 8))
    decay = draw(st.integers(total // 4, total // 2)) if kind.holds else 0
    floor = draw(st.sampled_from([0.0, 0.1, 0.05]))
    every = draw(st.sampled_from([1, 2, 5, 10]))
    skips = draw(st.sets(st.integers(1, total), max_size=6))
    return Case(
        kind.name,
        member,
        Shape(float(warmup), float(total), floor, float(decay)),
        draw(st.sampled_from([9.65e-6, 5e-5, 3e-4, 1.25e-3])),
        draw(st.integers(0, 1)),
        every,
        draw(st.sampled_from([None, None, 5, 7])),
        tuple(sorted(skips)),
        total,
    )


@pytest.mark.heavy
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(cases())
def test_a_log_is_explained_within_its_printed_digits(case: Case) -> None:
    found = explained(case.track(told=bool(case.skips)))
    assert found.fits, found.nearest
    reproduces(found)
    # The curve that made it is among those that are named, unless a simpler one says the same.
    totals = {fit.shape.total for fit in found.fits}
    if case.digits is None and not case.skips and case.shape.warmup:
        assert {case.shape.total, case.shape.total + 1, case.shape.total - 1} & totals


MADE = [
    Case("cosine", 0, Shape(100.0, 477.0), 9.65e-6, 1, 10, None, (1, 2, 3, 6, 11), 470),
    Case("cosine", 0, Shape(0.0, 1840.0), 5e-5, 1, 10, None, (*range(1, 11), 145, 600), 1840),
    Case("linear", 0, Shape(30.0, 1000.0), 3e-4, 0, 5, None, (2, 3, 500), 1000),
]


@pytest.mark.parametrize("case", MADE, ids=lambda case: f"{case.kind}-{case.shape.total:g}")
def test_skipped_updates_are_found_from_the_rates(case: Case) -> None:
    found = explained(case.track(told=False))
    assert found.source == "found" and found.best is not None
    assert (found.best.shape, found.best.peak) == (case.shape, case.peak)
    true = [sum(skip <= point.update for skip in case.skips) for point in found.points]
    shift = 0 if found.best.ahead == case.ahead else 1
    assert all(abs(a - b) <= shift for a, b in zip(found.skipped, true, strict=True))
    reproduces(found)


ALL = [
    ("constant", Shape(25.0)),
    ("cosine", Shape(40.0, 500.0, 0.1)),
    ("linear", Shape(40.0, 500.0)),
    ("warmup, hold, exponential decay", Shape(40.0, 500.0, 0.0, 150.0)),
    ("warmup, hold, geometric decay", Shape(40.0, 500.0, 0.1, 150.0)),
    ("warmup from the floor, hold, cosine decay", Shape(40.0, 500.0, 0.1, 150.0)),
    ("logarithmic warmup of DeepSpeed, WarmupLR", Shape(40.0)),
    ("linear warmup of DeepSpeed, WarmupDecayLR", Shape(40.0, 500.0)),
    ("logarithmic warmup of DeepSpeed, WarmupCosineLR", Shape(40.0, 500.0, 1e-4)),
    ("inverse square root", Shape(40.0)),
    ("cosine with 3 restarts", Shape(40.0, 500.0)),
    ("rex", Shape(40.0, 500.0, 0.1)),
    ("quadratic warmup, cosine", Shape(40.0, 500.0)),
    ("LinearLR from 0.333, linear", Shape(40.0, 500.0)),
    ("cosine under the warmup", Shape(40.0, 500.0)),
    ("one cycle", Shape(150.0, 500.0)),
]


@pytest.mark.parametrize(("name", "shape"), ALL, ids=[name for name, _ in ALL])
def test_each_kind_is_named_and_those_that_do_not_fit_are_not(name: str, shape: Shape) -> None:
    found = explained(Case(name, 0, shape, 3e-4, 1, 5, None, (), 500).track(told=False))
    named = {fit.kind.name for fit in found.fits}
    assert name in named and "constant" not in named - {name}
    best = next(fit for fit in found.fits if fit.kind.name == name)
    assert (best.shape.warmup, best.shape.total, best.peak) == (shape.warmup, shape.total, 3e-4)
    if name in ("cosine", "linear", "rex"):
        assert not named & {"cosine", "linear", "rex"} - {name}
    reproduces(found)


@pytest.mark.heavy
def test_conventions_of_the_rise_are_told_apart() -> None:
    """One placement that is used and the one before it that is logged ahead are the same numbers; others are not."""
    for member, same in ((0, (0, 1)), (1, (1, 0)), (3, (3, None))):
        case = Case("cosine", member, Shape(40.0, 200.0, 0.1), 3e-4, 0, 1, None, (), 200)
        found = explained(case.track(told=False))
        names = {(kind_of("cosine").members.index(f.member), f.ahead) for f in found.fits if f.kind.name == "cosine"}
        assert (member, 0) in names and (same[1] is None or (same[1], 1) in names or member == 0)
        assert (2, 0) not in names or member == 1


def test_a_partial_log_says_what_it_cannot_know() -> None:
    case = Case("cosine", 0, Shape(100.0, 1000.0), 3e-4, 1, 1, None, (), 50)
    found = explained(case.track(told=False))
    assert not found.fits and found.rising == pytest.approx(3e-6)
    held = Case("warmup, hold, linear decay", 0, Shape(100.0, 1000.0, 0.0, 200.0), 3e-4, 1, 1, None, (), 500)
    found = explained(held.track(told=False))
    assert found.best is not None and found.best.kind.name == "constant" and not found.falls
    assert found.best.shape.warmup == 100


def test_rounding_leaves_the_length_open_and_says_how_far() -> None:
    case = Case("linear", 0, Shape(0.0, 100_000.0), 3e-4, 1, 50, 3, (), 3000)
    found = explained(case.track(told=False))
    assert found.totals is not None and found.totals[0] < 100_000 < found.totals[1]
    # A total that the log itself tells goes first.
    told = explained(case.track(told=False), total=100_000)
    assert told.best is not None and told.best.shape.total == 100_000


def test_noise_is_not_explained() -> None:
    points = [Point(u, r, repr(r), u) for u in range(1, 60) for r in [1e-4 * (1 + 0.3 * ((u * 7919) % 13) / 13)]]
    found = explained(Track("model", points))
    assert not found.fits and found.nearest is not None and found.nearest.residual > 0.01


PLACED = [
    ("linear", 0, {0: 0.0, 1: 0.1, 9: 0.9, 10: 1.0, 11: 0.99, 99: 0.11}),
    ("linear", 1, {0: 0.1, 8: 0.9, 9: 1.0, 10: 0.99, 99: 0.1}),
    ("linear", 2, {0: 1 / 11, 9: 10 / 11, 10: 1.0, 11: 0.99, 99: 0.11}),
    ("linear", 3, {0: 0.1, 9: 1.0, 10: 1.0, 11: 0.99, 99: 0.11}),
    ("linear warmup of DeepSpeed, WarmupLR", 0, {0: 0.0, 1: 0.0, 9: 0.8, 10: 0.9, 11: 1.0, 99: 1.0}),
    ("logarithmic warmup of DeepSpeed, WarmupLR", 0, {0: 0.0, 1: 0.0, 9: 0.9542425094393249, 10: 1.0}),
]


@pytest.mark.parametrize(("name", "member", "values"), PLACED, ids=[f"{name}-{member}" for name, member, _ in PLACED])
def test_the_placements_are_those_of_the_frameworks(name: str, member: int, values: dict[int, float]) -> None:
    """W = 10, T = 100, floor 0.1, by index: the frameworks' own values."""
    curve = kind_of(name).members[member].build(Shape(10.0, 100.0, 0.1))
    assert {i: curve.value(i + 1) for i in values} == pytest.approx(values, rel=1e-12, abs=1e-15)
