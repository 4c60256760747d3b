"""A long series as few points: what a column of a drawing shows of the updates that fall into it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from huohou.report.axis import Axis
from huohou.report.runs import Floats, Ints


def thin(updates: Ints, values: Floats, columns: int, x: Axis) -> tuple[Floats, Floats]:
    """The lowest and the highest finite point of every column, in the order of updates."""
    known = np.isfinite(values) & (updates >= x.low) & (updates <= x.high)
    updates, values = updates[known], values[known]
    if len(updates) > 2 * columns:
        column = np.minimum(x.places(updates.astype(np.float64)) * columns, columns - 1).astype(np.int64)
        edges = [*np.flatnonzero(np.diff(column, prepend=-1)).tolist(), len(updates)]
        keep: list[int] = []
        for begin, end in pairwise(edges):
            part = values[begin:end]
            keep += sorted({begin + int(part.argmin()), begin + int(part.argmax())})
        updates, values = updates[keep], values[keep]
    return updates.astype(np.float64), values


def even(updates: Ints, values: Floats, columns: int, x: Axis) -> tuple[Floats, Floats]:
    """The last finite point of every column: for lines that are smooth already."""
    known = np.isfinite(values) & (updates >= x.low) & (updates <= x.high)
    updates, values = updates[known], values[known]
    if len(updates) > columns:
        column = (x.places(updates.astype(np.float64)) * columns).astype(np.int64)
        keep = np.flatnonzero(np.diff(column, append=column[-1] + 1))
        keep = np.union1d([0], keep)
        updates, values = updates[keep], values[keep]
    return updates.astype(np.float64), values
