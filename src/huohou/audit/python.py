"""Python files and notebooks, parsed and never run: the calls in them, and their arguments as far as they are plain.

Names are followed to what they were last set to; arithmetic on numbers is done; whatever else would have to be run is
unreadable. Branches are all looked at, in the order in which they stand.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from huohou.audit.notebook import read_cells
from huohou.audit.source import Source
from huohou.audit.values import UNREADABLE, Settings, Value

_LARGEST = 10**18
_DEEPEST = 60
_LONGEST = 2_000_000
"""Characters of code at most: parsing takes memory of a hundred times that."""

_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: operator.mod,
}


_ENDLESS = re.compile(r"0[xXoObB][\da-fA-F_]{3500,}")
"""A number too long to be written out again; Python itself refuses to parse one in decimal digits."""
_LEAVES = (ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)
"""Most nodes of a file; nothing is inside them."""
_MOST_ARGUMENTS = 1000
_LARGE = 200
"""Nodes of an expression from which it is not written out."""
_MOST_WRITTEN = 1_000_000
"""Nodes that are written out as text, all in all: a call inside a call is written out again at every level."""
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "int": int, "float": float, "str": str, "round": round, "max": max, "min": min,
    "math.ceil": math.ceil, "math.floor": math.floor,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the name as written (``torch.optim.lr_scheduler.LinearLR``), its arguments, and where it stands."""

    name: str
    positional: tuple[Value, ...]
    settings: Settings
    line: int
    target: str | None = None
    """The name that its result was given."""

    @property
    def last_name(self) -> str:
        """The name without what stands before its dots."""
        return self.name.rsplit(".", 1)[-1]


@dataclass(slots=True)
class Module:
    """What a file holds, as far as it can be seen without running it."""

    calls: list[Call] = field(default_factory=list[Call])
    names: dict[str, Value] = field(default_factory=dict[str, Value])
    """What each name of the file was last set to."""
    classes: dict[str, Settings] = field(default_factory=dict[str, Settings])
    """The fields of each class of the file with their defaults; ``name`` says the classes that it is made from."""
    tree: ast.Module | None = None


def read_python(
    source: Source, known: Mapping[str, Value] | None = None, tree: ast.Module | None = None
) -> Module | None:
    """A Python file or a notebook's code; ``None`` where it is neither.

    ``known`` are names that hold a value before it begins (``args.lr`` of a command line), which its own defaults for
    arguments do not change; ``tree`` is the file's own, where it was parsed before.
    """
    text: str | None = source.text
    if source.suffix == ".ipynb" or source.text.lstrip().startswith('{"cells"'):
        cells = read_cells(source.text)
        text = None if cells is None else cells.python
    if text is None or len(text) > _LONGEST or _ENDLESS.search(text):
        return None
    if tree is None:
        try:
            with warnings.catch_warnings():
                # An invalid escape in somebody's text is theirs.
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    module = Module(tree=tree, names=dict(known or {}))
    _Visitor(source, module).walk(tree)
    return module


class _Visitor:
    """Statements in order, so that a name has the value that it has at that place."""

    def __init__(self, source: Source, module: Module) -> None:
        self.source, self.module = source, module
        self.members: dict[str, list[str]] = {}
        """The names that stand below another one, in the order in which they came: ``args`` has ``args.lr``."""
        self.written = 0
        for name in module.names:
            self._enter(name)

    def _enter(self, name: str) -> None:
        place = name.find(".")
        while place >= 0:
            self.members.setdefault(name[:place], []).append(name)
            place = name.find(".", place + 1)

    def _set(self, name: str, value: Value) -> None:
        if name not in self.module.names:
            self._enter(name)
        self.module.names[name] = value

    def walk(self, tree: ast.AST) -> None:
        stack: list[ast.AST] = [tree]
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Assign):
                self._assign(node.targets, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._assign([node.target], node.value)
            elif isinstance(node, ast.Call):
                self._call(node, None)
            elif isinstance(node, ast.ClassDef):
                self._class(node)
            elif isinstance(node, ast.If) and self._is_left_out(node.test):
                # ``if args.max_steps is None`` fills in what nobody gave.
                stack.extend(reversed(node.orelse))
                continue
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
                # The call itself was taken with its target; what is inside it is still to be looked at.
                node = node.value
            children = [child for child in ast.iter_child_nodes(node) if not isinstance(child, _LEAVES)]
            stack.extend(reversed(children))

    def _is_left_out(self, test: ast.expr) -> bool:
        """Whether a test asks if a number is ``None``, or for a name that was set to ``False``."""
        match test:
            case ast.Name(id=name):
                value = self.module.names.get(name)
                return value is not None and value.value is False
            case ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None)]):
                value = self.module.names.get(_dotted(left) or "")
                return value is not None and isinstance(value.value, int | float) and not isinstance(value.value, bool)
            case _:
                return False

    def _class(self, node: ast.ClassDef) -> None:
        """The fields of a dataclass: ``x: float = 1.0``, or ``= field(default=1.0)``."""
        bases = " ".join(name for base in node.bases if (name := _dotted(base)) is not None)
        fields = self.module.classes.setdefault(node.name, Settings(name=bases, line=node.lineno))
        for each in node.body:
            if not (isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value is not None):
                continue
            value = each.value
            if isinstance(value, ast.Call) and (_dotted(value.func) or "").rsplit(".", 1)[-1] == "field":
                given = next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
                if given is None:
                    continue
                value = given
            fields.values[each.target.id] = self._value(value)

    def _assign(self, targets: list[ast.expr], value: ast.expr) -> None:
        first = targets[0] if targets else None
        name = _dotted(first.elts[0] if isinstance(first, ast.Tuple) and first.elts else first) if first else None
        if isinstance(value, ast.Call):
            self._call(value, None if isinstance(first, ast.Tuple) else name)
            if name is not None and name != "args" and "arg" in (self._name_of(value) or "").rsplit(".", 1)[-1]:
                self._parsed(name)
        if isinstance(first, ast.Tuple):
            self._several(first, value)
            return
        if isinstance(value, ast.Call) and self._name_of(value) == "dict":
            for keyword in value.keywords if name is not None else ():
                if keyword.arg is not None:
                    self._set(f"{name}.{keyword.arg}", self._value(keyword.value))
        if name is None:
            return
        if isinstance(value, ast.Dict):
            for key, member in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self._set(f"{name}.{key.value}", self._value(member))
        self._set(name, self._value(value))

    def _parsed(self, name: str) -> None:
        """``opt = parser.parse_args()``: the arguments under another name than ``args``."""
        known = tuple(self.members.get("args", ()))
        if len(known) <= _MOST_ARGUMENTS and len(self.module.names) <= 10 * _MOST_ARGUMENTS:
            for key in known:
                self._set(name + key.removeprefix("args"), self.module.names[key])

    def _several(self, targets: ast.Tuple, value: ast.expr) -> None:
        """``a, b = 1, 2``."""
        values = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(targets.elts) else None
        for place, each in enumerate(targets.elts):
            name = _dotted(each)
            if name is not None:
                plain = Value(UNREADABLE, value.lineno, "…", self.source.name)
                self._set(name, plain if values is None else self._value(values[place]))

    def _call(self, node: ast.Call, target: str | None) -> None:
        name = self._name_of(node)
        if name is None:
            return
        settings = Settings(name=name, line=node.lineno)
        for keyword in node.keywords:
            if keyword.arg is not None:
                settings.values[keyword.arg] = self._value(keyword.value)
                if isinstance(keyword.value, ast.Dict):
                    for key, member in zip(keyword.value.keys, keyword.value.values, strict=True):
                        if isinstance(key, ast.Constant) and isinstance(key.value, str):
                            settings.values[f"{keyword.arg}.{key.value}"] = self._value(member)
                elif isinstance(keyword.value, ast.Call):
                    # Trainer.Config(training=TrainingConfig(steps=10)): training.steps.
                    for inner in keyword.value.keywords:
                        if inner.arg is not None:
                            settings.values[f"{keyword.arg}.{inner.arg}"] = self._value(inner.value)
            elif (spread := _dotted(keyword.value)) is not None:
                for known in self.members.get(spread, ()):
                    settings.values.setdefault(known.removeprefix(f"{spread}."), self.module.names[known])
        if settings.name.endswith(".add_argument"):
            self._argument(node, settings)
        positional = tuple(self._value(argument) for argument in node.args)
        self.module.calls.append(Call(name, positional, settings, node.lineno, target))

    def _argument(self, node: ast.Call, settings: Settings) -> None:
        """``parser.add_argument("--x", default=1)``: where no command line says otherwise, ``args.x`` is 1."""
        flags = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        flag = next((flag for flag in flags if flag.startswith("--")), None)
        default = settings.values.get("default")
        if flag is not None:
            # One without a default has to come from a command line.
            told = default or Value(UNREADABLE, node.lineno, flag, self.source.name)
            name = f"args.{flag.lstrip('-').replace('-', '_')}"
            if name not in self.module.names:
                self._set(name, told)

    def _name_of(self, node: ast.Call) -> str | None:
        return _dotted(node.func)

    def _value(self, node: ast.expr) -> Value:
        return Value(self.plain(node, 0), node.lineno, self._text(node), self.source.name)

    def _text(self, node: ast.expr) -> str:
        """An expression as text. Most are a name or a plain value, for which nothing has to be walked over."""
        name = _dotted(node)
        if name is not None:
            return name
        if isinstance(node, ast.Constant) and node.kind is None and isinstance(node.value, int | str | None):
            return repr(node.value)
        nodes = _size(node) if self.written < _MOST_WRITTEN else _LARGE
        self.written += nodes
        return ast.unparse(node) if nodes < _LARGE else "…"

    def plain(self, node: ast.expr, depth: int = 0) -> Any:
        """The plain value of an expression; :data:`UNREADABLE` where the file would have to be run."""
        if depth > _DEEPEST:
            return UNREADABLE
        match node:
            case ast.Constant(value=value) if not isinstance(value, bytes | complex) and value is not ...:
                return value
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.plain(operand, depth + 1)
                return -value if isinstance(value, int | float) else UNREADABLE
            case ast.BinOp(left=left, op=op, right=right):
                return _combined(op, self.plain(left, depth + 1), self.plain(right, depth + 1))
            case ast.List(elts=members) | ast.Tuple(elts=members):
                return [self.plain(member, depth + 1) for member in members]
            case ast.Dict(keys=keys, values=values):
                return {
                    str(key.value): self.plain(value, depth + 1)
                    for key, value in zip(keys, values, strict=True)
                    if isinstance(key, ast.Constant)
                }
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as op], comparators=[ast.Constant(value=None)]):
                value = self.plain(left, depth + 1)
                return UNREADABLE if value is UNREADABLE else (value is None) == isinstance(op, ast.Is)
            case ast.Subscript():
                known = self.module.names.get(_member(node) or "")
                return UNREADABLE if known is None else known.value
            case ast.Name() | ast.Attribute():
                name = _dotted(node)
                known = self.module.names.get(name) if name is not None else None
                if known is not None:
                    return known.value
                # SchedulerType.COSINE and the like say their value in their own name.
                if isinstance(node, ast.Attribute) and node.attr.isupper():
                    return node.attr.lower()
                return {"math.pi": math.pi, "math.inf": math.inf}.get(name or "", UNREADABLE)
            case ast.IfExp(body=body):
                return (
                    UNREADABLE
                    if self.plain(node.test, depth + 1) is UNREADABLE
                    else self.plain(body if self.plain(node.test, depth + 1) else node.orelse, depth + 1)
                )
            case ast.Call(func=function, args=arguments, keywords=[]) if _dotted(function) in _FUNCTIONS:
                values = [self.plain(argument, depth + 1) for argument in arguments]
                return _called(_dotted(function) or "", values)
            case _:
                return UNREADABLE


def evaluate(value: Value, module: Module, known: Mapping[str, float], depth: int = 0) -> Any:
    """What a value is, where names that the file does not settle (its length, the processes) are known otherwise."""
    if value.known or depth > 5:
        return value.value
    try:
        tree = ast.parse(value.written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return UNREADABLE
    tree = _Known(known).visit(tree)
    names: dict[str, Value] = {}
    for node in ast.walk(tree):
        name = _dotted(node) if isinstance(node, ast.Name | ast.Attribute) else _member(node)
        if name is None:
            continue
        if name in known:
            names[name] = Value(known[name])
        elif name in module.names:
            names[name] = Value(evaluate(module.names[name], module, known, depth + 1))
    return _Visitor(Source(value.file, ""), Module(names=names)).plain(tree)


class _Known(ast.NodeTransformer):
    """Calls whose value is known otherwise (``len(train_dataloader)``), by their text."""

    def __init__(self, known: Mapping[str, float]) -> None:
        self.known = known

    def visit_Call(self, node: ast.Call) -> ast.expr:
        value = self.known.get(ast.unparse(node)) if self.known and _size(node) < _LARGE else None
        if value is not None:
            return ast.copy_location(ast.Constant(value), node)
        self.generic_visit(node)
        return node


def _member(node: ast.AST) -> str | None:
    """``config["lr"]`` as the name ``config.lr``."""
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)):
        return None
    owner = _dotted(node.value)
    return f"{owner}.{node.slice.value}" if owner is not None and isinstance(node.slice.value, str) else None


def _called(name: str, values: list[Any]) -> Any:
    plain = [value for value in values if isinstance(value, int | float) and abs(value) < _LARGEST]
    if not values or len(plain) != len(values) or (len(values) > 1 and name not in ("max", "min")):
        return UNREADABLE
    # max(x) of one number is an error, not the number.
    return _FUNCTIONS[name](*plain) if len(plain) > 1 or name not in ("max", "min") else UNREADABLE


def _combined(op: ast.operator, left: Any, right: Any) -> Any:
    plain = isinstance(left, int | float) and isinstance(right, int | float)
    if isinstance(op, ast.Pow):
        small = plain and abs(left) <= 1e6 and abs(right) <= 30
        # A negative base under a broken exponent would be a complex number.
        whole = small and (left > 0 or (right == int(right) and right >= 0))
        return left**right if whole else UNREADABLE
    if not plain or type(op) not in _OPERATIONS:
        return UNREADABLE
    try:
        value = _OPERATIONS[type(op)](left, right)
    except (ZeroDivisionError, OverflowError):
        return UNREADABLE
    return value if abs(value) < _LARGEST else UNREADABLE


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def _size(node: ast.expr) -> int:
    """The nodes of an expression, counted up to where it is large."""
    return sum(1 for _ in zip(range(_LARGE), ast.walk(node), strict=False))
