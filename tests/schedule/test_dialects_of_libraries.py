"""The schedules of torch and Transformers, said as knots in their own dialects, against the real libraries.

Their updates count from 0 (``i = u - 1``): a warmup of W from ``i = 0`` has its knots at updates 1 and W + 1.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from huohou.schedule import Curve, knots

PEAK = 3e-4
SIZES = [(1, 8), (4, 12), (10, 100), (37, 1000), (200, 700)]


def applied(make: Callable[[torch.optim.Optimizer], Any], updates: int) -> list[float]:
    """The rates that an optimizer really uses, read right before each step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler = make(optimizer)
    rates: list[float] = []
    for _ in range(updates):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def agree(points: list[Any], rates: list[float]) -> None:
    curve = Curve(Fraction(str(PEAK)), knots(points))
    worst = max(abs(curve(i + 1) - rate) for i, rate in enumerate(rates))
    assert worst <= 1e-12 * PEAK, worst / PEAK


@pytest.mark.parametrize(("w", "t"), SIZES)
def test_torch_linear_then_cosine(w: int, t: int) -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        rise = LinearLR(optimizer, start_factor=0.01, total_iters=w)
        fall = CosineAnnealingLR(optimizer, T_max=t - w, eta_min=3e-5)
        return SequentialLR(optimizer, [rise, fall], milestones=[w])

    agree([(1, "0.01", "linear"), (w + 1, 1, "cosine"), (t + 1, "0.1", "hold")], applied(make, t))


@pytest.fixture(scope="module")
def library() -> Any:
    import transformers.optimization as optimization

    return optimization


@pytest.mark.parametrize(("w", "t"), SIZES)
def test_transformers_linear_cosine_and_their_floors(library: Any, w: int, t: int) -> None:
    rise = [(1, 0, "linear")]
    linear = applied(lambda o: library.get_linear_schedule_with_warmup(o, w, t), t)
    agree([*rise, (w + 1, 1, "linear"), (t + 1, 0, "hold")], linear)
    cosine = applied(lambda o: library.get_cosine_schedule_with_warmup(o, w, t), t)
    agree([*rise, (w + 1, 1, "cosine"), (t + 1, 0, "hold")], cosine)
    floor = applied(lambda o: library.get_cosine_with_min_lr_schedule_with_warmup(o, w, t, min_lr_rate=0.1), t)
    agree([*rise, (w + 1, 1, "cosine"), (t + 1, "0.1", "hold")], floor)


@pytest.mark.parametrize(("w", "t"), SIZES)
def test_transformers_cosine_that_counts_like_ours(library: Any, w: int, t: int) -> None:
    rates = applied(lambda o: library.get_cosine_with_min_lr_schedule_with_warmup_lr_rate(o, w, t, min_lr_rate=0.1), t)
    agree([(0, 0, "linear"), (w, 1, "cosine"), (t, "0.1", "hold")], rates)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.7])
@pytest.mark.parametrize(("w", "t"), SIZES)
def test_transformers_polynomial(library: Any, w: int, t: int, power: float) -> None:
    rates = applied(lambda o: library.get_polynomial_decay_schedule_with_warmup(o, w, t, lr_end=3e-5, power=power), t)
    agree([(1, 0, "linear"), (w + 1, 1, ("power", Fraction(str(power)))), (t + 1, "0.1", "hold")], rates)


@pytest.mark.parametrize(("w", "t"), SIZES)
def test_transformers_inverse_sqrt(library: Any, w: int, t: int) -> None:
    rates = applied(lambda o: library.get_inverse_sqrt_schedule(o, w), t)
    agree([(1, 0, "linear"), (w + 1, 1, ("inverse_sqrt", w)), (t + 1, 0, "hold")], rates)


@pytest.mark.parametrize("rise", ["linear", "cosine", "1-sqrt"])
@pytest.mark.parametrize("fall", ["linear", "cosine", "1-sqrt"])
def test_transformers_wsd(library: Any, rise: str, fall: str) -> None:
    for w, t in SIZES[1:]:
        d = (t - w) // 3
        rates = applied(
            lambda o, w=w, t=t, d=d: library.get_wsd_schedule(
                o, w, d, num_training_steps=t, warmup_type=rise, decay_type=fall, min_lr_ratio=0.1
            ),
            t,
        )
        agree([(1, "0.1", rise), (w + 1, 1, "hold"), (t - d + 1, 1, fall), (t + 1, "0.1", "hold")], rates)
