"""What the audit of a log finds: ids, severities and titles; how each is told stands in :mod:`findings`."""

from __future__ import annotations

from dataclasses import dataclass

from huohou.audit.reading import Severity
from huohou.language import Text


@dataclass(frozen=True, slots=True)
class LogRule:
    """One kind of finding in a log."""

    id: str
    severity: Severity
    title: Text


LOG_RULES: dict[str, LogRule] = {
    rule.id: rule
    for rule in (
        LogRule(
            "log-disagrees",
            "error",
            Text(
                "The log was not made by this configuration.",
                "日志与所给配置不符。",
            ),
        ),
        LogRule(
            "log-jump",
            "error",
            Text("The rate jumps.", "学习率发生跳变。"),
        ),
        LogRule(
            "log-length",
            "error",
            Text("The schedule is of another length.", "调度器的总步数不同。"),
        ),
        LogRule("log-negative", "error", Text("Rates below zero were used.", "使用了负的学习率。")),
        LogRule("log-not-a-number", "error", Text("Rates are no numbers.", "学习率不是数值。")),
        LogRule("log-peak", "error", Text("The peak is another one.", "峰值不同。")),
        LogRule(
            "log-reset",
            "error",
            Text("The schedule begins again within the run.", "训练途中调度重新开始。"),
        ),
        LogRule(
            "log-stepped-often",
            "error",
            Text("The schedule runs several times too fast.", "调度器步进过快。"),
        ),
        LogRule(
            "log-stepped-seldom",
            "error",
            Text("The schedule runs several times too slowly.", "调度器步进过慢。"),
        ),
        LogRule(
            "log-resumed-differently",
            "warning",
            Text("After a resume the same update has another rate.", "恢复训练后同一更新步的学习率不同。"),
        ),
        LogRule("log-decay-not-finished", "warning", Text("The decay was not finished.", "衰减未完成。")),
        LogRule("log-zero", "warning", Text("Updates were made at rate 0.", "有更新步的学习率为 0。")),
        LogRule(
            "log-skips-ignored",
            "warning",
            Text("Skipped updates moved the schedule.", "被跳过的更新步仍推进了调度器。"),
        ),
        LogRule("log-skipped", "note", Text("Updates were skipped.", "有更新步被跳过。")),
        LogRule(
            "log-rate-of-next-update",
            "note",
            Text("The logged rate is that of the next update.", "记录的是下一步的学习率。"),
        ),
        LogRule("log-unexplained", "note", Text("No known curve explains the log.", "没有已知曲线能解释该日志。")),
    )
}
