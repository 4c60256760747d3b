"""The explained rates as a table, beside those that were logged.

A row for each planned update: its number, the rate that it used in each role, then in each role what the log shows
beside it, what the explanation puts there, and how many updates had been skipped until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from huohou.audit.logs.agree import skipped_at
from huohou.audit.logs.examine import LogAudit
from huohou.audit.logs.explain import Explanation
from huohou.errors import UserError


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    updates: int
    used: Callable[[int], float]
    logged: dict[int, str]
    explained: dict[int, float]
    skipped: Callable[[int], int]


def rows(audit: LogAudit) -> Iterator[str]:
    """The lines of the table.

    Raises:
        UserError: Nothing explains a track.
    """
    columns = list(_columns(audit))
    names = ["rate"] if len(columns) == 1 else [column.name for column in columns]
    kinds = ("", "_logged", "_explained", "_skipped")
    yield ",".join(["update", *(name + kind for kind in kinds for name in names)]) + "\n"
    for update in range(1, max(column.updates for column in columns) + 1):
        cells = zip(*(_cells(column, update) for column in columns), strict=True)
        yield ",".join([str(update), *(cell for row in cells for cell in row)]) + "\n"


def _cells(column: _Column, update: int) -> tuple[str, str, str, str]:
    if update > column.updates:
        return "", "", "", ""
    explained = column.explained.get(update)
    beside = "" if explained is None else repr(explained)
    return repr(column.used(update)), column.logged.get(update, ""), beside, str(column.skipped(update))


def _columns(audit: LogAudit) -> Iterator[_Column]:
    by_track = {id(each.track): each for each in audit.agreements}
    for explanation in audit.explanations:
        points = explanation.points
        logged = {point.update: point.written for point in points}
        agreement = by_track.get(id(explanation.track))
        if agreement is not None and agreement.explains:
            explained = {p.update: rate for p, rate in zip(points, agreement.explained, strict=True)}
            updates = max(agreement.role.applied.updates, points[-1].update)
            counts = agreement.skipped
            yield _Column(
                explanation.track.name, updates, agreement.used, logged, explained, _skips(explanation, counts)
            )
            continue
        best = explanation.best
        if best is None or explanation.until is not None:
            raise UserError(
                f"{audit.log.name}: nothing explains the rates of {explanation.track.name}; no curve can be written.",
                f"{audit.log.name}：没有曲线能解释 {explanation.track.name} 的学习率，无可写出。",
            )
        updates = max(int(best.shape.total) if best.kind.falls else 0, points[-1].update)
        curve = best.curve(updates)
        skips = _skips(explanation, explanation.skipped)

        def used(update: int, curve: Callable[[int], float] = curve, skips: Callable[[int], int] = skips) -> float:
            return curve(max(1, update - skips(update - 1)))

        explained = {
            point.update: curve(max(1, point.update - count + best.ahead))
            for point, count in zip(points, explanation.skipped, strict=True)
        }
        yield _Column(explanation.track.name, updates, used, logged, explained, skips)


def _skips(explanation: Explanation, counts: list[int]) -> Callable[[int], int]:
    return lambda update: skipped_at(explanation.points, counts, update)
