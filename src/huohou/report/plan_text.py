"""A plan as a person reads it in a terminal. Plain strings, so that it starts fast and pipes well."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from huohou.language import Text
from huohou.plan.result import Plan
from huohou.report.curve_drawing import draw
from huohou.report.plan_parts import mixture_rows, render_parts
from huohou.report.widths import pad, width
from huohou.schedule.recipes import ScheduleSpec

_LABEL_WIDTH = 11

STRENGTHS = {"strong": Text("strong", "强"), "moderate": Text("moderate", "中"), "weak": Text("weak", "弱")}


def wrap(text: str, columns: int, *, first: str, rest: str) -> list[str]:
    """Lines of at most so many columns, broken at spaces and between 汉字."""
    pieces: list[str] = []
    for character in text:
        joins = pieces and not (pieces[-1].endswith(" ") or width(character) == 2 or width(pieces[-1][-1]) == 2)
        # A closing mark never begins a line.
        if pieces and (joins or character in "，。；：、）！？ "):
            pieces[-1] += character
        else:
            pieces.append(character)
    lines: list[str] = []
    line = first
    for piece in pieces:
        if width(line + piece.rstrip()) > columns and line.strip():
            lines.append(line.rstrip())
            line = rest + piece.lstrip()
        else:
            line += piece
    return [*lines, line.rstrip()]


def short(number: float) -> str:
    """``1234567`` as ``1.23M``."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            scale = 1e3 if letter == "k" else size
            return f"{number / scale:.3g}{letter}" if number / scale < 1000 else f"{number / scale:.0f}{letter}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 120:
        return str(Text(f"{seconds:.0f} s", f"{seconds:.0f} 秒"))
    if seconds < 7200:
        return str(Text(f"{seconds / 60:.0f} min", f"{seconds / 60:.0f} 分钟"))
    if seconds < 172800:
        return str(Text(f"{seconds / 3600:.1f} h", f"{seconds / 3600:.1f} 小时"))
    return str(Text(f"{seconds / 86400:.1f} days", f"{seconds / 86400:.1f} 天"))


def render(plan: Plan, *, spec: ScheduleSpec | None = None, ascii: bool = False, columns: int = 78) -> str:
    """The whole plan as text.

    Args:
        plan: The plan.
        spec: What was asked, to name the shapes with; taken from the knots where it is not at hand.
        ascii: Draw with ASCII characters only.
        columns: How wide the drawing may be.
    """
    lines: list[str] = [_title(plan), ""]
    for label, line in _rows(plan, spec):
        lines += wrap(line, columns, first=pad(str(label), _LABEL_WIDTH) + " ", rest=" " * (_LABEL_WIDTH + 1))
    lines += ["", draw(plan.curve, plan.updates, width=max(24, min(columns - 14, 100)), height=9, ascii=ascii), ""]
    lines += render_parts(plan, ascii=ascii, columns=columns)
    lines += list(_rates(plan))
    if plan.advice:
        lines += ["", str(Text("advice", "建议"))]
        for advice in plan.advice:
            said = f"[{STRENGTHS[advice.strength]}] {advice.text} ({Text('source', '依据')}: {advice.source})"
            lines += wrap(said, columns, first="  ", rest="      ")
    return "\n".join(lines)


def _title(plan: Plan) -> str:
    if plan.exact:
        exact = Text("exact", "精确")
    else:
        low, high = plan.interval or (plan.updates, plan.updates)
        exact = Text(
            f"≈ estimated from a sample: T between {low:,} and {high:,}; --exact tokenises first",
            f"≈ 由样本估计：T 在 {low:,} 与 {high:,} 之间；--exact 会先分词",
        )
    return f"{plan.name} · {plan.stage} · {exact} · {plan.fingerprint}"


def _rows(plan: Plan, spec: ScheduleSpec | None) -> Iterable[tuple[Text, str]]:
    about = "" if plan.exact else "≈ "
    data = plan.data
    if data.get("tokens") or data.get("sequences"):
        yield Text("data", "数据"), about + _data(plan)
    for row in mixture_rows(plan):
        yield Text("", ""), row
    yield Text("updates", "更新步"), about + _updates(plan)
    batch = plan.batch
    if batch.sequences:
        yield Text("batch", "批"), _batch(plan)
    yield Text("warmup", "预热"), _warmup(plan, spec)
    yield Text("peak", "峰值"), _peak(plan)
    yield Text("decay", "衰减"), _decay(plan, spec)
    budget = plan.budget
    if budget.get("parameters"):
        yield Text("model", "模型"), _model(plan)
    cost: list[str] = []
    if budget.get("flops"):
        cost.append(f"{budget['flops']:.2e} FLOPs")
    if budget.get("memory_bytes"):
        gib = budget["memory_bytes"] / 2**30
        cost.append(str(Text(f"≈ {gib:.3g} GiB a process", f"每进程 ≈ {gib:.3g} GiB")))
    if budget.get("host_bytes"):
        gib = budget["host_bytes"] / 2**30
        cost.append(str(Text(f"+ {gib:.3g} GiB of the CPU's memory", f"另需内存 {gib:.3g} GiB")))
    if budget.get("seconds"):
        basis = budget["basis"]
        cost.append(f"≈ {duration(budget['seconds'])} ({Text(basis['en'], basis['zh'])})")
    if budget.get("cost") is not None:
        cost.append(str(Text(f"cost ≈ {budget['cost']:.2f}", f"费用 ≈ {budget['cost']:.2f}")))
    if cost:
        yield Text("needs", "所需"), " · ".join(cost)


def _model(plan: Plan) -> str:
    """How many parameters, how many of them move, and how many rows the vocabulary gains."""
    budget, model = plan.budget, plan.model or {}
    total, trained = budget["parameters"], budget.get("trained")
    text = str(Text(f"{short(total)} parameters", f"{short(total)} 参数"))
    if trained is not None and trained != total:
        text += str(Text(f", {short(trained)} of them move", f"，其中 {short(trained)} 会动"))
    new = (model.get("vocab_size") or 0) - (model.get("base_vocab_size") or model.get("vocab_size") or 0)
    if new > 0:
        text += str(Text(f"; {new:,} new rows", f"；新增 {new:,} 行"))
    if model.get("path"):
        text += str(Text(f"; goes on from {model['path']}", f"；接着训练 {model['path']}"))
    return text


def _data(plan: Plan) -> str:
    data = plan.data
    parts: list[str] = []
    if data.get("documents"):
        characters = short(data["characters"])
        parts.append(
            str(
                Text(
                    f"{data['documents']:,} documents, {characters} characters",
                    f"{data['documents']:,} 篇文档，{characters} 字符",
                )
            )
        )
    if data.get("tokens"):
        parts.append(_tokens(data["tokens"]))
    if data.get("sequences"):
        length = data["sequence_length"]
        of = Text(f" of {length:,}", f"（每条 {length:,}）") if length else Text("", "")
        parts.append(str(Text(f"{data['sequences']:,} sequences{of.en}", f"{data['sequences']:,} 条序列{of.zh}")))
    text = " → ".join(parts)
    if data.get("dropped"):
        text += str(Text(f"; {data['dropped']:,} tokens dropped", f"；丢弃 {data['dropped']:,} 词元"))
    if data.get("padded"):
        text += str(Text(f"; {data['padded']:,} positions padded", f"；填充 {data['padded']:,} 个位置"))
    return text


def _updates(plan: Plan) -> str:
    text = f"T = {plan.updates:,}"
    data, batch = plan.data, plan.batch
    if data.get("sequences") and data.get("epochs") and batch.sequences:
        epochs = f"{data['epochs']:.4g}"
        passes = Text(f"{epochs} epoch{'' if epochs == '1' else 's'}", f"{epochs} 轮")
        text += f"  ({passes} × {data['sequences']:,} / {batch.sequences})"
    if data.get("tokens_total"):
        text += " · " + _tokens(data["tokens_total"])
    return text


def _tokens(count: int) -> str:
    return str(Text(f"{short(count)} tokens", f"{short(count)} 词元"))


def _batch(plan: Plan) -> str:
    batch = plan.batch
    assert batch.sequences is not None
    text = str(Text(f"{batch.sequences} sequences", f"{batch.sequences} 条序列"))
    if batch.tokens:
        text += " · " + str(Text(f"{batch.tokens:,} tokens", f"{batch.tokens:,} 词元"))
    if batch.micro_batch and batch.accumulation:
        text += str(
            Text(
                f" = {batch.micro_batch} (micro-batch) × {batch.accumulation} × {batch.world_size} "
                f"process{'' if batch.world_size == 1 else 'es'}",
                f" = {batch.micro_batch}（微批） × {batch.accumulation} × {batch.world_size} 个进程",
            )
        )
    if batch.last is not None and batch.last != batch.sequences:
        text += str(Text(f"; the last one has {batch.last}", f"；最后一批 {batch.last} 条"))
    return text


def _warmup(plan: Plan, spec: ScheduleSpec | None) -> str:
    w = plan.warmup_updates
    if w == 0:
        return str(Text("off: update 1 uses the peak", "关闭：第 1 步就用峰值"))
    share = f"{float(Fraction(w, plan.updates) * 100):.3g}%"
    text = f"W = {w:,} · {share}"
    if plan.batch.tokens:
        text += " · " + _tokens(w * plan.batch.tokens)
    shape = spec.warmup_shape if spec else plan.curve.knots[0].shape.name
    start = plan.curve.knots[0]
    low = float(plan.curve.peak * start.value) if start.update < 1 else plan.curve(1)
    return f"{text} · {shape}" + str(Text(f" from {low:g} at the origin", f"，起点为 {low:g}"))


def _peak(plan: Plan) -> str:
    at = max(plan.warmup_updates, 1)
    return f"{float(plan.curve.peak)!r}" + str(Text(f", first used by update {at:,}", f"，第 {at:,} 步首次使用"))


def _decay(plan: Plan, spec: ScheduleSpec | None) -> str:
    name = spec.decay if spec else "decay"
    if plan.decay_updates == 0:
        return name + str(Text(": the rate stays at the peak", "：学习率保持在峰值"))
    last = plan.curve(plan.updates)
    text = f"{name} · D = {plan.decay_updates:,} · " + str(
        Text(f"update {plan.updates:,} uses {last!r}", f"第 {plan.updates:,} 步使用 {last!r}")
    )
    return text + str(Text(f" (floor {plan.floor!r})", f"（下限 {plan.floor!r}）"))


def _rates(plan: Plan) -> Iterable[str]:
    rows = [(f"{update:,}", repr(plan.curve(update)), str(text)) for update, text in plan.milestones()]
    wide = [max(width(row[i]) for row in rows) for i in range(2)]
    yield str(Text("update and rate", "更新步与学习率"))
    for update, rate, text in rows:
        yield f"  {update:>{wide[0]}}  {pad(rate, wide[1])}  {text}"
