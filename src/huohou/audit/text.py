"""An audit for people: what was written, what it becomes, what is applied, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

from huohou.audit.applied import look
from huohou.audit.examine import Audit
from huohou.audit.reading import Finding, Reading, Role
from huohou.language import Text

Draw = Callable[[Callable[[int], float], int], str]
"""Draws a curve of so many updates."""

_SEVERITY = {"error": Text("error", "错误"), "warning": Text("warning", "警告"), "note": Text("note", "提示")}


def render(audit: Audit, draw: Draw | None = None) -> str:
    """The whole audit of one source."""
    blocks = [block for reading in audit.readings for block in _reading(reading, draw)]
    blocks += [findings(audit.findings)]
    if audit.suppressed:
        blocks.append(
            "\n".join(
                str(
                    Text(
                        f"suppressed: {each.rule} (line {each.line}): {why}",
                        f"已忽略：{each.rule}（第 {each.line} 行）：{why}",
                    )
                )
                for each, why in audit.suppressed
            )
        )
    return "\n\n".join(block for block in blocks if block)


def _reading(reading: Reading, draw: Draw | None) -> list[str]:
    blocks = [f"{reading.settings.name or reading.dialect} · {reading.title}"]
    if reading.refused is not None:
        blocks[0] += f"\n  {reading.refused}"
    if reading.steps:
        blocks.append("\n".join(_step(step.what, step.written, step.result) for step in reading.steps))
    for role in reading.roles:
        blocks.append(_role(role, draw))
    for era, role in reading.other:
        seen = look(role.applied)
        blocks.append(
            str(
                Text(
                    f"with transformers {era}: T = {role.applied.updates}, W = {role.warmup:g}, "
                    f"last rate {seen.last:.6g}",
                    f"transformers {era}：T = {role.applied.updates}，W = {role.warmup:g}，末步学习率 {seen.last:.6g}",
                )
            )
        )
    lines = [f"  {Text('assumed', '假定')}: {text}" for text in reading.assumptions]
    lines += [f"  {Text('needed', '还需')}: {text}" for text in reading.missing]
    return [*blocks, "\n".join(lines)]


def _step(what: Text, written: object, result: Text) -> str:
    place = ""
    if written is not None:
        line = getattr(written, "line", 0)
        place = f" ({Text('line', '行')} {line})" if line else ""
    return f"  {what}{place}: {result}"


def _role(role: Role, draw: Draw | None) -> str:
    curve = role.applied
    seen = look(curve)
    reached = (
        Text(f"reached in update {seen.peak_at}", f"在更新步 {seen.peak_at} 达到")
        if seen.peak_at is not None
        else Text(f"never reached; the highest is {seen.peak:.6g}", f"从未达到；最高为 {seen.peak:.6g}")
    )
    rows = [
        (Text("updates", "更新步"), f"T = {curve.updates}, W = {role.warmup:g}"),
        (Text("first", "第一步"), f"{seen.first:.6g}"),
        (Text("peak", "峰值"), f"{curve.peak:.6g} ({reached})"),
        (Text("last", "最后一步"), f"{seen.last:.6g}"),
    ]
    if seen.zero or seen.negative:
        wasted = Text(f"{seen.zero} at zero, {seen.negative} below", f"{seen.zero} 步为零，{seen.negative} 步为负")
        rows.append((Text("wasted updates", "浪费的更新步"), str(wasted)))
    if role.intended is not None:
        meant = look(role.intended)
        if meant.area > 0:
            lost = 1 - seen.area / meant.area
            rows.append((Text("area against what was meant", "与本意相比的面积"), f"{-lost:+.2%}"))
    title = f"{role.name}: {role.model}" if role.model else role.name
    text = f"{title}\n" + "\n".join(f"  {what}: {value}" for what, value in rows)
    if draw is None:
        return text
    text += "\n" + draw(curve, curve.updates)
    if role.intended is not None and _apart(role) > 0.01:
        meant = Text("what was meant", "本意")
        text += f"\n  {meant}:\n" + draw(role.intended, curve.updates)
    return text


def _apart(role: Role) -> float:
    """The largest difference between applied and intended, in peaks, over a hundred updates."""
    curve, meant = role.applied, role.intended
    if meant is None or not curve.peak:
        return 0.0
    places = {1 + (curve.updates - 1) * step // 99 for step in range(100)}
    return max(abs(curve.rate(update) - meant.rate(update)) for update in places) / abs(curve.peak)


def findings(found: list[Finding]) -> str:
    """The findings, worst first."""
    if not found:
        return str(Text("nothing found", "未发现问题"))
    return "\n".join(
        f"{each.file}:{each.line}: {_SEVERITY[each.severity]} [{each.rule}] {each.message}\n    → {each.fix}"
        for each in found
    )
