"""The parts of the model and the changes of the plan, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from huohou.language import Text
from huohou.report import numbers, sections
from huohou.report.plan_changes import order_text, value_text
from huohou.report.plan_parts import PART_NAMES
from huohou.report.runs import Record, Run, mapping
from huohou.report.svg import both, safe

_MOST = 20


def parts_table(plan: Record) -> str:
    """Which curve each part follows, where not all follow one."""
    groups, parts = mapping(plan.get("groups")), mapping(plan.get("parts"))
    frozen = [str(one) for one in cast(Sequence[Any], plan.get("frozen") or ())]
    if not frozen and not [name for name in groups if name != "all"]:
        return ""
    rows: list[str] = []
    for part in dict.fromkeys([*map(str, parts), *frozen]):
        name = PART_NAMES.get(part, Text(part, part))
        if part in frozen:
            rows.append(_row(both(name), both(Text("off: never moves", "关闭：不动")), "", ""))
            continue
        follows = str(parts.get(part, "all"))
        curve = mapping(groups.get(follows))
        own = mapping(plan.get("group_phases")).get(follows)
        phases = cast(Sequence[Any], own if isinstance(own, list) else plan.get("phases") or ())
        said = both(_phases(phases)) if follows == part else both(Text("as all", "随主曲线"))
        if follows not in (part, "all"):
            said = safe(follows)
        rows.append(_row(both(name), said, _rate(curve.get("peak")), _last(curve)))
    heads = (
        Text("part", "部分"),
        Text("phases", "阶段"),
        Text("peak", "峰值"),
        Text("last knot", "末节点"),
    )
    head = "".join(f"<th>{both(one)}</th>" for one in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _phases(rows: Sequence[Any]) -> Text:
    said: list[Text] = []
    for row in rows[:_MOST]:
        phase = mapping(row)
        name = Text(str(phase.get("en", ""))[:40], str(phase.get("zh", ""))[:40])
        span = f"{phase.get('first')}-{phase.get('last')}"
        said.append(Text(f"{name.en} {span}", f"{name.zh} {span}"))
    return Text(", ".join(one.en for one in said), "，".join(one.zh for one in said))


def _rate(value: Any) -> str:
    return safe(numbers.rate(float(value))) if isinstance(value, int | float) else ""


def _last(curve: Mapping[str, Any]) -> str:
    knots = cast(Sequence[Any], curve.get("knots") or ())
    return _rate(mapping(knots[-1]).get("rate")) if knots else ""


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def replans_table(run: Run) -> str:
    """What was changed on the way: after which update, by which consent, from which rate to which."""
    rows: list[str] = []
    for replan in run.replans()[:_MOST]:
        record = replan.record
        changes = [mapping(one) for one in cast(Sequence[Any], record.get("changes") or ())][:_MOST]
        told = "<br>".join(
            safe(f"{sections.clip(c.get('key'), 60)}: {value_text(c.get('before'))} → {value_text(c.get('after'))}")
            for c in changes
        )
        rates = cast(Sequence[Any], record.get("rates") or ())
        before, after = rates[:2] if len(rates) == 2 else (None, None)
        order = record.get("order")
        data = order_text(mapping(order)) if isinstance(order, Mapping) and {"position", "read"} <= set(order) else None  # pyright: ignore[reportUnknownArgumentType]
        cells = (
            numbers.count(replan.update),
            safe(replan.choice),
            told,
            _rate(before),
            _rate(after),
            both(data) if data else "",
        )
        rows.append(_row(*cells))
    if not rows:
        return ""
    heads = (
        Text("after update", "在此步之后"),
        Text("consent", "选择"),
        Text("changed", "改变"),
        Text("next rate as planned before", "原计划的下一个学习率"),
        Text("next rate", "下一个学习率"),
        Text("data", "数据"),
    )
    head = "".join(f"<th>{both(one)}</th>" for one in heads)
    title = both(Text("Changes of the plan on the way", "计划的中途改变"))
    return (
        f'<h3>{title}</h3><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
