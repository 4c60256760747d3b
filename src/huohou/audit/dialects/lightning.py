"""Lightning: what ``configure_optimizers`` returns, and the YAML of ``LightningCLI``.

The scheduler itself is PyTorch's and read as such. Lightning steps it once an **epoch** unless the dictionary around
it says ``"interval": "step"``; then once an update, or every ``"frequency"`` of them. ``self.hparams.x`` and
``self.x`` are what the file makes its module with, or the constructor's default.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, replace

from huohou.audit.applied import Applied
from huohou.audit.dialects import torch
from huohou.audit.dialects.calls import number
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Module, read_python
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.source import Source
from huohou.audit.values import UNREADABLE, Settings, Value
from huohou.language import Text

name = "lightning"
title = "Lightning"

_SCHEDULER, _OPTIMIZER = "lr_scheduler.class_path", "optimizer.class_path"


def _configures(module: Module | None) -> ast.FunctionDef | None:
    """The method ``configure_optimizers``."""
    for node in ast.walk(module.tree) if module is not None and module.tree is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == "configure_optimizers":
            return node
    return None


def sees(document: Document) -> int:
    """``configure_optimizers`` in a class, or the sections of its command line's YAML."""
    if document.module is not None:
        # Others have a method of that name too.
        own = "lightning" in document.source.text.lower() and _configures(document.module) is not None
        return 78 if own else 0
    settings = document.settings
    if settings is None or _OPTIMIZER not in settings:
        return 0
    return 85 if _SCHEDULER in settings or any(key.startswith("trainer.") for key in settings) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each scheduler, or for an optimizer without one."""
    if document.module is None:
        written = _of_settings(document)
        return [] if written is None else _read(written, given, _Interval(), document.settings)
    return _read(document, given, None, None)


@dataclass(frozen=True, slots=True)
class _Interval:
    """How often a scheduler is stepped."""

    unit: str = "epoch"
    frequency: int = 1
    line: int = 0


def _intervals(function: ast.FunctionDef) -> list[_Interval]:
    """What the dictionaries around schedulers say, in their order."""
    found = list[_Interval]()
    for node in ast.walk(function):
        if not isinstance(node, ast.Dict | ast.Call):
            continue
        pairs: dict[str, ast.expr] = {}
        if isinstance(node, ast.Dict):
            pairs = {
                str(key.value): value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            }
        elif isinstance(node.func, ast.Name) and node.func.id == "dict":
            pairs = {each.arg: each.value for each in node.keywords if each.arg is not None}
        if "scheduler" not in pairs and "interval" not in pairs:
            continue
        unit, often = pairs.get("interval"), pairs.get("frequency")
        found.append(
            _Interval(
                str(unit.value) if isinstance(unit, ast.Constant) else "epoch" if unit is None else "?",
                often.value if isinstance(often, ast.Constant) and isinstance(often.value, int) else 1,
                node.lineno,
            )
        )
    return found


def _defaults(module: Module) -> dict[str, Value]:
    """The numbers that constructors' arguments have by default."""
    found: dict[str, Value] = {}
    for node in ast.walk(module.tree) if module.tree is not None else ():
        if not (isinstance(node, ast.FunctionDef) and node.name == "__init__"):
            continue
        places, given = node.args.args, node.args.defaults
        pairs = [(place.arg, each) for place, each in zip(places[len(places) - len(given) :], given, strict=True)]
        pairs += [
            (key.arg, each) for key, each in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if each
        ]
        for key, each in pairs:
            plain = number(Value(UNREADABLE, each.lineno, ast.unparse(each)), module)
            if plain is not None:
                found[key] = Value(plain, each.lineno)
    return found


def _arguments(module: Module) -> dict[str, Value]:
    """The numbers that the file itself makes its modules with: ``Model(lr=2e-5)``."""
    classes = {
        node.name
        for node in ast.walk(module.tree or ast.Module([], []))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(each, ast.FunctionDef) and each.name == "configure_optimizers" for each in node.body)
    }
    found: dict[str, Value] = {}
    for call in module.calls:
        for key, value in call.settings.values.items() if call.last_name in classes else ():
            plain = number(value, module)
            if plain is not None:
                found[key] = Value(plain, value.line, value.written)
    return found


@dataclass(frozen=True, slots=True)
class _Trainer:
    """The numbers of ``Trainer(…)`` and of the loader."""

    epochs: float | None
    steps: int | None
    accumulation: int
    batch: float | None

    def per_epoch(self, given: Given) -> int | None:
        """Updates of an epoch."""
        if given.samples is not None:
            micro = math.ceil(given.samples / ((given.gpus or 1) * (self.batch or 1)))
            return math.ceil(micro / self.accumulation)
        return None if given.updates is None or not self.epochs else math.ceil(given.updates / self.epochs)


def _trainer(module: Module, given: Given, settings: Settings | None) -> _Trainer:
    def plain(key: str) -> float | None:
        if settings is not None:
            found = settings.number(f"trainer.{key}")
            return None if found is None else float(found)
        for call in module.calls:
            if call.last_name == "Trainer" and (found := number(call.settings.values.get(key), module)) is not None:
                return found
        return None

    loaders = [call for call in module.calls if call.last_name == "DataLoader"]
    batch = next((b for call in loaders if (b := number(call.settings.values.get("batch_size"), module))), None)
    steps, epochs = plain("max_steps"), plain("max_epochs")
    accumulation = given.accumulation or int(plain("accumulate_grad_batches") or 1)
    whole = int(steps) if steps is not None and steps > 0 else None
    return _Trainer(epochs if epochs is not None and epochs > 0 else None, whole, accumulation, batch)


def _read(document: Document, given: Given, interval: _Interval | None, settings: Settings | None) -> list[Reading]:
    module = document.module
    assert module is not None
    trainer = _trainer(module, given, settings)
    function = _configures(module)
    per_epoch = trainer.per_epoch(given)
    updates = given.updates or trainer.steps
    epochs = trainer.epochs
    if updates is None and per_epoch is not None:
        updates = int(per_epoch * (1000 if epochs is None else epochs))
    names = {
        "estimated_stepping_batches": updates,
        "max_steps": trainer.steps or updates,
        "max_epochs": epochs,
    }
    known = {
        f"{owner}{key}": Value(value)
        for key, value in names.items()
        if value is not None
        for owner in ("self.trainer.", "trainer.")
    }
    assumed = list[str]()
    for key, value in {**_defaults(module), **_arguments(module)}.items():
        assumed.append(f"{key} = {value.value:g}")
        known |= {f"{owner}{key}": value for owner in ("self.hparams.", "self.", "hparams.", "")}
    copy = replace(document)
    copy.__dict__["module"] = read_python(document.source, known) or module
    stepped = _intervals(function) if function is not None else []
    found = list[Reading]()
    run = replace(given, updates=updates) if updates is not None else given
    readings = torch.read(copy, run) if torch.sees(copy) else []
    for place, reading in enumerate(readings):
        each = interval or (stepped[min(place, len(stepped) - 1)] if stepped else _Interval())
        if each.unit == "epoch" and epochs is not None:
            # A length that is not written is that of the run in the scheduler's own steps.
            reading = torch.read(copy, replace(run, updates=int(epochs)))[place]
        found.append(_stepped(reading, each, updates, per_epoch, trainer.accumulation))
    if not found:
        constant = _constant(copy, updates)
        found = [] if constant is None else [constant]
    own = _own_code(module, function, bool(readings))
    if own is not None:
        for reading in found:
            reading.roles = []
            reading.need(own.en, own.zh)
    for reading in found:
        if assumed and reading.roles:
            text = ", ".join(assumed[:6])
            reading.assume(f"the module is made with {text}.", f"模块的构造参数：{text}。")
    return found


def _own_code(module: Module, function: ast.FunctionDef | None, known: bool) -> Text | None:
    """What changes the rate by code of the file's own: another scheduler, or an ``optimizer_step`` that writes it."""
    if function is not None and not known and "sched" in ast.unparse(function).lower():
        return Text(
            f"the scheduler of configure_optimizers in line {function.lineno} is none that can be read.",
            f"第 {function.lineno} 行 configure_optimizers 的调度器无法读出。",
        )
    for node in ast.walk(module.tree or ast.Module([], [])):
        if not (isinstance(node, ast.FunctionDef) and node.name in ("optimizer_step", "lr_scheduler_step")):
            continue
        if re.search(r"\[.lr.\]\s*[*+-]?=[^=]", ast.unparse(node)):
            return Text(
                f"{node.name} in line {node.lineno} writes the rate by code that only running it could tell.",
                f"第 {node.lineno} 行的 {node.name} 自行改写学习率，不运行就无法得知。",
            )
    return None


def _stepped(
    reading: Reading, interval: _Interval, updates: int | None, per_epoch: int | None, accumulation: int
) -> Reading:
    """PyTorch's scheduler as often as Lightning steps it."""
    made = replace(reading, dialect=name, title=reading.title.replace(torch.title, title, 1))
    made.facts = {**reading.facts, "framework": name, "interval": interval.unit, "frequency": interval.frequency}
    made.steps.append(
        Resolved(
            Text("stepped", "推进"),
            Value(interval.unit, interval.line, interval.unit) if interval.line else None,
            Text(
                f"every {interval.frequency} {interval.unit}{'' if interval.line else ' (the default)'}",
                f"每 {interval.frequency} 个 {interval.unit}{'' if interval.line else '（默认）'}",
            ),
        )
    )
    if interval.unit == "?":
        made.roles = []
        made.need("the interval cannot be read without running the file.", "interval 不运行文件就无法得知。")
        return made
    held = interval.frequency
    if interval.unit == "step":
        # Frequencies count batches, and a step is made only where an accumulation ends.
        held //= math.gcd(held, accumulation)
    if interval.unit == "epoch" and made.roles:
        if per_epoch is None or updates is None:
            made.roles = []
            made.need(
                "the scheduler is stepped once an epoch: give --updates (with max_epochs in the file) or --samples.",
                "调度器每轮推进一次：请给出 --updates（文件中有 max_epochs）或 --samples。",
            )
            return made
        held *= per_epoch
        made.assume(
            f"{per_epoch} updates an epoch; the rate changes between epochs only.",
            f"每轮 {per_epoch} 个更新步；学习率只在轮与轮之间变化。",
        )
    made.roles = [
        replace(
            role,
            applied=replace(role.applied, updates=updates or role.applied.updates, held=held),
            warmup=role.warmup * held,
            horizon=None if role.horizon is None else role.horizon * held,
        )
        for role in made.roles
    ]
    return made


_OPTIMIZERS = ("Adam", "SGD", "Lamb", "Lion", "Adafactor", "RMSprop", "Muon", "Adagrad")


def _constant(document: Document, updates: int | None) -> Reading | None:
    """An optimizer whose rate nobody changes."""
    module = document.module
    assert module is not None
    for call in module.calls:
        value = call.settings.values.get("lr") or (call.positional[1] if len(call.positional) > 1 else None)
        if not any(word in call.last_name for word in _OPTIMIZERS):
            continue
        reading = Reading(name, title, call.settings)
        peak = number(value, module)
        reading.facts |= {"family": "torch", "framework": name, "scheduler": "constant", "peak": peak}
        if not peak:
            reading.need("the optimizer's lr cannot be read from the file.", "无法从文件读出优化器的 lr。")
        elif updates is None:
            reading.need("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
        else:
            reading.roles.append(Role("model", Applied(peak, updates, (Piece(0, "hold", 1.0),)), 0.0))
        return reading
    return None


def _of_settings(document: Document) -> Document | None:
    """``LightningCLI``'s YAML as the Python that it stands for: an optimizer and the scheduler around it."""
    settings = document.settings
    if settings is None:
        return None
    lines = [f"optimizer = {_call(settings, 'optimizer', 'params')}"]
    if _SCHEDULER in settings:
        lines.append(f"scheduler = {_call(settings, 'lr_scheduler', 'optimizer')}")
    text = "\n".join(lines)
    copy = replace(document, source=Source(document.source.name, text, document.source.path))
    module = read_python(copy.source)
    if module is None:
        return None
    copy.__dict__["module"] = module
    return copy


def _call(settings: Settings, section: str, first: str) -> str:
    path = settings.text(f"{section}.class_path") or "Unknown"
    own = {
        key: value
        for key, value in settings.under(f"{section}.init_args").values.items()
        if value.value is not UNREADABLE
    }
    written = [f"{key}={settings.number(f'{section}.init_args.{key}') or value.value!r}" for key, value in own.items()]
    safe = path if all(part.isidentifier() for part in path.split(".")) else "Unknown"
    return f"{safe}({', '.join([first, *(each for each in written if each.split('=')[0].isidentifier())])})"
