"""Functions of one number as Python files write them, computed from their syntax tree without running the file.

``lambda step: min(1.0, step / 100)`` and functions of ``if``, assignments and ``return`` are read. Numbers are floats
and nothing loops, so that no text can take long.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence

Function = Callable[[float], float]
Lookup = Callable[[str], float | None]

_MOST = 400
"""Nodes of a function at most."""


class NotPlain(Exception):
    """The function holds what would have to be run; the text is that part of it."""


def _lowest(*values: float) -> float:
    return min(values)


def _highest(*values: float) -> float:
    return max(values)


def _truncated(value: float) -> float:
    return float(math.trunc(value))


def _rounded(value: float) -> float:
    return float(round(value))


def _power(base: float, exponent: float) -> float:
    found: float | complex = base**exponent
    if isinstance(found, complex):
        raise NotPlain("**")
    return found


_CALLS: Mapping[str, Callable[..., float]] = {
    "min": _lowest,
    "max": _highest,
    "abs": math.fabs,
    "float": float,
    "int": _truncated,
    "round": _rounded,
    "pow": _power,
    "cos": math.cos,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "ceil": math.ceil,
    "floor": math.floor,
}
_CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf}
_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: _power,
}
_COMPARED: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}


def function(node: ast.Lambda | ast.FunctionDef, lookup: Lookup, bound: Mapping[str, float] | None = None) -> Function:
    """The function of a lambda or a definition.

    Args:
        node: Its syntax tree.
        lookup: What a name outside it is, where it is a number.
        bound: Arguments that are given before (``functools.partial``).

    Raises:
        NotPlain: It would have to be run.
    """
    if sum(1 for _ in zip(ast.walk(node), range(_MOST + 1), strict=False)) > _MOST:
        raise NotPlain("…")
    names = [each.arg for each in node.args.args]
    first = next((name for name in names if name != "self" and name not in (bound or {})), None)
    if first is None:
        raise NotPlain(ast.unparse(node.args))
    given = {**_defaults(node.args, lookup), **(bound or {})}
    body: Sequence[ast.stmt] = node.body if isinstance(node, ast.FunctionDef) else [ast.Return(node.body)]
    reader = _Reader(lookup)

    def value(x: float) -> float:
        found = reader.run(body, {**given, first: float(x)})
        if found is None:
            raise NotPlain("return")
        return found

    # What cannot be read says so now, and not in the middle of a run.
    for place in (0.0, 1.0, 7.0):
        try:
            value(place)
        except ArithmeticError:
            continue
        except (TypeError, ValueError):
            raise NotPlain(ast.unparse(node)[:60]) from None
    return value


def _defaults(arguments: ast.arguments, lookup: Lookup) -> dict[str, float]:
    reader = _Reader(lookup)
    named = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    return {name.arg: reader.value(value, {}) for name, value in zip(named, arguments.defaults, strict=True)}


class _Reader:
    """Statements and expressions of numbers."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.known: dict[str, float] = {}

    def run(self, body: Sequence[ast.stmt], names: dict[str, float]) -> float | None:
        """The value that is returned; ``None`` where the end is reached without one."""
        for each in body:
            match each:
                case ast.Return(value=value) if value is not None:
                    return self.value(value, names)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    names[name] = self.value(value, names)
                case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                    names[name] = self.combined(op, self.value(ast.Name(target.id), names), self.value(value, names))
                case ast.If(test=test, body=then, orelse=other):
                    found = self.run(then if self.value(test, names) else other, names)
                    if found is not None:
                        return found
                case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Assert():
                    continue
                case _:
                    raise NotPlain(ast.unparse(each)[:60])
        return None

    def value(self, node: ast.expr, names: Mapping[str, float]) -> float:
        """An expression as a number; a comparison is 1 or 0."""
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return float(value)
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.Name() | ast.Attribute():
                return self.outside(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.value(operand, names)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return float(not self.value(operand, names))
            case ast.BinOp(left=left, op=op, right=right):
                return self.combined(op, self.value(left, names), self.value(right, names))
            case ast.IfExp(test=test, body=then, orelse=other):
                return self.value(then if self.value(test, names) else other, names)
            case ast.BoolOp(op=op, values=values):
                found = [self.value(each, names) for each in values]
                return float(all(found) if isinstance(op, ast.And) else any(found))
            case ast.Compare(left=left, ops=operators, comparators=others):
                sides = [self.value(each, names) for each in (left, *others)]
                pairs = zip(operators, sides, sides[1:], strict=False)
                return float(all(self.compared(op, a, b) for op, a, b in pairs))
            case ast.Call(func=called, args=arguments, keywords=[]):
                name = ast.unparse(called).rsplit(".", 1)[-1]
                if name in _CALLS:
                    return float(_CALLS[name](*(self.value(each, names) for each in arguments)))
                raise NotPlain(ast.unparse(node)[:60])
            case _:
                raise NotPlain(ast.unparse(node)[:60])

    def outside(self, node: ast.Name | ast.Attribute) -> float:
        """A name that the function does not set itself."""
        name = ast.unparse(node)
        if name not in self.known:
            found = self.lookup(name)
            if found is None and isinstance(node, ast.Attribute) and node.attr in _CONSTANTS:
                found = _CONSTANTS[node.attr]
            if found is None:
                raise NotPlain(name)
            self.known[name] = found
        return self.known[name]

    def combined(self, op: ast.operator, left: float, right: float) -> float:
        """An operation on two numbers."""
        if type(op) not in _BINARY:
            raise NotPlain(type(op).__name__)
        return _BINARY[type(op)](left, right)

    def compared(self, op: ast.cmpop, left: float, right: float) -> bool:
        """A comparison of two numbers."""
        if type(op) not in _COMPARED:
            raise NotPlain(type(op).__name__)
        return _COMPARED[type(op)](left, right)
