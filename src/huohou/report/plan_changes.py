"""What a changed plan would do to a run under way, as a table and two small drawings for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from huohou.language import Text
from huohou.plan.changes import At, Change
from huohou.plan.result import Plan
from huohou.report.curve_drawing import draw
from huohou.report.widths import pad, width

_WIDEST_VALUE = 28


def render_changes(changes: Iterable[Change], plans: Mapping[str, Plan | Text], at: At, *, ascii: bool = False) -> str:
    """The table of a change.

    Args:
        changes: What differs.
        plans: What each choice leads to: a plan, or the sentence that says why it is impossible.
        at: Where the run stands.
        ascii: Draw with ASCII characters only.
    """
    u = at.update
    title = Text(
        f"The plan has changed. {u} updates are made, {at.batches} batches are read; what would follow:",
        f"计划已改变。已完成 {u} 步，读了 {at.batches} 批；后续会是：",
    )
    lines = [str(title), ""]
    head = [str(Text("key", "键")), str(Text("was", "原为")), str(Text("is", "现为"))]
    lines += _table([head, *([c.key, value_text(c.before), value_text(c.after)] for c in changes)])
    there = {name: plan for name, plan in plans.items() if isinstance(plan, Plan)}
    if there:
        lines += ["", *_table(list(_rates(there, u)))]
    lines += [f"  {name}: {said}" for name, said in plans.items() if isinstance(said, Text)]
    drawn = [(name, there[name]) for name in ("keep", "rewarm", "retarget") if name in there][:2]
    most = max((plan.updates for _, plan in drawn), default=1)
    for name, plan in drawn:
        across = max(8, 52 * plan.updates // most)
        lines += [
            "",
            f"  {name}",
            *(f"  {row}" for row in draw(plan.curve, plan.updates, across, 4, ascii).split("\n")),
        ]
    orders = [plan.replans[-1]["order"] for name, plan in there.items() if name != "keep" and plan.replans]
    lines += ["", f"  {order_text(orders[0] if orders else None)}"]
    return "\n".join(lines)


def _rates(plans: Mapping[str, Plan], update: int) -> Iterable[list[str]]:
    yield [str(Text("rate of", "学习率")), *plans]
    shown = [(str(Text(f"update {update}", f"第 {update} 步")), update)] if update else []
    shown += [(str(Text(f"update {update + k}", f"第 {update + k} 步")), update + k) for k in (1, 2)]
    for label, u in shown:
        yield [label, *(repr(plan.curve(u)) if u <= plan.updates else "-" for plan in plans.values())]
    yield [str(Text("last update", "最后一步")), *(repr(plan.curve(plan.updates)) for plan in plans.values())]
    yield [str(Text("updates (T)", "更新步 (T)")), *(str(plan.updates) for plan in plans.values())]


def order_text(order: Mapping[str, Any] | None) -> Text:
    """What becomes of the order of the data."""
    if order is None:
        return Text("data: the next batch is the one that would have come anyway", "数据：下一批就是原本的下一批")
    if order["position"]:
        return Text(
            f"data: the next batch begins at sequence {order['position']} of the same order; none is read twice or "
            "left out",
            f"数据：下一批从同一顺序的第 {order['position']} 条序列开始；没有重复，也没有遗漏",
        )
    return Text(
        f"data: a new pass begins with the next batch, after {order['read']} sequences; what was unread of the pass "
        "under way is not made up",
        f"数据：读过 {order['read']} 条序列后，下一批开始新的一遍；当前这一遍未读的部分不再补读",
    )


def value_text(value: Any) -> str:
    """A value of a run file, short enough for a table."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST_VALUE else text[: _WIDEST_VALUE - 1] + "…"


def _table(rows: list[list[str]]) -> list[str]:
    columns = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  " + "  ".join(pad(cell, columns[i]) for i, cell in enumerate(row)).rstrip() for row in rows]
