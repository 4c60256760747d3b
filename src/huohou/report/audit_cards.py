"""The cards of an audit's page: each role with its peak, the findings counted, and how far apart word and deed are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from huohou.audit.convert.wanted import apart
from huohou.audit.examine import Audit
from huohou.audit.looking import Seen, look
from huohou.audit.plain import named_roles
from huohou.audit.reading import SEVERITIES, Finding, Role
from huohou.language import Text
from huohou.report import numbers
from huohou.report.svg import both, safe

SEVERITY_NAMES: Mapping[str, Text] = {
    "error": Text("error", "错误"),
    "warning": Text("warning", "警告"),
    "note": Text("note", "提示"),
}


def _named(name: str, role: Role) -> Text:
    """A role's name for people."""
    words = {"model": Text("model", "模型"), "actor": Text("actor", "策略模型"), "critic": Text("critic", "价值模型")}
    text = words.get(name, Text(name, name))
    return text if role.model is None else Text(f"{text.en}: {role.model}", f"{text.zh}：{role.model}")


def _card(title: Text, big: str, of: Text, lines: Sequence[Text], mark: str = "") -> str:
    said = "".join(f'<li class="seen">{both(line)}</li>' for line in lines)
    return (
        f'<section class="card {mark}"><h3>{both(title)}</h3><span class="big">{safe(big)}</span>'
        f'<span class="of">{both(of)}</span><ul>{said}</ul></section>'
    )


def cards(audit: Audit) -> str:
    cards = [_of_role(name, role, number) for number, (name, role) in enumerate(named_roles(audit))]
    return f'<div class="cards">{"".join(cards)}{_findings_card(audit.findings)}</div>'


def _of_role(name: str, role: Role, number: int) -> str:
    curve, seen = role.applied, look(role.applied)
    reached = (
        Text(f"peak, first used in update {seen.peak_at:,}", f"峰值，在第 {seen.peak_at:,} 步首次使用")
        if seen.peak_at is not None
        else Text(
            f"peak, never reached; the highest is {numbers.rate(seen.peak)}",
            f"峰值，从未达到；最高为 {numbers.rate(seen.peak)}",
        )
    )
    lines = [
        Text(f"T = {curve.updates:,} update{'' if curve.updates == 1 else 's'}", f"T = {curve.updates:,} 步"),
        Text(f"warmup W = {role.warmup:,g}", f"预热 W = {role.warmup:,g}"),
        Text(f"update 1: {numbers.rate(seen.first)}", f"第 1 步：{numbers.rate(seen.first)}"),
        Text(f"last update: {numbers.rate(seen.last)}", f"最后一步：{numbers.rate(seen.last)}"),
    ]
    for many, en, zh in ((seen.zero, "at rate 0", "为零"), (seen.negative, "below 0", "为负")):
        if many:
            lines.append(Text(f"{many:,} update{'' if many == 1 else 's'} {en}", f"{many:,} 步的学习率{zh}"))
    lost = _lost(role, seen)
    if lost is not None and abs(lost) >= 5e-5:
        lines.append(Text(f"area against what was meant: {lost:+.2%}", f"与本意相比的面积：{lost:+.2%}"))
    return _card(_named(name, role), numbers.rate(curve.peak), reached, lines, f"r{number}")


def _lost(role: Role, seen: Seen) -> float | None:
    if role.intended is None:
        return None
    meant = look(role.intended).area
    return seen.area / meant - 1 if meant > 0 else None


def _findings_card(found: Sequence[Finding]) -> str:
    return _card(
        Text("Findings", "发现"),
        str(len(found)),
        Text("things to know or to repair", "须知或须修复之处") if found else Text("nothing found", "未发现问题"),
        [
            Text(f"{many} × {SEVERITY_NAMES[severity].en}", f"{SEVERITY_NAMES[severity].zh} {many} 个")
            for severity in SEVERITIES
            if (many := sum(each.severity == severity for each in found))
        ],
    )


def counts(found: Sequence[Finding]) -> str:
    rules: dict[str, int] = {}
    for each in found:
        rules[each.rule] = rules.get(each.rule, 0) + 1
    often = sorted(rules.items(), key=lambda item: -item[1])[:6]
    lines = [Text(f"{rule}: {many}", f"{rule}：{many}") for rule, many in often]
    rest = _card(Text("Most frequent", "最常见"), str(len(rules)), Text("rules found something", "条规则有发现"), lines)
    return f'<div class="cards">{_findings_card(found)}{rest if often else ""}</div>'


def summary(audit: Audit) -> str:
    """How far what is applied is from what was meant, in a sentence for each role."""
    said: list[Text] = []
    for name, role in named_roles(audit):
        if role.intended is None or not role.applied.peak:
            continue
        found = apart(role.intended, role.applied, role.applied.peak)
        prefix = Text("", "") if name == "model" else Text(f"{name}: ", f"{name}：")
        if found.same:
            said.append(
                Text(f"{prefix.en}What is applied is what was meant.", f"{prefix.zh}实际使用的曲线与本意一致。")
            )
            continue
        here, meant = (f"{each.rate(found.update):.6g}" for each in (role.applied, role.intended))
        share = numbers.share(found.share)
        said.append(
            Text(
                f"{prefix.en}What is applied is furthest from what was meant in update {found.update:,}: "
                f"{here} and not {meant}, which is {share} of the peak.",
                f"{prefix.zh}与本意相差最大的是第 {found.update:,} 步：用了 {here}，本意为 "
                f"{meant}，相差峰值的 {share}。",
            )
        )
    return f'<div class="summary">{"".join(f"<p>{both(text)}</p>" for text in said)}</div>' if said else ""
