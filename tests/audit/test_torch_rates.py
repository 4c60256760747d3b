"""Scheduler calls in Python files: what the audit reads is what the same lines apply when they are run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.looking import beyond
from huohou.audit.reading import Given, Reading
from huohou.audit.source import Source

pytest.importorskip("torch")

HEAD = """import math
import torch
from functools import partial
from torch.optim.lr_scheduler import *

o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
"""
LINES: dict[str, str] = {
    "linear": "s = LinearLR(o)",
    "linear down": "s = LinearLR(o, 1.0, 0.1, 60)",
    "constant": "s = ConstantLR(o, 0.5, 7)",
    "exponential": "s = ExponentialLR(o, 0.99)",
    "step": "s = StepLR(o, 30, gamma=0.5)",
    "steps": "s = MultiStepLR(o, [30, 80], 0.1)",
    "polynomial": "s = PolynomialLR(o, 100, power=2.0)",
    "cosine": "s = CosineAnnealingLR(o, T_max=100, eta_min=1e-5)",
    "warm restarts": "s = CosineAnnealingWarmRestarts(o, T_0=30)",
    "longer restarts": "s = CosineAnnealingWarmRestarts(o, 10, T_mult=2, eta_min=1e-4)",
    "cyclic": "s = CyclicLR(o, 1e-4, 1e-2, step_size_up=20)",
    "cyclic, halved": "s = CyclicLR(o, 1e-4, 1e-2, 20, 7, mode='triangular2')",
    "cyclic, decaying": "s = CyclicLR(o, base_lr=1e-4, max_lr=1e-2, step_size_up=9, mode='exp_range', gamma=0.98)",
    "one cycle": "s = OneCycleLR(o, 1e-2, total_steps=131, pct_start=0.1)",
    "one cycle by epochs": "s = OneCycleLR(o, max_lr=1e-2, epochs=2, steps_per_epoch=70, anneal_strategy='linear')",
    "three phases": "s = OneCycleLR(o, 1e-2, 140, three_phase=True, final_div_factor=100)",
    "lambda": "T = 100\ns = LambdaLR(o, lambda step: min((step + 1) / 10, max(0.0, 1 - step / T)))",
    "function": (
        "W, T = 10, 100\n"
        "def curve(step):\n    '''Warmup and cosine.'''\n    if step < 10:\n        return step / 10\n"
        "    share = (step - 10) / (100 - 10)\n    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share))\n"
        "s = LambdaLR(o, lr_lambda=curve)"
    ),
    "partial": (
        "def curve(step, warmup, total=100):\n    if step < warmup:\n        return float(step) / float(max(1, warmup))\n"
        "    return max(0.0, float(total - step) / float(max(1, total - warmup)))\n"
        "s = LambdaLR(o, partial(curve, warmup=10))"
    ),
    "named lambda": "rate = lambda epoch: 0.97 ** epoch\ns = LambdaLR(o, lr_lambda=[rate])",
    "sequence": "s = SequentialLR(o, [LinearLR(o, 1e-3, 1.0, 10), CosineAnnealingLR(o, 90, 1e-4)], milestones=[10])",
    "three in sequence": (
        "a = LinearLR(o, 0.1, total_iters=10)\nb = ConstantLR(o, 1.0, 50)\nc = PolynomialLR(o, 40, 1.0)\n"
        "s = SequentialLR(o, schedulers=[a, b, c], milestones=[10, 60])"
    ),
    "sequence of functions": (
        "s = SequentialLR(o, [LambdaLR(o, lambda i: i / 10), CosineAnnealingLR(o, T_max=90)], milestones=[10])"
    ),
    "restarts in sequence": (
        "s = SequentialLR(o, [LinearLR(o, 0.1, 1.0, 10), CosineAnnealingWarmRestarts(o, 20, 2, 1e-4)], milestones=[10])"
    ),
    "cycles in sequence": (
        "s = SequentialLR(o, [LinearLR(o, 0.1, 1.0, 10), ExponentialLR(o, 0.9), StepLR(o, 7, 0.5)], milestones=[10, 33])"
    ),
    "nested sequence": (
        "inner = SequentialLR(o, [LinearLR(o, 0.1, 1.0, 10), ExponentialLR(o, 0.99)], milestones=[10])\n"
        "s = SequentialLR(o, [inner, LinearLR(o, 1.0, 0.0, 60)], milestones=[70])"
    ),
    "nested sequence inside": (
        "s = SequentialLR(o, [SequentialLR(o, [LinearLR(o, 0.1, 1.0, 9), ConstantLR(o, 1.0, 3)], [9]),"
        " LinearLR(o, 1.0, 0.0, 60)], milestones=[70])"
    ),
    "transformers' phases": (
        "from transformers import get_wsd_schedule\ns = get_wsd_schedule(o, 10, 20, num_stable_steps=70, min_lr_ratio=0.1)"
    ),
    "transformers' linear phases": (
        "from transformers import get_wsd_schedule\ns = get_wsd_schedule(o, 10, 20, 100, decay_type='linear')"
    ),
    "transformers by name": (
        "from transformers import get_scheduler\n"
        "s = get_scheduler('cosine_with_min_lr', o, 10, 100, {'min_lr_rate': 0.1, 'num_cycles': 0.5})"
    ),
    "product": "s = ChainedScheduler([LinearLR(o, 0.1, 1.0, 10), ExponentialLR(o, 0.99), StepLR(o, 40, 0.5)])",
    "product with cosine": "s = ChainedScheduler([LinearLR(o, 0.1, 1.0, 10), CosineAnnealingLR(o, 100)])",
    "product with a floor": "s = ChainedScheduler([LinearLR(o, 1e-3, 1.0, 10), CosineAnnealingLR(o, 100, 2e-4)])",
    "a floor first": "s = ChainedScheduler([CosineAnnealingLR(o, 100, 2e-4), ConstantLR(o, 0.3, 20)])",
    "the last one writes anew": "s = ChainedScheduler([LinearLR(o, 0.1, 1.0, 10), LambdaLR(o, lambda i: 0.9 ** i)])",
}  # fmt: skip


def read(text: str, **given: Any) -> Reading:
    return examine(Document(Source("train.py", text, Path("train.py"))), Given(**given)).readings[0]


def run(text: str, updates: int) -> list[float]:
    """The rates that the lines apply."""
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "transformers" in text:
            pytest.importorskip("transformers")
        exec(text, names)
        used, scheduler = names["o"], names["s"]
        rates: list[float] = []
        for _ in range(updates):
            rates.append(float(used.param_groups[0]["lr"]))
            used.step()
            scheduler.step()
    return rates


@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
def test_the_lines_of_a_file(lines: str) -> None:
    (role,) = read(HEAD + lines, updates=130).roles
    rates = run(HEAD + lines, 130)
    assert [role.applied.rate(update) for update in range(1, 131)] == pytest.approx(
        rates, rel=0, abs=1e-12 * role.applied.peak
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("s = LambdaLR(o, lambda i: schedule[i])", "what would have to be run"),
        ("s = LambdaLR(o, lambda i: open('x').read())", "what would have to be run"),
        ("s = LambdaLR(o, lambda i: 9.0 ** 9.0 ** 9.0)", "gives no number"),
        (
            "s = SequentialLR(o, [LinearLR(o), SequentialLR(o, [LinearLR(o), StepLR(o, 3)], [4])], [5])",
            "raises an error at the milestone",
        ),
        ("s = SequentialLR(o, [LinearLR(o), OneCycleLR(o, 1e-2, 90)], milestones=[5])", "overwrites the initial rate"),
        ("s = ChainedScheduler([LambdaLR(o, lambda i: 1.0), LinearLR(o)])", "overwrites the rate before"),
    ],
    ids=["table", "file", "tower", "nested second", "one cycle second", "function first"],
)
def test_what_is_not_computed_is_said(lines: str, message: str) -> None:
    reading = read(HEAD + lines, updates=100)
    assert not reading.roles and message in str(reading.missing[0])


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("s = CosineAnnealingLR(o, T_max=100)", "rebounds"),
        ("s = OneCycleLR(o, 1e-2, total_steps=100)", "raises"),
        ("s = LinearLR(o, 0.1, 1.0, 100)", "holds"),
        ("s = ExponentialLR(o, 0.99)", "falls further"),
        ("s = LambdaLR(o, lambda i: 1 - i / 100)", "goes negative"),
        ("s = CyclicLR(o, 1e-4, 1e-2, 20)", "rebounds"),
    ],
)
def test_what_comes_past_the_end(lines: str, name: str) -> None:
    (role,) = read(HEAD + lines, updates=100).roles
    assert beyond(role.applied, role.horizon) == name


SCHEDULERS = {
    "cosine": "s = get_cosine_schedule_with_warmup(o, 10, 100)\n",
    # Accelerate does not step a one cycle past its end, where it would raise an error.
    "one cycle": "s = OneCycleLR(o, max_lr=1e-2, total_steps=100)\n",
}


@pytest.mark.parametrize("split", [False, True], ids=["each", "split"])
@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("kind", SCHEDULERS)
def test_accelerate_steps_a_prepared_scheduler_for_every_process(
    kind: str, processes: int, accumulation: int, split: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate's own wrapper, told of several processes, beside the file's reading."""
    accelerate = pytest.importorskip("accelerate")
    pytest.importorskip("transformers")
    from accelerate import scheduler as wrapping
    from accelerate.optimizer import AcceleratedOptimizer
    from accelerate.state import GradientState

    accelerate.Accelerator(cpu=True)
    monkeypatch.setattr(wrapping, "AcceleratorState", lambda: type("State", (), {"num_processes": processes}))
    lines = HEAD + "from transformers import get_cosine_schedule_with_warmup\n" + SCHEDULERS[kind]
    names: dict[str, Any] = {}
    exec(lines, names)
    used = names["o"]
    prepared = AcceleratedOptimizer(used)
    wrapped = wrapping.AcceleratedScheduler(names["s"], prepared, split_batches=split)
    gradients, rates = GradientState(), []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for micro in range(100 * accumulation):
                gradients._set_sync_gradients((micro + 1) % accumulation == 0)
                if gradients.sync_gradients:
                    rates.append(used.param_groups[0]["lr"])
                prepared.step()
                wrapped.step()
    finally:
        gradients._set_sync_gradients(True)
    lines += f"accelerator = Accelerator({'split_batches=True' if split else ''})\no, s = accelerator.prepare(o, s)\n"
    (role,) = read(lines, updates=100, gpus=processes, accumulation=accumulation).roles
    assert [role.applied.rate(u) for u in range(1, 101)] == pytest.approx(rates, rel=0, abs=1e-12 * role.applied.peak)
