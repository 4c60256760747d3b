"""The function that a LambdaLR is given: a lambda, a function of the file or a ``partial`` of one; read, not run."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from huohou.audit.formula import Function, NotPlain, function
from huohou.audit.python import Module, evaluate
from huohou.audit.values import UNREADABLE, Value, as_number


def written_function(value: Value | None, module: Module, known: Mapping[str, float]) -> Function | str:
    """The function as one of floats; or the text of what would have to be run."""
    if value is None:
        return "lr_lambda"
    try:
        tree = ast.parse(value.written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return value.written

    def lookup(name: str) -> float | None:
        if name in known:
            return known[name]
        found = module.names.get(name)
        number = None if found is None else as_number(evaluate(found, module, known))
        return None if number is None else float(number)

    if isinstance(tree, ast.List | ast.Tuple) and tree.elts:
        # One for each group of parameters; the first group is shown.
        tree = tree.elts[0]
    bound: dict[str, float] = {}
    try:
        if isinstance(tree, ast.Call) and ast.unparse(tree.func).rsplit(".", 1)[-1] == "partial" and tree.args:
            for keyword in tree.keywords:
                number = as_number(evaluate(_text(keyword.value, value), module, known))
                if keyword.arg is None or number is None:
                    return ast.unparse(keyword.value)
                bound[keyword.arg] = float(number)
            tree = tree.args[0]
        if isinstance(tree, ast.Lambda):
            return function(tree, lookup, bound)
        found = _definition(tree, module) if isinstance(tree, ast.Name) else None
        return ast.unparse(tree) if found is None else function(found, lookup, bound)
    except (NotPlain, RecursionError) as why:
        return str(why) or value.written


def _text(node: ast.expr, outer: Value) -> Value:
    return Value(UNREADABLE, outer.line, ast.unparse(node), outer.file)


def _definition(name: ast.Name, module: Module) -> ast.FunctionDef | ast.Lambda | None:
    """The last function of the file with this name."""
    found: ast.FunctionDef | ast.Lambda | None = None
    for node in ast.walk(module.tree) if module.tree is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == name.id:
            found = node
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Lambda)
            and any(isinstance(target, ast.Name) and target.id == name.id for target in node.targets)
        ):
            found = node.value
    return found
