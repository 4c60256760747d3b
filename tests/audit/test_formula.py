"""Functions of one number in Python files: read from the syntax tree as Python would compute them, and nothing else."""

from __future__ import annotations

import ast
import math

import pytest

from huohou.audit.formula import NotPlain, function

SAME = [
    "lambda i: i / 10 if i < 10 else 1.0",
    "lambda i: max(0.0, min(1.0, (i + 1) / 10)) ** 0.5",
    "lambda i: 0.5 * (1 + math.cos(math.pi * (i % 7) / 7)) if 3 <= i < 90 and not i == 5 else -0.1",
    "lambda i, w=10, *, unused=3: float(i) // w + int(i / 3) + round(i / 4) + abs(-i)",
    "lambda i: math.exp(-i / 50) + math.log(i + 1) - math.sqrt(i) * pow(2, 0.5) + math.ceil(i / 9) - math.floor(i / 9)",
]


@pytest.mark.parametrize("text", SAME)
def test_it_is_what_python_computes(text: str) -> None:
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.Lambda)
    ours, theirs = function(tree, lambda _: None), eval(text, {"math": math})
    for i in range(100):
        assert ours(i) == pytest.approx(theirs(i), rel=1e-15, abs=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        "lambda i: open('x')",
        "lambda i: table[i]",
        "lambda i: other",
        "lambda i: [j for j in range(i)]",
        "lambda: 1.0",
        "lambda i: (-2) ** 0.5",
        "lambda i: 'x' * 9",
        "lambda i: min()",
        "lambda i: " + " + ".join(["1"] * 500),
    ],
    ids=["call", "index", "name", "loop", "no argument", "complex", "text", "empty", "long"],
)
def test_what_would_have_to_be_run_is_not_read(text: str) -> None:
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.Lambda)
    with pytest.raises(NotPlain):
        function(tree, lambda _: None)


def test_a_definition_with_statements() -> None:
    text = """
def rate(step, warmup, total=100):
    "Linear."
    share = step / total
    share *= 2
    if step < warmup:
        return step / warmup
    elif share > 1:
        pass
    else:
        return share
    return 0.25
"""
    (tree,) = ast.parse(text).body
    assert isinstance(tree, ast.FunctionDef)
    found = function(tree, lambda _: None, {"warmup": 10.0})
    assert [found(i) for i in (5, 30, 80)] == [0.5, 0.6, 0.25]
