"""A cosine as long as the run ends one step above its floor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``CosineAnnealingLR`` alone, its ``T_max`` the updates that the run is said to make."""
    given: Given | None = reading.facts.get("given")
    place = reading.settings.find("T_max")
    if given is None or given.updates is None or place is None or reading.facts.get("scheduler") != "CosineAnnealingLR":
        return
    if not place.written.isdigit() or int(place.written) != given.updates or given.updates < 2 or not reading.roles:
        return
    if reading.facts.get("prepared") and (reading.facts.get("gpus") or 1) > 1:
        return
    curve = reading.roles[0].applied
    yield Found(
        place,
        Text(
            f"update {given.updates} uses {curve.rate(given.updates):.6g}, one step above the floor: update 1 stands "
            f"at position 0, so the floor would be that of update {given.updates + 1}.",
            f"更新步 {given.updates} 用的是 {curve.rate(given.updates):.6g}，离下限还差一步：更新步 1 在位置 0，"
            f"下限要到更新步 {given.updates + 1} 才出现。",
        ),
        Text(f"write T_max={given.updates - 1}.", f"请写 T_max={given.updates - 1}。"),
        replaced(reading, "T_max", place, str(given.updates - 1)),
    )


def _file(length: int) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)\n"
        f"scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={length}, eta_min=1e-5)\n"
    )
    return Example("train.py", text, Given(updates=100))


RULE = Rule(
    id="floor-one-step-away",
    severity="note",
    title=Text("The last update is one step above the floor.", "最后一步离下限还差一步。"),
    why=Text(
        "Schedulers of PyTorch stand at 0 in the first update, so a T_max of T reaches eta_min in update T + 1, "
        "which is not made. In a long run that is nothing; in one of ten updates it is 2.4 % of the peak.",
        "PyTorch 的调度器在第一步位于 0，因此 T_max 取 T 时，要到第 T + 1 步才到 eta_min，而那一步并不存在。训练很长"
        "时无关紧要；只有十步时是峰值的 2.4 %。",
    ),
    victims=("pytorch/torchtitan PR #1284", "EleutherAI/gpt-neox PR #1008"),
    check=check,
    bad=(replace(_file(100), fixed=_file(99).text),),
    good=(_file(99),),
)
