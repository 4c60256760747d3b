"""The audit of a log for people."""

from __future__ import annotations

from bisect import bisect_left

from huohou.audit.logs.agree import Agreement
from huohou.audit.logs.examine import LogAudit
from huohou.audit.logs.explain import Explanation
from huohou.audit.logs.fit import Fit
from huohou.audit.logs.reading import titles
from huohou.audit.text import Draw, findings
from huohou.language import Text

_OTHERS = 6


def render(audit: LogAudit, draw: Draw | None = None) -> str:
    """The log, each of its tracks, and the findings."""
    log = audit.log
    blocks = [f"{log.name} · {titles()[log.format]}"]
    if log.spacing is not None:
        blocks[0] += f"\n  {Text('assumed', '假定')}: " + str(
            Text(f"{log.spacing} updates from one line to the next", f"相邻两行相隔 {log.spacing} 个更新步")
        )
    if audit.updates is not None:
        blocks[0] += f"\n  {Text('assumed', '假定')}: " + str(
            Text(f"{audit.updates} updates, as the log shows", f"更新步数取日志显示的 {audit.updates}")
        )
    by_track = {id(each.track): each for each in audit.agreements}
    blocks += [
        _track(explanation, by_track.get(id(explanation.track)), audit, draw) for explanation in audit.explanations
    ]
    blocks.append(findings(audit.findings))
    return "\n\n".join(blocks)


def _track(explanation: Explanation, agreement: Agreement | None, audit: LogAudit, draw: Draw | None) -> str:
    points = explanation.points
    unit = Text("micro-batches", "微批") if audit.log.unit == "micro-batch" else Text("updates", "更新步")
    exactly = explanation.precision.words
    rows = [
        (
            Text("logged", "记录"),
            Text(
                f"{len(points)} rates, {unit.en} {points[0].update} to {points[-1].update}, {exactly.en}",
                f"{len(points)} 个学习率，{unit.zh} {points[0].update} 至 {points[-1].update}，{exactly.zh}",
            ),
        )
    ]
    best = explanation.best
    if best is not None:
        what = Text("explained by", "解释")
        if explanation.until is not None:
            last = points[explanation.until - 1].update
            what = Text(f"until update {last} explained by", f"至更新步 {last} 的解释")
        rows.append((what, _fit(best, explanation)))
        others = explanation.fits[1:]
        if others:
            en, zh = (_list([_fit(fit, None) for fit in others], zh=zh) for zh in (False, True))
            rows.append((Text("would fit too", "同样符合"), Text(en, zh)))
        if not explanation.falls and best.kind.name == "constant":
            rows.append(
                (Text("length", "总步数"), Text("no decay is seen yet, so T is unknown", "尚未出现衰减，T 未知"))
            )
    elif explanation.rising is not None:
        rows.append(
            (
                Text("rising", "上升中"),
                Text(
                    f"by {explanation.rising:.6g} in each update; the log ends before the peak, so W and T are unknown",
                    f"每步增加 {explanation.rising:.6g}；日志在峰值之前结束，W 与 T 未知",
                ),
            )
        )
    elif explanation.nearest is not None:
        near = explanation.nearest
        rows.append(
            (
                Text("nearest", "最接近"),
                Text(
                    f"{near.member.name}, at most {near.residual:.2g} of the peak away",
                    f"{near.member.name}，最多相差峰值的 {near.residual:.2g}",
                ),
            )
        )
    counts = agreement.skipped if agreement is not None and agreement.explains else explanation.skipped
    if counts and counts[-1]:
        told = explanation.track.skips_known
        rows.append(
            (
                Text("skipped updates", "跳过的更新步"),
                Text(
                    f"{counts[-1]}, {'counted by the log' if told else 'found from the rates'}",
                    f"{counts[-1]}，{'由日志计数' if told else '由学习率推得'}",
                ),
            )
        )
    if agreement is not None:
        rows.append((Text("with the configuration", "与配置相比"), _agreement(agreement)))
    text = f"{explanation.track.name}\n" + "\n".join(f"  {what}: {value}" for what, value in rows)
    return text if draw is None else text + _drawn(explanation, agreement, draw)


def _list(items: list[Text], *, zh: bool) -> str:
    shown = [item.zh if zh else item.en for item in items[:_OTHERS]]
    more = len(items) - len(shown)
    if more:
        shown.append(f"另有 {more} 种" if zh else f"{more} more")
    return ("；" if zh else "; ").join(shown)


def _fit(fit: Fit, explanation: Explanation | None) -> Text:
    shape = fit.shape
    en, zh = [f"{fit.member.name}"], [f"{fit.member.name}"]
    values = f"peak {fit.peak:.6g}, W = {shape.warmup:g}"
    values_zh = f"峰值 {fit.peak:.6g}，W = {shape.warmup:g}"
    if fit.kind.falls:
        values += f", T = {shape.total:g}"
        values_zh += f"，T = {shape.total:g}"
        if explanation is not None and explanation.totals is not None and len(set(explanation.totals)) > 1:
            low, high = explanation.totals
            values += f" ({low} to {high} fit)"
            values_zh += f"（{low} 至 {high} 均符合）"
        if fit.kind.holds:
            values += f", decay {shape.decay:g}"
            values_zh += f"，衰减 {shape.decay:g}"
        values += f", floor {shape.floor * fit.peak:.6g}"
        values_zh += f"，下限 {shape.floor * fit.peak:.6g}"
    en.append(values)
    zh.append(values_zh)
    ahead = fit.logged == "next"
    en.append("logged: the rate of the next update" if ahead else "logged: the rate used")
    zh.append("记录的是下一步的学习率" if ahead else "记录的是本步使用的学习率")
    if explanation is not None and fit.member.who:
        en.append("as " + ", ".join(fit.member.who[:4]))
        zh.append("如 " + "、".join(fit.member.who[:4]))
    return Text("; ".join(en), "；".join(zh))


def _agreement(each: Agreement) -> Text:
    way = Text("of the next update", "下一步") if each.logged == "next" else Text("used", "本步")
    if each.agrees:
        skips = each.skipped[-1] if each.skipped else 0
        return Text(
            f"agrees with {each.role.name}: {skips} skipped, logged is the rate {way.en}, "
            f"largest relative difference {each.relative:.2g}",
            f"与 {each.role.name} 一致：跳过 {skips} 步，记录的是{way.zh}学习率，最大相对差异 {each.relative:.2g}",
        )
    return Text(
        f"does not agree with {each.role.name}: largest difference {each.apart:.6g} in update {each.at}",
        f"与 {each.role.name} 不一致：最大差异 {each.apart:.6g}，在更新步 {each.at}",
    )


def _drawn(explanation: Explanation, agreement: Agreement | None, draw: Draw) -> str:
    """The logged rates, and below them the curve that explains them."""
    points = explanation.points
    numbers = [point.update for point in points]
    last = max(points[-1].update, 1)

    def logged(update: int) -> float:
        return points[min(bisect_left(numbers, update), len(points) - 1)].rate

    text = f"\n  {Text('logged', '记录')}:\n" + draw(logged, last)
    best = explanation.best
    if agreement is not None and agreement.how in ("same", "length", "peak", "skips ignored"):
        text += f"\n  {Text('explained', '解释')}:\n" + draw(agreement.used, max(agreement.role.applied.updates, last))
    elif best is not None:
        total = int(best.shape.total) if best.kind.falls else last
        text += f"\n  {Text('explained', '解释')}:\n" + draw(best.curve(total).rate, max(1, min(total, 10 * last)))
    return text
