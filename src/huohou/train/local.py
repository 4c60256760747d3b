"""``huohou train --nproc``: the processes of a run on this machine, started together and ended together.

The parent computes nothing. It keeps the store in which they find each other, passes signals on, and says of a process
that ended otherwise than it should which one it was, how it ended and in which update.
"""

# torch exports these without saying so.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import torch.distributed as dist

from huohou.language import Text
from huohou.train.processes import loopback
from huohou.train.watch import PARENT

_LOOK, _PATIENCE = 0.05, 5.0
"""Seconds between two looks, and for which a question waits for its answer."""


class _Local:
    """The processes, by rank."""

    def __init__(self, command: Sequence[str], count: int, timeout: float) -> None:
        self.store = dist.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
        self.watch = dist.PrefixStore("huohou/0/watch", self.store)
        self.timeout = timeout
        common = {
            **os.environ,
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            PARENT: str(os.getpid()),
        }
        common.setdefault("GLOO_SOCKET_IFNAME", loopback())
        # Where there is no network, torch remarks that loopback has no name.
        common.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        # Without this each process would take all cores.
        common.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
        self.processes = [
            # In sessions of their own: a Ctrl-C reaches the parent alone, which passes it on once.
            subprocess.Popen(command, env={**common, "RANK": str(r), "LOCAL_RANK": str(r)}, start_new_session=True)
            for r in range(count)
        ]
        self.first: tuple[int, int] | None = None
        """The first process that ended badly, and its exit status."""

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def wait(self) -> int:
        """Until all have ended; the exit status of the whole."""
        ended: dict[int, int] = {}
        deadline: float | None = None
        while len(ended) < len(self.processes):
            for rank, process in enumerate(self.processes):
                status = process.poll()
                if rank in ended or status is None:
                    continue
                status = ended[rank] = self.meant(rank, status)
                if status == 0 and not self.watch.check([f"done/{rank}"]):
                    status = ended[rank] = 256
                if status != 0:
                    self.note(rank, status)
                    deadline = deadline or time.monotonic() + self.timeout + 10
            if deadline is not None and time.monotonic() > deadline:
                for process in self.processes:
                    process.kill()
                deadline = None
            time.sleep(_LOOK)
        if self.first is None:
            return 0
        statuses = set(ended.values())
        stopped = next((s for s in (143, 130) if s in statuses), None)
        if stopped is not None and statuses <= {0, stopped}:
            return stopped
        status = self.first[1]
        return status if 0 < status < 256 else 1

    def meant(self, rank: int, status: int) -> int:
        """The exit status that a process left with; what a library does while it is torn down does not count."""
        if status < 0 and self.watch.check([f"left/{rank}"]):
            return int(json.loads(self.watch.get(f"left/{rank}"))["status"])
        return 0 if status < 0 and self.watch.check([f"done/{rank}"]) else status

    def note(self, rank: int, status: int) -> None:
        """Remember and announce a process that ended badly."""
        if self.first is not None:
            return
        self.first = (rank, status)
        if 0 < status < 256 and (self.watch.check([f"left/{rank}"]) or self.watch.check(["verdict"])):
            return
        en, zh = _how(status)
        self.watch.set(f"dead/{rank}", json.dumps({"update": 0, "status": 1, "en": f"{en}.", "zh": f"{zh}。"}))
        # The others know in which update they miss it.
        deadline = time.monotonic() + _PATIENCE
        while not self.watch.check(["verdict"]) and time.monotonic() < deadline:
            time.sleep(_LOOK)
        update = int(json.loads(self.watch.get("verdict"))["update"]) if self.watch.check(["verdict"]) else 0
        place, wo = (f" in update {update}", f"在更新步 {update} ") if update else ("", "")
        pid = self.processes[rank].pid
        said = Text(f"rank {rank} (process {pid}): {en}{place}.", f"进程 {rank}（进程号 {pid}）{wo}{zh}。")
        print(f"huohou: {said}", file=sys.stderr, flush=True)


def _how(status: int) -> tuple[str, str]:
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = str(-status)
        return f"it was ended by {name}", f"被 {name} 终止"
    if status == 256:
        return "it exited early, with status 0", "提前退出，状态为 0"
    return f"it exited with status {status}", f"退出，状态为 {status}"


def run_local(command: Sequence[str], count: int, timeout: float) -> int:
    """Run ``command`` in ``count`` processes of one run; the exit status is theirs, 1 where one was killed."""
    local = _Local(command, count, timeout)
    before = {number: signal.signal(number, local.pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    if hasattr(signal, "SIGUSR1"):
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, local.pass_on)
    try:
        return local.wait()
    finally:
        for process in local.processes:
            if process.poll() is None:
                process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)
