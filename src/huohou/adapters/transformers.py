"""Transformers' Trainer, and every trainer of TRL's that is one: huohou's curve in place of the Trainer's scheduler.

    from huohou.adapters import transformers as huohou_trainer
    huohou_trainer.attach(trainer, "run.yaml")
    trainer.train()

It works with Accelerate and DeepSpeed beneath the Trainer: the rate follows the optimizer's own updates, whoever calls
the scheduler and however often, and skipped updates take no place on the curve.
"""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from transformers import TrainerCallback

from huohou.adapters.guard import Guard
from huohou.adapters.saying import Mode, check_mode, length_trouble
from huohou.adapters.source import Groups, Planned, Source, length_differs, read
from huohou.adapters.torch import CurveScheduler
from huohou.errors import UserError
from huohou.language import Text


def attach(
    trainer: Any,
    source: Source,
    *,
    groups: Groups | None = None,
    guard: Mode = "warn",
    horizon: Mode = "raise",
) -> Attached:
    """Give a Trainer huohou's curve: it makes its scheduler from it when training begins.

    Args:
        trainer: A ``transformers.Trainer`` or a trainer that inherits from it.
        source: A run file, a plan.json, a run folder, a plan or a curve.
        groups: What parameter groups follow; see :func:`huohou.adapters.torch.scheduler`.
        guard: ``warn`` says it once when a rate is not the planned one, ``raise`` stops, ``off`` does not look.
        horizon: The same for a Trainer whose number of updates is not the plan's T, at the beginning of training.

    Returns:
        The callback that was added: its ``scheduler`` and ``guard`` are there once training has begun.

    Raises:
        UserError: The source says no plan, or the Trainer has a scheduler of its own already.
    """
    present = getattr(trainer, "lr_scheduler", None)
    # One that the Trainer made when it trained before is replaced by the Trainer itself.
    if present is not None and not (trainer._created_lr_scheduler and trainer.state.global_step):
        kind, who = type(present).__name__, type(trainer).__name__
        raise UserError(
            f"the {who} already has a scheduler ({kind}), and two would write the rate: leave it out of optimizers=(…)."
            " A trainer that makes one before train() steps it in its own way and cannot take a curve.",
            f"{who} 已有调度器（{kind}），学习率会由两处写：请从 optimizers=(…) 中去掉它；"
            "在 train() 之前自建调度器的训练器以自己的方式推进它，无法接受曲线。",
        )
    check_mode(guard, "guard")
    check_mode(horizon, "horizon")
    attached = Attached(trainer, read(source, groups), guard, horizon)
    trainer.create_scheduler = attached.create_scheduler
    trainer.add_callback(attached)
    return attached


class Attached(TrainerCallback):
    """The callback of an attached curve.

    Attributes:
        scheduler: The scheduler, once training has begun.
    """

    def __init__(self, trainer: Any, planned: Planned, mode: Mode, horizon: Mode) -> None:
        self.scheduler: CurveScheduler | None = None
        self._trainer, self._planned = trainer, planned
        self._mode: Mode = mode
        self._horizon: Mode = horizon

    @property
    def guard(self) -> Guard:
        """What compares the rates that are used with the plan.

        Raises:
            UserError: Training has not begun.
        """
        if self.scheduler is None:
            raise UserError(
                "there is no guard yet: it watches from the moment when training begins.",
                "守卫还不存在：它从训练开始时起工作。",
            )
        return self.scheduler.guard

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """What the Trainer calls in place of its own method of this name."""
        trainer = self._trainer
        present = trainer.lr_scheduler
        if present is None:
            trainer.lr_scheduler = self._made(trainer.optimizer if optimizer is None else optimizer, num_training_steps)
            # The Trainer then makes a new one when it trains again.
            trainer._created_lr_scheduler = True
            return trainer.lr_scheduler
        if type(present).__name__ == "DummyScheduler" and getattr(present, "lr_scheduler_callable", None) is not None:
            # DeepSpeed makes the optimizer, and asks for a scheduler over it once it is there; the engine steps it.
            if isinstance(optimizer, Optimizer):
                return self._made(optimizer, num_training_steps)
            return present
        inner = getattr(present, "scheduler", present)
        if inner is not self.scheduler:
            raise UserError(
                f"the DeepSpeed configuration has a scheduler of its own ({type(inner).__name__}), and two would write "
                "the rate: remove its section scheduler.",
                f"DeepSpeed 配置中另有调度器（{type(inner).__name__}），学习率会由两处写："
                "请去掉其中的 scheduler 一节。",
            )
        return present

    def _made(self, optimizer: Any, updates: int) -> CurveScheduler:
        length_trouble(length_differs(self._planned, updates, "the Trainer"), self._horizon)
        self.scheduler = CurveScheduler(optimizer, self._planned, guard=self._mode, follow=True)
        self._say_what_is_not_used(self.scheduler.guard)
        return self.scheduler

    def _say_what_is_not_used(self, guard: Guard) -> None:
        """A warmup that was asked of the Trainer has no effect, and who asked for it should know."""
        args = self._trainer.args
        asked = [f"{name}={value}" for name in ("warmup_steps", "warmup_ratio") if (value := getattr(args, name, None))]
        kind = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
        if kind != "linear":
            asked.append(f"lr_scheduler_type={kind}")
        if asked:
            shown = ", ".join(asked)
            guard.note(
                Text(
                    f"the Trainer's own {shown} is not used: the plan's curve takes its place.",
                    f"Trainer 自己的 {shown} 不起作用：由计划的曲线代替。",
                )
            )

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count what Accelerate or DeepSpeed skipped."""
        if self.scheduler is not None and self._trainer.accelerator.optimizer_step_was_skipped:
            self.scheduler.guard.skipped()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last line."""
        if self.scheduler is not None:
            self.scheduler.guard.finish()
