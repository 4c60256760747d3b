from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from huohou.errors import UserError
from huohou.train import lock
from huohou.train.lock import RunLock

HOLD = "import sys; from pathlib import Path; from huohou.train.lock import RunLock\n\
with RunLock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_the_lock_is_gone_afterwards(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text("utf-8"))["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=rf"trained by another process \(host .+, process {other.pid}\)"),
            RunLock(tmp_path),
        ):
            pass
        other.kill()
        other.wait()
        assert (tmp_path / ".lock").exists()
        with RunLock(tmp_path):
            pass


def test_a_file_that_means_nothing_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("[1", encoding="utf-8")
    with RunLock(tmp_path):
        pass


def test_without_locks_the_process_number_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    host = lock.socket.gethostname()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    for holder, free in (
        ({"host": host, "pid": ended.pid}, True),
        ({"host": host, "pid": os.getpid()}, False),
        ({"host": "elsewhere", "pid": ended.pid}, False),
        ({}, True),
    ):
        (tmp_path / ".lock").write_text(json.dumps(holder), encoding="utf-8")
        if free:
            with RunLock(tmp_path):
                pass
        else:
            with pytest.raises(UserError), RunLock(tmp_path):
                pass
