"""The curve of a scheduler call in plain Python, from its arguments and from those of the schedulers that it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from huohou.audit.applied import Applied
from huohou.audit.dialects import torch_schedules, transformers_schedules
from huohou.audit.dialects.torch_calls import ABSOLUTE, HOLDERS, KINDS, SHAPE, TRANSFORMERS, arguments, parts_of
from huohou.audit.dialects.torch_function import written_function
from huohou.audit.formula import NotPlain
from huohou.audit.python import Call, Module, evaluate
from huohou.audit.reading import Given, Reading
from huohou.audit.values import UNREADABLE, as_number
from huohou.errors import UserError
from huohou.language import Text


class Unknown(Exception):
    """What keeps a scheduler from being computed, in both languages."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.text = Text(en, zh)


class Curves:
    """From calls to curves.

    Attributes:
        known: Names and calls of the file whose value is known otherwise (its length, the processes).
        warmup: Updates of the warmup that the last call asked for.
        horizon: The steps that it was made for, where it says so.
    """

    def __init__(self, module: Module, given: Given, reading: Reading, known: dict[str, float]) -> None:
        self.module, self.given, self.reading, self.known = module, given, reading, known
        self.warmup = 0.0
        self.horizon: float | None = None

    def _number(self, call: Call, key: str, default: float | None = None) -> float:
        """An argument as a number; what would have to be run is said."""
        value = arguments(call).get(key)
        if value is None or value.value is None:
            if default is None:
                raise Unknown(
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
            raise Unknown(
                f"{key} = {value.written} in line {value.line} cannot be read without running the file.",
                f"第 {value.line} 行的 {key} = {value.written} 不运行文件就无法得知。",
            )
        return float(number)

    def curve(self, call: Call, peak: float, updates: int) -> Applied:
        """The curve of a call."""
        if call.last_name in TRANSFORMERS:
            return self._transformers(call, peak, updates)
        make: Callable[[Call, float, int], Applied] | None = {
            "LinearLR": self._linear,
            "CosineAnnealingLR": self._cosine,
            "CosineAnnealingWarmRestarts": self._warm_restarts,
            "CyclicLR": self._cyclic,
            "OneCycleLR": self._one_cycle,
            "SequentialLR": self._sequence,
            "ChainedScheduler": self._chained,
            "LambdaLR": self._lambda,
        }.get(call.last_name)
        if make is not None:
            return make(call, peak, updates)
        number = self._number
        match call.last_name:
            case "ConstantLR":
                return torch_schedules.constant(
                    peak, updates, number(call, "factor", 1 / 3), number(call, "total_iters", 5)
                )
            case "ExponentialLR":
                return torch_schedules.exponential(peak, updates, number(call, "gamma"))
            case "StepLR":
                size = max(1.0, self._number(call, "step_size"))
                return torch_schedules.stairs(peak, updates, size, number(call, "gamma", 0.1))
            case "MultiStepLR":
                places = [float(place) for place in self._numbers(call, "milestones")]
                return torch_schedules.steps(peak, updates, places, number(call, "gamma", 0.1))
            case "PolynomialLR":
                self.horizon = number(call, "total_iters", 5)
                return torch_schedules.polynomial(peak, updates, self.horizon, number(call, "power", 1.0))
            case _:
                raise Unknown(
                    f"{call.last_name} in line {call.line} is a function of the file's own, which is not run.",
                    f"第 {call.line} 行的 {call.last_name} 由文件自己的函数决定，不会运行它。",
                )

    def _linear(self, call: Call, peak: float, updates: int) -> Applied:
        start, length = self._number(call, "start_factor", 1 / 3), self._number(call, "total_iters", 5)
        end = self._number(call, "end_factor", 1.0)
        if start < end:
            self.warmup = length
        return torch_schedules.linear(peak, updates, start, end, length)

    def _cosine(self, call: Call, peak: float, updates: int) -> Applied:
        self.horizon = self._number(call, "T_max")
        if self.horizon <= 0:
            raise Unknown(
                f"T_max in line {call.line} is {self.horizon:g}, by which PyTorch divides.",
                f"第 {call.line} 行的 T_max 为 {self.horizon:g}，PyTorch 会除以它。",
            )
        return torch_schedules.cosine(peak, updates, self.horizon, self._number(call, "eta_min", 0.0))

    def _one_cycle(self, call: Call, _: float, updates: int) -> Applied:
        written = arguments(call)
        total = written.get("total_steps")
        if total is not None and total.value is not None:
            length = self._number(call, "total_steps")
        else:
            length = self._number(call, "epochs") * self._number(call, "steps_per_epoch")
        self.horizon = length
        share = self._number(call, "pct_start", 0.3)
        self.warmup = max(0.0, share * length)
        return torch_schedules.one_cycle(
            self._number(call, "max_lr"), updates, length, share, self._number(call, "div_factor", 25.0),
            self._number(call, "final_div_factor", 1e4), call.settings.text("anneal_strategy") or "cos",
            call.settings.flag("three_phase") or False,
        )  # fmt: skip

    def _warm_restarts(self, call: Call, peak: float, updates: int) -> Applied:
        length, factor = self._number(call, "T_0"), self._number(call, "T_mult", 1.0)
        return torch_schedules.warm_restarts(peak, updates, length, factor, self._number(call, "eta_min", 0.0))

    def _cyclic(self, call: Call, _: float, updates: int) -> Applied:
        up = self._number(call, "step_size_up", 2000.0)
        self.warmup = up
        return torch_schedules.cyclic(
            self._number(call, "base_lr"), self._number(call, "max_lr"), updates, up,
            self._number(call, "step_size_down", up), call.settings.text("mode") or "triangular",
            self._number(call, "gamma", 1.0),
        )  # fmt: skip

    def _lambda(self, call: Call, peak: float, updates: int) -> Applied:
        found = written_function(arguments(call).get("lr_lambda"), self.module, self.known)
        if isinstance(found, str):
            raise Unknown(
                f"the function of LambdaLR in line {call.line} holds what would have to be run: {found}.",
                f"第 {call.line} 行 LambdaLR 的函数含有只有运行才知道的内容：{found}。",
            )

        def value(step: float) -> float:
            try:
                return found(step)
            except (NotPlain, ArithmeticError, TypeError, ValueError):
                raise UserError(
                    f"the function of LambdaLR in line {call.line} gives no number at step {step:g}.",
                    f"第 {call.line} 行 LambdaLR 的函数在第 {step:g} 步给不出数值。",
                ) from None

        try:
            value(0.0)
        except UserError as why:
            raise Unknown(why.text.en, why.text.zh) from None
        return torch_schedules.function(peak, updates, value)

    def _held(self, call: Call) -> list[Call]:
        parts = parts_of(call, self.module)
        if not parts:
            raise Unknown(
                f"the schedulers of {call.last_name} in line {call.line} cannot be read without running the file.",
                f"第 {call.line} 行 {call.last_name} 的各个调度器不运行文件就无法得知。",
            )
        return parts

    def _sequence(self, call: Call, peak: float, updates: int) -> Applied:
        parts, milestones = self._held(call), self._numbers(call, "milestones")
        if len(milestones) != len(parts) - 1:
            raise Unknown(
                f"SequentialLR in line {call.line} has not one milestone fewer than schedulers: it raises an error.",
                f"第 {call.line} 行 SequentialLR 的里程碑数不比调度器数少一：会报错。",
            )
        if any(part.last_name in HOLDERS for part in parts[1:]):
            raise Unknown(
                f"SequentialLR in line {call.line} holds a scheduler of schedulers behind its first: it raises an "
                "error at the milestone.",
                f"第 {call.line} 行 SequentialLR 在首个之后嵌套了组合调度器：到里程碑时会报错。",
            )
        if any(part.last_name == "OneCycleLR" for part in parts):
            raise Unknown(
                f"OneCycleLR inside SequentialLR (line {call.line}) overwrites the initial rate of the others.",
                f"SequentialLR 中的 OneCycleLR（第 {call.line} 行）会改写其他调度器的初始学习率。",
            )
        self.horizon = None
        curves = [self.curve(part, peak, updates) for part in parts]
        if curves[0].factors or curves[0].overrides:
            raise Unknown(
                f"a ChainedScheduler inside SequentialLR (line {call.line}) is not read.",
                f"不支持 SequentialLR 中的 ChainedScheduler（第 {call.line} 行）。",
            )
        if self.horizon is not None:
            self.horizon += milestones[-1] if milestones else 0
        if parts[0].last_name == "SequentialLR":
            # A nested one has counted one step by the time it begins, so its own milestones come one update early.
            inner = [number - 1 for number in self._numbers(parts[0], "milestones")]
            curves[0] = torch_schedules.sequence(
                peak, updates, [self.curve(part, peak, updates) for part in self._held(parts[0])], inner
            )
        return torch_schedules.sequence(peak, updates, curves, milestones)

    def _chained(self, call: Call, peak: float, updates: int) -> Applied:
        parts = self._held(call)
        curves = [self.curve(part, peak, updates) for part in parts]
        if parts[-1].last_name in ABSOLUTE:
            # It writes the rate anew, whatever the others made of it.
            return curves[-1]
        if any(part.last_name in ABSOLUTE or part.last_name in HOLDERS for part in parts):
            raise Unknown(
                f"ChainedScheduler in line {call.line} holds a scheduler that overwrites the rate before others "
                "multiply it.",
                f"第 {call.line} 行 ChainedScheduler 中有调度器在其他调度器相乘之前改写学习率。",
            )
        floors = [
            place
            for place, part in enumerate(parts)
            if part.last_name == "CosineAnnealingLR" and self._number(part, "eta_min", 0.0)
        ]
        if not floors or len(parts) == 1:
            return torch_schedules.product(peak, updates, curves)
        cosine = parts[floors[0]]
        made = (
            torch_schedules.product_with_floor(
                peak, updates, curves, floors[0], self._number(cosine, "T_max"), self._number(cosine, "eta_min", 0.0)
            )
            if len(floors) == 1
            else None
        )
        if made is None:
            raise Unknown(
                f"ChainedScheduler in line {call.line} has a floor and schedulers that never come to rest.",
                f"第 {call.line} 行 ChainedScheduler 有下限，而其他调度器始终在变。",
            )
        return made

    def _numbers(self, call: Call, key: str) -> list[float]:
        value = arguments(call).get(key)
        plain: object = None if value is None else value.value
        members = cast("list[Any]", plain) if isinstance(plain, list) else [UNREADABLE]
        numbers = [as_number(member) for member in members]
        if any(number is None for number in numbers) or len(numbers) > 1000:
            raise Unknown(
                f"{key} of {call.last_name} in line {call.line} cannot be read without running the file.",
                f"第 {call.line} 行 {call.last_name} 的 {key} 不运行文件就无法得知。",
            )
        return [float(number) for number in numbers if number is not None]

    def _transformers(self, call: Call, peak: float, updates: int) -> Applied:
        given = arguments(call)
        kind = KINDS.get(call.last_name)
        if kind is None:
            written = given.get("name")
            kind = str(written.value).rsplit(".", 1)[-1].lower() if written is not None and written.known else ""
        if kind not in transformers_schedules.TYPES or kind in transformers_schedules.UNPLANNED:
            raise Unknown(
                f"the type of {call.last_name} in line {call.line} cannot be read without running the file.",
                f"第 {call.line} 行 {call.last_name} 的类型不运行文件就无法得知。",
            )
        timed = kind not in ("constant", "constant_with_warmup", "inverse_sqrt")
        # The length first: the warmup is often written as a share of it.
        whole = given.get("num_training_steps")
        if kind == "warmup_stable_decay" and (whole is None or whole.value is None) and "num_stable_steps" in given:
            parts = ("num_warmup_steps", "num_stable_steps", "num_decay_steps")
            horizon = sum(self._number(call, key) for key in parts)
        else:
            horizon = self._number(call, "num_training_steps") if timed else 0.0
        if timed:
            self.horizon = horizon
        least = 0.0 if call.last_name == "get_scheduler" else None
        self.warmup = 0.0 if kind == "constant" else self._number(call, "num_warmup_steps", least)
        own: dict[str, Any] = {}
        for key in (key for key in SHAPE if key in given):
            own[key] = evaluate(given[key], self.module, self.known)
            if own[key] is UNREADABLE:
                raise Unknown(
                    f"{key} = {given[key].written} in line {given[key].line} cannot be read without running the file.",
                    f"第 {given[key].line} 行的 {key} = {given[key].written} 不运行文件就无法得知。",
                )
        specific = given.get("scheduler_specific_kwargs")
        inner: object = None if specific is None else specific.value
        if isinstance(inner, dict):
            own |= cast("dict[str, Any]", inner)
        return transformers_schedules.applied(kind, peak, self.warmup, int(horizon), updates, own)
