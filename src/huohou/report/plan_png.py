"""A planned curve as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from huohou.errors import UserError, missing_extra
from huohou.language import Text
from huohou.plan.result import Plan
from huohou.report.png import chinese_font

_MOST_POINTS = 2000
_LINES = ("#b3391f", "#1f5fb3", "#2c8a4b", "#8a5a2c", "#6b3fa0", "#555555")
_COLOURS = {"warmup": "#f2b36b", "hold": "#c9c9c9", "decay": "#9fc2e0", "cycle": "#9fc2e0", "re-warm": "#f2b36b"}


def write_png(plan: Plan, path: Path) -> None:
    """Draw the rate of every update, with the phases shaded and named.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "png") from error
    font = chinese_font()

    def say(text: Text) -> str:
        return str(text) if font else text.en

    import matplotlib

    with matplotlib.rc_context({"font.family": [font, "DejaVu Sans"] if font else ["DejaVu Sans"]}):  # pyright: ignore[reportUnknownMemberType]
        figure = Figure(figsize=(8, 4), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        # matplotlib's own annotations leave parts of its methods unknown.
        axes: Any = figure.add_subplot()
        phases = plan.leading_phases()
        step = max(1, plan.updates // _MOST_POINTS)
        # The ends of the phases are always among the points, so that no corner is cut.
        ends = {u for phase in phases for u in (phase.first, phase.last)}
        updates = sorted({*range(1, plan.updates + 1, step), *ends, plan.updates})
        curves = plan.applied_curves()
        for number, (name, curve) in enumerate(curves.items()):
            knots = {k.update + d for k in curve.knots for d in (-1, 0, 1) if 1 <= k.update + d <= plan.updates}
            points = sorted({*updates, *sorted(knots)[:_MOST_POINTS]})
            rates = [curve(u) for u in points]
            axes.plot(points, rates, color=_LINES[number % len(_LINES)], linewidth=2, label=name)
        if len(curves) > 1:
            axes.legend()
        for phase in phases:
            axes.axvspan(phase.first - 0.5, phase.last + 0.5, color=_COLOURS.get(phase.name, "#dddddd"), alpha=0.25)
            if phase.last - phase.first >= plan.updates / 12:
                middle = (phase.first + phase.last) / 2
                axes.annotate(say(phase.text), (middle, 0.03), xycoords=("data", "axes fraction"), ha="center")
        axes.set_xlabel(say(Text("update", "更新步")))
        axes.set_ylabel(say(Text("learning rate", "学习率")))
        title = Text(f"{plan.name}: T = {plan.updates:,}, W = {plan.warmup_updates:,}", "")
        name = plan.name if font or plan.name.isascii() else "run"
        axes.set_title(title.en if font else f"{name}: T = {plan.updates:,}, W = {plan.warmup_updates:,}")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        axes.grid(alpha=0.25)
        try:
            cast(Any, figure).savefig(path)
        except (OSError, ValueError) as error:
            raise UserError(f"--png {path} cannot be written: {error}.", f"--png {path} 无法写入：{error}。") from error
