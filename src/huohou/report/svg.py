"""The figures as SVG that scales without scaling its letters.

A figure is three pieces in a grid: the labels of the vertical axis, the plot, the labels of the horizontal one. The
plot has no view box: letters and circles stand at percentages of it. Only the lines lie in a stretched inner drawing,
whose whole coordinates (0…2000 by 0…4000) the page's script reads back for its tooltip: no number is stored twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Protocol

import numpy as np

from huohou.language import Text
from huohou.report import numbers
from huohou.report.axis import Axis
from huohou.report.figures import FEW, Figure, Line, Phase
from huohou.report.heat import LEVELS, Strip, Strips
from huohou.report.runs import Run

WIDE, HIGH = 2000, 4000
_RIBBONS = ("rate", "loss")
"""The figures that name the phases; in the others the rising part is only shaded."""


def clean(text: str) -> str:
    """Untrusted text without what no page may hold: lone surrogates, control characters, overrides of direction."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join("\ufffd" if _unfit(ord(c)) else c for c in text)


def _unfit(code: int) -> bool:
    return (
        (code < 32 and code not in (9, 10, 13))
        or 0x7F <= code <= 0x9F
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or code & 0xFFFE == 0xFFFE
    )


def safe(text: object) -> str:
    """Text that is inert in the content of an element and in a quoted attribute."""
    return escape(clean(str(text)), quote=True)


def both(text: Text, tag: str = "span") -> str:
    """A text in both languages, of which the page shows one."""
    en, zh = safe(text.en), safe(text.zh)
    if en == zh:
        return en
    return f'<{tag} class="en" lang="en">{en}</{tag}><{tag} class="zh" lang="zh-Hans">{zh}</{tag}>'


class Named(Protocol):
    """Whatever a figure has a colour for: a run, a role of an audited configuration."""

    @property
    def name(self) -> str: ...


def figure(figure: Figure, runs: Sequence[Named]) -> str:
    """One figure with its title, legend and caption."""

    def across(update: float) -> str:
        return f"{min(max(figure.x.place(update), 0.0), 1.0) * 100:.2f}"

    rate = figure.key.startswith("rate")
    gutter: list[str] = []
    grid: list[str] = []
    for tick in figure.y.ticks():
        at = f"{(1 - figure.y.place(tick)) * 100:.2f}%"
        grid.append(f'<line class="rule" x1="0" x2="100%" y1="{at}" y2="{at}"/>')
        gutter.append(
            f'<text x="100%" y="{at}" dy=".32em">{numbers.rate(tick) if rate else numbers.short(tick)}</text>'
        )
    shades = "".join(
        f'<rect class="shade r{p.run}" x="{across(p.first)}%" '
        f'width="{float(across(p.last)) - float(across(p.first)):.2f}%" height="100%"/>'
        for p in figure.phases
        if p.kind == "warmup" and len(runs) <= FEW
    )
    paths: list[str] = []
    dots: list[str] = []
    for line in figure.lines:
        xs, ys = figure.x.places(line.updates), np.clip(1 - figure.y.places(line.values), -1, 2)
        paths.append(_path(line, xs, ys))
        if line.role == "evaluation" and len(runs) <= FEW:
            circles = (
                f'<circle cx="{x * 100:.2f}%" cy="{v * 100:.2f}%" r="3"/>'
                for x, v in zip(xs.tolist(), ys.tolist(), strict=True)
                if 0 <= v <= 1
            )
            dots.append(f'<g class="dots r{line.run}">{"".join(circles)}</g>')
    data = f'data-x="{figure.x.low:g} {figure.x.high:.17g}" data-y="{figure.y.low:.9g} {figure.y.high:.9g}"'
    scale = (' data-logx=""' if figure.x.log else "") + (' data-logy=""' if figure.y.log else "")
    kind = ' data-rate=""' if rate else ""
    return (
        f'<figure class="figure" id="figure-{figure.key}">'
        f'<h3 id="title-{figure.key}">{both(figure.title)}</h3>'
        f"{_legend(figure, runs)}{_phase_rows(figure) if figure.key in _RIBBONS else ''}"
        f'<div class="chart" {data}{scale}{kind}>'
        f'<div class="unit">{both(figure.unit)}</div>'
        f'<svg class="gutter" aria-hidden="true">{"".join(gutter)}</svg>'
        f'<svg class="plot" role="img" aria-labelledby="title-{figure.key} caption-{figure.key}">'
        f"{shades}{''.join(grid)}"
        f'<svg class="lines" width="100%" height="100%" viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none">'
        f"{''.join(paths)}</svg>{''.join(dots)}"
        '<line class="cross" y1="0" y2="100%" visibility="hidden"/></svg>'
        f"{_foot(figure.x)}</div>"
        f'<figcaption id="caption-{figure.key}">{both(figure.caption)}</figcaption></figure>'
    )


def _path(line: Line, xs: np.ndarray, ys: np.ndarray) -> str:
    """A line in whole coordinates, each point relative to the one before."""
    px = np.rint(xs * WIDE).astype(np.int64)
    py = np.rint(ys * HIGH).astype(np.int64)
    steps = np.stack([np.diff(px), np.diff(py)], axis=1)
    moves = " ".join(f"{x} {y}" if y >= 0 else f"{x}{y}" for x, y in steps.tolist())
    if not moves:  # A single point has no length; a round cap makes a dot of it.
        moves = "0 0"
    return f'<path class="{line.role} r{line.run}" d="M{px[0]} {py[0]}l{moves}"/>'


def _foot(x: Axis) -> str:
    labels: list[str] = []
    for tick in x.ticks(5):
        at = x.place(tick)
        if tick >= 1 and tick == int(tick) and 0.06 <= at <= 0.91:
            labels.append(f'<text x="{at * 100:.2f}%" y="14">{numbers.short(tick)}</text>')
    first = f'<text class="first" x="0" y="14">{numbers.short(x.low)}</text>'
    last = f'<text class="last" x="100%" y="14">{_exact(x.high)}</text>'
    return f'<svg class="foot" aria-hidden="true">{first}{"".join(labels)}{last}</svg>'


def _exact(value: float) -> str:
    return numbers.short(value) if value == float(f"{value:.4g}") else numbers.count(value)


def _legend(figure: Figure, runs: Sequence[Named]) -> str:
    """Which colour is which run, outside the plot. What faint, bold and dotted mean is said in the caption."""
    if len(runs) < 2 or (len(runs) > FEW and not figure.key.startswith("rate")):
        return ""
    shown = sorted({line.run for line in figure.lines if line.run >= 0})
    items = "".join(f'<li class="r{r}"><i class="key"></i><bdi>{safe(runs[r].name)}</bdi></li>' for r in shown)
    return f'<ul class="legend">{items}</ul>'


def _phase_rows(figure: Figure) -> str:
    """The phases as a narrow ribbon above the plot, one row for each of the first runs."""
    by_run: dict[int, list[Phase]] = {}
    for phase in figure.phases:
        by_run.setdefault(phase.run, []).append(phase)
    rows: list[str] = []
    for run, parts in list(by_run.items())[:6]:
        cells: list[str] = []
        waiting: list[Text] = []
        for phase in parts[:24]:
            left, right = (min(max(figure.x.place(u), 0.0), 1.0) for u in (phase.first, phase.last + 1))
            kind = phase.kind if phase.kind in ("warmup", "hold", "decay") else "other"
            cells.append(
                f'<rect class="phase {kind}" x="{left * 100:.2f}%" width="{(right - left) * 100:.2f}%" height="16"/>'
            )
            waiting.append(phase.name)
            # A part too narrow for its name has it written in the next one that has room.
            if right - left >= 0.09:
                for tongue in ("en", "zh"):
                    name = " → ".join(str(getattr(text, tongue)) for text in waiting[-3:])
                    cells.append(f'<text x="{left * 100:.2f}%" dx="6" y="12" class="{tongue}">{safe(name)}</text>')
                waiting = []
        rows.append(f'<svg class="phases r{run}" aria-hidden="true">{"".join(cells)}</svg>')
    return f'<div class="ribbon">{"".join(rows)}</div>' if rows else ""


def strips(strips: Strips, runs: Sequence[Run]) -> str:
    """The heat strips of the layers, with their scale."""
    parts = "".join(_strip(strip, strips, runs) for strip in strips.strips)
    scale = "".join(f'<rect class="h{i}" x="{i * 10}%" width="10.2%" height="10"/>' for i in range(LEVELS))
    bounds = " ".join(f"{b:.3g}" for b in strips.bounds)
    return (
        f'<figure class="figure wide" id="figure-{strips.key}" data-bounds="{bounds}">'
        f'<h3 id="title-{strips.key}">{both(strips.title)}</h3>'
        f'<div class="scale"><span>{numbers.short(float(f"{strips.bounds[0]:.2g}"))}</span>'
        f'<svg aria-hidden="true">{scale}</svg>'
        f"<span>{numbers.short(float(f'{strips.bounds[-1]:.2g}'))}</span></div>"
        f'<div class="strips">{parts}</div>'
        f'<figcaption id="caption-{strips.key}">{both(strips.caption)}</figcaption></figure>'
    )


def _strip(strip: Strip, strips: Strips, runs: Sequence[Run]) -> str:
    rows, columns = len(strip.names), len(strip.levels[0])
    cells: list[list[str]] = [[] for _ in range(LEVELS)]
    for r, row in enumerate(strip.levels):
        start = 0
        for c in range(1, columns + 1):
            if c == columns or row[c] != row[start]:
                if row[start] >= 0:
                    cells[row[start]].append(f"M{start} {r}h{c - start}v1h-{c - start}z")
                start = c
    paths = "".join(f'<path class="h{level}" d="{"".join(d)}"/>' for level, d in enumerate(cells) if d)
    # Every name where there is room for it, else every second, third, … one.
    stride = math.ceil(rows / 20)
    names = "".join(
        f'<text x="100%" y="{(i + 0.5) / rows * 100:.2f}%" dy=".32em">{safe(_shortened(name))}</text>'
        for i, name in enumerate(strip.names)
        if i % stride == 0
    )
    heading = f'<h4><i class="key"></i><bdi>{safe(runs[strip.run].name)}</bdi></h4>' if len(runs) > 1 else ""
    tall = min(max(rows, 6), 20)
    return (
        f'<div class="strip r{strip.run}" data-x="{strips.x.low:g} {strips.x.high:.17g}" '
        f'data-rows="{safe(chr(10).join(n.replace(chr(10), " ") for n in strip.names))}">{heading}'
        f'<div class="chart heat tall{tall}"><svg class="gutter" aria-hidden="true">{names}</svg>'
        f'<svg class="plot" role="img" aria-labelledby="title-{strips.key} caption-{strips.key}">'
        f'<svg width="100%" height="100%" viewBox="0 0 {columns} {rows}" preserveAspectRatio="none">{paths}</svg>'
        '<line class="cross" y1="0" y2="100%" visibility="hidden"/></svg>'
        f"{_foot(strips.x)}</div></div>"
    )


def _shortened(name: str) -> str:
    """The telling part of a parameter's name."""
    for prefix in ("model.", "module."):
        name = name.removeprefix(prefix)
    name = name.removesuffix(".weight")
    return name if len(name) <= 16 else "…" + name[-15:]
