"""The applied curves against the rates that the frameworks' own code applies, update by update."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import pytest

from huohou.audit.applied import Applied, look
from huohou.audit.dialects import deepspeed_scheduler, torch_schedules, transformers_schedules
from huohou.audit.dialects.trainer_length import Length, warmup_updates
from huohou.audit.document import Document
from huohou.audit.examine import examine
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


@pytest.mark.parametrize("way", ["linear", "cosine", "1-sqrt"])
def test_transformers_phases(way: str) -> None:
    pytest.importorskip("transformers")
    from transformers.optimization import get_scheduler

    for warmup, stable, decay in itertools.product((0, 10), (None, 30), (1, 20)):
        kwargs = {"num_decay_steps": decay, "min_lr_ratio": 0.1, "decay_type": way, "warmup_type": way}
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


def test_torch() -> None:
    from torch.optim import lr_scheduler as torch_lr

    peak, updates = 1e-3, 130
    made: list[tuple[Applied, Any]] = [
        (torch_schedules.linear(peak, updates), lambda o: torch_lr.LinearLR(o)),
        (torch_schedules.linear(peak, updates, 0.01, 1.0, 10), lambda o: torch_lr.LinearLR(o, 0.01, 1.0, 10)),
        (torch_schedules.constant(peak, updates, 0.5, 7), lambda o: torch_lr.ConstantLR(o, 0.5, 7)),
        (torch_schedules.exponential(peak, updates, 0.99), lambda o: torch_lr.ExponentialLR(o, 0.99)),
        (torch_schedules.steps(peak, updates, [30, 80], 0.1), lambda o: torch_lr.MultiStepLR(o, [30, 80], 0.1)),
        (torch_schedules.stairs(peak, updates, 30, 0.5), lambda o: torch_lr.StepLR(o, 30, 0.5)),
        (torch_schedules.polynomial(peak, updates, 100, 2.0), lambda o: torch_lr.PolynomialLR(o, 100, 2.0)),
        (torch_schedules.cosine(peak, updates, 100, 1e-5), lambda o: torch_lr.CosineAnnealingLR(o, 100, 1e-5)),
    ]
    for curve, make in made:
        used = optimizer(peak)
        agree(curve, applied_by(make(used), used, updates))


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


# The rows of the master table, W = 10, T = 100, floor 0.1 unless said: i = 0, 1, 9, 10, 11, 99.
AXOLOTL = "base_model: m\nmicro_batch_size: 1\nsequence_len: 1\ndatasets: []\nlearning_rate: 1\nmax_steps: 100\n"
MEGATRON = "python pretrain.py --lr 1 --min-lr 0.1 --train-iters 100 --lr-warmup-iters 10 --global-batch-size 8 --lr-decay-style"
TITAN = "[optimizer]\nlr = 1\n[training]\nsteps = 100\n[lr_scheduler]\nwarmup_steps = 10\n"
LITGPT = (
    "model_name: m\noptimizer: {{init_args: {{lr: 1}}}}\ntrain: {{global_batch_size: {batch}, micro_batch_size: 1, "
    "lr_warmup_steps: 10, max_steps: 100, min_lr: 0.1, save_interval: 1, log_interval: 1}}\n"
)
ROWS: list[tuple[str, str, str, tuple[float, ...]]] = [
    ("Megatron linear", "a.sh", f"{MEGATRON} linear", (0, 0.1, 0.9, 1, 0.99, 0.11)),
    ("Megatron cosine", "a.sh", f"{MEGATRON} cosine", (0, 0.1, 0.9, 1, 0.9997, 0.1003)),
    ("Megatron root", "a.sh", f"{MEGATRON} inverse-square-root", (0, 0.1, 0.9, 1, 0.9535, 0.3178)),
    (
        "Megatron WSD", "a.sh",
        f"{MEGATRON} WSD --lr-wsd-decay-iters 20 --lr-wsd-decay-style exponential", (0, 0.1, 0.9, 1, 1, 0.1317),
    ),
    (
        "Megatron WSD root", "a.sh",
        f"{MEGATRON} WSD --lr-wsd-decay-iters 20 --lr-wsd-decay-style minus_sqrt", (0, 0.1, 0.9, 1, 1, 0.1228),
    ),
    ("torchtitan linear", "a.toml", TITAN + "min_lr_factor = 0.1\n", (0.1, 0.2, 1, 1, 0.99, 0.11)),
    (
        "torchtitan WSD", "a.toml", TITAN + 'decay_ratio = 0.2\ndecay_type = "sqrt"\n', (0.1, 0.2, 1, 1, 1, 0.0253),
    ),
    ("torchtitan short", "a.toml", TITAN + "total_steps = 50\n", (0.1, 0.2, 1, 1, 0.975, -1.225)),
    (
        "axolotl rex", "a.yml", AXOLOTL + "lr_scheduler: rex\ncosine_min_lr_ratio: 0.1\nwarmup_steps: 10\n",
        (0.1, 0.2, 1, 0.999, 0.998, 0.1),
    ),
    (
        "axolotl quadratic", "a.yml", AXOLOTL + "lr_quadratic_warmup: true\nwarmup_steps: 10\n",
        (0, 0.01, 0.81, 1, 0.9997, 0.0003),
    ),
    (
        "torchtune", "a.yaml",
        "model: {_component_: torchtune.models.m}\noptimizer: {_component_: torch.optim.AdamW, lr: 1}\nepochs: 1\n"
        "lr_scheduler:\n  _component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup\n"
        "  num_warmup_steps: 10\nloss: {_component_: torchtune.modules.loss.L}\nmax_steps_per_epoch: 100\n",
        (0, 0.1, 0.9, 1, 0.9997, 0.0003),
    ),
    (
        "litgpt pretrain", "a.yaml", LITGPT.format(batch=4), (0.075, 0.175, 0.975, 0.9998, 0.9992, 0.1),
    ),
    ("litgpt pretrain without accumulation", "a.yaml", LITGPT.format(batch=1), (0, 0.1, 0.9, 1, 0.9997, 0.1003)),
    (
        "optax", "a.py",
        "import optax\ns = optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=100, end_value=0.1)\n",
        (0, 0.1, 0.9, 1, 0.9997, 0.1003),
    ),
    (
        "torch one cycle", "a.py",
        "o = AdamW(m.parameters(), lr=1.0)\ns = OneCycleLR(o, max_lr=1.0, total_steps=100, pct_start=0.1)\n",
        (0.04, 0.0689, 1, 0.9997, 0.9988, 4e-6),
    ),
    (
        "torch sequence", "a.py",
        "o = AdamW(m.parameters(), lr=1.0)\n"
        "s = SequentialLR(o, [LinearLR(o, 1e-3, 1.0, 10), CosineAnnealingLR(o, 90, 0.1)], milestones=[10])\n",
        (0.001, 0.1009, 0.9001, 1, 0.9997, 0.1003),
    ),
    (
        "axolotl held floor", "a.yml",
        AXOLOTL + "cosine_min_lr_ratio: 0.1\ncosine_constant_lr_ratio: 0.8\nwarmup_steps: 10\n",
        (0, 0.1, 0.9, 1, 0.9995, 0.1),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "row"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_the_rows_of_the_master_table(name: str, text: str, row: tuple[float, ...]) -> None:
    curve = read(text, name)
    assert curve.updates == 100
    values = [curve.rate(i + 1) for i in (0, 1, 9, 10, 11, 99)]
    assert values == pytest.approx(row, rel=0, abs=5.1e-5 if max(map(abs, row)) <= 1 else 1e-3)


def test_nanogpt_never_stands_at_zero_and_makes_one_update_more() -> None:
    text = (
        "learning_rate = 1.0\nmax_iters = 100\nwarmup_iters = 9\nlr_decay_iters = 100\nmin_lr = 0.1\nblock_size = 8\n"
    )
    curve = read(text)
    assert curve.updates == 101
    assert [curve.rate(u) for u in (1, 9, 10, 101, 102)] == pytest.approx([0.1, 0.9, 1.0, 0.1, 0.1])


def test_what_happens_past_the_end() -> None:
    assert read(TITAN + "min_lr_factor = 0.1\n", "a.toml", updates=100).rate(102) == pytest.approx(0.09)
    assert read(f"{MEGATRON} inverse-square-root", "a.sh").rate(102) == pytest.approx(0.1)
    assert transformers_schedules.applied("cosine", 1.0, 10, 100, 100).rate(111) == pytest.approx(0.0302, abs=5e-5)


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
