"""A plan changed on the way: one exact curve, the order of what is read, and a record of the consent."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.errors import UserError
from huohou.plan.changes import CHOICES, At, Choice, find_changes, replanned, touches_order
from huohou.plan.groups import GroupSpec
from huohou.plan.planner import Request, make_plan
from huohou.plan.result import Plan
from huohou.plan.sizes import Asked
from huohou.schedule.recipes import Schedule
from huohou.units import Duration, Level


def asked_for(
    *,
    updates: int | None = 100,
    epochs: int | None = None,
    batch: int = 8,
    seed: int = 1,
    content: str = "a",
    sequences: int = 640,
    groups: dict[str, GroupSpec] | None = None,
    drop_last: bool = False,
    model: dict[str, Any] | None = None,
    **schedule: Any,
) -> Request:
    said = {"peak": "1e-3", "warmup": "10 steps", **schedule}
    return Request(
        spec=Schedule(**said),
        asked=Asked(
            updates=updates,
            epochs=None if epochs is None else Duration.parse(f"{epochs} epochs", key="").number,
            sequences=sequences,
            sequence_length=16,
            batch=Duration.parse(f"{batch} steps", key="").number,
            drop_last=drop_last,
        ),
        stage="continue",
        scratch=False,
        data={"content": content, "tokens": sequences * 16},
        model={"parameters": 10, "hidden_size": 4, **(model or {})},
        execution={"seed": seed, "device": "cpu"},
        optimizer={"name": "adamw", "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1},
        groups=groups or {},
        config={
            "seed": seed,
            "schedule": {key: str(value) for key, value in said.items()},
            "train": {"updates": updates, "epochs": epochs},
            "batch": {"size": batch},
            "model": dict(model or {}),
        },
    )


def after(was: Request, now: Request, at: At, choice: Choice, length: str | None = None) -> tuple[Plan, Plan]:
    recorded = make_plan(was)
    rewarm = None if length is None else Duration.parse(length, key="--rewarm")
    return recorded, replanned(recorded, make_plan(now), now, at, choice, rewarm)


def rates(plan: Plan) -> list[float]:
    return [plan.curve(u) for u in range(1, plan.updates + 1)]


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({"peak": "5e-4"}, ["schedule.peak"]),
        ({"updates": 200}, ["train.updates"]),
        ({"warmup": "20 steps"}, ["schedule.warmup"]),
        ({"decay": "linear"}, ["schedule.decay"]),
        ({"floor": "0"}, ["schedule.floor"]),
        ({"batch": 16}, ["batch.size"]),
        ({"seed": 2}, ["seed"]),
        ({"content": "b"}, ["data.content"]),
        ({"model": {"hidden_size": 8}}, ["model.hidden_size"]),
    ],
    ids=["peak", "updates", "warmup", "decay", "floor", "batch", "seed", "data", "model"],
)
def test_every_kind_of_change_is_found_and_named(changed: dict[str, Any], keys: list[str]) -> None:
    found = find_changes(make_plan(asked_for()), make_plan(asked_for(**changed)))
    assert [change.key for change in found] == keys
    assert [change.possible for change in found] == [not keys[0].startswith("model")]


def test_nothing_is_found_where_nothing_decides() -> None:
    assert find_changes(make_plan(asked_for()), make_plan(asked_for())) == ()


@settings(max_examples=60, deadline=None)
@given(
    update=st.integers(1, 99),
    peak=st.sampled_from(["1e-4", "1e-3", "7e-3"]),
    updates=st.integers(100, 300),
    warmup=st.integers(0, 60),
    decay=st.sampled_from(["cosine", "linear", "constant", "inverse_sqrt", "1-sqrt"]),
)
def test_retarget_is_the_recorded_curve_and_then_the_new_one_bit_for_bit(
    update: int, peak: str, updates: int, warmup: int, decay: str
) -> None:
    now = asked_for(peak=peak, updates=updates, warmup=f"{warmup} steps", decay=decay)
    recorded, plan = after(asked_for(), now, At(update, update), "retarget")
    new = make_plan(now)
    assert rates(plan) == rates(recorded)[:update] + rates(new)[update:]
    assert plan.updates == updates
    assert plan.curve.vector(1, updates).tolist() == pytest.approx(rates(plan), rel=1e-15)
    again = Plan.from_plain(json.loads(json.dumps(plan.to_plain(), allow_nan=False)))
    assert rates(again) == rates(plan)
    assert again.plan_fingerprint == plan.plan_fingerprint
    covered = [u for phase in plan.phases for u in range(phase.first, phase.last + 1)]
    assert covered == list(range(1, updates + 1))


@settings(max_examples=60, deadline=None)
@given(update=st.integers(12, 90), length=st.integers(1, 60), peak=st.sampled_from(["1e-3", "2e-3"]))
def test_rewarm_rises_from_the_present_rate_to_the_new_peak(update: int, length: int, peak: str) -> None:
    now = asked_for(peak=peak, updates=200)
    recorded, plan = after(asked_for(), now, At(update, update), "rewarm", f"{length} steps")
    made = rates(plan)
    assert made[:update] == rates(recorded)[:update]
    climb = made[update - 1 : update + length]
    assert climb[-1] == float(peak)
    assert all(a < b for a, b in pairwise(climb))
    assert all(a >= b for a, b in pairwise(made[update + length - 1 :]))
    assert made[-1] == pytest.approx(float(peak) / 10)
    assert [p.name for p in plan.phases if p.first > update] == ["re-warm", "decay"]


def test_keep_goes_on_as_recorded_and_does_not_ask_again() -> None:
    now = asked_for(peak="5e-4", seed=3)
    recorded, plan = after(asked_for(), now, At(40, 40), "keep")
    assert rates(plan) == rates(recorded)
    assert (plan.execution or {})["seed"] == 1
    assert plan.plan_fingerprint == recorded.plan_fingerprint
    assert find_changes(plan, make_plan(now)) == ()
    # The old run file is a change again: what is asked for is compared with what was asked for last.
    assert find_changes(plan, make_plan(asked_for())) != ()


@pytest.mark.parametrize("choice", ["retarget", "rewarm"])
def test_a_consent_is_recorded_and_not_asked_for_again(choice: Choice) -> None:
    now = asked_for(peak="2e-3", updates=150)
    recorded, plan = after(asked_for(), now, At(40, 42), choice, "5 steps" if choice == "rewarm" else None)
    assert find_changes(plan, make_plan(now)) == ()
    entry = plan.replans[-1]
    assert (entry["update"], entry["batches"], entry["choice"]) == (40, 42, choice)
    assert entry["updates"] == [100, 150]
    assert entry["rate"] == recorded.curve(40)
    assert entry["rates"] == [recorded.curve(41), plan.curve(41)]
    assert entry["was"] == {"fingerprint": recorded.fingerprint, "plan_fingerprint": recorded.plan_fingerprint}
    assert {change["key"] for change in entry["changes"]} == {"schedule.peak", "train.updates"}
    assert entry["order"] is None
    assert plan.plan_fingerprint != recorded.plan_fingerprint


def test_a_second_change_is_joined_to_the_first() -> None:
    first, second = asked_for(peak="2e-3"), asked_for(peak="5e-4", updates=140)
    recorded, once = after(asked_for(), first, At(30, 30), "retarget")
    twice = replanned(once, make_plan(second), second, At(60, 60), "retarget")
    assert rates(twice) == rates(recorded)[:30] + rates(make_plan(first))[30:60] + rates(make_plan(second))[60:]
    assert [one["update"] for one in twice.replans] == [30, 60]


def test_another_batch_goes_on_in_the_same_order_where_the_last_one_ended() -> None:
    # 640 sequences twice: 160 updates of 8; after 50 of them (52 batches read), 880 are left, 55 batches of 16.
    was, now = asked_for(updates=None, epochs=2), asked_for(updates=None, epochs=2, batch=16)
    recorded, plan = after(was, now, At(50, 52), "retarget")
    assert recorded.updates == 160
    assert plan.replans[-1]["order"] == {"update": 50, "batch": 52, "position": 416, "read": 400}
    assert (plan.updates, plan.batch.sequences, plan.batch.last) == (105, 16, 16)
    assert plan.curve(105) == pytest.approx(1e-4)
    # And once more: what was read before counts on.
    later = asked_for(updates=None, epochs=2, batch=40)
    again = replanned(plan, make_plan(later), later, At(60, 62), "retarget")
    assert again.replans[-1]["order"] == {"update": 60, "batch": 62, "position": 576, "read": 560}
    assert (again.updates, again.batch.last) == (78, 40)


@pytest.mark.parametrize(
    ("update", "drop_last", "updates", "last"),
    [
        # 1280 sequences, of which 8 an update are read: what is left is 31 × 24, 32 × 24, or 31 × 24 + 8.
        (67, False, 98, 24),
        (64, False, 96, 24),
        (66, False, 98, 8),
        (66, True, 97, 24),
    ],
)
def test_the_rest_of_a_length_in_epochs_may_end_in_a_short_batch(
    update: int, drop_last: bool, updates: int, last: int
) -> None:
    was = asked_for(updates=None, epochs=2, drop_last=drop_last)
    now = asked_for(updates=None, epochs=2, batch=24, drop_last=drop_last)
    _, plan = after(was, now, At(update, update), "retarget")
    assert (plan.updates, plan.batch.last) == (updates, last)


@pytest.mark.parametrize("changed", [{"seed": 9}, {"content": "b", "sequences": 320}], ids=["seed", "data"])
def test_another_seed_or_other_data_begin_a_new_pass(changed: dict[str, Any]) -> None:
    recorded, plan = after(asked_for(), asked_for(**changed), At(40, 41), "retarget")
    assert plan.replans[-1]["order"] == {"update": 40, "batch": 41, "position": 0, "read": 320}
    assert touches_order(recorded, plan)
    assert (plan.execution or {})["seed"] == changed.get("seed", 1)


def test_data_that_are_gone_cannot_be_kept() -> None:
    with pytest.raises(UserError, match="keep: the data are others"):
        after(asked_for(), asked_for(content="b"), At(40, 40), "keep")


def test_a_run_that_is_shorter_than_what_was_made_is_refused() -> None:
    for choice in CHOICES[1:]:
        with pytest.raises(UserError, match="the new plan has 50 updates, but 60 are made"):
            after(asked_for(), asked_for(updates=50), At(60, 60), choice, "5 steps")
    with pytest.raises(UserError, match="has read 640 of them already"):
        after(
            asked_for(updates=None, epochs=2),
            asked_for(updates=None, epochs=1, batch=4),
            At(80, 80),
            "retarget",
        )


def test_rewarming_must_rise_and_fit() -> None:
    with pytest.raises(UserError, match="re-warming must rise"):
        after(asked_for(), asked_for(peak="1e-4"), At(20, 20), "rewarm", "5 steps")
    with pytest.raises(UserError, match="does not fit into a run of 100"):
        after(asked_for(), asked_for(peak="2e-3"), At(60, 60), "rewarm", "50 steps")
    with pytest.raises(UserError, match="--rewarm"):
        after(asked_for(), asked_for(peak="2e-3"), At(60, 60), "rewarm")
    with pytest.raises(UserError, match="no update is made yet"):
        after(asked_for(), asked_for(peak="2e-3"), At(0, 0), "rewarm", "5 steps")


def test_before_the_first_update_the_new_plan_is_the_whole_plan() -> None:
    now = asked_for(peak="2e-3", seed=4)
    _, plan = after(asked_for(), now, At(0, 0), "retarget")
    assert rates(plan) == rates(make_plan(now))
    assert plan.replans[-1]["rate"] is None


def test_an_open_curve_is_closed_on_the_way() -> None:
    was = asked_for(decay="open")
    now = asked_for(decay="wsd", decay_length="20 steps", updates=80)
    recorded, plan = after(was, now, At(50, 50), "retarget")
    assert rates(plan)[:60] == rates(recorded)[:60]
    assert plan.curve(60) == 1e-3
    assert plan.curve(80) == pytest.approx(1e-4)


def parts(start: int = 20, peak: str = "2e-3") -> dict[str, GroupSpec]:
    return {
        "body": GroupSpec(
            peak=Level.parse(peak, key=""),
            start=Duration.parse(f"{start} steps", key=""),
            said={"warmup": Duration.parse("5 steps", key="")},
        )
    }


def test_parts_are_joined_too_and_those_that_wait_keep_their_clock() -> None:
    was, now = asked_for(groups=parts()), asked_for(groups=parts(peak="4e-3"), updates=200)
    recorded, plan = after(was, now, At(40, 40), "retarget")
    new = make_plan(now)
    assert [plan.groups["body"](u) for u in (20, 40, 41, 200)] == [
        0.0,
        recorded.groups["body"](40),
        new.groups["body"](41),
        new.groups["body"](200),
    ]
    _, risen = after(was, now, At(40, 40), "rewarm", "10 steps")
    assert risen.groups["body"](50) == 4e-3
    assert risen.curve(50) == 1e-3
    _, waiting = after(was, now, At(12, 12), "rewarm", "10 steps")
    assert waiting.groups["body"](20) == 0.0
    assert waiting.groups["body"](25) == 4e-3
    assert [p.name for p in risen.group_phases["body"]] == ["wait", "warmup", "decay", "re-warm", "decay"]


def test_which_parts_have_curves_cannot_change() -> None:
    found = find_changes(make_plan(asked_for()), make_plan(asked_for(groups=parts())))
    assert "model.parts" in [change.key for change in found if not change.possible]
