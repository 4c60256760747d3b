"""A run that is killed without warning, and taken up again, ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from small import UPDATES

from huohou import records
from huohou.train.checkpoint import find

SCRIPT = Path(__file__).parent / "small.py"


def start(folder: Path, pause: float) -> subprocess.Popen[str]:
    """A run in its own process, which has just begun."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(pause)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output.splitlines()[-1]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in records.read(folder / "metrics.jsonl")]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_ten_kills_at_random_moments_change_no_bit(tmp_path: Path) -> None:
    whole = finish(start(tmp_path / "whole", 0))
    draw = random.Random()
    killed = 0
    while killed < 10:
        process = start(tmp_path / "killed", 0.03)
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert not find(tmp_path / "killed" / "checkpoints").unusable
    assert finish(start(tmp_path / "killed", 0)) == whole
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert len(lines(tmp_path / "whole")) == UPDATES
    assert not [p for p in (tmp_path / "killed" / "checkpoints").iterdir() if ".tmp-" in p.name or ".old-" in p.name]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_process_saves_and_exits_with_its_status(tmp_path: Path, number: int, status: int) -> None:
    process = start(tmp_path, 0.05)
    time.sleep(0.4)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == status
    newest = find(tmp_path / "checkpoints").newest
    assert newest is not None
    assert len(lines(tmp_path)) == newest.manifest.position.batches
