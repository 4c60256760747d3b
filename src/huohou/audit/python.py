"""Python files and notebooks, parsed and never run: the calls in them, and their arguments as far as they are plain.

Names are followed to what they were last set to; arithmetic on numbers is done; whatever else would have to be run is
unreadable. Branches are all looked at, in the order in which they stand.
"""

from __future__ import annotations

import ast
import json
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
    tree: ast.Module | None = None


def read_python(source: Source) -> Module | None:
    """A Python file or a notebook's code; ``None`` where it is neither."""
    text = (
        _notebook(source.text)
        if source.suffix == ".ipynb" or source.text.lstrip().startswith('{"cells"')
        else source.text
    )
    if text is None or len(text) > _LONGEST:
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    module = Module(tree=tree)
    _Visitor(source, module).walk(tree)
    return module


def _notebook(text: str) -> str | None:
    """The code cells one after another; lines of the shell (``!pip``) and magics become comments."""
    try:
        cells = json.loads(text)["cells"]
        parts = [
            "".join(cell["source"]) if isinstance(cell["source"], list) else str(cell["source"])
            for cell in cells
            if cell.get("cell_type") == "code"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    lines = "\n".join(parts).split("\n")
    return "\n".join("#" + line if line.lstrip().startswith(("!", "%")) else line for line in lines)


class _Visitor:
    """Statements in order, so that a name has the value that it has at that place."""

    def __init__(self, source: Source, module: Module) -> None:
        self.source, self.module = source, module

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
            children = list(ast.iter_child_nodes(node))
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
                # The call itself was taken with its target; what is inside it is still to be looked at.
                children = list(ast.iter_child_nodes(node.value))
            stack.extend(reversed(children))

    def _assign(self, targets: list[ast.expr], value: ast.expr) -> None:
        name = next((_dotted(target) for target in targets), None)
        if isinstance(value, ast.Call):
            self._call(value, name)
            if self._name_of(value) == "dict":
                for keyword in value.keywords if name is not None else ():
                    if keyword.arg is not None:
                        self.module.names[f"{name}.{keyword.arg}"] = self._value(keyword.value)
        if name is None:
            return
        if isinstance(value, ast.Dict):
            for key, member in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self.module.names[f"{name}.{key.value}"] = self._value(member)
        self.module.names[name] = self._value(value)

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
            elif (spread := _dotted(keyword.value)) is not None:
                start = spread + "."
                for known, value in self.module.names.items():
                    if known.startswith(start):
                        settings.values.setdefault(known.removeprefix(start), value)
        if settings.name.endswith(".add_argument"):
            self._argument(node, settings)
        positional = tuple(self._value(argument) for argument in node.args)
        self.module.calls.append(Call(name, positional, settings, node.lineno, target))

    def _argument(self, node: ast.Call, settings: Settings) -> None:
        """``parser.add_argument("--x", default=1)``: where no command line says otherwise, ``args.x`` is 1."""
        flags = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        flag = next((flag for flag in flags if flag.startswith("--")), None)
        default = settings.values.get("default")
        if flag is not None and default is not None:
            self.module.names.setdefault(f"args.{flag.lstrip('-').replace('-', '_')}", default)

    def _name_of(self, node: ast.Call) -> str | None:
        return _dotted(node.func)

    def _value(self, node: ast.expr) -> Value:
        written = ast.unparse(node) if _small(node) else "…"
        return Value(self.plain(node, 0), node.lineno, written, self.source.name)

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
    names: dict[str, Value] = {}
    for node in ast.walk(tree):
        name = _dotted(node) if isinstance(node, ast.Name | ast.Attribute) else None
        if name is None:
            continue
        if name in known:
            names[name] = Value(known[name])
        elif name in module.names:
            names[name] = Value(evaluate(module.names[name], module, known, depth + 1))
    return _Visitor(Source(value.file, ""), Module(names=names)).plain(tree)


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


def _small(node: ast.expr) -> bool:
    return sum(1 for _ in zip(ast.walk(node), range(200), strict=False)) < 200
