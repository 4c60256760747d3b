"""Scheduler calls in plain Python: ``torch.optim.lr_scheduler`` and ``transformers.get_…_schedule…``, also when
Accelerate has prepared the scheduler and so steps it once for every process.

They are read from the syntax tree. A scheduler of a function of the file's own (``LambdaLR``) would have to be run.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from huohou.audit.applied import Applied
from huohou.audit.dialects import torch_schedules, transformers_schedules
from huohou.audit.document import Document
from huohou.audit.python import Call, Module, evaluate
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import UNREADABLE, Value, as_number
from huohou.language import Text

name = "torch"
title = "PyTorch"

_TORCH = {
    "LinearLR": ("optimizer", "start_factor", "end_factor", "total_iters"),
    "ConstantLR": ("optimizer", "factor", "total_iters"),
    "CosineAnnealingLR": ("optimizer", "T_max", "eta_min"),
    "ExponentialLR": ("optimizer", "gamma"),
    "StepLR": ("optimizer", "step_size", "gamma"),
    "MultiStepLR": ("optimizer", "milestones", "gamma"),
    "PolynomialLR": ("optimizer", "total_iters", "power"),
    "OneCycleLR": ("optimizer", "max_lr", "total_steps", "epochs", "steps_per_epoch", "pct_start", "anneal_strategy"),
    "SequentialLR": ("optimizer", "schedulers", "milestones"),
    "LambdaLR": ("optimizer", "lr_lambda"),
}
_WARMUP = ("optimizer", "num_warmup_steps", "num_training_steps")
_TRANSFORMERS = {
    "get_scheduler": ("name", *_WARMUP),
    "get_constant_schedule": ("optimizer",),
    "get_constant_schedule_with_warmup": ("optimizer", "num_warmup_steps"),
    "get_linear_schedule_with_warmup": _WARMUP,
    "get_cosine_schedule_with_warmup": (*_WARMUP, "num_cycles"),
    "get_cosine_with_hard_restarts_schedule_with_warmup": (*_WARMUP, "num_cycles"),
    "get_polynomial_decay_schedule_with_warmup": (*_WARMUP, "lr_end", "power"),
    "get_inverse_sqrt_schedule": ("optimizer", "num_warmup_steps", "timescale"),
    "get_cosine_with_min_lr_schedule_with_warmup": (*_WARMUP, "num_cycles", "last_epoch", "min_lr", "min_lr_rate"),
}
_KINDS = {
    "get_constant_schedule": "constant",
    "get_constant_schedule_with_warmup": "constant_with_warmup",
    "get_linear_schedule_with_warmup": "linear",
    "get_cosine_schedule_with_warmup": "cosine",
    "get_cosine_with_hard_restarts_schedule_with_warmup": "cosine_with_restarts",
    "get_polynomial_decay_schedule_with_warmup": "polynomial",
    "get_inverse_sqrt_schedule": "inverse_sqrt",
    "get_cosine_with_min_lr_schedule_with_warmup": "cosine_with_min_lr",
}
_OPTIMIZERS = ("Adam", "SGD", "Lamb", "Lion", "Adafactor", "RMSprop", "Muon", "Adagrad")


class _Unknown(Exception):
    """What keeps a scheduler from being computed, in both languages."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.text = Text(en, zh)


def sees(document: Document) -> int:
    """A call of one of these schedulers."""
    module = document.module
    if module is None:
        return 0
    return 50 if any(call.last_name in _TORCH or call.last_name in _TRANSFORMERS for call in module.calls) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each scheduler that is not a part of another."""
    module = document.module
    assert module is not None
    parts = {id(part) for call in module.calls if call.last_name == "SequentialLR" for part in _parts(call, module)}
    found = [
        call
        for call in module.calls
        if (call.last_name in _TORCH or call.last_name in _TRANSFORMERS) and id(call) not in parts
    ]
    return [_Scheduler(call, module, given).reading for call in found]


def _parts(call: Call, module: Module) -> list[Call]:
    """The scheduler calls that a SequentialLR names or holds."""
    value = _arguments(call).get("schedulers")
    if value is None:
        return []
    try:
        tree = ast.parse(value.written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    members = tree.elts if isinstance(tree, ast.List | ast.Tuple) else []
    place = next(number for number, each in enumerate(module.calls) if each is call)
    found: list[Call] = []
    for member in members:
        if isinstance(member, ast.Call):
            wanted = ast.unparse(member.func)
            inner = [each for each in module.calls[place:] if each.name == wanted and not any(each is f for f in found)]
            found += inner[:1]
        else:
            wanted = ast.unparse(member)
            found += [each for each in module.calls[:place] if each.target == wanted][-1:]
    return found if len(found) == len(members) else []


def _arguments(call: Call) -> dict[str, Value]:
    """The arguments by name, those that are given by place too."""
    names = _TORCH.get(call.last_name) or _TRANSFORMERS.get(call.last_name) or ()
    found = dict(zip(names, call.positional, strict=False))
    return found | {key: call.settings.values[key] for key in call.settings}


class _Scheduler:
    """One scheduler call and what can be said of it."""

    def __init__(self, call: Call, module: Module, given: Given) -> None:
        self.call, self.module, self.given = call, module, given
        self.reading = Reading(name, f"{title} {call.last_name}", call.settings)
        self.reading.facts |= {"family": "torch", "framework": name, "scheduler": call.last_name}
        self.warmup = 0.0
        self.horizon: float | None = None
        self.known: dict[str, float] = {}
        if given.gpus is not None:
            self.known["accelerator.num_processes"] = given.gpus
        if given.accumulation is not None:
            self.known["accelerator.gradient_accumulation_steps"] = given.accumulation
        for key, value in _arguments(call).items():
            call.settings.values.setdefault(key, value)
        try:
            self._read()
        except _Unknown as why:
            self.reading.need(why.text.en, why.text.zh)

    def _read(self) -> None:
        peak = self._peak()
        updates = self.given.updates
        curve = self.curve(self.call, peak, updates or 1)
        if updates is None:
            if self.horizon is None or self.horizon < 1:
                raise _Unknown("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
            updates = int(self.horizon)
            self.reading.assume(
                f"the run makes the {updates} updates that the scheduler was made for (--updates).",
                f"训练的更新步数即调度器的总步数 {updates}（--updates）。",
            )
        curve = curve.made_for(updates)
        curve = self._prepared(curve)
        if curve.end is not None and curve.past == "raises" and curve.position(updates) > curve.end:
            updates = int((curve.end - curve.offset) / curve.scale) + 1
            curve = curve.made_for(updates)
            self.reading.refused = Text(
                f"{self.call.last_name} raises an error after update {updates}: the run ends there.",
                f"{self.call.last_name} 在第 {updates} 个更新步之后报错：训练到此结束。",
            )
        self.reading.facts |= {"peak": curve.peak, "warmup_steps": self.warmup, "horizon": self.horizon}
        self.reading.steps.append(
            Resolved(
                Text("scheduler", "调度器"),
                Value(None, self.call.line, self.call.last_name),
                Text(f"{self.call.last_name}, W = {self.warmup:g}", f"{self.call.last_name}，W = {self.warmup:g}"),
            )
        )
        self.reading.roles.append(Role("model", curve, self.warmup / curve.scale, None, None, self.horizon))

    def _prepared(self, curve: Applied) -> Applied:
        """A scheduler that Accelerate has prepared is stepped once for every process, unless batches are split."""
        prepared = any(
            each.last_name == "prepare"
            and self.call.target is not None
            and any(value.written == self.call.target for value in each.positional)
            for each in self.module.calls
        )
        made = [each.settings for each in self.module.calls if each.last_name == "Accelerator"]
        split = any(
            each.flag("split_batches") is True or each.flag("step_scheduler_with_optimizer") is False for each in made
        )
        gpus = self.given.gpus or 1
        self.reading.facts |= {"prepared": prepared and not split, "gpus": gpus}
        if not prepared or split or gpus == 1:
            return curve
        self.reading.assume(
            f"Accelerate steps the prepared scheduler {gpus} times in each update, once for every process.",
            f"Accelerate 在每个更新步把 prepare 过的调度器推进 {gpus} 步（每个进程一步）。",
        )
        return replace(curve, scale=float(gpus))

    def _peak(self) -> float:
        """The learning rate of the optimizer that the scheduler is given."""
        wanted = call_written = _arguments(self.call).get("optimizer")
        calls = [each for each in self.module.calls if any(word in each.last_name for word in _OPTIMIZERS)]
        named = [each for each in calls if call_written is not None and each.target == call_written.written]
        for each in [*reversed(named), *(reversed(calls) if not named else ())]:
            value = each.settings.find("lr", "learning_rate")
            value = value if value is not None or len(each.positional) < 2 else each.positional[1]
            rate = None if value is None else as_number(value.value)
            if rate:
                return float(rate)
        if self.call.last_name == "OneCycleLR":
            return 1.0
        what = wanted.written if wanted is not None else "optimizer"
        raise _Unknown(
            f"the learning rate of {what} cannot be read from the file (line {self.call.line}).",
            f"无法从文件读出 {what} 的学习率（第 {self.call.line} 行）。",
        )

    def number(self, call: Call, key: str, default: float | None = None) -> float:
        """An argument as a number; what would have to be run is said."""
        value = _arguments(call).get(key)
        if value is None or value.value is None:
            if default is None:
                raise _Unknown(
                    f"{call.last_name} has no {key} (line {call.line}).",
                    f"{call.last_name} 没有 {key}（第 {call.line} 行）。",
                )
            return default
        number = as_number(evaluate(value, self.module, self.known))
        if number is None:
            if key in ("num_training_steps", "total_steps", "T_max") and self.given.updates is not None:
                self.reading.assume(
                    f"{key} = {value.written} is --updates, {self.given.updates}.",
                    f"{key} = {value.written} 取 --updates，即 {self.given.updates}。",
                )
                self.known[value.written] = self.given.updates
                return float(self.given.updates)
            raise _Unknown(
                f"{key} = {value.written} in line {value.line} cannot be read without running the file.",
                f"第 {value.line} 行的 {key} = {value.written} 不运行文件就无法得知。",
            )
        return float(number)

    def curve(self, call: Call, peak: float, updates: int) -> Applied:
        """The curve of a call."""
        if call.last_name in _TRANSFORMERS:
            return self._transformers(call, peak, updates)
        make: Callable[[Call, float, int], Applied] | None = {
            "LinearLR": self._linear,
            "CosineAnnealingLR": self._cosine,
            "OneCycleLR": self._one_cycle,
            "SequentialLR": self._sequence,
        }.get(call.last_name)
        if make is not None:
            return make(call, peak, updates)
        number = self.number
        match call.last_name:
            case "ConstantLR":
                return torch_schedules.constant(
                    peak, updates, number(call, "factor", 1 / 3), number(call, "total_iters", 5)
                )
            case "ExponentialLR":
                return torch_schedules.exponential(peak, updates, number(call, "gamma"))
            case "StepLR":
                size = max(1.0, self.number(call, "step_size"))
                return torch_schedules.stairs(peak, updates, size, number(call, "gamma", 0.1))
            case "MultiStepLR":
                places = [float(place) for place in self._numbers(call, "milestones")]
                return torch_schedules.steps(peak, updates, places, number(call, "gamma", 0.1))
            case "PolynomialLR":
                self.horizon = number(call, "total_iters", 5)
                return torch_schedules.polynomial(peak, updates, self.horizon, number(call, "power", 1.0))
            case _:
                raise _Unknown(
                    f"{call.last_name} in line {call.line} is a function of the file's own, which is not run.",
                    f"第 {call.line} 行的 {call.last_name} 由文件自己的函数决定，不会运行它。",
                )

    def _linear(self, call: Call, peak: float, updates: int) -> Applied:
        start, length = self.number(call, "start_factor", 1 / 3), self.number(call, "total_iters", 5)
        end = self.number(call, "end_factor", 1.0)
        if start < end:
            self.warmup = length
        return torch_schedules.linear(peak, updates, start, end, length)

    def _cosine(self, call: Call, peak: float, updates: int) -> Applied:
        self.horizon = self.number(call, "T_max")
        return torch_schedules.cosine(peak, updates, self.horizon, self.number(call, "eta_min", 0.0))

    def _one_cycle(self, call: Call, _: float, updates: int) -> Applied:
        arguments = _arguments(call)
        total = arguments.get("total_steps")
        if total is not None and total.value is not None:
            length = self.number(call, "total_steps")
        else:
            length = self.number(call, "epochs") * self.number(call, "steps_per_epoch")
        if call.settings.flag("three_phase"):
            raise _Unknown("OneCycleLR with three_phase is not read.", "不支持 three_phase 的 OneCycleLR。")
        self.horizon = length
        share = self.number(call, "pct_start", 0.3)
        self.warmup = max(0.0, share * length)
        return torch_schedules.one_cycle(
            self.number(call, "max_lr"), updates, length, share, self.number(call, "div_factor", 25.0),
            self.number(call, "final_div_factor", 1e4), call.settings.text("anneal_strategy") or "cos",
        )  # fmt: skip

    def _sequence(self, call: Call, peak: float, updates: int) -> Applied:
        parts = _parts(call, self.module)
        milestones = self._numbers(call, "milestones")
        if not parts or len(milestones) != len(parts) - 1:
            raise _Unknown(
                f"the schedulers of SequentialLR in line {call.line} cannot be read without running the file.",
                f"第 {call.line} 行 SequentialLR 的各个调度器不运行文件就无法得知。",
            )
        self.horizon = None
        curves = [self.curve(part, peak, updates) for part in parts]
        if self.horizon is not None:
            self.horizon += milestones[-1]
        return torch_schedules.sequence(peak, updates, curves, milestones)

    def _numbers(self, call: Call, key: str) -> list[float]:
        value = _arguments(call).get(key)
        plain: object = None if value is None else value.value
        members = cast("list[Any]", plain) if isinstance(plain, list) else [UNREADABLE]
        numbers = [as_number(member) for member in members]
        if any(number is None for number in numbers) or len(numbers) > 1000:
            raise _Unknown(
                f"{key} of {call.last_name} in line {call.line} cannot be read without running the file.",
                f"第 {call.line} 行 {call.last_name} 的 {key} 不运行文件就无法得知。",
            )
        return [float(number) for number in numbers if number is not None]

    def _transformers(self, call: Call, peak: float, updates: int) -> Applied:
        arguments = _arguments(call)
        kind = _KINDS.get(call.last_name)
        if kind is None:
            written = arguments.get("name")
            kind = str(written.value).rsplit(".", 1)[-1].lower() if written is not None and written.known else ""
        if kind not in transformers_schedules.TYPES or kind in transformers_schedules.UNPLANNED:
            raise _Unknown(
                f"the type of {call.last_name} in line {call.line} cannot be read without running the file.",
                f"第 {call.line} 行 {call.last_name} 的类型不运行文件就无法得知。",
            )
        timed = kind not in ("constant", "constant_with_warmup", "inverse_sqrt")
        # The length first: the warmup is often written as a share of it.
        horizon = self.number(call, "num_training_steps") if timed else 0.0
        if timed:
            self.horizon = horizon
        least = 0.0 if call.last_name == "get_scheduler" else None
        self.warmup = 0.0 if kind == "constant" else self.number(call, "num_warmup_steps", least)
        own: dict[str, Any] = {
            key: arguments[key].value
            for key in ("num_cycles", "lr_end", "power", "timescale", "min_lr", "min_lr_rate")
            if key in arguments
        }
        specific = arguments.get("scheduler_specific_kwargs")
        inner: object = None if specific is None else specific.value
        if isinstance(inner, dict):
            own |= cast("dict[str, Any]", inner)
        return transformers_schedules.applied(kind, peak, self.warmup, int(horizon), updates, own)
