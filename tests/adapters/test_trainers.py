"""Real trainers apply the plan bit for bit, and what is done to them wrongly is caught and named."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import huohou

SCRIPT = Path(__file__).with_name("loops.py")
PLAN = huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%")
PLANNED = [PLAN.curve(update) for update in range(1, 13)]
PROOF = "planned == applied: 12 of 12 updates"


@dataclass(frozen=True)
class Ran:
    """What the processes of one run found out, and what all runs of the same processes said."""

    ranks: list[dict[str, Any]]
    output: str

    def is_the_plan(self, *, first: int = 1) -> None:
        """Each process used exactly the planned rates; ``first``: the update that it began with."""
        for found in self.ranks:
            assert found["updates"] == list(range(first, 13))
            assert found["applied"] == PLANNED[first - 1 :]
            # A hook that knows nothing of huohou saw the same, in the same order.
            seen = [rates[0] for rates in found["seen"]]
            assert [rate for i, rate in enumerate(seen) if i == 0 or rate != seen[i - 1]] == PLANNED[first - 1 :]
            assert all(len(set(rates)) == 1 for rates in found["seen"])
            assert found["proof"] == PROOF


def run(folder: Path, processes: int, *runs: dict[str, Any], launched: bool = False) -> dict[str, Ran]:
    """Make runs one after another in so many processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "TOKENIZERS_PARALLELISM": "false"}
    if processes > 1 or launched:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), json.dumps(runs)],
            env={**environment, **({"RANK": str(n), "LOCAL_RANK": str(n)} if "WORLD_SIZE" in environment else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        for n in range(processes)
    ]
    said = [process.communicate(timeout=280)[0] for process in started]
    assert [process.returncode for process in started] == [0] * processes, "\n".join(said)
    return {
        one["name"]: Ran([json.loads((folder / one["name"] / f"rank{n}.json").read_text("utf-8")) for n in range(processes)],
                         "\n".join(said))
        for one in runs
    }  # fmt: skip


def needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.mark.heavy
def test_the_trainer_and_trl_in_one_process(tmp_path: Path) -> None:
    needs("transformers", "accelerate", "trl", "datasets")
    found = run(
        tmp_path,
        1,
        {"name": "plain", "kind": "trainer", "accumulation": 2},
        {"name": "resumed", "kind": "trainer", "accumulation": 2, "resume": "plain/out/checkpoint-5"},
        {"name": "asked", "kind": "trainer", "arguments": {"warmup_steps": 3, "lr_scheduler_type": "cosine"}},
        {"name": "sft", "kind": "trainer", "sft": True, "accumulation": 2},
        {"name": "sft resumed", "kind": "trainer", "sft": True, "accumulation": 2, "resume": "sft/out/checkpoint-5"},
        {"name": "twice", "kind": "trainer", "misuse": "twice"},
        {"name": "second", "kind": "trainer", "misuse": "second"},
        {"name": "stopped", "kind": "trainer", "misuse": "second", "guard": "raise"},
    )
    for name in ("plain", "asked", "sft"):
        found[name].is_the_plan()
        assert found[name].ranks[0]["logged"] == PLANNED
    found["resumed"].is_the_plan(first=6)
    found["sft resumed"].is_the_plan(first=6)
    assert found["plain"].ranks[0]["said"] == found["resumed"].ranks[0]["said"] == []
    assert found["asked"].ranks[0]["said"] == [
        "the Trainer's own warmup_steps=3, lr_scheduler_type=cosine is not used: the plan's curve takes its place."
    ]
    # Stepped twice: named, and without effect, for the rate follows the updates.
    found["twice"].is_the_plan()
    [twice] = found["twice"].ranks[0]["said"]
    assert twice.startswith("before update 2: scheduler.step() was called 2 times for one update (at trainer.py:")
    [second] = found["second"].ranks[0]["said"]
    assert second.startswith("update 2 used the rate 0.5 in the group all, the plan says 0.0005: something else wrote")
    assert found["second"].ranks[0]["proof"].startswith("planned != applied: 12 of 12 updates, 11 of them")
    assert found["stopped"].ranks[0]["error"] == second
    lines = [json.loads(line) for line in (tmp_path / "plain" / "applied.jsonl").read_text("utf-8").splitlines()]
    assert lines == [{"update": u, "rate": PLAN.curve(u), "skipped": False} for u in range(1, 13)]


@pytest.mark.heavy
def test_two_processes(tmp_path: Path) -> None:
    needs("transformers", "accelerate", "trl", "datasets")
    found = run(
        tmp_path,
        2,
        {"name": "loop", "kind": "loop", "accumulation": 2},
        {"name": "unprepared", "kind": "loop", "accumulation": 2, "prepared": False},
        {"name": "plain", "kind": "loop", "plain": True},
        {"name": "trainer", "kind": "trainer", "accumulation": 2},
        {"name": "sft", "kind": "trainer", "sft": True, "accumulation": 2},
    )
    for name in ("loop", "unprepared", "trainer", "sft"):
        found[name].is_the_plan()
        assert all(rank["said"] == [] for rank in found[name].ranks)
    for rank in found["plain"].ranks:
        assert rank["said"] == [
            f"update 2 used the rate {PLAN.curve(3)}, the plan says {PLAN.curve(2)}: the scheduler was prepared by "
            "Accelerate, which steps it 2 times an update, once for each process: keep it out of accelerator.prepare(), "
            "or make it with huohou.adapters.accelerate."
        ]
    assert found["plain"].output.count("prepared by Accelerate") == 1, "one process speaks"


@pytest.mark.heavy
def test_accelerate_in_one_process(tmp_path: Path) -> None:
    needs("accelerate")
    found = run(
        tmp_path,
        1,
        {"name": "loop", "kind": "loop", "accumulation": 2},
        {"name": "unprepared", "kind": "loop", "accumulation": 2, "prepared": False},
        {"name": "plain", "kind": "loop", "accumulation": 2, "prepared": False, "plain": True},
    )
    found["loop"].is_the_plan()
    found["unprepared"].is_the_plan()
    [said] = found["plain"].ranks[0]["said"]
    assert said.startswith(
        f"update 1 used the rate {PLAN.curve(2)}, the plan says {PLAN.curve(1)}: scheduler.step() is"
    )
    assert "after every micro-batch" in said


@pytest.mark.heavy
def test_deepspeed_beneath_the_trainer(tmp_path: Path) -> None:
    needs("transformers", "accelerate", "deepspeed", "trl", "datasets")
    own = {"optimizer": {"type": "Adam", "params": {"lr": "auto", "torch_adam": True}}}
    found = run(
        tmp_path,
        2,
        {"name": "zero", "kind": "trainer", "deepspeed": 2, "accumulation": 2},
        # With DeepSpeed's own optimizer the engine steps the scheduler, and the Trainer does not.
        {"name": "engine", "kind": "trainer", "deepspeed": 2, "deepspeed_config": own},
        {"name": "resumed", "kind": "trainer", "deepspeed": 2, "deepspeed_config": own,
         "resume": "engine/out/checkpoint-5"},
        {"name": "sft", "kind": "trainer", "sft": True, "deepspeed": 2, "accumulation": 2},
    )  # fmt: skip
    for name in ("zero", "engine", "sft"):
        found[name].is_the_plan()
    found["resumed"].is_the_plan(first=6)
    assert all(rank["said"] == [] for ran in found.values() for rank in ran.ranks)


@pytest.mark.heavy
def test_deepspeeds_client_scheduler(tmp_path: Path) -> None:
    needs("deepspeed")
    found = run(
        tmp_path,
        2,
        {"name": "zero2", "kind": "engine", "stage": 2, "accumulation": 2, "groups": True},
        {"name": "zero3", "kind": "engine", "stage": 3, "groups": True},
        {"name": "overflow", "kind": "engine", "stage": 2, "overflow": 2},
        {"name": "twice", "kind": "engine", "stage": 1, "misuse": "twice"},
    )
    for ran in found.values():
        ran.is_the_plan()
    assert [rank["skipped"] for rank in found["overflow"].ranks] == [2, 2], "two updates were skipped, none was lost"
    assert all(found[name].ranks[0]["said"] == [] for name in ("zero2", "zero3", "overflow"))
    assert found["twice"].ranks[0]["said"][0].startswith("before update 2: scheduler.step() was called 2 times")
