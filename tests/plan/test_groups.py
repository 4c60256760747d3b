"""Curves of parts: own peaks, own clocks, ratios, and which part follows what."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.errors import UserError
from huohou.plan.groups import GroupSpec, parts_of, with_plus_ratio
from huohou.plan.planner import Request, make_plan
from huohou.plan.result import Plan
from huohou.plan.sizes import Asked
from huohou.schedule.recipes import Schedule
from huohou.units import Duration, Level

LORA: dict[str, Any] = {
    "rank": 8,
    "alpha": 16.0,
    "dropout": 0.0,
    "targets": ["all"],
    "rslora": False,
    "dora": False,
    "bits": None,
    "plus_ratio": None,
    "rows": "none",
    "save": [],
    "adapters": [],
}


def group(**said: Any) -> GroupSpec:
    read: dict[str, Any] = {}
    if "peak" in said:
        read["peak"] = None if said["peak"] == "off" else Level.parse(said["peak"], key="peak")
    for name in ("start", "length"):
        if name in said:
            read[name] = Duration.parse(said.pop(name), key=name)
    if "after" in said:
        read["after"] = said.pop("after")
    said.pop("peak", None)
    lengths = ("warmup", "decay_length")
    rest: dict[str, Any] = {k: Duration.parse(v, key=k) if k in lengths else v for k, v in said.items()}
    if "floor" in said:
        rest["floor"] = Level.parse(said["floor"], key="floor")
    return GroupSpec(**read, said=rest)


def planned(
    updates: int = 1000,
    groups: dict[str, GroupSpec] | None = None,
    *,
    grown: bool = True,
    lora: dict[str, Any] | None = None,
    **schedule: Any,
) -> Plan:
    spec = Schedule(**{"peak": "2e-4", "warmup": "5%", **schedule})
    return make_plan(
        Request(
            spec=spec,
            asked=Asked(updates=updates),
            stage="continue",
            scratch=False,
            model={"parameters": 1000, "lora": lora},
            groups=groups or {},
            grown=grown,
        )
    )


def rates(plan: Plan, part: str) -> list[float]:
    return [plan.groups[part](u) for u in range(1, plan.updates + 1)]


def test_a_peak_alone_is_the_main_curve_at_another_height() -> None:
    plan = planned(groups={"new_rows": group(peak="500%")})
    assert plan.groups["new_rows"](50) == 1e-3
    for u in (1, 25, 50, 500, 1000):
        assert plan.groups["new_rows"](u) == pytest.approx(5 * plan.curve(u), rel=1e-12)
    assert plan.parts == {"new_rows": "new_rows", "old_rows": "all", "body": "all"}
    assert set(plan.applied_curves()) == {"all", "new_rows"}


def test_a_part_waits_at_exactly_zero_and_then_begins_on_its_own_clock() -> None:
    plan = planned(groups={"body": group(start="200 steps", warmup="100 steps")})
    curve = plan.groups["body"]
    assert {curve(u) for u in range(1, 201)} == {0.0}
    assert curve(201) == 2e-4 / 100
    assert curve(300) == 2e-4
    assert curve(1000) == pytest.approx(2e-5)
    assert [(p.name, p.first, p.last) for p in plan.group_phases["body"]] == [
        ("wait", 1, 200),
        ("warmup", 201, 300),
        ("decay", 301, 1000),
    ]


def test_shares_count_on_the_parts_own_clock() -> None:
    plan = planned(groups={"body": group(start="50%")})
    assert [p.name for p in plan.group_phases["body"]] == ["wait", "warmup", "decay"]
    # 5% of the 500 updates that remain, rounded up.
    assert plan.group_phases["body"][1].last == 525


def test_a_schedule_that_ends_before_the_run_holds_or_stops() -> None:
    held = planned(groups={"new_rows": group(length="100 steps", warmup="10 steps")}).groups["new_rows"]
    assert held(100) == held(101) == held(1000) == 2e-5
    plan = planned(groups={"new_rows": group(length="100 steps", warmup="10 steps", after="off")})
    stopped = plan.groups["new_rows"]
    assert stopped(100) == 2e-5
    assert {stopped(u) for u in range(101, 1001)} == {0.0}
    assert plan.group_phases["new_rows"][-1].name == "off"


def test_staged_unfreezing_is_data() -> None:
    plan = planned(
        groups={
            "new_rows": group(peak="5x".replace("5x", "500%"), length="30%", after="off"),
            "old_rows": group(peak="off"),
            "body": group(start="30%"),
        }
    )
    assert plan.frozen == ("old_rows",)
    assert "old_rows" not in plan.groups
    assert plan.curve_name("old_rows") is None
    moving = [[part for part in plan.groups if plan.groups[part](u) > 0] for u in (1, 300, 301, 1000)]
    assert moving == [["new_rows"], ["new_rows"], ["body"], ["body"]]


@settings(max_examples=60, deadline=None)
@given(
    updates=st.integers(2, 400),
    start=st.integers(0, 300),
    share=st.integers(0, 60),
    peak=st.sampled_from(["1e-4", "3e-3", "50%", "1000%"]),
    decay=st.sampled_from(["cosine", "linear", "constant", "inverse_sqrt"]),
)
def test_every_part_is_silent_before_its_start_and_never_above_its_peak(
    updates: int, start: int, share: int, peak: str, decay: str
) -> None:
    start = min(start, updates - 1)
    spec = group(start=f"{start} steps", peak=peak, warmup=f"{share}%", decay=decay)
    if -(-(updates - start) * share // 100) >= updates - start:
        return
    plan = planned(updates, {"body": spec})
    curve = plan.groups["body"]
    assert all(curve(u) == 0.0 for u in range(1, start + 1))
    after = [curve(u) for u in range(start + 1, updates + 1)]
    assert all(0 < rate <= float(curve.peak) for rate in after)
    assert max(after) == float(Level.parse(peak, key="").number * (1 if "e" in peak else Fraction("2e-4")))
    assert curve.vector(1, updates).tolist() == pytest.approx([0.0] * start + after, rel=1e-15)


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 90), length=st.integers(2, 100), after=st.sampled_from(["hold", "off"]))
def test_plans_with_parts_read_back(start: int, length: int, after: str) -> None:
    if start + length > 100:
        return
    spec = group(start=f"{start} steps", length=f"{length} steps", after=after, warmup="10%")
    plan = planned(100, {"body": spec, "old_rows": group(peak="off")})
    plain = json.loads(json.dumps(plan.to_plain(), allow_nan=False))
    again = Plan.from_plain(plain)
    assert again.to_plain() == plain
    assert rates(again, "body") == rates(plan, "body")
    assert again.plan_fingerprint == plan.plan_fingerprint


def test_what_parts_do_decides_the_plan() -> None:
    one = planned(groups={"body": group(start="10 steps")})
    assert one.plan_fingerprint != planned().plan_fingerprint
    assert one.plan_fingerprint != planned(groups={"body": group(start="11 steps")}).plan_fingerprint
    assert planned(groups={"body": group(peak="off")}).plan_fingerprint != planned().plan_fingerprint


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"start": "1000 steps"}, r"groups\.body: start is 1000 steps, which is 1000 updates, but the run makes 1000"),
        ({"start": "900 steps", "length": "200 steps"}, r"groups\.body: start and length are 900 and 200"),
        ({"warmup": "100%"}, r"groups\.body: the warmup is 1000 updates long"),
        ({"start": "900 steps", "warmup": "100 steps"}, r"groups\.body: the warmup is 100 updates long, but .* 100"),
        ({"peak": "1e-5", "floor": "2e-5"}, r"groups\.body: floor is 2e-05, which is above the peak"),
        ({"decay": "wsd"}, r"groups\.body: decay is wsd"),
    ],
)
def test_what_does_not_fit_names_the_part(said: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(groups={"body": group(**said)})


def test_parts_that_do_not_exist_cannot_have_a_curve() -> None:
    with pytest.raises(UserError, match=r"groups\.new_rows has a curve.*adds no pieces"):
        planned(groups={"new_rows": group(peak="500%")}, grown=False)
    with pytest.raises(UserError, match="there are no adapters"):
        planned(groups={"adapters": group(peak="500%")})
    everything = {part: group(peak="off") for part in ("new_rows", "old_rows", "body")}
    with pytest.raises(UserError, match="every part of the model is off"):
        planned(groups=everything)


def test_adapters_leave_the_rest_alone_but_for_the_rows_that_are_asked_for() -> None:
    plain = parts_of({}, lora=LORA, grown=True)
    assert (plain.follows, plain.frozen) == (
        {"adapters": "all", "adapters_b": "all"},
        ("new_rows", "old_rows", "body"),
    )
    new = parts_of({}, lora={**LORA, "rows": "new"}, grown=True)
    assert set(new.follows) == {"new_rows", "adapters", "adapters_b"}
    assert set(parts_of({}, lora={**LORA, "rows": "all"}, grown=False).follows) == {
        "old_rows",
        "adapters",
        "adapters_b",
    }
    saved = parts_of({}, lora={**LORA, "save": ["embed_tokens", "lm_head"]}, grown=False)
    assert saved.frozen == ("body",)


def test_lora_plus_is_a_curve_of_the_matrices_b() -> None:
    groups = with_plus_ratio({}, Fraction(16))
    plan = planned(groups=groups, lora=LORA, grown=False)
    assert plan.groups["adapters_b"](50) == pytest.approx(16 * 2e-4)
    assert plan.parts == {"adapters": "all", "adapters_b": "adapters_b"}
    both = with_plus_ratio({"adapters": group(peak="1e-3", start="10 steps")}, Fraction(4))
    plan = planned(groups=both, lora=LORA, grown=False)
    assert plan.groups["adapters_b"](10) == 0.0
    assert float(plan.groups["adapters_b"].peak) == 4e-3
    follows = planned(groups={"adapters": group(peak="1e-3")}, lora=LORA, grown=False).parts
    assert follows["adapters_b"] == "adapters"


def test_the_group_specs_are_left_as_they_were() -> None:
    given_ = {"adapters": group(peak="1e-3")}
    made = with_plus_ratio(given_, Fraction(2))
    assert set(given_) == {"adapters"}
    assert replace(made["adapters_b"], peak=None) == replace(given_["adapters"], peak=None)
