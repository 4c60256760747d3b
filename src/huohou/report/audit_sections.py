"""The parts of an audit's page below its curves: findings, what was written and what it becomes, tables, texts."""

from __future__ import annotations

from collections.abc import Sequence

from huohou.audit.convert.conversion import Converted
from huohou.audit.examine import Audit
from huohou.audit.folder import Several
from huohou.audit.looking import look
from huohou.audit.plain import named_roles
from huohou.audit.reading import SEVERITIES, Finding, Reading, Resolved, Role
from huohou.audit.values import Value, as_number
from huohou.language import Text
from huohou.report import numbers
from huohou.report.audit_cards import SEVERITY_NAMES
from huohou.report.svg import both, safe


def heading(text: Text) -> str:
    return f"<h2>{both(text)}</h2>"


def listed(audit: Audit) -> str:
    parts = [_finding(each) for each in audit.findings]
    if not parts:
        parts = [f'<p class="clean">{both(Text("nothing found", "未发现问题"))}</p>']
    for each, why in audit.suppressed:
        text = Text(
            f"taken back: {each.rule}, line {each.line}: {why}", f"已忽略：{each.rule}，第 {each.line} 行：{why}"
        )
        parts.append(f'<p class="clean">{both(text)}</p>')
    return f'<div class="findings">{"".join(parts)}</div>'


def _finding(each: Finding) -> str:
    where = each.file + (f":{each.line}" if each.line else "")
    return (
        f'<article class="finding is-{each.severity}"><div class="at"><b>{both(SEVERITY_NAMES[each.severity])}</b>'
        f'<span class="word">{safe(each.rule)}</span><span class="word">{safe(where)}</span></div>'
        f'<p>{both(each.message)}</p><p class="fix">{both(each.fix)}</p></article>'
    )


def resolved(audit: Audit) -> str:
    """What was written, what it resolves to, and what is applied."""
    rows: list[str] = []
    for reading in audit.readings:
        rows += [_step(step) for step in reading.steps]
        rows += [row for role in reading.roles for row in _applied_rows(reading, role.name, role)]
    if not rows:
        return ""
    heads = (Text("what", "项目"), Text("written", "写的是"), Text("resolves to", "解析为"), Text("line", "行"))
    head = "".join(f'<th scope="col">{both(text)}</th>' for text in heads)
    title = heading(Text("From words to rates", "从文字到学习率"))
    body = "".join(dict.fromkeys(rows))
    return f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(what: Text, written: str, result: Text, line: int) -> str:
    return (
        f'<tr><th scope="row">{both(what)}</th><td class="word">{safe(written)}</td><td>{both(result)}</td>'
        f"<td>{line or ''}</td></tr>"
    )


def _step(step: Resolved) -> str:
    return _row(step.what, _text(step.written), step.result, step.written.line if step.written else 0)


def _text(value: Value | None) -> str:
    if value is None:
        return "–"
    text = " ".join((value.written or str(value.value)).split())
    return text if len(text) <= 80 else text[:79] + "…"


_PEAKS = (
    "learning_rate", "lr", "optimizer.lr", "optimizer.params.lr", "optimizer.init_args.lr", "peak_value", "max_lr",
    "actor_learning_rate", "critic_learning_rate", "schedule.peak",
)  # fmt: skip
_SCHEDULERS = (
    "lr_scheduler_type", "lr_scheduler", "lr_decay_style", "scheduler.type", "lr_scheduler.decay_type",
    "schedule.decay",
)  # fmt: skip
"""Where the frameworks write them."""


def _applied_rows(reading: Reading, name: str, role: Role) -> list[str]:
    settings, peak = reading.settings, role.applied.peak
    several = len(reading.roles) > 1
    own = Text(f" ({name})", f"（{name}）") if several else Text("", "")
    rows: list[str] = []
    written = [settings.values[key] for key in _PEAKS if key in settings.values]
    value = next(
        (each for each in written if as_number(each.value) == peak), None if several else next(iter(written), None)
    )
    if value is not None:
        rows.append(_row(Text(f"peak{own.en}", f"峰值{own.zh}"), _text(value), _same(numbers.rate(peak)), value.line))
    value = next((settings.values[key] for key in _SCHEDULERS if key in settings.values), None)
    if value is not None:
        scheduler = str(reading.facts.get("scheduler", _text(value)))
        rows.append(_row(Text("scheduler", "调度器"), _text(value), _same(scheduler), value.line))
    seen = look(role.applied)
    first, last, highest = map(numbers.rate, (seen.first, seen.last, seen.peak))
    at = "" if seen.peak_at is None else f"{seen.peak_at:,}"
    applied = Text(
        f"update 1: {first}; highest: {highest}{f', first in update {at}' if at else ''}; "
        f"update {role.applied.updates:,}: {last}",
        f"第 1 步：{first}；最高：{highest}{f'，首次在第 {at} 步' if at else ''}；"
        f"第 {role.applied.updates:,} 步：{last}",
    )
    rows.append(_row(Text(f"applied{own.en}", f"实际使用{own.zh}"), "–", applied, 0))
    return rows


def _same(text: str) -> Text:
    return Text(text, text)


def eras(audit: Audit) -> str:
    rows = [
        f'<tr><th scope="row">{safe(era)}</th><td class="number">{role.applied.updates:,}</td>'
        f'<td class="number">{role.warmup:g}</td>'
        f'<td class="number">{safe(numbers.rate(look(role.applied).last))}</td></tr>'
        for reading in audit.readings
        for era, role in reading.other
    ]
    if not rows:
        return ""
    heads = "".join(
        f'<th scope="col"{"" if number == 0 else " class=number"}>{both(text)}</th>'
        for number, text in enumerate(
            (Text("version", "版本"), Text("T", "T"), Text("W", "W"), Text("last rate", "末步学习率"))
        )
    )
    title = heading(Text("With other versions", "换用其他版本"))
    return (
        f'{title}<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def assumed(audit: Audit) -> str:
    parts: list[str] = []
    for title, texts in (
        (Text("Taken to be so", "假定"), [t for reading in audit.readings for t in reading.assumptions]),
        (Text("Needed to say more", "还需要知道"), [t for reading in audit.readings for t in reading.missing]),
    ):
        if texts:
            items = "".join(f"<li>{both(text)}</li>" for text in dict.fromkeys(texts))
            parts.append(f'{heading(title)}<ul class="said">{items}</ul>')
    return "".join(parts)


def needed(audit: Audit) -> str:
    """What a file of a folder leaves open, so that it has no curve."""
    texts = dict.fromkeys(text for reading in audit.readings for text in reading.missing)
    items = "".join(f"<li>{both(text)}</li>" for text in texts)
    return f'<ul class="said">{items}</ul>' if items else ""


def conversion(converted: Sequence[Converted]) -> str:
    if not converted:
        return ""
    parts: list[str] = []
    for each in converted:
        name = f"<h3>{safe(each.role)}</h3>" if len(converted) > 1 else ""
        parts.append(f'{name}<p class="note">{both(each.said())}</p><pre>{safe(each.text)}</pre>')
    return heading(Text("The same run in huohou", "同一训练的火候配置")) + "".join(parts)


def made_by(command: str) -> str:
    return f"{heading(Text('Made by', '生成命令'))}<pre>{safe(command)}</pre>"


def table(several: Several) -> str:
    heads = (
        (Text("file", "文件"), ""), (Text("framework", "框架"), ""),
        (Text("T", "T"), "number"), (Text("W", "W"), "number"),
        (Text("peak", "峰值"), "number"), *((SEVERITY_NAMES[severity], "number") for severity in SEVERITIES),
    )  # fmt: skip
    head = "".join(f'<th scope="col" class="{kind}">{both(text)}</th>' for text, kind in heads)
    rows: list[str] = []
    for number, audit in enumerate(several.audits):
        roles = named_roles(audit)
        first = roles[0][1] if roles else None
        more = f" +{len(roles) - 1}" if len(roles) > 1 else ""
        told = ("?", "?", "?")
        if first is not None:
            told = (f"{first.applied.updates:,}{more}", f"{first.warmup:,g}", numbers.rate(first.applied.peak))
        cells = "".join(f'<td class="number">{safe(text)}</td>' for text in told)
        for severity in SEVERITIES:
            many = sum(each.severity == severity for each in audit.findings)
            cells += f'<td class="number {f"some is-{severity}" if many else ""}">{many or "·"}</td>'
        link = f'<a href="#file-{number}"><bdi>{safe(audit.document.source.name)}</bdi></a>'
        rows.append(f'<tr><th scope="row" class="word">{link}</th><td>{safe(audit.dialect)}</td>{cells}</tr>')
    return (
        f"{heading(Text('Files', '文件'))}"
        f'<div class="scroll"><table class="many"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def beside(names: Sequence[str], roles: Sequence[Role]) -> str:
    seen = [look(role.applied) for role in roles]
    rows = (
        (Text("updates T", "更新步 T"), [f"{role.applied.updates:,}" for role in roles]),
        (Text("warmup W", "预热 W"), [f"{role.warmup:,g}" for role in roles]),
        (Text("peak", "峰值"), [numbers.rate(role.applied.peak) for role in roles]),
        (Text("first used in update", "首次使用峰值的步"), [f"{s.peak_at:,}" if s.peak_at else "–" for s in seen]),
        (Text("first rate", "第一步"), [numbers.rate(s.first) for s in seen]),
        (Text("last rate", "最后一步"), [numbers.rate(s.last) for s in seen]),
        (Text("updates at zero or below", "零或负的步数"), [f"{s.zero + s.negative:,}" for s in seen]),
    )
    head = "".join(
        f'<th scope="col" class="number runs-head r{i}"><bdi>{safe(n)}</bdi></th>' for i, n in enumerate(names)
    )
    body = "".join(
        f'<tr><th scope="row">{both(what)}</th>'
        + "".join(f'<td class="number">{safe(cell)}</td>' for cell in cells)
        + "</tr>"
        for what, cells in rows
    )
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
