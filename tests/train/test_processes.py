"""Several processes make one run: the numbers, the checkpoints, and what happens when one of them is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import several
from small import resume, small_trainer

from huohou import records
from huohou.errors import UserError
from huohou.train import checkpoint
from huohou.train.distributed import ALONE, World, rounds, share, started

SCRIPT = Path(several.__file__)
needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows lacks these signals")


def start(folder: Path, *runs: dict[str, Any], count: int = 2) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HUOHOU_LANG": "en"}
    command = [sys.executable, str(SCRIPT), "--launch", str(count), str(folder), json.dumps(runs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def launch(folder: Path, *runs: dict[str, Any], count: int = 2) -> tuple[int, str]:
    """The exit status of the launcher, and what all said on stderr."""
    process = start(folder, *runs, count=count)
    try:
        _, said = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, said


def alone(folder: Path, updates: int, *, micro: int = 8, going_on: bool = False) -> None:
    trainer = small_trainer(
        folder,
        several.SharedStage(micro_batch=micro),
        noise=0.0,
        updates=updates,
        curves={"all": several.gentle},
        checkpoint_every=10,
    )
    (resume(trainer) if going_on else trainer).run()


def lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    return list(records.read(path)) if path.exists() else []


def check_equal(one: Path, other: Path, updates: int) -> None:
    a, b = lines(one), lines(other)
    assert len(a) == len(b) == updates
    for x, y in zip(a, b, strict=True):
        assert (x["update"], x["rate"], x["tokens"]) == (y["update"], y["rate"], y["tokens"])
        assert x["loss"] == pytest.approx(y["loss"], rel=1e-6)
        assert x["gradient_norm"] == pytest.approx(y["gradient_norm"], rel=2e-6)
        if "layers" in x:
            assert x["layers"] == pytest.approx(y["layers"], rel=1e-5)


@pytest.mark.parametrize("count", [0, 1, 5, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_shares_are_the_whole_in_order(count: int, size: int) -> None:
    parts = [list(range(count))[share(count, rank, size)] for rank in range(size)]
    assert [number for part in parts for number in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert rounds(count, size, 2) == max(1, -(-max(map(len, parts)) // 2))


def test_what_the_launcher_says() -> None:
    assert started({}) == ALONE
    assert started({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == World(1, 4, 1)
    with pytest.raises(UserError, match="rank 4 of 4"):
        started({"RANK": "4", "WORLD_SIZE": "4"})
    with pytest.raises(UserError, match="WORLD_SIZE is ''"):
        started({"RANK": "0"})


@pytest.mark.heavy
def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    status, said = launch(
        tmp_path,
        {"name": "ddp", "updates": 50},
        {"name": "fsdp2", "engine": "fsdp2", "updates": 50, "micro": 3},
        {"name": "offload", "engine": "fsdp2", "offload": True, "updates": 50},
        {"name": "skip", "engine": "fsdp2", "updates": 8, "fault": ["nan gradient", 1, 3]},
        {"name": "skip too", "updates": 8, "fault": ["nan loss", 1, 3]},
        {"name": "full", "engine": "fsdp2", "updates": 12, "every": 5, "fault": ["full", 1, 3]},
    )
    assert status == 0, said
    alone(tmp_path / "one", 50)
    alone(tmp_path / "pieces", 50, micro=3)
    for name in ("pieces", "ddp", "fsdp2", "offload"):
        check_equal(tmp_path / "one", tmp_path / name, 50)
    # What one process cannot write is a checkpoint for none, and the run goes on.
    told = [(e["event"], e["update"]) for e in records.read(tmp_path / "full" / "events.jsonl")]
    saves = [event for event in told if event[0].startswith("checkpoint")]
    assert saves == [("checkpoint failed", 5), ("checkpoint", 10), ("checkpoint", 12)]
    assert {p.name for p in (tmp_path / "full" / "checkpoints").iterdir()} == {"checkpoint-10", "checkpoint-12"}
    for name in ("skip", "skip too"):
        skipped = [event for event in records.read(tmp_path / name / "events.jsonl") if event["event"] == "skip"]
        assert [(event["update"], event["batch"]) for event in skipped] == [(4, 3)]
        assert [line["update"] for line in lines(tmp_path / name)] == [1, 2, 3, 4, 4, 5, 6, 7, 8]


@pytest.mark.heavy
def test_a_run_goes_on_with_another_number_of_processes_and_another_engine(tmp_path: Path) -> None:
    status, said = launch(tmp_path, {"name": "a", "updates": 20, "engine": "fsdp2"}, {"name": "b", "updates": 20})
    assert status == 0, said
    assert (tmp_path / "a" / "checkpoints" / "checkpoint-20" / "layout.json").is_file()
    assert not (tmp_path / "b" / "checkpoints" / "checkpoint-20" / "layout.json").exists()
    for name in ("a", "b"):
        alone(tmp_path / name, 30, going_on=True)
    status, said = launch(
        tmp_path,
        {"name": "a", "updates": 50, "resume": True},
        {"name": "b", "updates": 50, "resume": True, "engine": "fsdp2"},
    )
    assert status == 0, said
    alone(tmp_path / "one", 50)
    for name in ("a", "b"):
        check_equal(tmp_path / "one", tmp_path / name, 50)


@pytest.mark.slow
def test_one_two_four_one(tmp_path: Path) -> None:
    alone(tmp_path / "run", 10)
    for count, updates, engine in ((2, 20, "fsdp2"), (4, 30, "fsdp2")):
        run = {"name": "run", "updates": updates, "resume": True, "engine": engine}
        status, said = launch(tmp_path, run, count=count)
        assert status == 0, said
    alone(tmp_path / "run", 40, going_on=True)
    alone(tmp_path / "one", 40)
    check_equal(tmp_path / "one", tmp_path / "run", 40)


FAULTS = [
    # What happens, to which rank, what is said of it, and the exit status.
    ("kill", 1, "rank 1 left in update 13: it was ended by SIGKILL", 1),
    ("hang", 1, "rank 1 hangs in update 13 (reading the batch)", 1),
    ("kill", 0, "rank 0 left in update 13: it was ended by SIGKILL", 1),
    ("hang", 0, "rank 0 hangs in update 13 (reading the batch)", 1),
    ("stand", 1, "rank 1 is dead or stopped: no sign of life", 1),
    ("exit", 1, "rank 1 left in update 13: it exited early (status 0)", 1),
    ("vanish", 1, "rank 1 left in update 13: it exited early, with status 0", 1),
    ("fail", 1, "rank 1 left in update 13: the disk of this rank is on fire.", 1),
    ("fail", 0, "the disk of this rank is on fire.", 1),
]


@needs_posix
@pytest.mark.parametrize(
    ("kind", "rank", "sentence", "expected"),
    [pytest.param(*fault, marks=pytest.mark.heavy if i < 2 else pytest.mark.slow) for i, fault in enumerate(FAULTS)],
)
def test_a_missing_process_is_named_and_the_others_leave(
    tmp_path: Path, kind: str, rank: int, sentence: str, expected: int
) -> None:
    run = {"name": "run", "timeout": 12, "engine": "fsdp2" if rank else "ddp", "fault": [kind, rank, 12]}
    status, said = launch(tmp_path, run)
    assert status == expected, said
    assert sentence in said
    assert "Traceback" not in said
    assert checkpoint.find(tmp_path / "run" / "checkpoints").newest is not None


@needs_posix
@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_launcher_saves_once_and_stops_all(tmp_path: Path, number: int, status: int) -> None:
    process = start(tmp_path, {"name": "run", "pause": 0.05, "updates": 4000})
    try:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "ready\n"]
        # Before the loop there would be nothing worth saving.
        while process.poll() is None and len(lines(tmp_path / "run")) < 3:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, said
    newest = checkpoint.find(tmp_path / "run" / "checkpoints").newest
    assert newest is not None
    assert len(lines(tmp_path / "run")) == newest.manifest.position.update


@needs_posix
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_to_one_rank_stops_all_after_the_same_update(tmp_path: Path, kind: str, status: int) -> None:
    found, said = launch(tmp_path, {"name": "run", "engine": "fsdp2", "fault": [kind, 1, 12]})
    assert found == status, said
    newest = checkpoint.find(tmp_path / "run" / "checkpoints").newest
    assert newest is not None and newest.manifest.position.update == 13


@needs_posix
@pytest.mark.slow
def test_one_of_two_ranks_is_killed_again_and_again(tmp_path: Path) -> None:
    alone(tmp_path / "one", 40)
    for batch in (3, 11, 17, 26, 33):
        run = {"name": "run", "timeout": 12, "every": 1, "resume": True, "fault": ["kill", batch % 2, batch]}
        status, said = launch(tmp_path, run)
        assert status == 1, said
    status, said = launch(tmp_path, {"name": "run", "every": 1, "resume": True})
    assert status == 0, said
    check_equal(tmp_path / "one", tmp_path / "run", 40)
