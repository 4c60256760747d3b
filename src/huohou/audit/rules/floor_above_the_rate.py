"""The floor is above the rate that is to decay to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.edits import replaced
from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, nodes, tree_of
from huohou.audit.values import as_number
from huohou.errors import UserError
from huohou.language import Text

_FLOORS = ("eta_min", "min_lr", "lr_scheduler_kwargs.min_lr", "lr_end", "train.min_lr", "cosine_min_lr")


def check(reading: Reading) -> Iterator[Found]:
    """A last rate above the peak; a group's own rate below the absolute floor of the scheduler."""
    floor = reading.settings.find(*_FLOORS)
    for role in reading.roles:
        try:
            last = role.applied.rate(role.applied.updates)
        except UserError:
            continue
        if floor is not None and role.applied.peak and last > 1.000001 * role.applied.peak:
            yield Found(
                floor,
                Text(
                    f"the floor is above the peak {role.applied.peak:g}: the rate rises to {last:.6g} at the end.",
                    f"下限高于峰值 {role.applied.peak:g}：学习率最后反而升到 {last:.6g}。",
                ),
                Text("write a floor below the peak, such as a tenth of it.", "请写低于峰值的下限，例如它的十分之一。"),
            )
            return
    number = None if floor is None else as_number(floor.value)
    tree = tree_of(reading, once=False)
    if tree is None or number is None or "eta_min" not in reading.settings:
        return
    for node, rate in _group_rates(tree):
        if 0 < rate < number:
            yield Found(
                at(reading, node),
                Text(
                    f"eta_min {number:g} is the floor of every group, and this one's rate is {rate:g}: it rises.",
                    f"eta_min {number:g} 是所有参数组的下限，而这一组的学习率是 {rate:g}：它会上升。",
                ),
                Text("take a floor below the lowest rate.", "请取低于最小学习率的下限。"),
                replaced(reading, "eta_min", reading.settings.find("eta_min"), f"{rate / 10:g}"),
            )


def _group_rates(tree: ast.AST) -> Iterator[tuple[ast.AST, float]]:
    """The plain rates of ``{"params": …, "lr": …}``."""
    for node in nodes(tree):
        if not isinstance(node, ast.Dict):
            continue
        keys = {
            key.value: value for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)
        }
        rate = keys.get("lr")
        if "params" in keys and isinstance(rate, ast.Constant) and isinstance(rate.value, int | float):
            yield rate, float(rate.value)


def _file(floor: str) -> Example:
    text = (
        "import torch\n\ngroups = [\n"
        '    {"params": model.body.parameters(), "lr": 1e-6},\n'
        '    {"params": model.head.parameters(), "lr": 1e-4},\n]\n'
        "optimizer = torch.optim.AdamW(groups, lr=1e-4)\n"
        f"scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999, eta_min={floor})\n"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="floor-above-the-rate",
    severity="error",
    title=Text("The floor is above the rate that falls to it.", "下限高于要下降的学习率。"),
    why=Text(
        "An absolute floor is the same for every group. With eta_min 1e-5 a group of 1e-6 rises to ten times its rate, "
        "and a floor that was copied from a run with a higher peak turns the decay into a rise.",
        "绝对值的下限对所有参数组都一样。eta_min 为 1e-5 时，学习率 1e-6 的组会升到十倍；从峰值更高的配置抄来的下限，"
        "会把衰减变成上升。",
    ),
    victims=("google/automl #839", "pytorch/pytorch torch.optim.lr_scheduler.CosineAnnealingLR"),
    check=check,
    bad=(
        Example("train.py", _file("1e-5").text, Given(updates=1000), fixed=_file("1e-07").text),
        Example(
            "train.py",
            _file("1e-3").text.replace('"lr": 1e-6', '"lr": 1e-4').replace("model.body", "model.trunk"),
            Given(updates=1000),
        ),
    ),
    good=(_file("1e-7"),),
)
