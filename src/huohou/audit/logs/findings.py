"""What is wrong with what a log shows: in its numbers, against its own explanation, and against a configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from huohou.audit.logs.agree import Agreement
from huohou.audit.logs.explain import Explanation
from huohou.audit.logs.jumps import begins_again, jumps
from huohou.audit.logs.log import Log, Point
from huohou.audit.logs.rules import LOG_RULES
from huohou.audit.reading import SEVERITIES, Finding
from huohou.language import Text

_FARTHEST = 200_000
"""How many updates back a schedule that began again is looked for."""


def findings(log: Log, explanations: Sequence[Explanation], agreements: Sequence[Agreement]) -> list[Finding]:
    """Everything that is found, worst first."""
    found: list[Finding] = []
    by_track = {id(each.track): each for each in agreements}
    for explanation in explanations:
        agreement = by_track.get(id(explanation.track))
        found += _numbers(log, explanation)
        found += _shape(log, explanation, agreement)
        if agreement is not None:
            found += _against(log, agreement)
        found += _side(log, explanation, agreement)
    unique = list({(each.rule, each.line, each.message.en): each for each in found}.values())
    return sorted(unique, key=lambda each: (SEVERITIES.index(each.severity), each.line, each.rule))


def _finding(log: Log, rule: str, line: int, message: Text, fix: Text) -> Finding:
    return Finding(rule, LOG_RULES[rule].severity, log.name, line, message, fix)


def _of(explanation: Explanation, log: Log) -> tuple[str, str]:
    """The role before a message, where a log has several."""
    name = explanation.track.name
    return (f"{name}: ", f"{name}：") if len(log.tracks) > 1 or name != "model" else ("", "")


def _numbers(log: Log, explanation: Explanation) -> Iterator[Finding]:
    en, zh = _of(explanation, log)
    track = explanation.track
    if track.lost:
        many = len(track.lost)
        yield _finding(
            log, "log-not-a-number", track.lost[0],
            Text(f"{en}{many} logged rates are NaN or infinite, the first on line {track.lost[0]}.",
                 f"{zh}有 {many} 个学习率为 NaN 或无穷大，首个在第 {track.lost[0]} 行。"),
            Text("look for a division by a length of 0 in the schedule; the weights after it are lost.",
                 "检查调度器中是否有除以 0 的长度；此后的权重不可用。"),
        )  # fmt: skip
    negative = [point for point in explanation.points if point.rate < 0]
    if negative:
        first = negative[0]
        yield _finding(
            log, "log-negative", first.line,
            Text(f"{en}the rate is below zero from update {first.update} on ({first.rate:.6g}).",
                 f"{zh}从更新步 {first.update} 起学习率为负（{first.rate:.6g}）。"),
            Text("end the run with its schedule, or make the schedule as long as the run.",
                 "让训练随调度结束，或使调度与训练等长。"),
        )  # fmt: skip
    for before, after in track.changed[:3]:
        yield _finding(
            log, "log-resumed-differently", after.line,
            Text(f"{en}update {after.update} was logged with {before.rate:.6g} and again with {after.rate:.6g}.",
                 f"{zh}更新步 {after.update} 先记录为 {before.rate:.6g}，后又记录为 {after.rate:.6g}。"),
            Text("restore the scheduler's state on resume, and keep peak and length as they were.",
                 "恢复训练时一并恢复调度器状态，并保持峰值与总步数不变。"),
        )  # fmt: skip
    yield from _zeros(log, explanation, en, zh)


def _zeros(log: Log, explanation: Explanation, en: str, zh: str) -> Iterator[Finding]:
    """Three zeros in a row are a plateau; one at either end is a habit of frameworks."""
    run: list[Point] = []
    for point in [*explanation.points, None]:
        if point is not None and point.rate == 0:
            run.append(point)
            continue
        if len(run) >= 3:
            first, last = run[0], run[-1]
            if first is explanation.points[0]:
                where = Text("from the beginning", "从一开始")
            elif point is None:
                where = Text("to the end", "直到结束")
            else:
                where = Text("in between", "在中途")
            yield _finding(
                log, "log-zero", first.line,
                Text(f"{en}the rate is 0 {where.en}: updates {first.update} to {last.update} changed nothing.",
                     f"{zh}{where.zh}学习率为 0：更新步 {first.update} 至 {last.update} 没有任何作用。"),
                Text("make the schedule as long as the run; with Accelerate do not let it step once for each process.",
                     "使调度与训练等长；使用 Accelerate 时不要让调度器按进程数步进。"),
            )  # fmt: skip
        run = []


def _shape(log: Log, explanation: Explanation, agreement: Agreement | None) -> Iterator[Finding]:
    """Jumps and new beginnings, where no curve and no configuration accounts for them."""
    whole = explanation.fits and explanation.until is None
    if whole or explanation.rising is not None or (agreement is not None and agreement.explains):
        return
    en, zh = _of(explanation, log)
    points = explanation.points
    told = 0
    for place in jumps(points):
        before, after = points[place - 1], points[place]
        told += 1
        if told > 3:
            return
        if begins_again(points, place):
            what = (
                Text("falls to the beginning of a warmup", "跌回预热起点")
                if after.rate < before.rate
                else Text("rises back", "又升回高处")
            )
            back = _back(explanation, place)
            yield _finding(
                log, "log-reset", after.line,
                Text(f"{en}between updates {before.update} and {after.update} the rate {what.en}: "
                     f"{before.rate:.6g}, then {after.rate:.6g}{back.en}.",
                     f"{zh}在更新步 {before.update} 与 {after.update} 之间学习率{what.zh}："
                     f"{before.rate:.6g} 变为 {after.rate:.6g}{back.zh}。"),
                Text("save and restore the scheduler's state, or give its counter the updates already made.",
                     "保存并恢复调度器状态，或把已完成的更新步数交给它的计数器。"),
            )  # fmt: skip
        else:
            yield _finding(
                log, "log-jump", after.line,
                Text(f"{en}between updates {before.update} and {after.update} the rate jumps from "
                     f"{before.rate:.6g} to {after.rate:.6g}.",
                     f"{zh}在更新步 {before.update} 与 {after.update} 之间学习率从 {before.rate:.6g} "
                     f"跳到 {after.rate:.6g}。"),
                Text("look there for a resume with other settings, or for a second schedule.",
                     "检查此处是否以不同设置恢复训练，或存在第二个调度器。"),
            )  # fmt: skip
    if not told and len(points) > 2:
        nearest = explanation.nearest
        near_en = f"; the nearest is {nearest.member.name}, {nearest.residual:.2g} of the peak away" if nearest else ""
        near_zh = f"；最接近的是 {nearest.member.name}，相差峰值的 {nearest.residual:.2g}" if nearest else ""
        yield _finding(
            log, "log-unexplained", points[0].line,
            Text(f"{en}no known curve reproduces every logged rate{near_en}.",
                 f"{zh}没有已知曲线能复现所有记录的学习率{near_zh}。"),
            Text("give the configuration beside the log.", "请同时给出配置文件。"),
        )  # fmt: skip


def _back(explanation: Explanation, place: int) -> Text:
    """How far back the schedule went, where the rest is the same curve."""
    best, points = explanation.best, explanation.points
    if best is None or explanation.until != place:
        return Text("", "")
    curve = best.curve(points[-1].update)
    rest = explanation.samples()[place:]
    for gone in range(1, min(points[place].update, _FARTHEST) + 1):
        if all(s.low <= curve.rate(max(1, s.made - gone + best.ahead)) <= s.high for s in rest):
            return Text(
                f"; it is the same curve from there, {gone} updates back", f"；此后是同一曲线，倒退了 {gone} 步"
            )
    return Text("", "")


def _against(log: Log, each: Agreement) -> Iterator[Finding]:
    """What is between a log and its configuration."""
    line = next((p.line for p in each.track.points if p.update == each.at), 0)
    role, applied = each.role.name, each.role.applied
    apart = Text(
        f"the largest difference is {each.apart:.6g} in update {each.at}",
        f"最大差异 {each.apart:.6g}，在更新步 {each.at}",
    )
    times = f"{each.factor:g}"
    match each.how:
        case "same":
            return
        case "skips ignored":
            yield _finding(
                log, "log-skips-ignored", line,
                Text(f"{role}: the log counts skipped updates, and the rate moved on in each of them.",
                     f"{role}：日志记有被跳过的更新步，但学习率在其中仍然前进。"),
                Text("step the scheduler after an update that was applied only.",
                     "只在更新真正生效后推进调度器。"),
            )  # fmt: skip
        case "peak":
            yield _finding(
                log, "log-peak", line,
                Text(f"{role}: the log is this configuration's curve with a peak of {times}.",
                     f"{role}：日志是该配置的曲线，但峰值为 {times}。"),
                Text("compare the learning rate that was given at the launch.", "核对启动时给出的学习率。"),
            )  # fmt: skip
        case "length":
            yield _finding(
                log, "log-length", line,
                Text(f"{role}: the log is this configuration's curve for {times} updates; {apart.en}.",
                     f"{role}：日志是该配置在总步数为 {times} 时的曲线；{apart.zh}。"),
                Text("compare samples, processes, accumulation and epochs with those of the run.",
                     "核对样本数、进程数、累积步数与轮数。"),
            )  # fmt: skip
        case "often":
            yield _finding(
                log, "log-stepped-often", line,
                Text(f"{role}: the schedule moves {times} times in each update, as with a step for each of "
                     f"{times} processes or micro-batches.",
                     f"{role}：每个更新步调度器前进 {times} 次，如同按 {times} 个进程或微批各步进一次。"),
                Text(f"step it once for each update, or make its lengths {times} times as long.",
                     f"每个更新步只步进一次，或把它的长度乘以 {times}。"),
            )  # fmt: skip
        case "seldom":
            yield _finding(
                log, "log-stepped-seldom", line,
                Text(f"{role}: the schedule moves once in {times} updates.",
                     f"{role}：调度器每 {times} 个更新步才前进一次。"),
                Text("divide its lengths by the accumulation, or step it in each update.",
                     "把长度除以累积步数，或在每个更新步推进。"),
            )  # fmt: skip
        case "none":
            rate = next((p.rate for p in each.track.points if p.update == each.at), math.nan)
            yield _finding(
                log, "log-disagrees", line,
                Text(f"{role}: the log does not follow from the configuration ({applied.updates} updates, peak "
                     f"{applied.peak:.6g}): {apart.en}, where {rate:.6g} was logged.",
                     f"{role}：日志与配置（{applied.updates} 步，峰值 {applied.peak:.6g}）不符：{apart.zh}，"
                     f"该处记录为 {rate:.6g}。"),
                Text("look for another value on the command line, or for another owner of the rate.",
                     "检查命令行是否有其他取值，或是否有其他代码改写学习率。"),
            )  # fmt: skip


def _side(log: Log, explanation: Explanation, agreement: Agreement | None) -> Iterator[Finding]:
    """Which update a logged rate belongs to, what was skipped, and whether the decay came to its end."""
    en, zh = _of(explanation, log)
    best = explanation.best
    points = explanation.points
    counts = agreement.skipped if agreement is not None and agreement.explains else explanation.skipped
    sure = agreement is not None and agreement.explains
    logged = agreement.logged if agreement is not None and sure else best.logged if best is not None else None
    certain = sure or log.logged is not None or len({fit.logged for fit in explanation.fits}) == 1
    if logged == "next" and certain and log.unit == "update":
        yield _finding(
            log, "log-rate-of-next-update", points[0].line,
            Text(f"{en}the rate beside update u is the one that update u + 1 uses.",
                 f"{zh}记在更新步 u 旁的是更新步 u + 1 使用的学习率。"),
            Text("read the log one update later.", "读日志时请往后看一步。"),
        )  # fmt: skip
    if counts and counts[-1]:
        changed = [p.update for p, a, b in zip(points, [0, *counts], counts, strict=False) if b > a]
        places = ", ".join(map(str, changed[:8])) + (", …" if len(changed) > 8 else "")
        yield _finding(
            log, "log-skipped", next(p.line for p in points if p.update == changed[0]),
            Text(f"{en}{counts[-1]} of {points[-1].update} updates were skipped, seen by update {places}.",
                 f"{zh}{points[-1].update} 步中有 {counts[-1]} 步被跳过，见于更新步 {places}。"),
            Text("each of them costs its batch; with bf16 none would be skipped.",
                 "每次跳过都浪费一个批；使用 bf16 则不会跳过。"),
        )  # fmt: skip
    if best is None or not best.kind.falls or agreement is not None or explanation.until is not None:
        return
    total = log.total
    made = points[-1].update - counts[-1] if counts else points[-1].update
    if total is None:
        return
    every = points[-1].update - points[-2].update if len(points) > 1 else 1
    ended = points[-1].update + every > total
    ratio = best.shape.total / total
    if ratio >= 1.9 and abs(ratio - round(ratio)) < 0.02:
        yield _finding(
            log, "log-stepped-seldom", points[0].line,
            Text(f"{en}the schedule is {round(ratio)} times as long as the run ({best.shape.total:g} for {total} "
                 f"updates), as where it counts micro-batches and steps once an update.",
                 f"{zh}调度长度是训练的 {round(ratio)} 倍（{best.shape.total:g} 对 {total} 步），"
                 f"如同按微批计数却每步只推进一次。"),
            Text("divide its lengths by the accumulation.", "把长度除以累积步数。"),
        )  # fmt: skip
    elif 0 < ratio <= 0.53 and abs(1 / ratio - round(1 / ratio)) < 0.03 * round(1 / ratio):
        many = round(1 / ratio)
        yield _finding(
            log, "log-stepped-often", points[0].line,
            Text(f"{en}the schedule is over after {best.shape.total:g} of {total} updates: it moves {many} times in "
                 f"each, as with a step for each of {many} processes.",
                 f"{zh}调度在 {total} 步中的第 {best.shape.total:g} 步就已结束：每步前进 {many} 次，"
                 f"如同按 {many} 个进程各步进一次。"),
            Text(f"step it once for each update, or make its lengths {many} times as long.",
                 f"每个更新步只步进一次，或把它的长度乘以 {many}。"),
        )  # fmt: skip
    elif ended and total - (counts[-1] if counts else 0) < 0.98 * best.shape.total:
        left = points[-1].rate / best.peak if best.peak else 0.0
        yield _finding(
            log, "log-decay-not-finished", points[-1].line,
            Text(f"{en}the run ends at {left:.1%} of the peak: {made} of the schedule's {best.shape.total:g} updates "
                 f"were applied.",
                 f"{zh}训练结束时学习率为峰值的 {left:.1%}：调度的 {best.shape.total:g} 步只走了 {made} 步。"),
            Text("make the schedule as long as the run.", "使调度与训练等长。"),
        )  # fmt: skip
