"""Scheduler calls in plain Python: ``torch.optim.lr_scheduler`` and ``transformers.get_…_schedule…``, also when
Accelerate has prepared the scheduler and so steps it once for every process.

They are read from the syntax tree. A scheduler of a function of the file's own (``LambdaLR``) would have to be run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from huohou.audit.applied import Applied
from huohou.audit.dialects import loader_length
from huohou.audit.dialects.torch_calls import HOLDERS, TORCH, TRANSFORMERS, arguments, parts_of
from huohou.audit.dialects.torch_curves import Curves, Unknown
from huohou.audit.document import Document
from huohou.audit.python import Call, Module, evaluate
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Value, as_number
from huohou.language import Text

name = "torch"
title = "PyTorch"

_OPTIMIZERS = ("Adam", "SGD", "Lamb", "Lion", "Adafactor", "RMSprop", "Muon", "Adagrad")


def sees(document: Document) -> int:
    """A call of one of these schedulers."""
    module = document.module
    if module is None:
        return 0
    return 50 if any(call.last_name in TORCH or call.last_name in TRANSFORMERS for call in module.calls) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each scheduler that is not a part of another."""
    module = document.module
    assert module is not None
    parts = {id(part) for call in module.calls if call.last_name in HOLDERS for part in parts_of(call, module)}
    found = [
        call
        for call in module.calls
        if (call.last_name in TORCH or call.last_name in TRANSFORMERS) and id(call) not in parts
    ]
    calls = _Calls(
        [call for call in module.calls if any(word in call.last_name for word in _OPTIMIZERS)],
        [call for call in module.calls if call.last_name == "prepare"],
        [call for call in module.calls if call.last_name == "Accelerator"],
    )
    return [_Scheduler(call, module, calls, given).reading for call in found]


@dataclass(frozen=True, slots=True)
class _Calls:
    """The calls of a file that say something of each of its schedulers."""

    optimizers: list[Call]
    prepare: list[Call]
    accelerators: list[Call]


class _Scheduler:
    """One scheduler call and what can be said of it."""

    def __init__(self, call: Call, module: Module, calls: _Calls, given: Given) -> None:
        self.call, self.module, self.calls, self.given = call, module, calls, given
        self.reading = Reading(name, f"{title} {call.last_name}", call.settings)
        self.reading.facts |= {"family": "torch", "framework": name, "scheduler": call.last_name}
        self.known: dict[str, float] = {}
        self.known["accelerator.num_processes"] = given.gpus or 1
        if given.gpus is None and any("num_processes" in value.written for value in arguments(call).values()):
            self.reading.assume("one process (--gpus).", "按一个进程（--gpus）。")
        if given.accumulation is not None:
            self.known["accelerator.gradient_accumulation_steps"] = given.accumulation
        for key, value in arguments(call).items():
            call.settings.values.setdefault(key, value)
        loaders = loader_length.lengths(call, module, given)
        if loaders is not None:
            self.known |= loaders.known
            if given.updates is None:
                self.given = replace(given, updates=loaders.updates)
                what, what_zh = ("the file", "文件") if given.samples is None else ("the samples", "样本数")
                self.reading.assume(
                    f"by {what} the run makes {loaders.updates} updates.",
                    f"由{what_zh}可知训练共 {loaders.updates} 个更新步。",
                )
        try:
            self._read()
        except Unknown as why:
            self.reading.need(why.text.en, why.text.zh)

    def _read(self) -> None:
        peak = self._peak()
        updates = self.given.updates
        curves = Curves(self.module, self.given, self.reading, self.known)
        curve = curves.curve(self.call, peak, updates or 1)
        warmup, horizon = curves.warmup, curves.horizon
        if updates is None:
            if horizon is None or horizon < 1:
                raise Unknown("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
            updates = int(horizon)
            self.reading.assume(
                f"the run makes the {updates} updates that the scheduler was made for (--updates).",
                f"训练的更新步数即调度器的总步数 {updates}（--updates）。",
            )
        curve = curve.made_for(updates)
        curve = self._prepared(curve, horizon)
        if curve.end is not None and curve.past == "raises" and curve.position(updates) > curve.end:
            updates = int((curve.end - curve.offset) / curve.scale) + 1
            curve = curve.made_for(updates)
            self.reading.refused = Text(
                f"{self.call.last_name} raises an error after update {updates}: the run ends there.",
                f"{self.call.last_name} 在第 {updates} 个更新步之后报错：训练到此结束。",
            )
        self.reading.facts |= {"peak": curve.peak, "warmup_steps": warmup, "horizon": horizon}
        self.reading.steps.append(
            Resolved(
                Text("scheduler", "调度器"),
                Value(None, self.call.line, self.call.last_name),
                Text(f"{self.call.last_name}, W = {warmup:g}", f"{self.call.last_name}，W = {warmup:g}"),
            )
        )
        self.reading.roles.append(Role("model", curve, warmup / curve.scale, None, None, horizon))

    def _prepared(self, curve: Applied, horizon: float | None) -> Applied:
        """A scheduler that Accelerate has prepared is stepped once for every process, unless batches are split."""
        prepared = any(
            self.call.target is not None and any(value.written == self.call.target for value in each.positional)
            for each in self.calls.prepare
        )
        made = [each.settings for each in self.calls.accelerators]
        split = any(
            each.flag("split_batches") is True or each.flag("step_scheduler_with_optimizer") is False for each in made
        )
        gpus = self.given.gpus or 1
        if prepared and not split and curve.past == "raises":
            # Accelerate does not step it past its end.
            curve = replace(curve, past="holds")
        # Lengths that were taken before the loader was prepared count every process, as the steps do.
        counted = horizon is not None and horizon > gpus * (curve.updates - 1)
        self.reading.facts |= {"prepared": prepared and not split and not counted, "gpus": gpus}
        if not prepared or split or gpus == 1:
            return curve
        self.reading.assume(
            f"Accelerate steps the prepared scheduler {gpus} times in each update, once for every process.",
            f"Accelerate 在每个更新步把 prepare 过的调度器推进 {gpus} 步（每个进程一步）。",
        )
        if curve.overrides:
            raise Unknown(
                "a ChainedScheduler with a floor that Accelerate has prepared is not read.",
                "不支持由 Accelerate prepare 过的带下限的 ChainedScheduler。",
            )
        return replace(curve, scale=float(gpus))

    def _peak(self) -> float:
        """The learning rate of the optimizer that the scheduler is given."""
        wanted = call_written = arguments(self.call).get("optimizer")
        calls = self.calls.optimizers
        named = [each for each in calls if call_written is not None and each.target == call_written.written]
        for each in [*reversed(named), *(reversed(calls) if not named else ())]:
            value = each.settings.find("lr", "learning_rate")
            value = value if value is not None or len(each.positional) < 2 else each.positional[1]
            rate = None if value is None else as_number(evaluate(value, self.module, self.known))
            if rate:
                return float(rate)
        if self.call.last_name == "OneCycleLR":
            return 1.0
        what = wanted.written if wanted is not None else "optimizer"
        raise Unknown(
            f"the learning rate of {what} cannot be read from the file (line {self.call.line}).",
            f"无法从文件读出 {what} 的学习率（第 {self.call.line} 行）。",
        )
