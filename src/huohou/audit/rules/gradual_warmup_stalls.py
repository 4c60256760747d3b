"""GradualWarmupScheduler holds the peak twice and hands over a step late."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, calls, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A call of it."""
    tree = tree_of(reading)
    for call in calls(tree, "GradualWarmupScheduler") if tree is not None else ():
        yield Found(
            at(reading, call),
            Text(
                "GradualWarmupScheduler is not maintained: the step at which it hands over is made twice, and its "
                "multiplier is one of the optimizer's rate, not the warmup's start.",
                "GradualWarmupScheduler 已无人维护：交接处会停一步，而且 multiplier 是优化器学习率的倍数，不是预热的"
                "起点。",
            ),
            Text("write LinearLR and the decay in a SequentialLR.", "请用 SequentialLR 连接 LinearLR 与衰减。"),
        )


def _file(length: int, tail: str) -> Example:
    text = (
        "import torch\nfrom torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR\n"
        "from warmup_scheduler import GradualWarmupScheduler\n\n"
        "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        f"decay = CosineAnnealingLR(optimizer, T_max={length})\n{tail}"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="gradual-warmup-stalls",
    severity="warning",
    title=Text("GradualWarmupScheduler stalls at the hand-over.", "GradualWarmupScheduler 在交接处停顿。"),
    why=Text(
        "With W = 10 the peak is used in updates 11 and 12 before the decay begins, so the decay ends one update "
        "short of its floor; with a multiplier above 1 the peak is that many times the optimizer's rate.",
        "W = 10 时，第 11、12 步都用峰值，衰减才开始，因此结束时离下限还差一步；multiplier 大于 1 时，峰值是优化器学"
        "习率的那么多倍。",
    ),
    victims=("ildoonet/pytorch-gradual-warmup-lr #26", "ildoonet/pytorch-gradual-warmup-lr PR #11"),
    check=check,
    bad=(
        _file(
            999,
            "scheduler = GradualWarmupScheduler(optimizer, multiplier=1, total_epoch=100, after_scheduler=decay)\n",
        ),
    ),
    good=(
        _file(
            900,
            "scheduler = SequentialLR(\n    optimizer, [LinearLR(optimizer, 0.01, 1.0, 100), decay], "
            "milestones=[100]\n)\n",
        ),
    ),
)
