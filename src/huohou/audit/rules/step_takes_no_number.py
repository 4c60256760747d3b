"""scheduler.step is given a number, which asks for another formula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, called, given_names, replaced_node, scheduler_steps, targets, tree_of
from huohou.language import Text

_CHAINABLE = (
    "LinearLR", "ConstantLR", "CosineAnnealingLR", "ExponentialLR", "StepLR", "MultiStepLR", "PolynomialLR",
    "LambdaLR", "SequentialLR",
)  # fmt: skip


def check(reading: Reading) -> Iterator[Found]:
    """An argument of the step of a scheduler that counts by itself."""
    tree = tree_of(reading)
    if tree is None:
        return
    made = {name: called(call) for name, call in targets(tree).items()}
    for step in scheduler_steps(tree):
        # A name that another kind of scheduler may have as well says nothing of which one is stepped.
        sure = given_names(tree, step.owner) <= {*_CHAINABLE}
        if sure and (step.call.args or step.call.keywords):
            yield Found(
                at(reading, step.call),
                Text(
                    f"{made[step.owner]} counts by itself; the number given to step() is deprecated and sets the rate "
                    "by the closed formula, as if nothing else had changed it.",
                    f"{made[step.owner]} 会自己计数；传给 step() 的数字已弃用，它会按闭式公式重设学习率，覆盖其他改"
                    "动。",
                ),
                Text(f"write {step.owner}.step().", f"请写 {step.owner}.step()。"),
                replaced_node(reading, step.call, f"{step.owner}.step()"),
            )


def _file(inside: str) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n\n"
        f"for update, batch in enumerate(loader):\n    optimizer.step()\n    scheduler.step({inside})\n"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="step-takes-no-number",
    severity="note",
    title=Text("step() is given a number.", "给 step() 传了数字。"),
    why=Text(
        "Since PyTorch 1.1 schedulers count their own steps. A number that is given to step() makes them jump there by "
        "another formula; counted from 0, from 1, in epochs or in tokens, it is easily one that was not meant.",
        "从 PyTorch 1.1 起，调度器自己计数。传给 step() 的数字会让它按另一个公式跳到那里；从 0 还是从 1 数、按轮还是"
        "按词元数，都容易弄错。",
    ),
    victims=("pytorch/pytorch #20527", "pytorch/pytorch #22107", "pytorch/pytorch #20405"),
    check=check,
    bad=(replace(_file("update"), fixed=_file("").text),),
    good=(_file(""),),
)
