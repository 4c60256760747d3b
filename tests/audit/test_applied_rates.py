"""The applied curves against the rates that the frameworks' own code applies, update by update."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from typing import Any

import pytest

from huohou.audit.applied import Applied
from huohou.audit.dialects import deepspeed_scheduler, torch_schedules, transformers_schedules
from huohou.audit.dialects.trainer_length import Length, warmup_updates
from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.looking import look
from huohou.audit.reading import Given
from huohou.audit.source import Source
from huohou.audit.values import Settings, Value
from huohou.errors import UserError

pytest.importorskip("torch")
import torch

GRID = [(0, 1), (0, 7), (1, 2), (1, 20), (3, 20), (10, 100), (19, 20), (20, 20), (30, 20)]
TYPES: list[tuple[str, dict[str, Any]]] = [
    ("linear", {}),
    ("cosine", {}),
    ("cosine_with_restarts", {"num_cycles": 2}),
    ("polynomial", {"lr_end": 1e-5, "power": 2.0}),
    ("constant", {}),
    ("constant_with_warmup", {}),
    ("inverse_sqrt", {}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
    ("cosine_with_min_lr", {"min_lr": 3e-5}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1, "warmup_lr_rate": 0.2}),
]


def optimizer(rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def applied_by(scheduler: Any, used: torch.optim.Optimizer, updates: int) -> list[float]:
    """The rate of each update: what the group holds right before the step."""
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(updates):
            rates.append(float(used.param_groups[0]["lr"]))
            used.step()
            scheduler.step()
    return rates


def agree(curve: Applied, rates: list[float], within: float = 1e-12) -> None:
    ours = [curve.rate(update) for update in range(1, len(rates) + 1)]
    assert ours == pytest.approx(rates, rel=0, abs=within * curve.peak)


@pytest.mark.parametrize(("kind", "kwargs"), TYPES, ids=lambda part: str(part))
def test_transformers(kind: str, kwargs: dict[str, Any]) -> None:
    pytest.importorskip("transformers")
    from transformers.optimization import get_scheduler

    for (warmup, horizon), peak in itertools.product(GRID, (3e-4, 1.0)):
        used = optimizer(peak)
        scheduler = get_scheduler(kind, used, warmup, horizon, scheduler_specific_kwargs=dict(kwargs))
        # Polynomial divides by zero behind its end, where the warmup is the whole run.
        updates = horizon if kind == "polynomial" and warmup >= horizon else horizon + 5
        curve = transformers_schedules.applied(kind, peak, warmup, horizon, updates, kwargs)
        try:
            rates = applied_by(scheduler, used, updates)
        except ZeroDivisionError:
            continue
        agree(curve, rates)


@pytest.mark.parametrize("way", [None, "linear", "cosine", "1-sqrt"])
def test_transformers_phases(way: str | None) -> None:
    pytest.importorskip("transformers")
    from transformers.optimization import get_scheduler

    for warmup, stable, decay in itertools.product((0, 10), (None, 30), (1, 20)):
        kwargs: dict[str, Any] = {"num_decay_steps": decay, "min_lr_ratio": 0.1}
        if way is not None:
            kwargs |= {"decay_type": way, "warmup_type": way}
        if stable is not None:
            kwargs["num_stable_steps"] = stable
        used = optimizer(1e-3)
        with warnings.catch_warnings():
            # It says that the length of the hold is used and not that of the run.
            warnings.simplefilter("ignore")
            scheduler = get_scheduler("warmup_stable_decay", used, warmup, 100, scheduler_specific_kwargs=dict(kwargs))
        curve = transformers_schedules.applied("warmup_stable_decay", 1e-3, warmup, 100, 110, kwargs)
        agree(curve, applied_by(scheduler, used, 110))


@pytest.mark.parametrize("way", ["log", "linear"])
@pytest.mark.parametrize("kind", ["WarmupLR", "WarmupDecayLR", "WarmupCosineLR"])
def test_deepspeed(kind: str, way: str) -> None:
    pytest.importorskip("deepspeed")
    from deepspeed.runtime import lr_schedules

    for (warmup, total), least in itertools.product([(2, 20), (10, 100), (5, 12), (30, 31)], (0.0, 1e-5)):
        params: dict[str, Any] = {"warmup_num_steps": warmup, "warmup_type": way}
        if kind == "WarmupCosineLR":
            params |= {"total_num_steps": total, "warmup_min_ratio": least * 1e3, "cos_min_ratio": 0.1}
        else:
            params |= {"warmup_min_lr": least, "warmup_max_lr": 1e-3}
        if kind == "WarmupDecayLR":
            params["total_num_steps"] = total
        used = optimizer(1e-3)
        scheduler = getattr(lr_schedules, kind)(used, **params)
        rates = applied_by(scheduler, used, total + 10)
        values = {f"scheduler.params.{key}": Value(value) for key, value in params.items()}
        settings = Settings({"scheduler.type": Value(kind), **values})
        filled = deepspeed_scheduler.schedule(settings, auto={}, optimizer_rate=1e-3, updates=total + 10)
        assert filled is not None
        agree(filled.applied, rates)


DEEPSPEED: list[tuple[str, dict[str, Any]]] = [
    ("OneCycle", {"cycle_first_step_size": 20}),
    (
        "OneCycle",
        {"cycle_first_step_size": 10, "cycle_second_step_size": 25, "decay_step_size": 4, "decay_lr_rate": 0.3},
    ),
    ("OneCycle", {"cycle_first_step_size": 7, "cycle_second_step_size": 25, "cycle_first_stair_count": 3}),
    ("LRRangeTest", {"lr_range_test_min_lr": 1e-4, "lr_range_test_step_size": 30, "lr_range_test_step_rate": 2.5}),
    ("LRRangeTest", {"lr_range_test_step_size": 7, "lr_range_test_staircase": True}),
    ("WarmupDecayLR", {"total_num_steps": 15, "warmup_num_steps": 20, "warmup_max_lr": 2e-3}),
    ("WarmupCosineLR", {"total_num_steps": 15, "warmup_num_steps": 20}),
]


@pytest.mark.parametrize(("kind", "params"), DEEPSPEED)
def test_deepspeeds_other_schedulers(kind: str, params: dict[str, Any]) -> None:
    pytest.importorskip("deepspeed")
    from deepspeed.runtime import lr_schedules

    if kind == "OneCycle":
        params = {"cycle_min_lr": 1e-5, "cycle_max_lr": 1e-3, **params}
    used = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    rates = applied_by(getattr(lr_schedules, kind)(used, **params), used, 80)
    config = {"train_batch_size": 8, "scheduler": {"type": kind, "params": params}, "optimizer": {"type": "Adam"}}
    agree(read(json.dumps(config), "ds.json", updates=80), rates)


@pytest.mark.parametrize(("version", "first"), [("0.15.2", 1e-3), ("0.15.3", 1e-5), ("0.19.8", 1e-5)])
def test_deepspeeds_first_update_was_at_the_full_rate(version: str, first: float) -> None:
    params = {"warmup_min_lr": 1e-5, "warmup_num_steps": 10, "warmup_max_lr": 1e-3}
    config = {
        "train_batch_size": 8,
        "scheduler": {"type": "WarmupLR", "params": params},
        "optimizer": {"type": "Adam", "params": {"lr": 1e-3}},
    }
    curve = read(json.dumps(config), "ds.json", updates=20, versions={"deepspeed": version})
    assert curve.rate(1) == first and curve.rate(2) == pytest.approx(1e-5)


def test_torch_one_cycle_raises_past_its_end() -> None:
    from torch.optim.lr_scheduler import OneCycleLR

    used = optimizer(1e-3)
    curve = torch_schedules.one_cycle(1e-3, 100, 100, 0.1)
    agree(curve, applied_by(OneCycleLR(used, 1e-3, 100, pct_start=0.1), used, 100))
    with pytest.raises(UserError, match="past the scheduler's end"):
        curve.rate(102)


def read(text: str, name: str = "train.py", **given: Any) -> Applied:
    from pathlib import Path

    audit = examine(Document(Source(name, text, Path(name))), Given(**given))
    return audit.readings[0].roles[0].applied


def test_a_sequence_in_a_file_is_what_the_file_does() -> None:
    text = """
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

used = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
warmup = LinearLR(used, start_factor=1e-3, total_iters=10)
decay = CosineAnnealingLR(used, T_max=90, eta_min=1e-4)
scheduler = SequentialLR(used, schedulers=[warmup, decay], milestones=[10])
"""
    from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

    used = optimizer(1e-3)
    warmup = LinearLR(used, start_factor=1e-3, total_iters=10)
    decay = CosineAnnealingLR(used, T_max=90, eta_min=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = SequentialLR(used, [warmup, decay], [10])
    agree(read(text), applied_by(scheduler, used, 100))
    assert read(text).updates == 100


def test_a_prepared_scheduler_runs_once_for_every_process() -> None:
    text = """
from accelerate import Accelerator
from transformers import get_linear_schedule_with_warmup

accelerator = Accelerator()
optimizer = AdamW(model.parameters(), lr=1.0)
scheduler = get_linear_schedule_with_warmup(optimizer, 10, 100)
optimizer, scheduler = accelerator.prepare(optimizer, scheduler)
"""
    # Eight processes: the peak is crossed inside the second step, and the rate is 0 from i = 13 on.
    curve = read(text, updates=100, gpus=8)
    seen = look(curve)
    assert seen.peak == pytest.approx((100 - 16) / 90) and seen.peak_at is None
    assert curve.rate(14) == 0.0 and curve.rate(13) > 0.0
    assert look(read(text, updates=100)).peak_at == 11


AXOLOTL = "base_model: m\nmicro_batch_size: 1\nsequence_len: 1\ndatasets: []\nlearning_rate: 1\nmax_steps: 100\n"


def test_nanogpt_never_stands_at_zero_and_makes_one_update_more() -> None:
    text = (
        "learning_rate = 1.0\nmax_iters = 100\nwarmup_iters = 9\nlr_decay_iters = 100\nmin_lr = 0.1\nblock_size = 8\n"
    )
    curve = read(text)
    assert curve.updates == 101
    assert [curve.rate(u) for u in (1, 9, 10, 101, 102)] == pytest.approx([0.1, 0.9, 1.0, 0.1, 0.1])


@pytest.mark.parametrize(("era", "updates"), [("<=4.51", 3), ("4.52-4.57", 6), ("5.0-5.14", 6), (">=5.15", 6)], ids=str)
def test_the_four_eras_count_updates(era: str, updates: int) -> None:
    # 15 micro-batches, accumulation 8, 3 epochs.
    assert Length(15, 8, 3.0, -1).updates(era) == updates


@pytest.mark.parametrize(
    ("steps", "ratio", "era", "updates"),
    [
        (30, 0.1, "4.52-4.57", 30),
        (30, 0.1, "5.0-5.14", 10),
        (0, 0.07, "<=4.51", 8),
        (0.07, 0, ">=5.15", 8),
        (1.0, 0, ">=5.15", 1),
        (10.7, 0, ">=5.15", 10),
    ],
)
def test_the_four_eras_count_the_warmup(steps: float, ratio: float, era: str, updates: int) -> None:
    assert warmup_updates(steps, ratio, 100, era).updates == updates


def test_the_longest_run_is_looked_at_quickly_and_well() -> None:
    curve = transformers_schedules.applied("cosine", 3e-4, 1_000_000, 10**9, 10**9)
    seen = look(curve)
    assert seen.peak == pytest.approx(3e-4) and seen.peak_at == 1_000_001
    assert seen.first == 0.0 and math.isfinite(seen.area)
    assert seen.area == pytest.approx(3e-4 * (0.5e6 + (10**9 - 10**6) / 2), rel=1e-3)


@pytest.mark.parametrize("warmup", [2, 10, 50])
def test_rex_by_its_formula(warmup: int) -> None:
    curve = read(AXOLOTL + f"lr_scheduler: rex\ncosine_min_lr_ratio: 0.1\nwarmup_steps: {warmup}\n", "a.yml")
    rates: list[float] = []
    for step in range(1, 101):
        rest, after = 100 - warmup, step - warmup
        z = (rest - after) / rest
        late = 0.1 if after >= rest else 0.1 + 0.9 * (z / (0.1 + 0.9 * z))
        rates.append(step / warmup if step <= warmup else late)
    agree(curve, rates)


def test_axolotl_warms_up_where_nothing_is_written() -> None:
    from pathlib import Path

    audit = examine(Document(Source("a.yml", AXOLOTL + "lr_scheduler: cosine\n", Path("a.yml"))), Given())
    # 3 % of 100 updates, and the rule about runs without a warmup is silent.
    assert audit.readings[0].roles[0].warmup == 3
    assert {finding.rule for finding in audit.findings} == {"updates-at-zero"}
