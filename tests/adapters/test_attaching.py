"""Attaching a curve to a Trainer: what is refused, and DeepSpeed's ways of asking for a scheduler."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import huohou
from huohou.errors import UserError

pytest.importorskip("transformers")

pytestmark = pytest.mark.heavy

PLAN = huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%")


class Trainer:
    """As much of a Trainer as attaching needs."""

    def __init__(self, scheduler: Any = None, *, made: bool = False, trained: int = 0) -> None:
        self.optimizer = torch.optim.AdamW([torch.ones(1)], lr=1.0)
        self.lr_scheduler, self._created_lr_scheduler = scheduler, made
        self.state = SimpleNamespace(global_step=trained)
        self.args = SimpleNamespace(lr_scheduler_type="linear", warmup_steps=0)
        self.callbacks: list[Any] = []
        self.create_scheduler: Any = None

    def add_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)


class DummyScheduler:
    """Accelerate's, by its name."""

    def __init__(self, lr_scheduler_callable: Any = None) -> None:
        self.lr_scheduler_callable = lr_scheduler_callable


def attach(trainer: Any, **how: Any) -> Any:
    from huohou.adapters import transformers as huohou_trainer

    return huohou_trainer.attach(trainer, PLAN, **how)


@pytest.mark.parametrize("optimizer", ["its own", "given"])
def test_the_trainers_own_scheduler_is_the_curve(optimizer: str) -> None:
    trainer = Trainer()
    attached = attach(trainer)
    with pytest.raises(UserError, match="there is no guard yet"):
        _ = attached.guard
    # Up to 4.51 the Trainer hands the optimizer over, later it does not.
    made = trainer.create_scheduler(12, *([trainer.optimizer] if optimizer == "given" else []))
    assert trainer.lr_scheduler is made is attached.scheduler
    assert trainer._created_lr_scheduler
    assert trainer.create_scheduler(12) is made
    assert trainer.callbacks == [attached]


def test_deepspeed_gets_its_own_over_its_own_optimizer() -> None:
    trainer = Trainer()
    attached = attach(trainer)
    trainer.lr_scheduler = DummyScheduler(lambda optimizer: None)
    assert trainer.create_scheduler(12, object()) is trainer.lr_scheduler, "no optimizer is there yet"
    made = trainer.create_scheduler(12, trainer.optimizer)
    assert made is attached.scheduler and made is not trainer.lr_scheduler
    trainer.lr_scheduler = SimpleNamespace(scheduler=made)
    assert trainer.create_scheduler(12) is trainer.lr_scheduler


def test_two_owners_are_refused() -> None:
    other = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.ones(1)]), 1)
    with pytest.raises(
        UserError, match=r"^the Trainer already has a scheduler \(StepLR\), and two would write the rate"
    ):
        attach(Trainer(other))
    with pytest.raises(UserError, match="cannot take a curve"):
        attach(Trainer(other, made=True))
    attach(Trainer(other, made=True, trained=5))
    for present in (DummyScheduler(), SimpleNamespace(scheduler=other)):
        trainer = Trainer()
        attach(trainer)
        trainer.lr_scheduler = present
        with pytest.raises(UserError, match="the DeepSpeed configuration has a scheduler of its own"):
            trainer.create_scheduler(12)


def test_another_number_of_updates(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer()
    attach(trainer)
    with pytest.raises(UserError, match=r"^the Trainer makes 13 updates, but the plan is for 12: set"):
        trainer.create_scheduler(13)
    trainer = Trainer()
    attach(trainer, horizon="warn").create_scheduler(13)
    assert capsys.readouterr().err.startswith("huohou: the Trainer makes 13 updates, but the plan is for 12: set")
