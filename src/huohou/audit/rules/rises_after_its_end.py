"""The run is longer than its scheduler, and the rate rises again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Edit, Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.errors import UserError
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A horizon before the end of the run, and a higher rate after it."""
    for role in reading.roles:
        horizon, updates = role.horizon, role.applied.updates
        if horizon is None or not 1 <= horizon < updates or not role.applied.peak:
            continue
        try:
            low = role.applied.rate(int(horizon))
            # A wave that goes on may be low again where the run ends.
            rest = updates - int(horizon)
            highest = max(role.applied.rate(int(horizon) + rest * part // 200) for part in range(1, 201))
        except UserError:
            continue
        if highest <= low + 1e-3 * role.applied.peak:
            continue
        yield Found(
            reading.settings.find("T_max", "num_training_steps", "max_steps", "lr_decay_iters", "total_steps"),
            Text(
                f"the scheduler ends at update {horizon:g} and the run at {updates}: the rate rises again from "
                f"{low:.6g} to {highest:.6g}.",
                f"调度器在第 {horizon:g} 步结束，而训练有 {updates} 步：学习率从 {low:.6g} 又升到 {highest:.6g}。",
            ),
            Text(f"write T_max={updates - 1}.", f"请写 T_max={updates - 1}。")
            if reading.facts.get("scheduler") == "CosineAnnealingLR"
            else Text(f"make the scheduler {updates} updates long.", f"把调度器的总步数设为 {updates}。"),
            _edit(reading, updates - 1),
        )


def _edit(reading: Reading, length: int) -> tuple[Edit, ...]:
    """The length of a single scheduler, where it is written as a plain number."""
    if reading.facts.get("scheduler") != "CosineAnnealingLR":
        return ()
    place = reading.settings.find("T_max")
    return replaced(reading, "T_max", place, str(length)) if place is not None and place.written.isdigit() else ()


def _file(updates: int) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1000, eta_min=1e-5)\n"
    )
    return Example("train.py", text, Given(updates=updates))


RULE = Rule(
    id="rises-after-its-end",
    severity="error",
    title=Text("The learning rate rises again after the scheduler's end.", "调度器结束后学习率又上升。"),
    why=Text(
        "CosineAnnealingLR and the Transformers' cosine go on along their wave past the end: at twice the "
        "length they are at "
        "the peak again.",
        "CosineAnnealingLR 和 Transformers 的 cosine 越过终点后继续沿着余弦走：到两倍长度时又回到峰值。",
    ),
    victims=("lucidrains/imagen-pytorch #71", "OpenRLHF/OpenRLHF PR #1351"),
    check=check,
    bad=(replace(_file(1500), fixed=_file(1500).text.replace("1000", "1499")),),
    good=(_file(1001),),
)
