"""An axis: where a value stands between its two ends, and which round values are written beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from huohou.report.runs import Floats


@dataclass(frozen=True, slots=True)
class Axis:
    """From ``low`` to ``high``, evenly or by powers of ten (then both are above 0)."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one, less or more outside."""
        return float(self.places(np.array([value], dtype=np.float64))[0])

    def places(self, values: Floats) -> Floats:
        """:meth:`place` of many values. What a logarithm cannot take stands far below."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        return np.log(np.maximum(values, 1e-300) / self.low) / math.log(self.high / self.low)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the ends, about this many at most."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found: list[float] = []
            for factors in ((1, 2, 5), (1, 3), (1,)):
                found = [f * 10.0**d for d in decades for f in factors if self.low <= f * 10.0**d <= self.high]
                if 2 <= len(found) <= most + 1:
                    return found
            if len(found) > most:
                return found[:: math.ceil(len(found) / most)]
        span = self.high - self.low
        step = 10.0 ** math.floor(math.log10(span / most))
        step *= next(f for f in (1, 2, 5, 10) if span / (step * f) <= most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        digits = 2 - math.floor(math.log10(step))
        return [round(i * step, digits) or 0.0 for i in range(first, last + 1)]
