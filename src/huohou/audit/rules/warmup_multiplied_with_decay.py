"""A warmup that is multiplied with a decay: the decay runs meanwhile, and the peak is not reached."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, called, calls, dotted, nodes, targets, tree_of
from huohou.language import Text

_DECAYS = ("CosineAnnealingLR", "PolynomialLR", "ExponentialLR", "CosineAnnealingWarmRestarts")


def check(reading: Reading) -> Iterator[Found]:
    """A ``ChainedScheduler`` of a LinearLR and a decay, or a decay that is stepped under ``dampening()``."""
    tree = tree_of(reading)
    if tree is None:
        return
    made = {name: called(call) for name, call in targets(tree).items()}
    for call in calls(tree, "ChainedScheduler"):
        parts = call.args[0] if call.args else None
        kinds = {
            called(part) or made.get(dotted(part), "")
            for part in (parts.elts if isinstance(parts, ast.List | ast.Tuple) else [])
        }
        if "LinearLR" in kinds and kinds & {*_DECAYS}:
            yield Found(at(reading, call), *_said())
    for node in nodes(tree):
        if isinstance(node, ast.With) and any(called(item.context_expr) == "dampening" for item in node.items):
            stepped = {dotted(each.func).rpartition(".")[0] for each in calls(node, "step")}
            if any(made.get(name) in _DECAYS for name in stepped):
                yield Found(at(reading, node), *_said())


def _said() -> tuple[Text, Text]:
    return (
        Text(
            "the warmup multiplies a decay that already runs: the highest rate stays below the peak.",
            "预热与已经开始的衰减相乘：最高学习率达不到峰值。",
        ),
        Text(
            "let the decay begin where the warmup ends: SequentialLR with a milestone.",
            "让衰减从预热结束处开始：用带 milestones 的 SequentialLR。",
        ),
    )


def _file(tail: str) -> Example:
    text = (
        "import torch\nfrom torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR, "
        "SequentialLR\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\nwarmup = LinearLR(optimizer, "
        f"start_factor=0.01, total_iters=100)\ndecay = CosineAnnealingLR(optimizer, T_max=900)\n{tail}"
    )
    return Example("train.py", text, Given(updates=1000))


_DAMPENED = (
    "import pytorch_warmup\nimport torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
    "decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n"
    "warmup = pytorch_warmup.LinearWarmup(optimizer, warmup_period=100)\n\nfor batch in loader:\n"
    "    optimizer.step()\n    with warmup.dampening():\n        decay.step()\n"
)

RULE = Rule(
    id="warmup-multiplied-with-decay",
    severity="warning",
    title=Text("The decay runs during the warmup.", "预热期间衰减已经开始。"),
    why=Text(
        "ChainedScheduler and pytorch_warmup multiply: with W = 10 and T = 100 the highest rate is 0.98 of the peak, "
        "with an exponential warmup 0.81, and two warmups at once are the square of one.",
        "ChainedScheduler 与 pytorch_warmup 都是相乘：W = 10、T = 100 时最高只有峰值的 0.98，指数预热时只有 0.81；两"
        "个预热叠加则成了平方。",
    ),
    victims=("Tony-Y/pytorch_warmup #14", "Tony-Y/pytorch_warmup #5", "Lightning-AI/pytorch-lightning #4902"),
    check=check,
    bad=(Example("train.py", _DAMPENED, Given(updates=1000)),),
    good=(_file("scheduler = SequentialLR(optimizer, [warmup, decay], milestones=[100])\n"),),
)
