"""optax, where it is installed: every rate is the plan's, rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import huohou
from huohou.adapters.saying import Drift
from huohou.errors import UserError

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from huohou.adapters import optax as huohou_optax  # noqa: E402

PLAN = huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%")
PROOF = "planned == applied: 12 of 12 updates"

PLANS = {
    "cosine": PLAN,
    "wsd": huohou.plan(updates=3000, peak="3e-4", warmup_rate="0.1", decay="wsd", decay_length="20%", floor=0),
    "open": huohou.plan(updates=500, peak="6e-4", warmup="50 steps", decay="inverse_sqrt"),
    "restarts": huohou.plan(updates=1000, peak="1e-3", warmup="10 steps", decay="restarts", cycles=3),
}


@pytest.mark.parametrize("name", PLANS)
def test_every_rate_is_the_plans_in_float32(name: str) -> None:
    plan = PLANS[name]
    schedule = huohou_optax.schedule(plan, updates=plan.updates)
    # The curve stays constant past its end.
    meant = np.array([plan.curve(u) for u in range(1, plan.updates + 11)]).astype(np.float32)
    compiled = jax.jit(schedule)
    for count in {0, 1, 5, plan.updates // 2, plan.updates - 1, plan.updates, plan.updates + 9}:
        assert np.asarray(compiled(count)) == np.asarray(schedule(count)) == meant[count]
    whole = jax.jit(jax.vmap(schedule))(np.arange(plan.updates + 10))
    assert whole.dtype == np.float32
    assert (np.asarray(whole) == meant).all()


def run(optimizer: Any, guard: Any, updates: int = 12, state: Any = None) -> tuple[Any, list[float]]:
    """A compiled loop with gradients of one and plain descent: the change of a weight is the rate."""
    weights = {"w": jax.numpy.zeros(())}
    state = optimizer.init(weights) if state is None else state

    @jax.jit
    def step(weights: Any, state: Any) -> Any:
        changes, state = optimizer.update({"w": jax.numpy.ones(())}, state, weights)
        return changes, state

    used: list[float] = []
    for _ in range(updates):
        changes, state = step(weights, state)
        used.append(-float(changes["w"]))
        guard.check(state)
    return state, used


def in_float32(first: int = 1) -> list[float]:
    return [float(np.float32(PLAN.curve(u))) for u in range(first, 13)]


@pytest.mark.parametrize("inject", [False, True])
def test_an_optimizer_applies_the_plan(inject: bool, capsys: pytest.CaptureFixture[str]) -> None:
    schedule = huohou_optax.schedule(PLAN, guard="raise")
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=schedule) if inject else optax.sgd(schedule)
    state, used = run(optimizer, schedule.guard, 5)
    again = huohou_optax.schedule(PLAN, guard="raise")
    _, more = run(optimizer, again.guard, 7, state)
    assert used + more == in_float32()
    assert capsys.readouterr().err == PROOF + "\n"


def test_accumulation_counts_updates() -> None:
    schedule = huohou_optax.schedule(PLAN, guard="off")
    optimizer = optax.MultiSteps(optax.sgd(schedule), every_k_schedule=2)
    _, used = run(optimizer, schedule.guard, 24)
    assert [rate for rate in used if rate] == in_float32()


def test_misuse_is_named() -> None:
    schedule = huohou_optax.schedule(PLAN)
    run(optax.chain(optax.sgd(schedule), optax.scale_by_schedule(schedule)), schedule.guard)
    assert [text.en for text in schedule.guard.said] == [
        "2 schedules are in this optimizer, and each multiplies the update: leave one."
    ]
    schedule = huohou_optax.schedule(PLAN, guard="raise")
    with pytest.raises(Drift, match="the schedule is not what this optimizer uses"):
        run(optax.sgd(0.1), schedule.guard)
    # Every micro-batch is an update of its own.
    schedule, optimizer = huohou_optax.schedule(PLAN), None
    optimizer = optax.sgd(schedule)
    weights = {"w": jax.numpy.zeros(())}
    state = optimizer.init(weights)
    for _ in range(3):
        for _ in range(2):
            _, state = optimizer.update({"w": jax.numpy.ones(())}, state, weights)
        schedule.guard.check(state)
    [said] = schedule.guard.said
    assert said.en.startswith("the schedule has counted 4 updates, but 3 were made: it counts micro-batches")


def test_what_cannot_work_is_a_sentence() -> None:
    with pytest.raises(UserError, match="the plan has no curve b; it has all"):
        huohou_optax.schedule(PLAN, curve="b")
    with pytest.raises(UserError, match="makes 13 updates, but the plan is for 12"):
        huohou_optax.schedule(PLAN, updates=13)
    far = huohou.plan(updates=60_000_000, peak="1e-3")
    with pytest.raises(UserError, match="a table for optax ends at 50000000"):
        huohou_optax.schedule(far)
