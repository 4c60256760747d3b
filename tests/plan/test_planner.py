"""The plan: its numbers, its plain form, its fingerprints, its advice and its budget."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import huohou
from huohou.errors import UserError
from huohou.plan.budget import Workload, estimate
from huohou.plan.result import Plan
from huohou.schedule.warmup import default_warmup


def made(**words: Any) -> Plan:
    return huohou.plan(**{"peak": "3e-4", "updates": 10_000, **words})


def advice(plan: Plan) -> dict[str, str]:
    return {piece.id: piece.text.en for piece in plan.advice}


def test_the_numbers_of_the_plan() -> None:
    plan = made(warmup_rate="0.1", decay="cosine", floor="10%")
    assert (plan.updates, plan.warmup_updates, plan.decay_updates) == (10_000, 1000, 9000)
    assert plan.exact
    assert [plan.curve(u) for u in (1, 1000, 10_000)] == [3e-7, 3e-4, 3e-5]
    assert plan.curve(1001) < 3e-4
    assert [(p.name, p.first, p.last) for p in plan.phases] == [("warmup", 1, 1000), ("decay", 1001, 10_000)]
    assert plan.phase_of(1000).name == "warmup"  # pyright: ignore[reportOptionalMemberAccess]
    assert plan.phase_of(1001).name == "decay"  # pyright: ignore[reportOptionalMemberAccess]


def test_plain_form_reads_back() -> None:
    for plan in (
        made(warmup="10%"),
        made(updates=None, tokens="2B", batch="4M tokens", sequence_length=4096, params="7B", gpus=8, price=10),
        made(decay="restarts", cycles=3),
    ):
        plain = json.loads(json.dumps(plan.to_plain(), allow_nan=False))
        assert Plan.from_plain(plain).to_plain() == plain
    assert {
        "updates",
        "warmup_updates",
        "exact",
        "fingerprint",
        "plan_fingerprint",
        "knots",
        "phases",
        "advice",
    } <= set(plain)
    assert all({"update", "value", "rate", "shape"} <= set(knot) for knot in plain["knots"])
    with pytest.raises(UserError, match="format 99"):
        Plan.from_plain({**plain, "format": 99})
    with pytest.raises(UserError, match="no plan"):
        Plan.from_plain({"format": 1})


def test_fingerprints() -> None:
    one, other = made(warmup_rate="0.1"), made(num_warmup_steps=1000)
    assert one.fingerprint == other.fingerprint
    assert one.plan_fingerprint == other.plan_fingerprint
    assert made(warmup="off").fingerprint == made(num_warmup_steps=1).fingerprint
    assert made(warmup="2%").plan_fingerprint != one.plan_fingerprint
    batched = made(warmup_rate="0.1", batch=64)
    assert batched.fingerprint == one.fingerprint
    assert batched.plan_fingerprint != one.plan_fingerprint


@pytest.mark.parametrize(
    ("words", "warmup"),
    [
        ({"updates": 1000}, 200),
        ({"updates": 1000, "stage": "sft"}, 50),
        ({"updates": 100_000}, 2000),
        ({"updates": 1}, 0),
        ({"updates": 10_000}, 500),
    ],
)
def test_the_default_warmup_says_so(words: dict[str, Any], warmup: int) -> None:
    plan = made(**words)
    assert plan.warmup_updates == warmup
    assert f"it is {warmup} updates" in advice(plan)["default-length"]
    assert "default-length" not in advice(made(warmup="off"))


@pytest.mark.parametrize(
    ("words", "places", "verdict"),
    [
        ({"updates": 9999, "warmup": "7%"}, "small (under 10k updates) the article says 5%-10%", "inside"),
        ({"updates": 9999, "warmup": "20%"}, "small (under 10k updates)", "outside"),
        ({"updates": 10_000, "warmup": "7%"}, "between small and large", "inside"),
        ({"updates": 50_000, "warmup": "1%", "params": "1B"}, "large (from 1B parameters or 64 GPUs) the article says 10%-20%", "outside"),
        ({"updates": 50_000, "warmup": "10%", "gpus": 64, "batch": 64}, "large (from 1B parameters or 64 GPUs)", "inside"),
        ({"updates": 50_000, "warmup": "10%", "gpus": 63, "batch": 63}, "between small and large", "inside"),
        ({"updates": 100_001, "warmup": "1%"}, "very long (over 100k updates)", "inside"),
        ({"updates": 100_000, "warmup": "10%"}, "between small and large", "inside"),
    ],
)  # fmt: skip
def test_the_articles_table(words: dict[str, Any], places: str, verdict: str) -> None:
    said = advice(made(**words))["article-range"]
    assert places in said
    assert f"is {verdict}" in said
    assert "thresholds are huohou's" in said


def test_where_article_and_practice_disagree_it_says_so() -> None:
    large = advice(made(updates=500_000, warmup="2000 steps", params="7B"))
    assert "article and practice disagree" in large["published-runs"]
    assert "agree with them" in large["published-runs"]
    assert "article and practice disagree" not in advice(made(warmup="10%"))["published-runs"]


def test_other_advice() -> None:
    off = advice(made(warmup="off", gpus=8, batch=64))["warmup-off"]
    assert "possible but risky" in off
    assert "8 processes" in off
    assert "97.1% of the peak" in advice(made(updates=600, warmup="off", decay="inverse_sqrt"))["last-rate"]
    assert "short-run" in advice(made(updates=600, warmup="5%"))
    assert "price" in advice(made(updates=20_000, warmup="10%"))
    assert "no-decay" in advice(made(decay="open"))
    assert all(piece.text.zh and piece.source.zh for piece in made(warmup="off").advice)


def test_the_budget() -> None:
    budget = made(
        updates=None, tokens="1B", batch=256, sequence_length=1024, params="100M", hardware="a100", gpus=8
    ).budget
    tokens = -(-(10**9) // 1024) * 1024
    assert budget["flops"] == 6 * 10**8 * tokens
    assert budget["seconds"] == pytest.approx(6 * 10**8 * tokens / (8 * 312e12 * 0.4))
    assert budget["memory_bytes"] == 16 * 10**8
    priced = estimate(Workload(tokens=3600 * 1000, speed=1000, price=2.5, world_size=4))
    assert (priced["hours"], priced["cost"]) == (1.0, 10.0)
    assert estimate(Workload())["seconds"] is None
    with pytest.raises(UserError, match="potato"):
        made(params="1B", tokens="1B", updates=None, batch=4, sequence_length=8, hardware="potato")


def test_words_that_do_not_exist_or_disagree() -> None:
    with pytest.raises(UserError, match="did you mean warmup_rate"):
        made(warmup_rat=0.1)
    with pytest.raises(UserError, match="warmup_rate 0.1 is 1000 updates, but num_warmup_steps 100 is 100"):
        made(warmup_rate=0.1, num_warmup_steps=100)
    assert made(warmup_rate=0.1, num_warmup_steps=1000, warmup_ratio="0.1").warmup_updates == 1000
    with pytest.raises(UserError, match="peak is missing"):
        huohou.plan(updates=10)


def test_durations_in_tokens_and_epochs() -> None:
    words = {"updates": None, "epochs": 2, "sequences": 1000, "sequence_length": 128, "batch": 10}
    assert made(**words, warmup="100k tokens").warmup_updates == 79
    assert made(**words, warmup="0.5 epochs").warmup_updates == 50
    with pytest.raises(UserError, match="tokens of a batch"):
        made(warmup="100k tokens")


def test_an_absolute_floor_is_used_as_typed() -> None:
    assert made(floor="1e-5", updates=7).curve(7) == 1e-5


def test_a_plan_may_have_a_curve_for_each_parameter_group() -> None:
    body = made(updates=100, warmup="10%")
    rows = huohou.shift(huohou.build(huohou.Schedule(peak="2e-3", warmup="off", decay="linear"), 50).curve, 50)
    plan = replace(body, groups={"new rows": rows})
    assert list(plan.all_groups()) == ["all", "new rows"]
    plain = json.loads(json.dumps(plan.to_plain(), allow_nan=False))
    again = Plan.from_plain(plain)
    assert again.groups["new rows"] == rows
    assert [again.groups["new rows"](u) for u in (51, 100)] == [2e-3, 2e-4]
    assert again.plan_fingerprint == plan.plan_fingerprint != body.plan_fingerprint
    assert plan.fingerprint == body.fingerprint


@pytest.mark.parametrize(
    ("updates", "how", "warmup"),
    [
        (10_000, {"scratch": False, "beta2": 0.95}, 500),
        (400, {"scratch": False, "beta2": 0.95}, 40),
        (100, {"scratch": False, "beta2": 0.95}, 25),
        (10_000, {"scratch": False, "beta2": 0.999}, 2000),
        (10_000, {"scratch": False, "beta2": 0.95, "carried": True}, 0),
        (1, {"scratch": False, "beta2": 0.95}, 0),
    ],
)
def test_the_default_where_a_model_exists(updates: int, how: dict[str, Any], warmup: int) -> None:
    assert default_warmup(updates, **how) == warmup
