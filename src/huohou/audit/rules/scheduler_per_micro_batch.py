"""The scheduler is stepped with every micro-batch and the optimizer is not."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import accumulates, at, optimizer_steps, scheduler_steps, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """In one loop: an optimizer's step under a remainder, and a scheduler's step under none."""
    tree = tree_of(reading)
    if tree is None or not accumulates(reading, optimizer_steps(tree)):
        return
    rare = {step.loop for step in optimizer_steps(tree) if step.loop is not None and step.every_so_often}
    always = {step.loop for step in optimizer_steps(tree) if not step.every_so_often}
    for step in scheduler_steps(tree):
        if step.loop not in rare or step.loop in always or step.conditions:
            continue
        yield Found(
            at(reading, step.call),
            Text(
                f"{step.owner}.step() is called for every micro-batch, the optimizer only every so often: the schedule "
                "is over as many times too early as gradients are accumulated.",
                f"每个微批都调用 {step.owner}.step()，而优化器隔几个微批才更新一次：累积几次，学习率计划就提前几倍结"
                "束。",
            ),
            Text(
                "call it behind the optimizer's step, under the same condition.",
                "请放到优化器更新之后、同一个条件之内。",
            ),
        )


def _file(indent: str) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n\n"
        "for step, batch in enumerate(loader):\n    (model(**batch).loss / 4).backward()\n"
        "    if (step + 1) % 4 == 0:\n        optimizer.step()\n        optimizer.zero_grad()\n"
        f"{indent}scheduler.step()\n"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="scheduler-per-micro-batch",
    severity="error",
    title=Text("The scheduler is stepped with every micro-batch.", "每个微批都推进一次调度器。"),
    why=Text(
        "A schedule is made in updates. With an accumulation of 8, a scheduler that is stepped with every "
        "micro-batch has warmed up after an eighth of the warmup and is at its floor after an eighth of the run.",
        "学习率计划以更新步为单位。累积 8 次时，逐微批推进的调度器在预热的八分之一处就已到峰值，训练到八分之一就已到"
        "下限。",
    ),
    victims=("huggingface/accelerate #963", "huggingface/diffusers #2632", "huggingface/diffusers #4387"),
    check=check,
    bad=(_file("    "),),
    good=(_file("        "),),
)
