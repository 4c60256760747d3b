"""Two configurations, one against the other: where their applied curves differ most, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from huohou.audit.applied import looked_at
from huohou.audit.examine import Audit
from huohou.audit.plain import named_roles
from huohou.audit.reading import Role
from huohou.language import Text


@dataclass(frozen=True, slots=True)
class Difference:
    """The curves of one role in two audits.

    Attributes:
        role: Its name.
        left, right: What each applies.
        largest: The largest difference of two rates of the same update, and ``at`` that update.
    """

    role: str
    left: Role
    right: Role
    largest: float
    at: int


def compare(left: Audit, right: Audit) -> list[Difference]:
    """The roles that both have, by name; where each has one only, these two."""
    ours, theirs = named_roles(left), named_roles(right)
    if len(ours) == len(theirs) == 1:
        return [_difference(ours[0][0], ours[0][1], theirs[0][1])]
    others = dict(theirs)
    return [_difference(name, role, others[name]) for name, role in ours if name in others]


def _difference(name: str, left: Role, right: Role) -> Difference:
    both = min(left.applied.updates, right.applied.updates)
    updates = sorted({*looked_at(left.applied.made_for(both)), *looked_at(right.applied.made_for(both))})
    largest, at = 0.0, 1
    for update in updates:
        apart = abs(left.applied.rate(update) - right.applied.rate(update))
        if apart > largest:
            largest, at = apart, update
    return Difference(name, left, right, largest, at)


def text(left: str, right: str, differences: list[Difference]) -> str:
    """The differences in words."""
    if not differences:
        return str(Text("the two have no role in common.", "两者没有相同的角色。"))
    blocks: list[str] = []
    for each in differences:
        ours, theirs = each.left.applied, each.right.applied
        lines = [f"{each.role}: {left} | {right}"]
        pairs = [
            (Text("updates", "更新步"), f"{ours.updates} | {theirs.updates}"),
            (Text("warmup", "预热"), f"{each.left.warmup:g} | {each.right.warmup:g}"),
            (Text("peak", "峰值"), f"{ours.peak:g} | {theirs.peak:g}"),
            (Text("first", "第一步"), f"{ours.rate(1):.6g} | {theirs.rate(1):.6g}"),
            (Text("last", "最后一步"), f"{ours.rate(ours.updates):.6g} | {theirs.rate(theirs.updates):.6g}"),
        ]
        lines += [f"  {what}: {values}" for what, values in pairs]
        apart = Text(
            f"largest difference {each.largest:.6g} in update {each.at}: "
            f"{ours.rate(each.at):.6g} | {theirs.rate(each.at):.6g}",
            f"最大差异 {each.largest:.6g}，在更新步 {each.at}：{ours.rate(each.at):.6g} | {theirs.rate(each.at):.6g}",
        )
        same = Text("the same rate in every update", "每一步的学习率都相同")
        lines.append(f"  {apart if each.largest > 0 else same}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def plain(differences: list[Difference]) -> list[dict[str, Any]]:
    """The differences as plain data."""
    return [{"role": each.role, "largest": each.largest, "at": each.at} for each in differences]
