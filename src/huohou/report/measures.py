"""What a run is judged by: a handful of numbers, each with the definition that the page prints beside it.

The early measures are those of the loss curve that a warmup is said to change: the bump (Kalra & Barkeshli 2024,
arXiv:2406.09405, describe it), the oscillation, and how far apart the layers' gradients are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from huohou.language import Text
from huohou.report import numbers
from huohou.report.runs import Floats, Ints, Run


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of one run. ``better`` says which way is better, where one way is."""

    key: str
    name: Text
    definition: Text
    value: float
    shown: Callable[[float], str]
    difference: Callable[[float], str] | None = None
    better: str = ""

    def __str__(self) -> str:
        return self.shown(self.value) if math.isfinite(self.value) else "–"


@dataclass(frozen=True, slots=True)
class Applied:
    """The planned rate held against the one that was used, over all parameter groups."""

    compared: int
    equal: int
    largest: float
    at: int | None

    @property
    def exact(self) -> bool:
        return self.compared > 0 and self.equal == self.compared


def ema(values: Floats, span: int) -> Floats:
    """Exponential moving average with weight 2 / (span + 1), starting at the first value; a NaN leaves it as it is."""
    weight = 2 / (span + 1)
    average = math.nan
    out: list[float] = []
    for value in values.tolist():
        if value == value and value not in (math.inf, -math.inf):
            average = average + weight * (value - average) if average == average else value
        out.append(average)
    return np.array(out, dtype=np.float64)


def applied(run: Run) -> Applied:
    """Compare every update's rate with its plan; the vector finds candidates, the scalar curve has the last word."""
    compared = equal = 0
    largest, at = 0.0, None
    curves = run.curves()
    for group, rates in run.rates.items():
        curve = curves.get(group) or (next(iter(curves.values())) if len(curves) == 1 else None)
        known = np.isfinite(rates)
        if curve is None or not known.any():
            continue
        updates, rates = run.updates[known], rates[known]
        planned = curve.vector(1, int(updates[-1]))[updates - 1]
        off = np.flatnonzero(planned != rates)
        exact = np.array([curve(int(u)) for u in updates[off]], dtype=np.float64)
        apart = np.abs(exact - rates[off])
        compared += len(updates)
        equal += len(updates) - int(np.count_nonzero(apart))
        if len(apart) and float(apart.max()) > largest:
            largest, at = float(apart.max()), int(updates[off[int(apart.argmax())]])
    return Applied(compared, equal, largest, at)


def first_part(run: Run, share: float) -> int:
    """How many of the run's updates lie in the first part of its planned length."""
    return int(np.searchsorted(run.updates, math.ceil(run.length * share), side="right"))


def final_loss(run: Run) -> float:
    """Mean training loss of the last 5 % of the updates made (at least one)."""
    finite = run.loss[np.isfinite(run.loss)]
    return float(finite[-math.ceil(len(finite) / 20) :].mean()) if len(finite) else math.nan


def early_bump(run: Run) -> float:
    """max over t of L(t) - min_{j<t} EMA10(L)(j), t in the first 30 % of the run; NaN with fewer than two updates."""
    loss = run.loss[: first_part(run, 0.3)]
    if len(loss) < 2:
        return math.nan
    above = loss[1:] - np.fmin.accumulate(ema(loss, 10))[:-1]
    above = above[np.isfinite(above)]
    return float(above.max()) if len(above) else math.nan


def oscillation(run: Run) -> float:
    """Sum of the rises of EMA3(L) over the first 10 % of the run."""
    steps = np.diff(ema(run.loss[: first_part(run, 0.1)], 3))
    steps = steps[np.isfinite(steps)]
    return float(np.maximum(steps, 0).sum()) if len(steps) else math.nan


def dispersion(run: Run) -> Floats:
    """For every update whose layers were measured: standard deviation over layers of ln(gradient norm)."""
    norms = np.where(np.isfinite(run.layers.norms) & (run.layers.norms > 0), run.layers.norms, np.nan)
    logs = np.log(norms)
    known = np.count_nonzero(np.isfinite(logs), axis=1)
    out = np.full(len(logs), np.nan)
    enough = known > 1
    out[enough] = np.nanstd(logs[enough], axis=1)
    return out


def _mean(values: Floats) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan


def spikes(run: Run, window: int = 128) -> float:
    """Share of updates whose loss or gradient norm lies more than 6 sd above the mean of the 128 updates before."""
    hit = np.zeros(len(run.updates), dtype=bool)
    if len(hit) <= window:
        return math.nan
    for values in (run.loss, run.gradient_norm):
        finite = np.isfinite(values)
        if not finite.all():
            values = np.where(finite, values, np.nanmean(values[finite]) if finite.any() else 0.0)
        centred = values - values.mean()
        sums = np.concatenate(([0.0], np.cumsum(centred)))
        squares = np.concatenate(([0.0], np.cumsum(centred * centred)))
        mean = (sums[window:-1] - sums[: -window - 1]) / window
        variance = np.maximum((squares[window:-1] - squares[: -window - 1]) / window - mean * mean, 0)
        hit[window:] |= centred[window:] > mean + 6 * np.sqrt(variance) + 1e-12
    return float(hit[window:].mean())


def measure(run: Run) -> tuple[Measure, ...]:
    """The measures of one run, in the order in which they are shown."""
    speed = run.tokens / np.where(run.seconds > 0, run.seconds, np.nan)
    clipped = run.clipped[np.isfinite(run.clipped)]
    spread = dispersion(run)
    early = run.layers.updates <= math.ceil(run.length * 0.1)
    evaluations = run.evaluations.loss[np.isfinite(run.evaluations.loss)]
    smooth = ema(run.loss, 10)

    def nats(value: float) -> str:
        return numbers.fixed(value, 3)

    def nats_apart(value: float) -> str:
        return numbers.signed(value, 3)

    def loss(key: str, name: Text, definition: Text, value: float) -> Measure:
        return Measure(key, name, definition, value, nats, nats_apart, "lower")

    return (
        loss(
            "final_loss",
            Text("final training loss", "最终训练损失"),
            Text(
                "mean over the last 5 % of the updates made, in nats per target token",
                "已完成更新步中最后 5 % 的平均值，单位为 nat/目标词元",
            ),
            final_loss(run),
        ),
        loss(
            "best_loss",
            Text("best training loss", "最低训练损失"),
            Text("lowest value of EMA10 of the loss (weight 2/11)", "损失的 EMA10（权重 2/11）的最小值"),
            float(np.nanmin(smooth)) if np.isfinite(smooth).any() else math.nan,
        ),
        loss(
            "final_evaluation_loss",
            Text("final evaluation loss", "最终评估损失"),
            Text("last loss on data that was not trained on", "在未参与训练的数据上的最后一次损失"),
            float(evaluations[-1]) if len(evaluations) else math.nan,
        ),
        loss(
            "best_evaluation_loss",
            Text("best evaluation loss", "最低评估损失"),
            Text("lowest loss on data that was not trained on", "在未参与训练的数据上的最低损失"),
            float(evaluations.min()) if len(evaluations) else math.nan,
        ),
        loss(
            "early_bump",
            Text("early bump", "早期隆起"),
            Text(
                "largest rise of the loss above the lowest EMA10 before it, within the first 30 % of the run",
                "前 30 % 更新步内，损失高出此前 EMA10 最低值的最大幅度",
            ),
            early_bump(run),
        ),
        loss(
            "oscillation",
            Text("early oscillation", "早期震荡"),
            Text(
                "sum of all rises of EMA3 of the loss over the first 10 % of the run",
                "前 10 % 更新步内，损失的 EMA3 每次上升量之和",
            ),
            oscillation(run),
        ),
        Measure(
            "clipped",
            Text("updates clipped", "被裁剪的更新步"),
            Text("share of updates whose gradient norm exceeded the limit", "梯度范数超过上限的更新步所占比例"),
            float(clipped.mean()) if len(clipped) else math.nan,
            numbers.share,
            lambda value: numbers.signed(value * 100, 1) + " %",
        ),
        loss(
            "dispersion_early",
            Text("spread over layers, early", "层间离散度（早期）"),
            Text(
                "standard deviation over layers of ln(gradient norm), mean of the first 10 % of the run",
                "各层 ln(梯度范数) 的标准差，取前 10 % 更新步的平均",
            ),
            _mean(spread[early]),
        ),
        loss(
            "dispersion",
            Text("spread over layers, whole run", "层间离散度（全程）"),
            Text("the same, mean of the whole run", "同上，取全程平均"),
            _mean(spread),
        ),
        Measure(
            "spikes",
            Text("spikes", "尖峰"),
            Text(
                "share of updates whose loss or gradient norm is over 6 sd above the mean of the 128 before",
                "损失或梯度范数高出此前 128 步均值 6 个标准差以上的更新步所占比例",
            ),
            spikes(run),
            numbers.share,
            lambda value: numbers.signed(value * 100, 2) + " %",
            "lower",
        ),
        Measure(
            "tokens_per_second",
            Text("tokens per second", "每秒词元数"),
            Text("median over updates of tokens / seconds", "各更新步（词元数 / 秒数）的中位数"),
            float(np.median(speed[np.isfinite(speed)])) if np.isfinite(speed).any() else math.nan,
            numbers.count,
            lambda value: numbers.signed(value, 0),
            "higher",
        ),
    )


FOR_GOOD = Text(
    "the first update from which on EMA10 of the training loss stays below the other run's, over at least the last 5 % "
    "of the updates that both made",
    "从该步起，训练损失的 EMA10 始终低于另一次训练；至少须覆盖双方共有更新步的最后 5 %",
)


def lower_for_good(better: Run, worse: Run) -> int | None:
    """The first update from which on ``better`` is better for good: see :data:`FOR_GOOD`; None where it never is."""
    common: Ints
    common, ours, theirs = np.intersect1d(better.updates, worse.updates, return_indices=True)
    below = ema(better.loss, 10)[ours] < ema(worse.loss, 10)[theirs]
    above = np.flatnonzero(~below)
    begin = int(above[-1]) + 1 if len(above) else 0
    return int(common[begin]) if len(below) - begin >= max(1, math.ceil(len(below) / 20)) else None


@dataclass(frozen=True, slots=True)
class Difference:
    """One run beside the first one named."""

    run: int
    final_loss: float
    """Final training loss of this run minus that of the first run."""
    final_evaluation_loss: float
    lower: int | None
    """The first update from which this run is lower for good."""
    higher: int | None
    """The first update from which the first run is lower for good."""


def compare(runs: Sequence[Run], measured: Sequence[Sequence[Measure]]) -> tuple[Difference, ...]:
    """Every run after the first beside the first."""

    def value(run: int, key: str) -> float:
        return next(m.value for m in measured[run] if m.key == key)

    return tuple(
        Difference(
            index,
            value(index, "final_loss") - value(0, "final_loss"),
            value(index, "final_evaluation_loss") - value(0, "final_evaluation_loss"),
            lower_for_good(run, runs[0]),
            lower_for_good(runs[0], run),
        )
        for index, run in enumerate(runs)
        if index
    )
