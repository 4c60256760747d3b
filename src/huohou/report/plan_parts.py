"""The parts of a model in a plan, as a terminal shows them: the curve that each follows, in numbers and drawn."""

from __future__ import annotations

from collections.abc import Iterable

from huohou.language import Text
from huohou.plan.result import Plan
from huohou.report.curve_drawing import draw
from huohou.report.widths import pad, width

PART_NAMES = {
    "new_rows": Text("new rows", "新增行"),
    "old_rows": Text("old rows", "原有行"),
    "body": Text("body", "主体"),
    "adapters": Text("adapters", "适配器"),
    "adapters_b": Text("adapters B", "适配器 B"),
}
"""What the parts are called on screens."""


def render_parts(plan: Plan, *, ascii: bool, columns: int) -> list[str]:
    """The parts of a plan in which some part has a curve of its own or does not move; else nothing."""
    if not plan.groups and not plan.frozen:
        return []
    lines = [str(Text("parts", "各部分"))]
    rows = list(_rows(plan))
    wide = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines += ["  " + "  ".join(pad(cell, wide[i]) for i, cell in enumerate(row)).rstrip() for row in rows]
    for part, curve in plan.groups.items():
        lines += ["", f"  {PART_NAMES.get(part, part)} ({part})"]
        drawn = draw(curve, plan.updates, max(24, min(columns - 16, 100)), 4, ascii)
        lines += [f"  {row}" for row in drawn.split("\n")]
    return [*lines, ""]


def _rows(plan: Plan) -> Iterable[list[str]]:
    heads = (
        Text("part", "部分"),
        Text("phases", "阶段"),
        Text("first rate", "首个学习率"),
        Text("peak", "峰值"),
        Text("last rate", "末尾学习率"),
    )
    yield [str(head) for head in heads]
    for part in dict.fromkeys((*plan.parts, *plan.groups, *plan.frozen)):
        name = plan.curve_name(part)
        if name is None:
            yield [part, str(Text("off: never moves", "关闭：不动")), "0", "0", "0"]
            continue
        curve = plan.all_groups()[name]
        own = plan.group_phases.get(name, plan.phases)
        phases = ", ".join(f"{phase.text} {phase.first}-{phase.last}" for phase in own)
        moves = next((phase.first for phase in own if phase.name != "wait"), 1)
        said = phases if name == part else str(Text(f"as {name}", f"同 {name}"))
        yield [part, said, repr(curve(moves)), repr(float(curve.peak)), repr(curve(plan.updates))]


def mixture_rows(plan: Plan) -> list[str]:
    """What is read of each corpus of a mixture."""
    lines: list[str] = []
    for source in plan.data.get("sources") or ():
        share = f"{source['share'] * 100:.3g}%"
        passes = "" if source.get("passes") is None else f" × {source['passes']:.3g}"
        text = Text(
            f"{source['name']}: {share}; {source['sequences']:,} sequences{passes}",
            f"{source['name']}：{share}；{source['sequences']:,} 条序列{passes}",
        )
        lines.append(str(text))
    return lines
