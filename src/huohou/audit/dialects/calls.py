"""Calls inside arguments of Python configurations: ``max_duration=Duration.tokens(int(5e12))`` read from its text."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from huohou.audit.python import Call, Module, evaluate
from huohou.audit.values import UNREADABLE, Value, as_number


@dataclass(frozen=True, slots=True)
class Inner:
    """A call that stands as the value of an argument: its name as written, its arguments as text."""

    name: str
    positional: tuple[Value, ...] = ()
    named: Mapping[str, Value] = field(default_factory=dict[str, Value])

    @property
    def last_name(self) -> str:
        """The name without what stands before its dots."""
        return self.name.rsplit(".", 1)[-1]


def arguments(call: Call | Inner, names: Sequence[str]) -> dict[str, Value]:
    """The arguments of a call by name, those that are given by place too."""
    found = dict(zip(names, call.positional, strict=False))
    return found | (dict(call.settings.values) if isinstance(call, Call) else dict(call.named))


def inner(value: Value | None) -> Inner | None:
    """The call that an argument is written as; ``None`` where it is none."""
    node = _parsed(value)
    if not isinstance(node, ast.Call) or value is None:
        return None
    return Inner(
        ast.unparse(node.func),
        tuple(_text(argument, value) for argument in node.args),
        {each.arg: _text(each.value, value) for each in node.keywords if each.arg is not None},
    )


def members(value: Value | None) -> list[Value]:
    """The members of a list or tuple that an argument is written as."""
    node = _parsed(value)
    if value is None or not isinstance(node, ast.List | ast.Tuple):
        return []
    return [_text(member, value) for member in node.elts]


def number(value: Value | None, module: Module, known: Mapping[str, float] | None = None) -> float | None:
    """An argument as a number, its names followed through the file."""
    if value is None:
        return None
    found = as_number(evaluate(value, module, known or {}))
    return None if found is None else float(found)


def _parsed(value: Value | None) -> ast.expr | None:
    if value is None:
        return None
    try:
        return ast.parse(value.written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _text(node: ast.expr, outer: Value) -> Value:
    return Value(UNREADABLE, outer.line, ast.unparse(node), outer.file)
