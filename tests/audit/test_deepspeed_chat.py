"""DeepSpeed-Chat's four programs: what the audit says of a launch script, beside their own loops played with real
schedulers, engines that skip updates which overflow, and the lengths that their data loaders would have."""

from __future__ import annotations

import math
import random
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Given, Reading
from huohou.audit.source import Source

pytest.importorskip("torch")
pytest.importorskip("transformers")
import torch
from torch.utils.data import DataLoader, DistributedSampler

KINDS = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")


class Engine:
    """What deepspeed.initialize gives as far as the rate goes: a step at every accumulation's end, its own skips."""

    def __init__(self, kind: str, rate: float, warmup: int, horizon: int, accumulation: int, seed: int) -> None:
        from transformers.optimization import get_scheduler

        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
        self.scheduler: Any = get_scheduler(kind, self.optimizer, warmup, horizon)
        self.accumulation, self.micro, self.skipped = accumulation, 0, 0
        self.random = random.Random(seed)
        self.used: list[tuple[float, int]] = []
        """For each update: the rate that it used, and how many were skipped before it."""

    def step(self) -> None:
        self.micro += 1
        if self.micro % self.accumulation:
            return
        self.used.append((self.optimizer.param_groups[0]["lr"], self.skipped))
        if self.random.random() < 0.1:
            self.skipped += 1
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.optimizer.step()
            self.scheduler.step()


def sizes(samples: int, gpus: int, batch: int) -> list[int]:
    """The sizes of a process's batches of an epoch, from a real loader over a real distributed sampler."""
    data = list(range(samples))
    sampler: Any = DistributedSampler(data, num_replicas=gpus, rank=0)  # pyright: ignore[reportArgumentType]
    return [len(batch) for batch in DataLoader(data, sampler=sampler, batch_size=batch)]  # pyright: ignore


@dataclass
class Run:
    """One launch script's numbers."""

    kind: str
    warmup: int
    epochs: int
    accumulation: int
    batch: int
    samples: int
    gpus: int
    rates: tuple[float, float] = (9.65e-6, 5e-6)
    trained: int = 1
    repeats: int = 1
    together: int = 1


def one_model(run: Run) -> Engine:
    """The loop of SFT, reward model and DPO."""
    loader = sizes(run.samples, run.gpus, run.batch)
    horizon = run.epochs * math.ceil(len(loader) / run.accumulation)
    engine = Engine(run.kind, run.rates[0], run.warmup, horizon, run.accumulation, run.samples)
    for _ in range(run.epochs):
        for _ in loader:
            engine.step()
    return engine


def actor_and_critic(run: Run) -> tuple[Engine, Engine]:
    """The loop of PPO with its collection of generated batches, which goes on over the ends of epochs."""
    loader = sizes(run.samples, run.gpus, run.batch)
    per_epoch = len(loader) * (run.batch / run.trained) * run.repeats / run.accumulation
    horizon = int(run.epochs * per_epoch)
    actor = Engine(run.kind, run.rates[0], run.warmup, horizon, run.accumulation, run.samples)
    critic = Engine(run.kind, run.rates[1], run.warmup, horizon, run.accumulation, run.samples + 1)
    collected: list[int] = []
    for _ in range(run.epochs):
        for size in loader:
            collected.append(size)
            if len(collected) < run.together:
                continue
            small = [part for one in collected for part in range(0, one, run.trained)]
            collected = []
            for _ in range(run.repeats):
                for _ in small:
                    actor.step()
                    critic.step()
    return actor, critic


def script(run: Run, launcher: str, *, ppo: bool) -> str:
    shared = (
        f"   --num_train_epochs {run.epochs} --lr_scheduler_type {run.kind} --num_warmup_steps {run.warmup} \\\n"
        f"   --gradient_accumulation_steps {run.accumulation} --seed 1234 --deepspeed --output_dir $OUTPUT \\\n"
        "    &> $OUTPUT/training.log\n"
    )
    if not ppo:
        return (
            f"#!/bin/bash\nOUTPUT=$1\n{launcher} main.py --data_split 2,4,4 --model_name_or_path facebook/opt-350m \\\n"
            f"   --per_device_train_batch_size {run.batch} --learning_rate {run.rates[0]} --zero_stage 2 \\\n{shared}"
        )
    return (
        f"#!/bin/bash\nOUTPUT=$1\nActor_Lr={run.rates[0]}\nCritic_Lr={run.rates[1]}\n{launcher} main.py \\\n"
        "   --actor_model_name_or_path a --critic_model_name_or_path b --num_padding_at_beginning 1 \\\n"
        f"   --per_device_generation_batch_size {run.batch} --per_device_training_batch_size {run.trained} \\\n"
        f"   --generation_batches {run.together} --ppo_epochs {run.repeats} --enable_ema --offload \\\n"
        "   --actor_zero_stage 2 --critic_zero_stage 3 --enable_hybrid_engine \\\n"
        f"   --actor_learning_rate ${{Actor_Lr}} --critic_learning_rate ${{Critic_Lr}} \\\n{shared}"
    )


def read(text: str, **known: Any) -> Reading:
    (reading,) = examine(Document(Source("run.sh", text, Path("run.sh"))), Given(**known)).readings
    return reading


def agree(reading: Reading, name: str, engine: Engine) -> None:
    """Every update that the run makes, those after skipped ones too."""
    role = next(each for each in reading.roles if each.name == name)
    assert role.applied.updates == len(engine.used)
    for update, (rate, skipped) in enumerate(engine.used, 1):
        assert role.applied.rate(update - skipped) == pytest.approx(rate, rel=1e-12, abs=1e-12 * role.applied.peak)


small = st.integers(1, 5)
runs = st.builds(
    Run,
    kind=st.sampled_from(KINDS),
    warmup=st.sampled_from((0, 1, 3, 10)),
    epochs=st.integers(1, 4),
    accumulation=st.sampled_from((1, 2, 3, 8)),
    batch=st.integers(1, 6),
    samples=st.integers(60, 400),
    gpus=st.sampled_from((1, 2, 3, 8)),
    rates=st.tuples(st.floats(1e-6, 1e-3), st.floats(1e-6, 1e-3)),
    trained=st.integers(1, 6),
    repeats=st.integers(1, 3),
    together=st.integers(1, 3),
)
many = settings(
    # A failing run is small enough as it is.
    max_examples=60, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


@many
@given(run=runs)
def test_one_model(run: Run) -> None:
    engine = one_model(run)
    if engine.used:
        agree(read(script(run, "deepspeed", ppo=False), samples=run.samples, gpus=run.gpus), "model", engine)


@many
@given(run=runs)
def test_actor_and_critic(run: Run) -> None:
    actor, critic = actor_and_critic(run)
    if actor.used:
        reading = read(script(run, f"deepspeed --num_gpus {run.gpus}", ppo=True), samples=run.samples)
        agree(reading, "actor", actor)
        agree(reading, "critic", critic)


@many
@given(run=runs)
def test_the_updates_of_the_run_give_the_horizon_of_its_loader(run: Run) -> None:
    """Known by --updates alone: where the loader fills every accumulation, the curve is the program's."""
    whole = Run(**{**run.__dict__, "samples": run.accumulation * run.batch * run.gpus * 7})
    engine = one_model(whole)
    reading = read(script(whole, "deepspeed", ppo=False), updates=len(engine.used))
    agree(reading, "model", engine)


LAUNCHERS = [
    ("deepspeed --num_gpus 4", 4),
    ("deepspeed --num_nodes 2 --num_gpus=8", 16),
    ("deepspeed --include localhost:0,1,2", 3),
    ("deepspeed --include=worker-0:0,1@worker-1:0-3", 6),
    ("deepspeed --hostfile=hosts", 10),
    ("deepspeed --hostfile hosts --num_nodes 1", 4),
    ("torchrun --nnodes 2 --nproc_per_node 8", 16),
    ("accelerate launch --num_processes 5", 5),
    ("deepspeed --master_port 12346", 1),
]


@pytest.mark.parametrize(("launcher", "gpus"), LAUNCHERS, ids=lambda part: str(part))
def test_the_world_of_a_launcher(launcher: str, gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts").write_text("worker-0 slots=4\nworker-1 slots=6\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run = Run("cosine", 0, 1, 1, 2, 480, gpus)
    reading = read(script(run, launcher, ppo=False), samples=480)
    assert reading.roles[0].applied.updates == math.ceil(480 / gpus / 2)


def test_csv_of_actor_and_critic(tmp_path: Path) -> None:
    from huohou.cli.main import main

    run = Run("cosine", 100, 1, 1, 4, 0, 1, trained=4)
    (tmp_path / "run.sh").write_text(script(run, "deepspeed", ppo=True), encoding="utf-8")
    main(
        ["audit", str(tmp_path / "run.sh"), "--updates", "477", "--csv", str(tmp_path / "o.csv"), "--fail-on", "never"]
    )
    lines = (tmp_path / "o.csv").read_text(encoding="ascii").splitlines()
    assert lines[0] == "update,actor,critic" and len(lines) == 478
    # Update 103 stands at index 102: 2 of 377 behind the warmup.
    _, actor, critic = (float(part) for part in lines[103].split(","))
    share = 0.5 * (1 + math.cos(math.pi * 2 / 377))
    assert (actor, critic) == pytest.approx((9.65e-6 * share, 5e-6 * share), rel=1e-12, abs=0)


def test_only_lora_has_a_rate_of_its_own() -> None:
    run = Run("cosine", 0, 1, 1, 2, 480, 1)
    text = script(run, "deepspeed", ppo=False).replace("--zero_stage 2", "--lora_dim 128 --only_optimize_lora")
    assert read(text, updates=10).roles[0].applied.peak == 5e-4
    text = text.replace("--only_optimize_lora", "--lora_learning_rate 3e-4")
    reading = read(text, updates=10)
    assert reading.roles[0].applied.peak == run.rates[0]
    assert any("--lora_learning_rate 0.0003" in str(text) for text in reading.assumptions)
