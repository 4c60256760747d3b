"""The figures as PNG files, drawn by matplotlib in whichever font of this machine has 汉字."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huohou.errors import UserError, missing_extra
from huohou.language import Text, language
from huohou.report.axis import Axis
from huohou.report.figures import Figure, Line, figures
from huohou.report.heat import LEVELS, Strips
from huohou.report.numbers import rate, short
from huohou.report.runs import Run
from huohou.report.svg import clean

COLOURS = ("#1b6ca8", "#cf560f", "#11866a", "#97489a", "#9a7300", "#3a9bcb", "#5d5952", "#8f2f2f")
HEAT = ("#f8f1e2", "#f6e3c3", "#f3cf9e", "#edb677", "#e49954", "#d87b3e", "#c45d30", "#a84427", "#872e20", "#641c18")
_INK, _SOFT, _RULE, _PAPER = "#23211d", "#6b665d", "#e6e1d7", "#ffffff"
# Best first; the regional cuts come last: they have every character, some in another country's form.
_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Noto Serif CJK SC", "Source Han Serif SC",
    "Songti SC", "SimSun", "Heiti SC", "STHeiti", "AR PL UMing CN", "Droid Sans Fallback", "Arial Unicode MS",
    "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK HK", "Noto Sans CJK KR", "Noto Serif CJK JP",
)  # fmt: skip
_ROLE_STYLE: dict[str, dict[str, Any]] = {
    "planned": {"linewidth": 7, "alpha": 0.24, "solid_capstyle": "butt"},
    "intended": {"linewidth": 7, "alpha": 0.24, "solid_capstyle": "butt"},
    "applied": {"linewidth": 1.4},
    "raw": {"linewidth": 0.8, "alpha": 0.27},
    "smooth": {"linewidth": 1.9},
    "evaluation": {"linewidth": 0.9, "linestyle": ":", "marker": "o", "markersize": 4, "markerfacecolor": _PAPER},
    "limit": {"linewidth": 1.1, "linestyle": ":", "color": _INK},
}


@dataclass(frozen=True, slots=True)
class Written:
    """The files, and what a person should know about them, if anything."""

    files: tuple[Path, ...]
    note: Text | None


def chinese_font() -> str | None:
    """The family name of an installed font that has 汉字, or ``None``."""
    try:
        from matplotlib import font_manager
    except ImportError:
        raise missing_extra("matplotlib", "png") from None
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return next((name for name in _FONTS if name in installed), None)


def write(runs: Sequence[Run], folder: Path) -> Written:
    """Draw every figure into ``folder`` as ``<figure>.png``, in the language in force.

    Without a font that has 汉字 everything is written in English and said so; boxes are never drawn.
    """
    font = chinese_font()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = tuple(_draw(figure, runs, folder / f"{figure.key}.png", font) for figure in figures(runs))
    except OSError as error:
        raise UserError(
            f"the pictures cannot be written to {folder}: {error.strerror}.",
            f"图片无法写入 {folder}：{error.strerror}。",
        ) from error
    note = None
    if font is None and (language() == "zh" or any(not run.name.isascii() for run in runs)):
        note = Text(
            "No installed font has Chinese characters, so the pictures are in English; Noto Sans CJK SC would do.",
            "没有找到含汉字的字体，图片改用英文（例如可安装 Noto Sans CJK SC）。",
        )
    return Written(files, note)


class _Words:
    """Texts as the font at hand can show them."""

    def __init__(self, font: str | None) -> None:
        self.font = font

    def say(self, text: Text) -> str:
        return str(text) if self.font else text.en

    def name(self, run: Run, index: int) -> str:
        name = " ".join(clean(run.name).split())[:48]
        if self.font is None and not name.isascii():
            name = re.sub(r"[^\x20-\x7e]+", "", name).strip() or f"run {index + 1}"
        return name


def _draw(figure: Figure | Strips, runs: Sequence[Run], path: Path, font: str | None) -> Path:
    import matplotlib as library
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    families = [font, "DejaVu Sans"] if font else ["DejaVu Sans"]
    settings: Any = {
        "font.family": families, "font.size": 10, "axes.unicode_minus": False, "text.color": _INK,
        "text.parse_math": False,
        "axes.edgecolor": _SOFT, "axes.labelcolor": _SOFT, "xtick.color": _SOFT, "ytick.color": _SOFT,
    }  # fmt: skip
    words = _Words(font)
    matplotlib: Any = library
    with matplotlib.rc_context(settings):
        if isinstance(figure, Strips):
            canvas = Canvas(
                figsize=(5.2 * min(2, len(figure.strips)) + 1.2, _strips_height(figure)), dpi=160, layout="constrained"
            )
            _strips(canvas, figure, runs, words)
        else:
            canvas = Canvas(figsize=(7.6, 4.4), dpi=160, layout="constrained")
            _lines(canvas, figure, runs, words)
        backend: Any = FigureCanvasAgg(canvas)
        backend.print_png(str(path))
    return path


def _axis_of_updates(axes: Any, x: Axis, words: _Words) -> None:
    if x.log:
        axes.set_xscale("log")
    places = [x.low, *(t for t in x.ticks() if t >= 1 and t == int(t) and x.place(t) > 0.05)]
    axes.set_xticks(places, [short(t) for t in places])
    axes.minorticks_off()
    axes.set_xlabel(words.say(Text("update", "更新步")))


def _lines(canvas: Any, figure: Figure, runs: Sequence[Run], words: _Words) -> None:
    axes = canvas.add_subplot()
    if figure.y.log:
        axes.set_yscale("log")
    for phase in figure.phases:
        if phase.kind == "warmup":
            axes.axvspan(
                phase.first, min(phase.last, figure.x.high), color=COLOURS[phase.run % 8], alpha=0.06, linewidth=0
            )
    for line in figure.lines:
        axes.plot(line.updates, line.values, **_style(line))
    places = figure.y.ticks()
    axes.set_yticks(places, [rate(t) if figure.key == "rate" else short(t) for t in places])
    _axis_of_updates(axes, figure.x, words)
    axes.set_xlim(figure.x.low, figure.x.high)
    axes.set_ylim(figure.y.low, figure.y.high)
    axes.set_ylabel(words.say(figure.unit))
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    canvas.suptitle(words.say(figure.title), x=0.012, ha="left", fontsize=13, color=_INK)
    canvas.supxlabel(words.say(figure.caption), x=0.01, ha="left", fontsize=8.5, color=_SOFT)
    _legend(axes, figure, runs, words)


def _style(line: Line) -> dict[str, Any]:
    style = {"color": COLOURS[line.run % 8], **_ROLE_STYLE[line.role]}
    if line.role == "evaluation":
        style["markeredgecolor"] = style["color"]
    return style


def _legend(axes: Any, figure: Figure, runs: Sequence[Run], words: _Words) -> None:
    """Which colour is which run. What faint, bold and dotted mean is said in the caption."""
    from matplotlib.lines import Line2D

    if len(runs) < 2:
        return
    shown = sorted({line.run for line in figure.lines if line.run >= 0})
    handles = [Line2D([], [], color=COLOURS[index % 8], linewidth=2.2) for index in shown]
    labels = [words.name(runs[index], index) for index in shown]
    columns = 4 if max(map(len, labels)) < 20 else 2
    above = {"loc": "lower left", "bbox_to_anchor": (-0.01, 1.0), "borderaxespad": 0.2}
    axes.legend(handles, labels, ncols=columns, frameon=False, fontsize=9, **above)


def _strips_height(figure: Strips) -> float:
    rows = -(-len(figure.strips) // 2)
    return rows * (0.9 + 0.21 * max(len(strip.names) for strip in figure.strips)) + 1.0


def _strips(canvas: Any, figure: Strips, runs: Sequence[Run], words: _Words) -> None:
    import numpy as np
    from matplotlib.colors import ListedColormap

    colours = ListedColormap(HEAT).with_extremes(bad=_RULE)
    across = min(2, len(figure.strips))
    image = None
    for place, strip in enumerate(figure.strips):
        axes = canvas.add_subplot(-(-len(figure.strips) // 2), across, place + 1)
        levels = np.ma.masked_less(np.array(strip.levels), 0)
        extent = (figure.x.low, figure.x.high, len(strip.names) - 0.5, -0.5)
        image = axes.imshow(
            levels, cmap=colours, vmin=-0.5, vmax=LEVELS - 0.5, aspect="auto", interpolation="nearest", extent=extent
        )
        axes.set_yticks(
            range(len(strip.names)), [clean(n.removeprefix("model."))[:24] for n in strip.names], fontsize=8
        )
        _axis_of_updates(axes, figure.x, words)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if len(runs) > 1:
            axes.set_title(
                words.name(runs[strip.run], strip.run),
                loc="left",
                fontsize=10,
                color=COLOURS[strip.run % 8],
                parse_math=False,
            )
    canvas.suptitle(words.say(figure.title), x=0.01, ha="left", fontsize=13, color=_INK)
    if image is not None:
        bar = canvas.colorbar(image, ax=canvas.axes, fraction=0.03, pad=0.02, ticks=[-0.5, LEVELS - 0.5])
        bar.ax.set_yticklabels([short(float(f"{b:.2g}")) for b in (figure.bounds[0], figure.bounds[-1])])
        bar.outline.set_visible(False)
