"""The rate is set by hand in a loop in which a scheduler sets it too."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, scheduler_steps, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``group["lr"] = …`` and a step of a scheduler, both unconditional, inside one loop."""
    tree = tree_of(reading)
    if tree is None:
        return
    for step in scheduler_steps(tree):
        if step.loop is None or step.conditions:
            continue
        for node in _plain_statements(step.loop):
            if isinstance(node, ast.Assign) and any(_is_rate(target) for target in node.targets):
                yield Found(
                    at(reading, node),
                    Text(
                        f"the rate is written here and by {step.owner}: the one that comes last in each update wins, "
                        "and some schedulers go on from what they find.",
                        f"学习率既在这里写，又由 {step.owner} 写：每个更新步以后写的为准，而有的调度器会接着现有的值往"
                        "下算。",
                    ),
                    Text("let one of them own the rate.", "请只让其中一个管学习率。"),
                )
                return


def _plain_statements(loop: ast.AST) -> Iterator[ast.AST]:
    """The statements of a loop that are made in each round, those of loops over groups too; not those under an if."""
    stack = list(getattr(loop, "body", []))
    while stack:
        node = stack.pop(0)
        yield node
        if isinstance(node, ast.For | ast.With):
            stack += node.body


def _is_rate(target: ast.expr) -> bool:
    return (
        isinstance(target, ast.Subscript)
        and isinstance(target.slice, ast.Constant)
        and target.slice.value == "lr"
        and "group" in ast.unparse(target.value)
    )


def _file(inside: str) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n\n"
        f"for update, batch in enumerate(loader):\n{inside}    optimizer.step()\n    scheduler.step()\n"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="rate-written-by-hand",
    severity="warning",
    title=Text("Two owners write the learning rate.", "学习率由两处写。"),
    why=Text(
        "CosineAnnealingLR multiplies the rate that it finds, so that a value written by hand stays in the curve for "
        "good; LambdaLR overwrites it. The peak itself stays what the scheduler was made with.",
        "CosineAnnealingLR 在现有学习率上递推，手写的值会一直留在曲线里；LambdaLR 则会覆盖它。而峰值仍是创建调度器时"
        "的那个。",
    ),
    victims=("pytorch/pytorch #21965", "pytorch/pytorch #33416", "pytorch/pytorch #78003"),
    check=check,
    bad=(
        _file('    for group in optimizer.param_groups:\n        group["lr"] = 1e-4 * min(1.0, (update + 1) / 100)\n'),
    ),
    good=(_file(""),),
)
