"""Places where the rates of a log break off: far from the point before, and not as the points around them go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from huohou.audit.logs.log import Point


def jumps(points: Sequence[Point]) -> Iterator[int]:
    """The places of the points that come after a break."""
    top = max((point.rate for point in points), default=0.0)
    if top <= 0:
        return
    steps = [(after.rate - before.rate) / (after.update - before.update) for before, after in pairwise(points)]
    for place, (before, after) in enumerate(pairwise(points)):
        near = [abs(step) for step in (*steps[max(0, place - 4) : place], *steps[place + 1 : place + 5])]
        apart = after.rate - before.rate
        # A steep rise of several points is no break: the steps beside it are as steep.
        sides = (*steps[max(0, place - 1) : place], *steps[place + 1 : place + 2])
        beside = [abs(step) / 2 for step in sides if step * apart > 0]
        usual = max(median(near) if near else 0.0, *beside, 1e-9 * top)
        if abs(apart) >= 0.03 * top and abs(steps[place]) >= 6 * usual:
            yield place + 1


def begins_again(points: Sequence[Point], place: int) -> bool:
    """Whether a break looks like a schedule that begins again: back to a warmup, or back up after a decay."""
    before, after = points[place - 1], points[place]
    follows = points[place : place + 4]
    warms = len(follows) >= 3 and follows[-1].rate > after.rate * 1.05 and after.rate < 0.7 * before.rate
    fell = before.rate < 0.95 * max(point.rate for point in points[:place])
    return warms or (after.rate > before.rate and fell)
