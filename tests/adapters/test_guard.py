"""The drift guard: every misuse is caught within three updates and named, once, in both languages."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import huohou
from huohou import records
from huohou.adapters import torch as huohou_torch
from huohou.adapters.saying import Drift
from huohou.errors import UserError
from huohou.language import choose_language

PLAN = huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%")
FLAT = huohou.plan(updates=12, peak="1e-3", warmup="0 steps", decay="constant")

Loop = Callable[[Any, Any, Callable[[], None]], None]
"""A training loop: optimizer, scheduler, and what makes gradients."""


def run(loop: Loop, plan: huohou.Plan = PLAN, optimizer: Callable[..., Any] = torch.optim.AdamW, **how: Any) -> Any:
    """The scheduler after a loop."""
    model = torch.nn.Linear(3, 2)
    made = optimizer(model.parameters(), lr=0.5)
    scheduler = huohou_torch.scheduler(made, plan, **how)
    loop(made, scheduler, lambda: model(torch.ones(1, 3)).sum().backward())
    return scheduler


def twice(optimizer: Any, scheduler: Any, backward: Any) -> None:
    for _ in range(6):
        backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        scheduler.step()


def micro_batches(optimizer: Any, scheduler: Any, backward: Any) -> None:
    for i in range(24):
        backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
        scheduler.step()


def micro_batches_at_the_end(optimizer: Any, scheduler: Any, backward: Any) -> None:
    for _ in range(6):
        for _ in range(4):
            backward()
            scheduler.step()
        optimizer.step()
        optimizer.zero_grad()


def before(optimizer: Any, scheduler: Any, backward: Any) -> None:
    for _ in range(6):
        backward()
        scheduler.step()
        optimizer.step()
        optimizer.zero_grad()


def never(optimizer: Any, scheduler: Any, backward: Any) -> None:
    for _ in range(6):
        backward()
        optimizer.step()


def each_epoch(optimizer: Any, scheduler: Any, backward: Any) -> None:
    for epoch in range(2):
        for _ in range(3):
            backward()
            optimizer.step()
            # The first epoch has one batch more than it should.
            if epoch == 0:
                scheduler.step()
        scheduler.step()


def second_scheduler(optimizer: Any, scheduler: Any, backward: Any) -> None:
    second = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 0.5**i)
    for _ in range(6):
        backward()
        optimizer.step()
        scheduler.step()
        second.step()


def second_scheduler_first(optimizer: Any, scheduler: Any, backward: Any) -> None:
    second = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    for _ in range(6):
        backward()
        optimizer.step()
        second.step()
        scheduler.step()


def by_hand(optimizer: Any, scheduler: Any, backward: Any) -> None:
    for _ in range(6):
        optimizer.param_groups[0]["lr"] = 0.25
        backward()
        optimizer.step()
        scheduler.step()


def an_old_rate(optimizer: Any, scheduler: Any, backward: Any) -> None:
    for update in range(6):
        if update == 2:
            # What restores an optimizer without torch's load_state_dict may bring a rate of another time.
            optimizer.param_groups[0]["lr"] = PLAN.curve(7)
        backward()
        optimizer.step()
        scheduler.step()


def too_long(optimizer: Any, scheduler: Any, backward: Any) -> None:
    scheduler.load_state_dict({"last_epoch": 11})
    for _ in range(2):
        backward()
        optimizer.step()
        scheduler.step()


def moved(optimizer: Any, scheduler: Any, backward: Any) -> None:
    scheduler.last_epoch = 5
    scheduler.rewrite()
    backward()
    optimizer.step()


MISUSES: dict[str, tuple[Loop, str, str]] = {
    "twice": (twice, r"^update 2 used the rate 0\.00075, the plan says 0\.0005: scheduler\.step\(\) was called 2 times for "
              r"one update \(at test_guard\.py:\d+, test_guard\.py:\d+\): call it once after each optimizer\.step\(\)\.$",
              "一次更新调用了 2 次"),
    "micro-batches": (micro_batches, r"^update 1 used .*: scheduler\.step\(\) is called after every micro-batch", "每个微批之后"),
    "micro-batches at the end": (micro_batches_at_the_end, r"^update 1 used .*is called after every micro-batch", "每个微批之后"),
    "before": (before, r"^update 1 used .*scheduler\.step\(\) was called before optimizer\.step\(\)", "之前调用"),
    "never": (never, r"^update 2 used .*scheduler\.step\(\) was never called; call it once after", "从未调用"),
    "each epoch": (each_epoch, r"^update 4 used .*: scheduler\.step\(\) was called 2 times for one update", "2 次"),
    "second scheduler": (second_scheduler, r"^update 1 used the rate 0\.5, .*: another scheduler writes the rate of this "
                         r"optimizer too \(LambdaLR\): remove it\.$|^update 2 used .*\(LambdaLR\): remove it\.$",
                         "另一个调度器在写"),
    "second scheduler first": (second_scheduler_first, r"^after update 1 something else wrote the rate .* \(StepLR\); it was "
                               r"replaced by the planned one", "在使用之前已换回计划值"),
    "by hand": (by_hand, r"^update 1 used the rate 0\.25, the plan says 0\.00025: something else wrote the rate", "又有别处写了"),
    "an old rate": (an_old_rate, r"^update 3 used .*: it is the plan's rate of update 7, .*checkpoint", "更新步 7 的学习率"),
    "too long": (too_long, r"^update 13 lies past the end of the plan, which is for 12 updates", "超出了计划"),
    "moved": (moved, r"^update 1 used .*: the scheduler was moved by hand or by a loaded state", "被手动"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def torch_is_silent() -> Iterator[None]:
    """torch's own schedulers remark on wrong orders."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        yield


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_is_caught_at_once_and_named_once(misuse: str, capsys: pytest.CaptureFixture[str]) -> None:
    loop, sentence, chinese = MISUSES[misuse]
    guard = run(loop).guard
    [said] = guard.said
    assert re.search(sentence, said.en), said.en
    assert chinese in said.zh
    assert capsys.readouterr().err.count(f"huohou: {said.en}\n") == 1
    if misuse not in ("second scheduler first", "too long"):
        assert str(guard.proof).startswith("planned != applied: ")


@pytest.mark.parametrize("misuse", MISUSES)
def test_it_can_stop_the_run_and_be_off(misuse: str, capsys: pytest.CaptureFixture[str]) -> None:
    loop, sentence, _ = MISUSES[misuse]
    with pytest.raises(Drift, match=sentence):
        run(loop, guard="raise")
    assert run(loop, guard="off").guard.said == []
    assert "huohou:" not in capsys.readouterr().err


@pytest.mark.parametrize("loop", [twice, micro_batches, before, micro_batches_at_the_end])
def test_following_the_updates_makes_such_calls_harmless(loop: Loop) -> None:
    guard = run(loop, follow=True).guard
    assert [row["rate"] for row in guard.applied] == [PLAN.curve(u) for u in range(1, 7)]
    assert str(guard.proof) == "planned != applied: 6 of 12 updates, all of them as planned"
    assert [text.en.endswith("they follow the updates.") for text in guard.said] == ([] if loop is before else [True])


@pytest.mark.parametrize("loop", [twice, micro_batches, never])
def test_a_clock_that_is_wrong_is_noticed_where_the_curve_is_flat(loop: Loop) -> None:
    [said] = run(loop, FLAT).guard.said
    assert "was made while the schedule stood at update" in said.en


def with_scaler(optimizer: Any, scheduler: Any, backward: Callable[[], None]) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    parameter = optimizer.param_groups[0]["params"][0]
    for batch in range(8):
        backward()
        scaler.scale(torch.ones(()))
        if batch in (0, 4):
            parameter.grad.fill_(float("inf"))
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        optimizer.zero_grad()


def test_a_skipped_update_takes_no_place_where_the_rate_follows_the_updates() -> None:
    guard = run(with_scaler, optimizer=torch.optim.SGD, follow=True).guard
    assert [row["rate"] for row in guard.applied] == [PLAN.curve(u) for u in range(1, 7)]
    [said] = run(with_scaler, optimizer=torch.optim.SGD).guard.said
    assert "although the gradient scaler skipped an update" in said.en
    assert said.en.startswith("update 1 used the rate 0.0005")


def test_a_fused_optimizer_is_called_even_for_an_update_that_is_skipped() -> None:
    def fused(parameters: Any, lr: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=lr, fused=True)

    guard = run(with_scaler, optimizer=fused, follow=True).guard
    assert [row["rate"] for row in guard.applied] == [PLAN.curve(u) for u in range(1, 7)]
    assert (guard.skips, guard.said) == (2, [])
    [said] = run(with_scaler, optimizer=fused).guard.said
    assert "although an update was skipped (overflow)" in said.en


def test_updates_that_cannot_be_watched_are_taken_from_the_optimizers_own_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compiled(optimizer: Any, scheduler: Any, backward: Any) -> None:
        for _ in range(6):
            backward()
            # As in a step that torch compiles, where no hook can read anything.
            monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
            optimizer.step()
            monkeypatch.undo()
            scheduler.step()

    for follow in (False, True):
        scheduler = run(compiled, follow=follow)
        assert scheduler.get_last_lr() == [PLAN.curve(7)]
        assert [text.en.startswith("the optimizer has made 2 updates, but none of them can be watched")
                for text in scheduler.guard.said] == [True] * follow  # fmt: skip


def test_the_record_is_what_metrics_are(tmp_path: Path) -> None:
    guard = run(by_hand).guard
    guard.write(tmp_path / "applied.jsonl")
    lines = list(records.read(tmp_path / "applied.jsonl"))
    assert lines == [{"update": u, "rate": 0.25, "skipped": False} for u in range(1, 7)]
    assert json.dumps(guard.applied) == json.dumps(lines)
    with pytest.raises(UserError, match="cannot be written"):
        guard.write(tmp_path)


def test_the_proof_remembers_what_was_wrong_before_a_resumption() -> None:
    state = run(by_hand).state_dict()
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = huohou_torch.scheduler(optimizer, PLAN)
    scheduler.load_state_dict(state)
    for _ in range(6):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
    assert scheduler.guard.said == []
    assert str(scheduler.guard.finish()) == (
        "planned != applied: 12 of 12 updates, 6 of them at another rate than planned"
    )
    choose_language("zh")
    assert str(scheduler.guard.proof).endswith("其中 6 步的学习率与计划不同")


def test_a_new_scheduler_takes_the_place_of_the_old_one() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    old = huohou_torch.scheduler(optimizer, PLAN, guard="raise")
    new = huohou_torch.scheduler(optimizer, FLAT, guard="raise")
    optimizer.step()
    new.step()
    assert (old.guard.done, new.guard.done) == (0, 1)


def test_optimizers_do_not_disturb_each_other() -> None:
    pairs = [
        (o := torch.optim.SGD([torch.ones(1)], lr=1.0), huohou_torch.scheduler(o, PLAN, guard="raise")) for _ in "ab"
    ]
    for optimizer, scheduler in pairs * 3:
        optimizer.step()
        scheduler.step()
    assert [scheduler.guard.done for _, scheduler in pairs] == [3, 3]
