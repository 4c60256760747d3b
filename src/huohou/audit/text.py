"""An audit for people: what was written, what it becomes, what is applied, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

from huohou.audit.applied import Applied
from huohou.audit.examine import Audit
from huohou.audit.looking import Beyond, beyond, look
from huohou.audit.reading import Finding, Reading, Role
from huohou.audit.said import said
from huohou.language import Text

Draw = Callable[[Callable[[int], float], int], str]
"""Draws a curve of so many updates."""

_BEYOND: dict[Beyond, Text] = {
    "holds": Text("holds", "保持不变"),
    "rebounds": Text("rebounds: it rises again", "反弹：再次上升"),
    "goes negative": Text("goes negative", "变为负值"),
    "falls further": Text("falls further", "继续下降"),
    "raises": Text("raises an error", "报错"),
}
"""What a scheduler does after its own end."""

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
    words = [] if reading.roles else said(reading.settings)
    if words:
        lines = [f"    {key}: {value.written}{_place(value.line)}" for key, value in words]
        blocks.append("\n".join([f"  {Text('written', '写了')}:", *lines]))
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
    lines = (
        [str(_in_tokens(role, reading.facts["tokens_per_update"])) for role in reading.roles[:1]]
        if ("tokens_per_update" in reading.facts)
        else []
    )
    lines += [f"  {Text('assumed', '假定')}: {text}" for text in reading.assumptions]
    lines += [f"  {Text('needed', '还需')}: {text}" for text in reading.missing]
    return [*blocks, "\n".join(lines)]


def _in_tokens(role: Role, each: float) -> Text:
    """T and W in tokens, sequences taken as full."""
    whole, warmup = role.applied.updates * each, role.warmup * each
    return Text(
        f"  in tokens, sequences full: T = {whole:.4g}, W = {warmup:.4g}, an update {each:.4g}",
        f"  按词元（序列填满）：T = {whole:.4g}，W = {warmup:.4g}，每步 {each:.4g}",
    )


def _step(what: Text, written: object, result: Text) -> str:
    return f"  {what}{_place(getattr(written, 'line', 0))}: {result}"


def _place(line: int) -> str:
    return f" ({Text('line', '行')} {line})" if line else ""


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
        (Text("past its end", "终点之后"), str(_BEYOND[beyond(curve, role.horizon)])),
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
    text += "\n" + draw(_Drawn(curve), curve.updates)
    if role.intended is not None and _apart(role) > 0.01:
        meant = Text("what was meant", "本意")
        text += f"\n  {meant}:\n" + draw(_Drawn(role.intended), curve.updates)
    return text


class _Drawn:
    """A curve for a drawing: it names the updates in which it bends, so that no corner is lost between two columns."""

    def __init__(self, curve: Applied) -> None:
        self.curve = curve
        places = [
            position
            for piece in curve.pieces
            for position in (piece.first, (piece.first if piece.origin is None else piece.origin) + piece.span)
        ]
        near = [1 + (place - curve.offset) / curve.scale for place in places if curve.scale and abs(place) < 1e15]
        self.seams = sorted(update for update in near if 1 <= update <= curve.updates)

    def __call__(self, update: int) -> float:
        return self.curve.rate(update)


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
