"""What rules look at in a Python file: its schedulers, its optimizers, and where their steps stand in its loops."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from huohou.audit.document import Document
from huohou.audit.reading import Edit, Reading
from huohou.audit.values import Value

_OPTIMIZERS = ("Adam", "SGD", "Lamb", "Lion", "Adafactor", "RMSprop", "Muon", "Adagrad")
_FOLLOWS_A_MEASURE = ("ReduceLROnPlateau",)
_TAKES_A_FRACTION = ("CosineAnnealingWarmRestarts",)

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def tree_of(reading: Reading, *, once: bool = True) -> ast.Module | None:
    """The syntax tree of the file, where it is Python; for its first reading only, unless every reading wants it."""
    document: Document | None = reading.facts.get("document")
    if once and not reading.facts.get("first"):
        return None
    module = None if document is None else document.module
    return None if module is None else module.tree


@lru_cache(maxsize=1)
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a file's tree, which many rules go over; only the last file's is kept, since trees are large."""
    return tuple(ast.walk(tree))


def dotted(node: ast.AST) -> str:
    """A name with its dots; empty where it is none."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def called(node: ast.AST) -> str:
    """The last part of the name that a call calls."""
    return dotted(node.func).rsplit(".", 1)[-1] if isinstance(node, ast.Call) else ""


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """The calls of functions with one of these last names."""
    for node in nodes(tree) if isinstance(tree, ast.Module) else ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in names:
            yield node


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """An argument that is given by its name."""
    return next((each.value for each in call.keywords if each.arg == name), None)


def makes_scheduler(node: ast.AST) -> bool:
    """Whether a call makes a scheduler of PyTorch or of the Transformers, which an update is stepped by."""
    name = called(node)
    if name in _FOLLOWS_A_MEASURE:
        return False
    return name.endswith("LR") or (name.startswith("get_") and "schedule" in name) or name in _TAKES_A_FRACTION


@lru_cache(maxsize=2)
def targets(tree: ast.AST, *, optimizers: bool = False) -> Mapping[str, ast.Call]:
    """The names that schedulers (or optimizers) were given, with the call that made them."""
    found: dict[str, ast.Call] = {}
    for node in nodes(tree) if isinstance(tree, ast.Module) else ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        wanted = any(word in called(node.value) for word in _OPTIMIZERS) if optimizers else makes_scheduler(node.value)
        for target in node.targets if wanted else ():
            if dotted(target):
                found[dotted(target)] = node.value
    return found


def given_names(tree: ast.AST, name: str) -> set[str]:
    """The last names of all calls whose result a name was given anywhere in the file."""
    return {
        called(node.value)
        for node in nodes(tree)
        if isinstance(node, ast.Assign) and any(dotted(target) == name for target in node.targets)
    }


@dataclass(frozen=True, slots=True)
class Step:
    """A call of ``….step(…)``, with the innermost loop around it and the conditions between the two."""

    call: ast.Call
    owner: str
    loop: ast.AST | None
    function: ast.AST | None
    conditions: tuple[ast.expr, ...]

    @property
    def every_so_often(self) -> bool:
        """Whether it is made only in some rounds of the loop: under a condition with a remainder."""
        return any(
            isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
            for condition in self.conditions
            for node in ast.walk(condition)
        )


@lru_cache(maxsize=1)
def steps(tree: ast.AST) -> list[Step]:
    """Every call of a method ``step``."""
    found: list[Step] = []
    stack: list[tuple[ast.AST, ast.AST | None, ast.AST | None, tuple[ast.expr, ...]]] = [(tree, None, None, ())]
    while stack:
        node, loop, function, conditions = stack.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "step":
            found.append(Step(node, dotted(node.func.value), loop, function, conditions))
        if isinstance(node, _LOOPS):
            loop, conditions = node, ()
        elif isinstance(node, _FUNCTIONS):
            loop, function, conditions = None, node, ()
        if isinstance(node, ast.If):
            # What stands in the else part is made under the opposite condition.
            opposite = ast.UnaryOp(ast.Not(), node.test)
            stack.append((node.test, loop, function, conditions))
            stack += [(child, loop, function, (*conditions, node.test)) for child in node.body]
            stack += [(child, loop, function, (*conditions, opposite)) for child in node.orelse]
        else:
            stack += [(child, loop, function, conditions) for child in ast.iter_child_nodes(node)]
    return sorted(found, key=lambda step: (step.call.lineno, step.call.col_offset))


def optimizer_steps(tree: ast.AST) -> list[Step]:
    """The steps of optimizers, also those that a gradient scaler makes for them."""
    names = targets(tree, optimizers=True)
    return [
        step
        for step in steps(tree)
        if step.owner in names
        or step.owner.rsplit(".", 1)[-1] in ("optimizer", "optim", "opt")
        or any(dotted(argument) in names or dotted(argument).endswith("optimizer") for argument in step.call.args)
    ]


def scheduler_steps(tree: ast.AST) -> list[Step]:
    """The steps of schedulers that the file makes."""
    names = targets(tree)
    return [step for step in steps(tree) if step.owner in names]


def accumulations(found: list[Step]) -> list[ast.expr]:
    """By what the remainders are taken under which these steps are made."""
    return [
        node.right
        for step in found
        for condition in step.conditions
        for node in ast.walk(condition)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
    ]


def accumulates(reading: Reading, found: list[Step]) -> bool:
    """Whether some of these steps are made less often than every round, as far as the file says: not every 1."""
    document: Document = reading.facts["document"]
    names = {} if document.module is None else document.module.names
    values = [
        node.value if isinstance(node, ast.Constant) else getattr(names.get(dotted(node)), "value", None)
        for node in accumulations(found)
    ]
    return any(value != 1 for value in values)


def replaced_node(reading: Reading, node: ast.expr | ast.stmt, new: str) -> tuple[Edit, ...]:
    """Another text in the place of a node, where the node is plainly on one line of a Python file."""
    document: Document = reading.facts["document"]
    if document.source.path is None or document.source.suffix != ".py" or node.end_lineno != node.lineno:
        return ()
    line = document.source.text.split("\n")[node.lineno - 1]
    old = line.encode()[node.col_offset : node.end_col_offset].decode(errors="ignore")
    return (Edit(document.source.name, node.lineno, old, new),) if line.count(old) == 1 else ()


def statement_removed(reading: Reading, tree: ast.Module, call: ast.Call) -> tuple[Edit, ...]:
    """A statement that is nothing but a call taken out, where others stand in its block."""
    for node in nodes(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and any(isinstance(each, ast.Expr) and each.value is call for each in block):  # pyright: ignore[reportUnknownVariableType]
                return replaced_node(reading, call, "") if len(block) > 1 else ()  # pyright: ignore[reportUnknownArgumentType]
    return ()


def at(reading: Reading, node: ast.AST) -> Value:
    """The place of a node."""
    document: Document = reading.facts["document"]
    return Value(None, getattr(node, "lineno", 0), "", document.source.name)
