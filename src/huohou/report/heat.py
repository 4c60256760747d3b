"""The figure of the layers: gradient norms as a grid of colours, one row a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from huohou.language import Text
from huohou.report.axis import Axis
from huohou.report.runs import Floats, Run

LEVELS = 10
"""Colours between the smallest and the largest norm."""
_CELLS = 4800
"""Cells of all heat strips together."""
_ROWS = 40
"""Layers that a heat strip shows at most."""


@dataclass(frozen=True, slots=True)
class Strip:
    """The layers of one run as a grid of levels: ``levels[row][column]``, -1 where nothing was measured."""

    run: int
    names: tuple[str, ...]
    levels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Strips:
    """Heat strips on one scale; ``bounds`` are the gradient norms between which the levels lie."""

    key: str
    title: Text
    caption: Text
    x: Axis
    bounds: tuple[float, ...]
    strips: tuple[Strip, ...]


def strips(runs: Sequence[Run], x: Axis) -> Strips | None:
    shown = [(index, run) for index, run in enumerate(runs) if run.layers.names and len(run.layers.updates)][:8]
    if not shown:
        return None
    grids: list[tuple[int, tuple[str, ...], Floats]] = []
    for index, run in shown:
        rows = list(range(len(run.layers.names)))
        if len(rows) > _ROWS:
            rows = sorted({round(r) for r in np.linspace(0, len(rows) - 1, _ROWS).tolist()})
        columns = min(120, max(12, _CELLS // (len(shown) * len(rows))), len(run.layers.updates))
        grids.append((index, tuple(run.layers.names[r][:60] for r in rows), _grid(run, rows, columns, x)))
    finite = np.concatenate([grid[np.isfinite(grid)] for _, _, grid in grids])
    if not len(finite):
        return None
    low, high = (float(v) for v in np.quantile(finite, [0.01, 0.99]))
    if high - low < 0.2:
        low, high = (low + high) / 2 - 0.1, (low + high) / 2 + 0.1
    made: list[Strip] = []
    for index, names, grid in grids:
        scaled = np.clip(np.nan_to_num((grid - low) / (high - low)) * LEVELS, 0, LEVELS - 1).astype(np.int64)
        scaled[~np.isfinite(grid)] = -1
        made.append(Strip(index, names, tuple(tuple(row) for row in scaled.tolist())))
    return Strips(
        "layers",
        Text("Gradient norm by layer", "各层梯度范数"),
        Text(
            "One row a layer, input at the top; colour is the norm, on the log scale above. "
            "Even columns mean that the layers are balanced.",
            "每行一层，最上为输入端；颜色表示范数（上方为对数色标）。同一列颜色一致，说明各层均衡。",
        ),
        x,
        tuple(math.exp(low + (high - low) * i / LEVELS) for i in range(LEVELS + 1)),
        tuple(made),
    )


def _grid(run: Run, rows: Sequence[int], columns: int, x: Axis) -> Floats:
    """Mean ln(gradient norm) of each row in each column; columns in which nothing was measured take the one before."""
    norms = run.layers.norms[:, rows]
    logs = np.log(np.where(np.isfinite(norms) & (norms > 0), norms, np.nan))
    column = np.minimum(x.places(run.layers.updates.astype(np.float64)) * columns, columns - 1).astype(np.int64)
    out = np.full((len(rows), columns), np.nan)
    for c in range(columns):
        part = logs[column == c]
        for r in range(len(rows)):
            values = part[:, r][np.isfinite(part[:, r])]
            if len(values):
                out[r, c] = values.mean()
    reached = int(column.max())
    for c in range(1, reached + 1):
        empty = np.isnan(out[:, c])
        out[empty, c] = out[empty, c - 1]
    return out
