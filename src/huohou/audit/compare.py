"""Two configurations, one against the other: where their applied curves differ most, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from huohou.audit.examine import Audit
from huohou.audit.looking import look, looked_at
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
        first: The first update with different rates; ``None`` where all that both make are equal.
        areas: The sum of all rates of each over its own run.
    """

    role: str
    left: Role
    right: Role
    largest: float
    at: int
    first: int | None
    areas: tuple[float, float]

    @property
    def share(self) -> float:
        """The largest difference as a share of the higher peak."""
        peak = max(abs(self.left.applied.peak), abs(self.right.applied.peak))
        return self.largest / peak if peak else 0.0


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
    # The same formula written in two ways differs in its last digits; that is no difference to a run.
    nothing = 1e-12 * max(abs(left.applied.peak), abs(right.applied.peak))
    largest, at = 0.0, 1
    first: int | None = None
    before = 0
    for update in updates:
        apart = _apart(left, right, update)
        if apart > nothing and first is None:
            # Of a long run not every update is looked at; between two of them the first one is still to be found.
            first = next((u for u in range(before + 1, update) if _apart(left, right, u) > nothing), update)
        if apart > largest:
            largest, at = apart, update
        before = update
    return Difference(name, left, right, largest, at, first, (look(left.applied).area, look(right.applied).area))


def _apart(left: Role, right: Role, update: int) -> float:
    return abs(left.applied.rate(update) - right.applied.rate(update))


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
        lines += [f"  {line}" for line in said(each)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def said(each: Difference) -> list[Text]:
    """How far apart two curves are, in sentences."""
    ours, theirs = each.left.applied, each.right.applied
    lines: list[Text] = []
    if each.first is None:
        lines.append(Text("the same rate in every update that both make", "两者都有的每一步，学习率都相同"))
    else:
        rates = f"{ours.rate(each.at):.6g} | {theirs.rate(each.at):.6g}"
        lines += [
            Text(
                f"largest difference {each.largest:.6g} ({each.share:.2%} of the peak) in update {each.at}: {rates}",
                f"最大差异 {each.largest:.6g}（峰值的 {each.share:.2%}），在更新步 {each.at}：{rates}",
            ),
            Text(f"first differing update: {each.first}", f"第一个不同的更新步：{each.first}"),
        ]
    one, other = each.areas
    if one > 0 and abs(one - other) > 1e-12 * one:
        lines.append(
            Text(
                f"area under the curve: {one:.6g} | {other:.6g} ({other / one - 1:+.2%})",
                f"曲线下面积：{one:.6g} | {other:.6g}（{other / one - 1:+.2%}）",
            )
        )
    return lines


def plain(differences: list[Difference]) -> list[dict[str, Any]]:
    """The differences as plain data."""
    return [
        {
            "role": each.role,
            "largest": each.largest,
            "at": each.at,
            "largest_share_of_peak": each.share,
            "first_differing": each.first,
            "updates": [each.left.applied.updates, each.right.applied.updates],
            "areas": list(each.areas),
            "area_difference": each.areas[1] - each.areas[0],
        }
        for each in differences
    ]
