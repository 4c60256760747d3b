"""DeepSpeed steps the scheduler, and the script steps it again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, called, dotted, keyword, nodes, statement_removed, steps, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A scheduler that went through ``deepspeed.initialize``, and a step of it."""
    tree = tree_of(reading)
    if tree is None:
        return
    owned: set[str] = set()
    engines: set[str] = set()
    for node in nodes(tree):
        if (
            not isinstance(node, ast.Assign)
            or called(node.value) != "initialize"
            or not isinstance(node.value, ast.Call)
        ):
            continue
        given = keyword(node.value, "lr_scheduler")
        if dotted(node.value.func) not in ("deepspeed.initialize", "ds.initialize") or given is None:
            continue
        owned.add(dotted(given))
        for target in node.targets:
            if isinstance(target, ast.Tuple) and len(target.elts) == 4:
                owned.add(dotted(target.elts[3]))
                engines.add(dotted(target.elts[0]))
    every = steps(tree)
    for step in every:
        # A script that can do without DeepSpeed steps the two in different branches.
        beside = (
            each.owner in engines and each.loop is step.loop and each.conditions == step.conditions for each in every
        )
        if step.owner in owned - {"", "_"} and any(beside):
            yield Found(
                at(reading, step.call),
                Text(
                    f"DeepSpeed steps {step.owner} in each update already; this call steps it a second time, so the "
                    "schedule is over in half of the run.",
                    f"DeepSpeed 在每个更新步已经推进了 {step.owner}；这里又推进一次，学习率计划在半程就走完。",
                ),
                Text("take the call out: engine.step() does it.", "请删去这次调用：engine.step() 会推进它。"),
                statement_removed(reading, tree, step.call),
            )


def _file(more: str) -> Example:
    text = (
        "import deepspeed\nimport torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n"
        "engine, optimizer, _, scheduler = deepspeed.initialize(\n"
        "    model=model, optimizer=optimizer, lr_scheduler=scheduler, config=config\n)\n\n"
        f"for batch in loader:\n    engine.backward(engine(batch))\n    engine.step()\n{more}"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="deepspeed-steps-itself",
    severity="error",
    title=Text("DeepSpeed's scheduler is stepped twice.", "DeepSpeed 的调度器被推进了两次。"),
    why=Text(
        "engine.step() steps the scheduler that deepspeed.initialize was given, at each end of an accumulation and not "
        "where the loss scale overflowed. A call of one's own comes on top of it.",
        "engine.step() 会在每次累积结束时推进交给 deepspeed.initialize 的调度器，loss scale 溢出时则不推进。自己再调"
        "用就多推进了一次。",
    ),
    victims=(
        "Lightning-AI/pytorch-lightning #9771",
        "Lightning-AI/pytorch-lightning #11694",
        "deepspeedai/DeepSpeed PR #913",
    ),
    check=check,
    bad=(replace(_file("    scheduler.step()\n"), fixed=_file("").text),),
    good=(_file(""),),
)
