"""A SequentialLR inside another is a step ahead."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, called, calls, dotted, keyword, targets, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A part of a ``SequentialLR`` that is one itself."""
    tree = tree_of(reading)
    if tree is None:
        return
    names = {name for name, call in targets(tree).items() if called(call) == "SequentialLR"}
    for call in calls(tree, "SequentialLR"):
        parts = keyword(call, "schedulers") or (call.args[1] if len(call.args) > 1 else None)
        members = parts.elts if isinstance(parts, ast.List | ast.Tuple) else []
        if any(called(member) == "SequentialLR" or dotted(member) in names for member in members):
            yield Found(
                at(reading, call),
                Text(
                    "a SequentialLR is part of another: making the outer one advances the inner one by a step.",
                    "SequentialLR 里又套了一个 SequentialLR：创建外层时，内层会多前进一步。",
                ),
                Text(
                    "give all schedulers and all milestones to one SequentialLR.",
                    "请把全部调度器和 milestones 写进同一个 SequentialLR。",
                ),
            )


def _file(tail: str) -> Example:
    text = (
        "import torch\nfrom torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, SequentialLR\n\n"
        "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "warmup = LinearLR(optimizer, start_factor=0.01, total_iters=50)\n"
        "hold = ConstantLR(optimizer, factor=1.0, total_iters=450)\ndecay = CosineAnnealingLR(optimizer, T_max=500)\n"
        f"{tail}"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="nested-sequential",
    severity="warning",
    title=Text("A SequentialLR is nested in another.", "SequentialLR 里嵌套了 SequentialLR。"),
    why=Text(
        "When a SequentialLR is made it steps its parts once to set them up. An inner SequentialLR is advanced by "
        "that, so everything in it comes one update early (PyTorch 2.13).",
        "SequentialLR 创建时会推进各部分一次以便初始化。内层的 SequentialLR 因此前进了一步，其中的一切都早一个更新步"
        "（PyTorch 2.13）。",
    ),
    victims=("pytorch/pytorch #196243", "pytorch/pytorch #72874"),
    check=check,
    bad=(
        _file(
            "inner = SequentialLR(optimizer, [warmup, hold], milestones=[50])\n"
            "scheduler = SequentialLR(optimizer, [inner, decay], milestones=[500])\n"
        ),
    ),
    good=(_file("scheduler = SequentialLR(optimizer, [warmup, hold, decay], milestones=[50, 500])\n"),),
)
