"""Python programs that train by themselves: a Trainer whose arguments come from a command line, or a plain loop.

``HfArgumentParser((…, TrainingArguments))`` and TRL's parser leave the rate to the command; what the classes say
without one is shown. A loop with an optimizer and no scheduler keeps the optimizer's rate; one that writes
``group["lr"]`` itself would have to be run.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any, cast

from huohou.audit.applied import Applied
from huohou.audit.dialects import deepspeed, transformers
from huohou.audit.dialects.trainer import Defaults, read_trainer
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Call, Module, evaluate
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings, Value, as_number, flattened
from huohou.language import Text

name = "program"
title = "Python program"

_PARSERS = ("HfArgumentParser", "TrlParser", "PdArgumentParser")
_TRAINED = re.compile(r"\.(?:backward|step|train_batch|training_step|train_rlhf|train_step)\(|\btrain_step\(")
_OPTIMIZER = re.compile(
    r"(?:Paged)?(?:Fused)?(?:CPU)?(?:Zero|Bert|Onebit|Mixed)?"
    r"(?:Adam(?:W|ax|8bit|W8bit|Mini)?|SGD|Lamb|LAMB|Lion|Adafactor|RMSprop|Muon|Adagrad|Adadelta|NAdam|RAdam|Sophia\w*)|configure_optimizers"
)


def sees(document: Document) -> int:
    """A parser of the Trainer's arguments, or an optimizer and the steps of a loop."""
    module = document.module
    if module is None:
        return 0
    if any(_classes(call, module) for call in module.calls):
        return 45
    if any(call.name == "pretrain" for call in module.calls):
        # Megatron-LM's entry, and that of those who took it over: everything comes from the command line.
        return 6
    if not _TRAINED.search(document.source.text):
        return 0
    if _engine(module):
        return 52
    return 8 if _optimizers(module) or _writes_rate(module) or _argument(module) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each set of arguments, or for each optimizer."""
    module = document.module
    assert module is not None
    readings: list[Reading] = []
    for call in module.calls:
        readings += [_trainer(each, call, document, module, given) for each in _classes(call, module)]
    if readings:
        return readings
    for settings in _engine(module):
        readings += _engine_reading(settings, document, given)
    readings = readings or [_loop(call, module, given) for call in _optimizers(module)]
    return readings or [_elsewhere(document, module)]


def _engine(module: Module) -> list[Settings]:
    """DeepSpeed configurations that are written down in the program as dictionaries."""
    found: dict[str, Settings] = {}
    for key, value in module.names.items():
        holder, _, section = key.rpartition(".")
        inner: object = value.value
        if section not in ("optimizer", "scheduler") or not isinstance(inner, dict) or "type" not in inner:
            continue
        settings = found.setdefault(holder, Settings(name=holder, line=value.line))
        for inside, member in flattened(cast("dict[str, Any]", inner), f"{section}."):
            settings.values[inside] = Value(member, value.line, repr(member), value.file)
        for word in ("fp16.enabled", "bf16.enabled", "gradient_accumulation_steps", "train_batch_size"):
            if f"{holder}.{word}" in module.names:
                settings.values[word] = module.names[f"{holder}.{word}"]
    return list(found.values())


def _engine_reading(settings: Settings, document: Document, given: Given) -> list[Reading]:
    unread = [key for key, value in settings.values.items() if not value.known and key.startswith(("optim", "sched"))]
    if unread:
        reading = Reading(name, f"{title}, DeepSpeed", settings)
        reading.facts |= {"family": "program", "framework": name}
        names = ", ".join(unread[:4])
        reading.need(
            f"{names} of {settings.name} in line {settings.line} cannot be read without running the file.",
            f"第 {settings.line} 行 {settings.name} 的 {names} 不运行文件就无法得知。",
        )
        return [reading]
    return deepspeed.read(document.holding(settings), given)


def _argument(module: Module) -> Value | None:
    """The learning rate that the program takes from its command line, for an optimizer that is made elsewhere."""
    words = ("lr", "learning_rate", "actor_learning_rate", "base_lr", "max_lr", "peak_lr")
    return next((value for word in words if (value := module.names.get(f"args.{word}")) is not None), None)


def _elsewhere(document: Document, module: Module) -> Reading:
    """A program that trains, and whose optimizer or schedule another file makes."""
    settings = Settings({k.removeprefix("args."): v for k, v in module.names.items() if k.startswith("args.")})
    settings.name = document.source.name
    reading = Reading(name, title, settings)
    reading.facts |= {"family": "program", "framework": name}
    value = _argument(module)
    said = (
        Text("", "")
        if value is None or not value.known
        else Text(f" (its default is {value.written})", f"（默认 {value.written}）")
    )
    reading.need(
        f"the optimizer's rate{said.en} is set by code or flags that are not in this file: audit the command or script "
        "that starts it, or the file that makes the scheduler.",
        f"优化器的学习率{said.zh}由本文件以外的代码或命令行参数决定：请审计启动它的命令或脚本，或创建调度器的文件。",
    )
    return reading


def _classes(call: Call, module: Module) -> list[str]:
    """The classes of the Trainer's arguments that a parser fills."""
    if call.last_name not in _PARSERS or not (call.positional or "dataclass_types" in call.settings):
        return []
    value = call.positional[0] if call.positional else call.settings.values["dataclass_types"]
    written = value.written
    if written in module.names:
        written = module.names[written].written
    try:
        tree = ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    members = tree.elts if isinstance(tree, ast.Tuple | ast.List) else [tree]
    names = [ast.unparse(member).rsplit(".", 1)[-1] for member in members]
    return [each for each in names if _base(each, module, 0) is not None]


def _base(class_name: str, module: Module, depth: int) -> str | None:
    """Which of the Trainer's classes of arguments this one is, or is made from."""
    if class_name in transformers.CALLS:
        return class_name
    own = module.classes.get(class_name)
    if own is not None and depth < 10:
        bases = (_base(base.rsplit(".", 1)[-1], module, depth + 1) for base in own.name.split())
        return next((base for base in bases if base is not None), None)
    if class_name.endswith(("TrainingArguments", "TrainingArgs")):
        return "TrainingArguments"
    # TRL's: DPOConfig, GKDConfig …; ModelConfig holds no rate.
    trl = re.fullmatch(r"[A-Z]\w*Config", class_name) and class_name not in ("ModelConfig", "PeftConfig", "LoraConfig")
    return "TrainingArguments" if trl and own is None else None


def _fields(class_name: str, module: Module, depth: int) -> Settings:
    """The defaults that the file's own classes write anew, those of the class itself before those of its bases."""
    own = module.classes.get(class_name)
    found = Settings(name=class_name)
    if own is None or depth >= 10:
        return found
    for base in reversed(own.name.split()):
        found.values |= _fields(base.rsplit(".", 1)[-1], module, depth + 1).values
    found.values |= own.values
    return found


def _trainer(class_name: str, call: Call, document: Document, module: Module, given: Given) -> Reading:
    base = _base(class_name, module, 0) or "TrainingArguments"
    settings = _fields(class_name, module, 0)
    settings.line = call.line
    # What a command writes goes before the classes; a program alone has none.
    settings.values |= {
        key.removeprefix("args."): value for key, value in module.names.items() if key.startswith("args.")
    }
    defaults = transformers.CALLS.get(base, Defaults())
    reading = read_trainer(settings, document, given, dialect=name, title=f"{title}, {class_name}", defaults=defaults)
    reading.assume(
        f"{class_name} is filled from a command line; without one its defaults hold.",
        f"{class_name} 由命令行填写；没有命令行时取其默认值。",
    )
    return reading


def _optimizers(module: Module) -> list[Call]:
    """The optimizers that are made."""
    found: list[Call] = []
    for call in module.calls:
        if _OPTIMIZER.fullmatch(call.last_name) and not call.name.startswith("self."):
            found.append(call)
    return found


def _rate(call: Call) -> Value | None:
    value = call.settings.find("lr", "learning_rate")
    if value is not None:
        return value
    return call.positional[1] if len(call.positional) > 1 and as_number(call.positional[1].value) is not None else None


def _loop(call: Call, module: Module, given: Given) -> Reading:
    settings = replace(call.settings, values={**call.settings.values})
    reading = Reading(name, f"{title}, {call.last_name}", settings)
    value = _rate(call) or Value(None, call.line, "…")
    peak = as_number(evaluate(value, module, {}))
    reading.facts |= {"family": "program", "framework": name, "peak": peak}
    if _writes_rate(module):
        reading.need(
            f"the program writes the rate itself (group['lr'] = …), which only running it could tell; {call.last_name} "
            f"in line {call.line} is made with lr = {value.written}.",
            f"程序自行写入学习率（group['lr'] = …），不运行就无法得知；第 {call.line} 行的 {call.last_name} "
            f"以 lr = {value.written} 创建。",
        )
        return reading
    if peak is None:
        reading.need(
            f"the learning rate {value.written} in line {value.line} cannot be read without running the file.",
            f"第 {value.line} 行的学习率 {value.written} 不运行文件就无法得知。",
        )
        return reading
    if given.updates is None:
        reading.need(
            f"{call.last_name} in line {call.line} keeps its rate {peak:g} (no scheduler in this file); how many "
            "updates: give --updates.",
            f"第 {call.line} 行的 {call.last_name} 学习率恒为 {peak:g}（本文件没有调度器）；"
            "更新步数未知：请给出 --updates。",
        )
        return reading
    reading.assume("no scheduler in this file: the rate stays.", "本文件没有调度器：学习率保持不变。")
    reading.roles.append(Role("model", Applied(float(peak), given.updates, (Piece(0, "hold", 1.0),)), 0.0))
    return reading


def _writes_rate(module: Module) -> bool:
    """Whether a statement sets the rate of an optimizer's group."""
    for node in ast.walk(module.tree) if module.tree is not None else ():
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
        )
        for target in targets:
            place = target.slice if isinstance(target, ast.Subscript) else None
            if isinstance(place, ast.Constant) and place.value in ("lr", "learning_rate"):
                return True
    return False
