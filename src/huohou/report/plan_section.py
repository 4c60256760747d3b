"""The part of the page that shows the plan: from data to updates, the curve in numbers, advice, every setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from huohou.language import Text
from huohou.report import numbers, sections
from huohou.report.figures import FEW
from huohou.report.replans import parts_table, replans_table
from huohou.report.runs import Record, Run, mapping, number
from huohou.report.settings import settings
from huohou.report.svg import both, safe


def plans(runs: Sequence[Run]) -> str:
    """What was planned: from data to updates, the curve, advice, every setting."""
    shown = runs if len(runs) <= FEW else runs[:1]
    parts = "".join(_plan(i, run, len(runs)) for i, run in enumerate(shown) if run.plan)
    return f'{sections.heading(Text("The plan", "计划"))}<div class="plans">{parts}</div>' if parts else ""


def _plan(index: int, run: Run, of: int) -> str:
    plan = run.plan
    data, batch = mapping(plan.get("data")), mapping(plan.get("batch"))
    about = "" if plan.get("exact", True) else "≈ "

    def counted(value: Any) -> str:
        return about + numbers.count(number(value))

    steps: list[tuple[str, Text]] = []
    for key, name in (
        ("documents", Text("documents", "篇文档")),
        ("tokens", Text("tokens", "词元")),
        ("sequences", Text("sequences", "序列")),
    ):
        if data.get(key) is not None:
            length = data.get("sequence_length") or plan.get("sequence_length")
            if key == "sequences" and length is not None:
                name = Text(f"sequences of {length} tokens", f"序列，每条 {length} 词元")
            steps.append((counted(data[key]), name))
    if batch.get("sequences") is not None:
        steps.append((numbers.count(number(batch["sequences"])), Text("sequences a batch", "序列/批")))
    if run.planned_updates:
        epochs = data.get("epochs")
        turns = f"{number(epochs):.3g}"
        over = (
            (f" over {turns} epoch{'' if turns == '1' else 's'}", f"，{turns} 轮") if epochs is not None else ("", "")
        )
        steps.append((counted(run.planned_updates), Text("updates" + over[0], "更新步" + over[1])))
    flow = "".join(f"<li><div><b>{safe(value)}</b>{both(name)}</div></li>" for value, name in steps)

    facts: list[tuple[Text, str]] = []
    rising, length = plan.get("warmup_updates"), run.planned_updates
    if isinstance(rising, int) and length:
        tokens = number(batch.get("tokens"))
        said = f"{numbers.count(rising)} ({numbers.share(rising / length)})" if rising else "0"
        amount = (f" · {numbers.short(rising * tokens)} tokens", f" · {numbers.short(rising * tokens)} 词元")
        amount = amount if rising and math.isfinite(tokens) else ("", "")
        facts.append((Text("warmup, updates", "预热（更新步）"), both(Text(said + amount[0], said + amount[1]))))
    for key, name in (
        ("peak", Text("peak", "峰值")),
        ("first_rate", Text("rate of update 1", "第 1 步的学习率")),
        ("last_rate", Text("rate of the last update", "最后一步的学习率")),
        ("floor", Text("floor", "下限")),
    ):
        if isinstance(plan.get(key), int | float):
            facts.append((name, safe(numbers.rate(float(plan[key])))))
    model = mapping(plan.get("model"))
    if model.get("parameters") is not None:
        facts.append((Text("parameters", "参数量"), safe(numbers.count(number(model["parameters"])))))
    for key, name in (
        ("dropped", Text("tokens dropped", "丢弃的词元")),
        ("padded", Text("tokens of padding", "填充词元")),
    ):
        if data.get(key):
            facts.append((name, safe(numbers.count(number(data[key])))))
    for key, name in (
        ("fingerprint", Text("fingerprint of the curve", "曲线指纹")),
        ("plan_fingerprint", Text("fingerprint of the plan", "计划指纹")),
    ):
        if plan.get(key):
            facts.append((name, f"<code>{safe(sections.clip(plan[key], 64))}</code>"))
    listed = "".join(f"<dt>{both(name)}</dt><dd>{value}</dd>" for name, value in facts)

    told = settings(run)
    rows = "".join(
        f"<dt><code>{safe(k)}</code></dt><dd>{safe(sections.clip(v, sections.VALUE_TEXT))}</dd>"
        for k, v in list(told.items())[: max(20, 160 // of)]
    )
    everything = (
        f'<details><summary>{both(Text("every setting", "全部设置"))}</summary><dl class="facts">{rows}</dl></details>'
        if rows
        else ""
    )
    return (
        f'<section class="r{index}">{sections.run_heading(index, run, of)}<ol class="flow">{flow}</ol>'
        f'<dl class="facts">{listed}</dl>{parts_table(plan)}{replans_table(run)}{_advice(plan)}{everything}</section>'
    )


def _advice(plan: Record) -> str:
    items: list[str] = []
    for item in list(cast(Sequence[Any], plan.get("advice") or ()))[:12]:
        said = mapping(item)
        if "en" not in said:
            continue
        source = " · ".join(sections.clip(said[k], 160) for k in ("strength", "source") if said.get(k))
        text = Text(sections.clip(said["en"], 700), sections.clip(said.get("zh") or said["en"], 700))
        items.append(f'<li>{both(text)} <span class="source">{safe(source)}</span></li>')
    return f'<ul class="advice">{"".join(items)}</ul>' if items else ""
