"""The rate is at zero long before the run is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.looking import look
from huohou.audit.reading import Edit, Given, Reading, Role
from huohou.audit.rules.base import Example, Found, Rule
from huohou.errors import UserError
from huohou.language import Text

_LENGTHS = (
    "num_training_steps", "total_num_steps", "scheduler.params.total_num_steps", "total_steps", "total_iters",
    "lr_decay_iters", "decay_steps", "transition_steps", "max_steps",
)  # fmt: skip


def check(reading: Reading) -> Iterator[Found]:
    """A last fiftieth of the run, and at least two updates, at rate 0."""
    if reading.facts.get("prepared") or reading.facts.get("scheduler") == "warmup_stable_decay":
        # Those have rules of their own, which say why.
        return
    for role in reading.roles:
        if role.name in reading.facts.get("planned_zeros", ()):
            continue
        many = _at_the_end(role)
        updates = role.applied.updates
        if many < max(2, updates / 50) or look(role.applied).peak <= 0:
            continue
        yield Found(
            reading.settings.find(*_LENGTHS),
            Text(
                f"the rate is 0 from update {updates - many + 1} to the end: {many} of {updates} updates change "
                "nothing.",
                f"从更新步 {updates - many + 1} 到结束学习率都是 0：{updates} 步中有 {many} 步毫无作用。",
            ),
            Text(f"make the scheduler {updates} updates long.", f"把调度器的总步数设为 {updates}。"),
            _edit(reading, updates),
        )


def _edit(reading: Reading, updates: int) -> tuple[Edit, ...]:
    """The length, where it is a plain number and not that of the run itself."""
    key = next((key for key in _LENGTHS if key in reading.settings), "max_steps")
    place = reading.settings.find(key)
    if key == "max_steps" or place is None or not place.written.isdigit():
        return ()
    return replaced(reading, key, place, str(updates))


def _at_the_end(role: Role) -> int:
    """How many of the last updates are at rate 0."""
    curve = role.applied
    try:
        if curve.rate(curve.updates) != 0.0:
            return 0
        low, high = 1, curve.updates
        while low < high:
            # The stretch at the end is one piece, so halving finds where it begins.
            middle = (low + high) // 2
            if all(curve.rate(u) == 0.0 for u in {middle, (middle + curve.updates) // 2}):
                high = middle
            else:
                low = middle + 1
    except UserError:
        return 0
    return curve.updates - low + 1


def _file(length: int) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        f"scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters={length})\n"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="zero-to-the-end",
    severity="error",
    title=Text("The rate is 0 long before the end.", "离结束还早，学习率就已是 0。"),
    why=Text(
        "A length that was divided by the processes, by the accumulation or by the samples of a prompt once too "
        "often ends the schedule early; from there on every update is paid for and changes nothing.",
        "总步数多除了一次进程数、累积数或每条提示的采样数，学习率计划就会提前结束；此后的每一步都花钱而毫无作用。",
    ),
    victims=("allenai/open-instruct #537", "NVIDIA/NeMo #14186", "THUDM/slime PR #1775"),
    check=check,
    bad=(replace(_file(500), fixed=_file(1000).text),),
    good=(_file(1000),),
)
