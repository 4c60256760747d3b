"""The curves of an audit as a picture: what was meant as a pale band, what is applied as a line on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huohou.errors import UserError
from huohou.language import Text
from huohou.report import numbers
from huohou.report.audit_figures import Drawn, figures
from huohou.report.figures import Figure
from huohou.report.png import COLOURS, chinese_font
from huohou.report.svg import clean

_INK, _SOFT, _RULE = "#23211d", "#6b665d", "#e6e1d7"


def write_png(title: str, curves: Sequence[Drawn], path: Path) -> None:
    """Draw the whole run, and beside it its beginning.

    Raises:
        UserError: matplotlib is missing, the run has no curve, or the file cannot be written.
    """
    font = chinese_font()
    made = figures(curves)
    if not made:
        raise UserError("--png: a run of one update has no curve to draw.", "--png：只有一个更新步的训练没有曲线可画。")

    import matplotlib as library
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    def say(text: Text) -> str:
        return str(text) if font else text.en

    matplotlib: Any = library
    settings: Any = {
        "font.family": [font, "DejaVu Sans"] if font else ["DejaVu Sans"], "font.size": 10,
        "axes.unicode_minus": False, "text.color": _INK, "text.parse_math": False, "axes.edgecolor": _SOFT,
        "axes.labelcolor": _SOFT, "xtick.color": _SOFT, "ytick.color": _SOFT,
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        canvas: Any = Canvas(figsize=(7.4 if len(made) == 1 else 11.6, 4.2), dpi=160, layout="constrained")
        FigureCanvasAgg(canvas)
        widths = [1.0] if len(made) == 1 else [1.7, 1.0]
        for axes, each in zip(canvas.subplots(1, len(made), width_ratios=widths, squeeze=False)[0], made, strict=True):
            _draw(axes, each, say)
        _legend(canvas, curves, say, font)
        name = " ".join(clean(title).split())
        shown = name if font or name.isascii() else "audit"
        canvas.suptitle(shown if len(shown) < 90 else "…" + shown[-89:], x=0.012, ha="left", fontsize=12.5, color=_INK)
        try:
            canvas.savefig(path, format="png")
        except (OSError, ValueError) as error:
            raise UserError(f"--png {path} cannot be written: {error}.", f"--png {path} 无法写入：{error}。") from error


def _draw(axes: Any, each: Figure, say: Any) -> None:
    for phase in each.phases:
        axes.axvspan(phase.first, phase.last, color=COLOURS[phase.run % 8], alpha=0.06, linewidth=0)
    for line in each.lines:
        colour = COLOURS[line.run % 8]
        how: dict[str, Any] = {"linewidth": 7, "alpha": 0.24, "solid_capstyle": "butt"}
        if line.role == "applied":
            how = {"linewidth": 1.5}
        few = {"marker": "o", "markersize": 3} if line.role == "applied" and each.x.high <= 60 else {}
        axes.plot(line.updates, line.values, color=colour, **how, **few)
    places = [tick for tick in each.y.ticks() if each.y.low <= tick <= each.y.high]
    axes.set_yticks(places, [numbers.rate(tick) for tick in places])
    axes.set_xlim(each.x.low, each.x.high)
    axes.set_ylim(each.y.low, each.y.high)
    ticks = [each.x.low, *(t for t in each.x.ticks() if t == int(t) and each.x.place(t) > 0.06)]
    axes.set_xticks(ticks, [numbers.short(tick) for tick in ticks])
    if each.y.low < 0:
        axes.axhline(0, color=_SOFT, linewidth=0.9)
    axes.set_title(say(each.title), loc="left", fontsize=10.5, color=_SOFT)
    axes.set_xlabel(say(Text("update", "更新步")))
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(canvas: Any, curves: Sequence[Drawn], say: Any, font: str | None) -> None:
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    labels: list[str] = []
    for number, curve in enumerate(curves):
        name = " ".join(clean(curve.name).split())[-48:]
        name = name if font or name.isascii() else f"{number + 1}"
        prefix = "" if len(curves) == 1 else f"{name}: "
        colour = COLOURS[number % 8]
        if curve.intended is not None:
            handles.append(Line2D([], [], color=colour, linewidth=7, alpha=0.24))
            labels.append(prefix + say(Text("meant", "本意")))
        handles.append(Line2D([], [], color=colour, linewidth=1.8))
        labels.append(prefix + say(Text("applied", "实际使用")))
    canvas.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=9)
