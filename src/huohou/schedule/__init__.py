"""A schedule is data: curves, their shapes, and the named recipes."""

from huohou.schedule.curve import Curve, Knot, knots
from huohou.schedule.operations import Difference, diff, join, shift, slice
from huohou.schedule.recipes import Built, Phase, Schedule, ScheduleSpec, build, close, rewarm
from huohou.schedule.shapes import Shape

__all__ = [
    "Built",
    "Curve",
    "Difference",
    "Knot",
    "Phase",
    "Schedule",
    "ScheduleSpec",
    "Shape",
    "build",
    "close",
    "diff",
    "join",
    "knots",
    "rewarm",
    "shift",
    "slice",
]
