"""The audit's rates beside those of the frameworks' own code, for every update, over grids of W, T, floors and worlds.

Each framework answers in an environment of its own (``environments.py`` beside this file makes them); the newest
transformers and deepspeed answer in the project's. ``HUOHOU_FRAMEWORKS`` names the folder of the environments. What was
compared is written to the file that ``HUOHOU_FRAMEWORKS_REPORT`` names.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from huohou.audit.applied import Applied
from huohou.audit.dialects import deepspeed_scheduler, transformers_schedules
from huohou.audit.dialects.trainer_length import era_of
from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Given, Reading
from huohou.audit.source import Source
from huohou.audit.values import Settings, Value

pytestmark = [pytest.mark.external, pytest.mark.slow, pytest.mark.timeout(1200)]

PROGRAMS = Path(__file__).with_name("frameworks")
WITHIN = 1e-12


def ask(environment: str | None, program: str, cells: Any, *arguments: str) -> Any:
    """What a program answers in an environment; ``None`` is the project's own."""
    python = sys.executable
    if environment is not None:
        folder = os.environ.get("HUOHOU_FRAMEWORKS")
        if not folder:
            pytest.skip("HUOHOU_FRAMEWORKS names no folder of environments")
        place = Path(folder) / environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not place.exists():
            pytest.skip(f"{environment} is not among the environments of {folder}")
        python = str(place)
    # Far from the project, so that nothing of it is imported instead.
    ran = subprocess.run(
        [python, str(PROGRAMS / f"{program}_rates.py"), *arguments],
        input=json.dumps(cells), capture_output=True, text=True, encoding="utf-8", cwd=PROGRAMS,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


class Compared:
    """How much was compared, and the largest difference in peaks."""

    def __init__(self) -> None:
        self.cells = self.updates = 0
        self.largest = 0.0

    def agree(self, curve: Applied, rates: list[float], what: Any) -> None:
        """Every update of one cell."""
        self.cells += 1
        for update, rate in enumerate(rates, 1):
            apart = abs(curve.rate(update) - rate) / curve.peak
            assert apart <= WITHIN, (what, update, curve.rate(update), rate)
            self.updates += 1
            self.largest = max(self.largest, apart)

    def report(self, what: str) -> None:
        """One line for the record."""
        line = f"{what}: {self.cells} cells, {self.updates} updates, largest difference {self.largest:.1e} of the peak"
        print(line)
        report = os.environ.get("HUOHOU_FRAMEWORKS_REPORT")
        if report:
            with open(report, "a", encoding="utf-8") as file:
                file.write(line + "\n")


def read(name: str, text: str, **known: Any) -> Reading:
    (reading,) = examine(Document(Source(name, text, Path(name))), Given(**known)).readings
    return reading


# (W, T), with no warmup, whole warmup, more warmup than run, and a long one.
LENGTHS = [(0, 1), (0, 7), (1, 2), (1, 20), (3, 20), (10, 100), (19, 20), (20, 20), (30, 20), (37, 1000), (500, 10000)]
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("linear", {}),
    ("cosine", {}),
    ("cosine", {"num_cycles": 1.5}),
    ("cosine_with_restarts", {}),
    ("cosine_with_restarts", {"num_cycles": 3}),
    ("polynomial", {}),
    ("polynomial", {"lr_end": 1e-5, "power": 2.0}),
    ("constant", {}),
    ("constant_with_warmup", {}),
    ("inverse_sqrt", {}),
    ("inverse_sqrt", {"timescale": 500}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
    ("cosine_with_min_lr", {"min_lr": 3e-5}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1, "warmup_lr_rate": 0.2}),
    ("warmup_stable_decay", {"num_decay_steps": 5}),
    ("warmup_stable_decay", {"num_decay_steps": 3, "num_stable_steps": 4, "min_lr_ratio": 0.1}),
    *(
        ("warmup_stable_decay", {"num_decay_steps": 8, "decay_type": way, "warmup_type": way, "min_lr_ratio": 0.2})
        for way in ("linear", "cosine", "1-sqrt")
    ),
]


def cells_of_schedules() -> list[tuple[str, float, int, int, int, dict[str, Any]]]:
    return [
        (kind, peak, warmup, horizon, horizon + max(5, horizon // 5), kwargs)
        for (kind, kwargs), (warmup, horizon), peak in itertools.product(KINDS, LENGTHS, (3e-4, 1.0))
    ]


BASE: dict[str, Any] = {"learning_rate": 2e-4, "per_device_train_batch_size": 2}
RUNS: list[tuple[dict[str, Any], int]] = [
    ({**BASE, "gradient_accumulation_steps": accumulation, "num_train_epochs": epochs, "warmup_steps": 3}, samples)
    for accumulation, epochs, samples in itertools.product((1, 4, 8), (1, 3, 1.5, 0.4), (7, 30, 61))
]
RUNS += [
    ({**BASE, "gradient_accumulation_steps": 4, "dataloader_drop_last": True, "lr_scheduler_type": "cosine"}, 31),
    ({**BASE, "gradient_accumulation_steps": 4, "max_steps": 17, "lr_scheduler_type": "cosine", "warmup_steps": 2}, 31),
    ({**BASE, "gradient_accumulation_steps": 64, "num_train_epochs": 2}, 31),
    ({**BASE, "warmup_ratio": 0.07, "max_steps": 100}, 31),
    ({**BASE, "warmup_ratio": 0.07, "warmup_steps": 5, "max_steps": 60}, 31),
    ({**BASE, "warmup_ratio": 0.1, "num_train_epochs": 3, "gradient_accumulation_steps": 2}, 31),
    ({**BASE, "warmup_steps": 0.07, "max_steps": 100}, 31),
    ({**BASE, "warmup_steps": 1.0, "max_steps": 30}, 31),
    ({**BASE, "warmup_steps": 4.7, "max_steps": 30}, 31),
    *(
        ({**BASE, "lr_scheduler_type": kind, "lr_scheduler_kwargs": kwargs, "warmup_steps": 4, "max_steps": 40}, 31)
        for kind, kwargs in (
            ("cosine_with_restarts", {"num_cycles": 2}),
            ("polynomial", {"power": 2.0}),
            ("inverse_sqrt", {}),
            ("constant", {}),
            ("constant_with_warmup", {}),
            ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
            ("cosine_with_min_lr", {"min_lr": 1e-5}),
            ("warmup_stable_decay", {"num_decay_steps": 10, "min_lr_ratio": 0.1}),
        )
    ),
]


@pytest.mark.parametrize(
    ("environment", "version"),
    [("transformers-4.51", "4.51"), ("transformers-4.57", "4.57"), ("transformers-5.14", "5.14"), (None, "5.24")],
    ids=["4.51", "4.57", "5.14", "newest"],
)
def test_transformers(environment: str | None, version: str, tmp_path: Path) -> None:
    asked = {"schedules": cells_of_schedules(), "runs": RUNS, "folder": str(tmp_path)}
    found = ask(environment, "transformers", asked)
    assert found["version"].startswith(version) or environment is None
    era = era_of(tuple(int(part) for part in found["version"].split(".")[:2]))
    compared = Compared()
    absent: set[str] = set()
    for cell, rates in zip(asked["schedules"], found["schedules"], strict=True):
        kind, peak, warmup, horizon, updates, kwargs = cell
        if isinstance(rates, str):
            absent.add(kind)
            continue
        used = transformers_schedules.taken(kind, kwargs, era)
        compared.agree(transformers_schedules.applied(kind, peak, warmup, horizon, updates, used), rates, cell)
    assert absent <= {"cosine_warmup_with_min_lr"}, absent
    compared.report(f"transformers {found['version']}, schedulers")
    compared = Compared()
    for (arguments, samples), run in zip(RUNS, found["runs"], strict=True):
        text = f"TrainingArguments('o', {', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        reading = read("train.py", text, samples=samples, versions={"transformers": found["version"]})
        if isinstance(run, str):
            # It refuses the words, and so does the audit say, or the era is one that the word came after.
            refused = "warmup_ratio" in arguments or isinstance(arguments.get("warmup_steps"), float)
            assert refused, (arguments, run)
            assert "warmup_ratio" not in arguments or reading.refused is not None
            continue
        horizon, warmup, rates = run
        (role,) = reading.roles
        assert (role.applied.updates, role.horizon) == (horizon, horizon), arguments
        assert len(rates) == horizon
        if arguments.get("lr_scheduler_type") != "constant":
            assert role.warmup == warmup, arguments
        compared.agree(role.applied, rates, arguments)
    compared.report(f"transformers {found['version']}, whole runs of the Trainer")


def deepspeed_cells() -> list[tuple[str, dict[str, Any], float, int]]:
    cells: list[tuple[str, dict[str, Any], float, int]] = []
    for (warmup, total), way in itertools.product(
        [(1, 5), (2, 20), (10, 100), (5, 12), (30, 31), (50, 40), (100, 1000)], ("log", "linear")
    ):
        shared = {"warmup_num_steps": warmup, "warmup_type": way}
        for least in (0.0, 1e-5):
            cells.append(("WarmupLR", {**shared, "warmup_min_lr": least}, 3e-4, total + 10))
            cells.append(("WarmupLR", {**shared, "warmup_min_lr": least, "warmup_max_lr": 2e-3}, 3e-4, total + 10))
            decay = {**shared, "warmup_min_lr": least, "total_num_steps": total}
            cells.append(("WarmupDecayLR", decay, 3e-4, total + 10))
            cells.append(("WarmupDecayLR", {**decay, "warmup_max_lr": 3e-4}, 3e-4, total + 10))
        for floor in (1e-4, 0.1):
            cosine = {**shared, "total_num_steps": total, "cos_min_ratio": floor, "warmup_min_ratio": floor}
            if total > warmup:
                cells.append(("WarmupCosineLR", cosine, 3e-4, total + 10))
    for up, down, stairs, decay in itertools.product((10, 7), (None, 10, 25), ((0, None), (5, 2)), (0, 4)):
        cycle: dict[str, Any] = {"cycle_min_lr": 1e-5, "cycle_max_lr": 1e-3, "cycle_first_step_size": up}
        cycle |= {"cycle_second_step_size": down, "cycle_first_stair_count": stairs[0]}
        cycle |= {"cycle_second_stair_count": stairs[1], "decay_step_size": decay, "decay_lr_rate": 0.3}
        cells.append(("OneCycle", cycle, 1e-3, 80))
    for size, staircase in itertools.product((1, 7, 2000), (False, True)):
        test = {"lr_range_test_min_lr": 1e-4, "lr_range_test_step_size": size, "lr_range_test_step_rate": 2.5}
        cells.append(("LRRangeTest", {**test, "lr_range_test_staircase": staircase}, 1e-3, 100))
    return cells


@pytest.mark.parametrize("environment", ["deepspeed-0.15.2", "deepspeed-0.17.1", "deepspeed-0.19.2", None], ids=str)
def test_deepspeed(environment: str | None) -> None:
    cells = deepspeed_cells()
    found = ask(environment, "deepspeed", cells)
    version = tuple(int(part) for part in found["version"].split(".")[:3])
    compared = Compared()
    for (kind, params, rate, updates), rates in zip(cells, found["rates"], strict=True):
        values = {f"scheduler.params.{key}": Value(value) for key, value in params.items()}
        settings = Settings({"scheduler.type": Value(kind), **values})
        filled = deepspeed_scheduler.schedule(settings, auto={}, optimizer_rate=rate, updates=updates, version=version)
        assert filled is not None
        compared.agree(filled.applied, rates, (kind, params))
    compared.report(f"deepspeed {found['version']}, five schedulers")


def test_optax() -> None:
    pairs = [(0, 10), (1, 2), (3, 20), (10, 100), (20, 20), (37, 1000)]
    cells: list[tuple[str, dict[str, Any], int]] = []
    for (warmup, end), start, floor in itertools.product(pairs, (0.0, 1e-5), (0.0, 3e-5)):
        if end > warmup:
            cells.append((
                "warmup_cosine_decay_schedule",
                {"init_value": start, "peak_value": 3e-4, "warmup_steps": warmup, "decay_steps": end, "end_value": floor},
                end + 10,
            ))  # fmt: skip
        cells.append((
            "warmup_constant_schedule", {"init_value": start, "peak_value": 3e-4, "warmup_steps": warmup}, end + 10
        ))  # fmt: skip
        line = {"init_value": 3e-4, "end_value": floor, "transition_steps": end, "transition_begin": warmup}
        cells.append(("linear_schedule", line, warmup + end + 10))
        cells.append(("cosine_decay_schedule", {"init_value": 3e-4, "decay_steps": end, "alpha": 0.1}, end + 10))
        cells.append(("constant_schedule", {"value": 3e-4}, 5))
    found = ask("optax", "other", cells, "optax")
    compared = Compared()
    for (name, arguments, updates), rates in zip(cells, found["rates"], strict=True):
        written = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        (role,) = read("train.py", f"import optax\ns = optax.{name}({written})\n", updates=updates).roles
        compared.agree(role.applied, rates, (name, arguments))
    compared.report(f"optax {found['version']}")


def test_torchtitan() -> None:
    cells: list[tuple[float, int, dict[str, Any], int]] = []
    for (warmup, steps), ratio, way, floor in itertools.product(
        [(0, 10), (1, 10), (3, 20), (10, 100), (20, 20), (30, 20)], (None, 0.2, 0.73, 1.0), ("linear", "sqrt", "cosine"),
        (0.0, 0.1),
    ):  # fmt: skip
        settings = {"warmup_steps": warmup, "decay_ratio": ratio, "decay_type": way, "min_lr_factor": floor}
        cells.append((3e-4, steps, settings, steps + 12))
        cells.append((3e-4, 2 * steps, {**settings, "total_steps": steps}, 2 * steps))
    found = ask("torchtitan", "other", cells, "torchtitan")
    compared = Compared()
    for (rate, steps, settings, updates), rates in zip(cells, found["rates"], strict=True):
        keys = "\n".join(f"{key} = {value!r}" for key, value in settings.items() if value is not None)
        text = f"[optimizer]\nlr = {rate}\n[training]\nsteps = {steps}\n[lr_scheduler]\n{keys}\n"
        (role,) = read("train.toml", text).roles
        compared.agree(role.applied, rates, settings)
        if len(rates) < updates:
            # The framework's assertion ended it; the audit says so too.
            with pytest.raises(Exception, match="past the scheduler's end"):
                role.applied.rate(len(rates) + 1)
    compared.report(f"torchtitan {found['version']}")


def test_torchtune() -> None:
    cells = [(3e-4, warmup, horizon, horizon + 10) for warmup, horizon in LENGTHS]
    found = ask("torchtune", "other", cells, "torchtune")
    compared = Compared()
    for (rate, warmup, horizon, _), rates in zip(cells, found["rates"], strict=True):
        text = (
            "model: {_component_: torchtune.models.m}\n"
            f"optimizer: {{_component_: torch.optim.AdamW, lr: {rate}}}\nepochs: 1\nmax_steps_per_epoch: {horizon}\n"
            "loss: {_component_: torchtune.modules.loss.L}\nlr_scheduler:\n"
            "  _component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup\n"
            f"  num_warmup_steps: {warmup}\n"
        )
        (role,) = read("a.yaml", text).roles
        assert role.applied.updates == horizon
        compared.agree(role.applied, rates, (warmup, horizon))
    compared.report(f"torchtune {found['version']}")


def test_litgpt() -> None:
    cells: list[tuple[str, float, int, int, int, float, int]] = []
    for (warmup, updates), accumulation, floor in itertools.product(
        [(0, 7), (1, 20), (3, 20), (10, 100), (37, 1000)], (1, 4), (0.0, 3e-5)
    ):
        # Tokens for a few micro-batches more than whole updates.
        most = updates * accumulation + accumulation - 1
        cells.append(("pretrain", 3e-4, warmup, updates, accumulation, floor, most))
        if warmup > 0:
            cells.append(("finetune", 3e-4, warmup, updates, accumulation, floor, updates))
    found = ask("litgpt", "other", cells, "litgpt")
    compared = Compared()
    for (program, rate, warmup, updates, accumulation, floor, most), rates in zip(cells, found["rates"], strict=True):
        length = (
            f"max_tokens: {most * 2 * 16}, max_seq_length: 16" if program == "pretrain" else f"max_steps: {updates}"
        )
        text = (
            f"{'model_name: m' if program == 'pretrain' else 'checkpoint_dir: c'}\n"
            f"optimizer: {{init_args: {{lr: {rate}}}}}\ntrain: {{global_batch_size: {2 * accumulation}, "
            f"micro_batch_size: 2, lr_warmup_steps: {warmup}, {length}, min_lr: {floor}, save_interval: 1, "
            "log_interval: 1}\n"
        )
        (role,) = read("a.yaml", text).roles
        assert role.applied.updates == updates
        compared.agree(role.applied, rates, (program, warmup, updates, accumulation))
    compared.report(f"litgpt {found['version']}, pretraining and finetuning")


STYLES = ("constant", "linear", "cosine", "inverse-square-root", "WSD")


def test_megatron() -> None:
    cells: list[tuple[dict[str, Any], int, int]] = []
    flags: list[str] = []
    for (warmup, length), style, floor, start, batch in itertools.product(
        [(0, 10), (1, 10), (3, 20), (10, 100), (37, 1000)], STYLES, (0.0, 3e-5), (0.0, 1e-5), (1, 16)
    ):
        ways = ("linear", "cosine", "exponential", "minus_sqrt") if style == "WSD" else (None,)
        for way in ways:
            decay = max(1, length // 5)
            settings: dict[str, Any] = {
                "init_lr": start, "max_lr": 3e-4, "min_lr": floor, "lr_warmup_steps": warmup * batch,
                "lr_decay_steps": length * batch, "lr_decay_style": style,
            }  # fmt: skip
            text = (
                f"python pretrain_gpt.py --lr 3e-4 --min-lr {floor} --lr-warmup-init {start} --train-iters {length} "
                f"--lr-warmup-iters {warmup} --global-batch-size {batch} --lr-decay-style {style}"
            )
            if way is not None:
                settings |= {"wsd_decay_steps": decay * batch, "lr_wsd_decay_style": way}
                text += f" --lr-wsd-decay-iters {decay} --lr-wsd-decay-style {way}"
            cells.append((settings, batch, length + 10))
            flags.append(text)
    for fraction, length in ((0.07, 100), (0.333, 50)):
        settings = {"init_lr": 0.0, "max_lr": 3e-4, "min_lr": 0.0, "lr_decay_style": "cosine"}
        cells.append(({**settings, "lr_warmup_steps": fraction * length * 8, "lr_decay_steps": length * 8}, 8, length))
        flags.append(
            f"python pretrain_gpt.py --lr 3e-4 --train-iters {length} --lr-warmup-fraction {fraction} "
            "--global-batch-size 8 --lr-decay-style cosine"
        )
    found = ask("megatron", "other", cells, "megatron")
    compared = Compared()
    for text, rates in zip(flags, found["rates"], strict=True):
        (role,) = read("run.sh", text).roles
        compared.agree(role.applied, rates, text)
    compared.report(f"megatron-core {found['version']}, OptimizerParamScheduler")


@pytest.mark.parametrize(("samples", "gpus", "batch"), [(100, 3, 2), (97, 8, 4), (31, 2, 8), (64, 4, 4), (5, 8, 4)])
@pytest.mark.parametrize("drop", [False, True], ids=["kept", "dropped"])
def test_the_loader_of_many_processes(samples: int, gpus: int, batch: int, drop: bool) -> None:
    """The micro-batches of a process, from the loader that Accelerate makes for the Trainer."""
    pytest.importorskip("accelerate")
    from accelerate.data_loader import prepare_data_loader
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(list(range(samples)), batch_size=batch, drop_last=drop)  # pyright: ignore
    shared: Any = prepare_data_loader(loader, num_processes=gpus, process_index=0, put_on_device=False)
    text = (
        f"TrainingArguments('o', per_device_train_batch_size={batch}, dataloader_drop_last={drop}, num_train_epochs=1)"
    )
    reading = read("train.py", text, samples=samples, gpus=gpus)
    micro = len(shared)
    assert reading.facts["micro_batches"] == micro
    if micro:
        assert reading.roles[0].applied.updates == math.ceil(max(1, micro))
