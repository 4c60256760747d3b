"""The optimizer's state is saved and loaded, and the scheduler's is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, dotted, nodes, scheduler_steps, targets, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """States of an optimizer go out and come back; none of a scheduler does."""
    tree = tree_of(reading)
    if tree is None:
        return
    schedulers = {step.owner for step in scheduler_steps(tree)}
    optimizers = set(targets(tree, optimizers=True))
    saved = {owner for owner, _ in _methods(tree, "state_dict")}
    loaded = list(_methods(tree, "load_state_dict"))
    if not schedulers or not optimizers & saved or "last_epoch" in ast.dump(tree):
        return
    others = {owner for owner in saved if owner not in optimizers and ("sched" in owner or owner in schedulers)}
    if others:
        return
    for owner, call in loaded:
        if owner in optimizers:
            yield Found(
                at(reading, call),
                Text(
                    f"{owner}'s state comes back and that of {', '.join(sorted(schedulers))} does not: a run that "
                    "goes on begins its schedule, and its warmup, anew.",
                    f"恢复了 {owner} 的状态，却没有恢复 {'、'.join(sorted(schedulers))} 的：续训会从头开始学习率计划和"
                    "预热。",
                ),
                Text("save and load scheduler.state_dict() as well.", "请同时保存并恢复 scheduler.state_dict()。"),
            )


def _methods(tree: ast.AST, name: str) -> Iterator[tuple[str, ast.Call]]:
    for node in nodes(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
            yield dotted(node.func.value), node


def _file(save: str, load: str) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n"
        f'state = torch.load("last.pt")\noptimizer.load_state_dict(state["optimizer"])\n{load}\n'
        "for batch in loader:\n    optimizer.step()\n    scheduler.step()\n"
        f'torch.save({{"optimizer": optimizer.state_dict(){save}}}, "last.pt")\n'
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="scheduler-not-saved",
    severity="warning",
    title=Text("The scheduler's state is not saved.", "没有保存调度器的状态。"),
    why=Text(
        "A scheduler that is made anew stands at its first update. A run that goes on after 80 % with the optimizer's "
        "state alone warms up a second time and then decays from the peak.",
        "重新创建的调度器停在第一步。训练到 80 % 后只恢复优化器，就会再预热一次，然后又从峰值开始衰减。",
    ),
    victims=(
        "PolymathicAI/the_well PR #63",
        "lightly-ai/lightly-train PR #301",
        "microsoft/InnerEye-DeepLearning #311",
    ),
    check=check,
    bad=(_file("", ""),),
    good=(_file(', "scheduler": scheduler.state_dict()', 'scheduler.load_state_dict(state["scheduler"])\n'),),
)
