"""The scheduler is stepped for updates that the gradient scaler has skipped."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, calls, dotted, scheduler_steps, steps, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``scaler.step(optimizer)`` and an unconditional step of the scheduler in one loop."""
    tree = tree_of(reading)
    if tree is None or not any(True for _ in calls(tree, "GradScaler")):
        return
    # Who looks at the scale knows whether the update was made.
    if any(True for _ in calls(tree, "get_scale")):
        return
    scaled = [step for step in steps(tree) if step.call.args and "scaler" in step.owner]
    for step in scheduler_steps(tree):
        beside = [each for each in scaled if each.loop is step.loop and each.loop is not None]
        if beside and all(_same(each.conditions, step.conditions) for each in beside):
            yield Found(
                at(reading, step.call),
                Text(
                    f"{dotted(beside[0].call.func)} leaves an update out where the gradients overflow, and "
                    f"{step.owner} is stepped all the same.",
                    f"梯度溢出时 {dotted(beside[0].call.func)} 会跳过更新，而 {step.owner} 照样前进。",
                ),
                Text(
                    "compare scaler.get_scale() before and after update(), and step only where it did not fall.",
                    "比较 update() 前后的 scaler.get_scale()，没有变小时才推进调度器。",
                ),
            )
            return


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other)


def _file(tail: str) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n"
        'scaler = torch.amp.GradScaler("cuda")\n\nfor batch in loader:\n    scaler.scale(model(batch)).backward()\n'
        f"    scaler.step(optimizer)\n{tail}"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="steps-on-skipped-updates",
    severity="note",
    title=Text("Skipped updates step the scheduler.", "被跳过的更新步也推进了调度器。"),
    why=Text(
        "In float16 the first updates are usually skipped while the loss scale falls from 65536. A scheduler that "
        "goes on meanwhile has used up a part of the warmup before anything was learned.",
        "float16 训练开头，loss scale 从 65536 往下调时通常会跳过几步更新。调度器若照样前进，什么都没学到，预热就已用"
        "掉一段。",
    ),
    victims=("pytorch/pytorch #55585", "huggingface/transformers #11106", "Lightning-AI/pytorch-lightning #5558"),
    check=check,
    bad=(_file("    scaler.update()\n    scheduler.step()\n"),),
    good=(
        _file(
            "    before = scaler.get_scale()\n    scaler.update()\n    if scaler.get_scale() >= before:\n"
            "        scheduler.step()\n"
        ),
    ),
)
