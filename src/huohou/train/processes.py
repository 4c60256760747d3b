"""Bringing the processes of a run together, and marking where each stands, so that a missing one is named.

A process that is dead, stuck or gone is found out by :mod:`huohou.train.watch`; here the run says how far it is, rank 0
goes first where the others would do the same work, and what a process leaves with is settled.
"""

# torch exports these without saying so.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from huohou.errors import RunFailed, UserError
from huohou.train import distributed
from huohou.train.distributed import World
from huohou.train.signals import Stopped
from huohou.train.watch import Watch, said_of

_T = TypeVar("_T")
_watch: Watch | None = None


class Left(Exception):
    """This process leaves with an exit status; another one says why."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"another process ended the run (exit status {status})")


def mark(update: int | None, doing: str) -> None:
    """This process has come to this point of this update (``None``: the one it was in).

    Every rank passes the same points in the same order, so whoever has passed the fewest is behind.
    """
    if _watch is not None:
        _watch.count += 1
        _watch.update = _watch.update if update is None else update
        _watch.doing = doing
        _watch.moved = time.monotonic()


def first_rank_0(name: str, function: Callable[[], _T]) -> _T:
    """What ``function`` gives, called by rank 0 before the others, who find in the caches what it has put there.

    It may take hours: nobody waits in a sum, nobody has to move, and a rank 0 that fails is noticed.
    """
    watch = _watch
    if watch is None:
        return function()
    watch.count = 0
    if watch.world.leads:
        result = function()
        watch.store.set(name, "1")
        return result
    while not watch.store.check([name]):
        if watch.verdict is not None:
            watch.taken = True
            raise _error(watch)
        time.sleep(0.1)
    return function()


def _error(watch: Watch) -> Exception:
    """What this process leaves with after a verdict."""
    verdict = watch.verdict
    assert verdict is not None
    if verdict.status in (130, 143):
        return Stopped(verdict.status)
    if verdict.teller != watch.world.rank:
        return Left(verdict.status)
    return (UserError if verdict.status == 2 else RunFailed)(verdict.en, verdict.zh)


@contextmanager
def joined(found: World, *, device: str, timeout: float) -> Generator[World]:
    """Bring the processes of a run together, watch over them, and part again.

    ``device``: what the run computes on; sums of gradients go by NCCL on GPUs, all else by gloo. ``timeout``: seconds
    after which a process that does not move is given up.

    Raises :class:`Left` where another process says why the run ends.
    """
    global _watch
    if found.alone:
        yield found
        return
    host, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    if not host or not port.isdecimal():
        raise UserError(
            f"the launcher's variables MASTER_ADDR and MASTER_PORT are {host!r} and {port!r}; torchrun and "
            f"huohou train --nproc set them.",
            f"启动器变量 MASTER_ADDR 与 MASTER_PORT 为 {host!r} 与 {port!r}；torchrun 和 huohou train --nproc "
            f"会设定它们。",
        )
    if host in ("127.0.0.1", "localhost", "::1"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback())
    keeps = found.leads and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    patience = timedelta(seconds=timeout)
    prefix = f"huohou/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    try:
        kept = dist.TCPStore(host, int(port), found.size, keeps, patience, wait_for_workers=False)
        talk = dist.TCPStore(host, int(port), found.size, False, patience, wait_for_workers=False)
        store = dist.PrefixStore(f"{prefix}/watch", talk)
    except RuntimeError as error:
        raise _nobody(found, host, port, timeout) from error
    watch = _watch = Watch(found, store, timeout)
    try:
        if device == "cuda":
            _take_gpu(found)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
            store=dist.PrefixStore(f"{prefix}/sums", kept),
            rank=found.rank,
            world_size=found.size,
            # The watch notices first and knows more.
            timeout=timedelta(seconds=2 * timeout + 30),
        )
        distributed.enter(found)
        yield found
        found.wait()
        watch.finished = True
        watch.bye()
    except BaseException as error:
        parting = _parting(watch, error)
        if parting is error:
            raise
        raise parting from error
    finally:
        watch.close()
        distributed.enter(distributed.ALONE)
        _watch = None
        if dist.is_initialized() and not watch.lost:
            with suppress(RuntimeError):
                dist.destroy_process_group()


def _parting(watch: Watch, error: BaseException) -> BaseException:
    """What this process leaves with, from what happened to it."""
    known = isinstance(error, UserError | RunFailed | Stopped | Left | KeyboardInterrupt | SystemExit)
    if not known and (verdict := watch.explain(min(watch.timeout, 30.0))) is not None:
        return _error(watch) if verdict else error
    if isinstance(error, Left):
        return error
    watch.leave(error)
    watch.finished = True
    watch.bye()
    if isinstance(error, UserError | RunFailed) and not watch.world.leads:
        # Rank 0 says it, or says the same of itself.
        return Left(said_of(error)[0])
    return error


def _take_gpu(found: World) -> None:
    """The GPU of this process is the one with its number on its machine."""
    count = torch.cuda.device_count()
    if found.local_rank >= count:
        raise UserError(
            f"rank {found.rank} wants GPU {found.local_rank} of its machine, which has {count}: start fewer processes, "
            f"or write train.device: cpu.",
            f"进程 {found.rank} 需要本机的 GPU {found.local_rank}，而本机只有 {count} 个：请减少进程数，"
            f"或写 train.device: cpu。",
        )
    torch.cuda.set_device(found.local_rank)


def _nobody(found: World, host: str, port: str, timeout: float) -> RunFailed:
    return RunFailed(
        f"rank {found.rank} did not find the other {found.size - 1} processes at {host}:{port} within {timeout:.0f} s.",
        f"进程 {found.rank} 在 {timeout:.0f} 秒内未能在 {host}:{port} 找到其余 {found.size - 1} 个进程。",
    )


def loopback() -> str:
    """The name of this machine's loopback interface."""
    names = [name for _, name in socket.if_nameindex()] if hasattr(socket, "if_nameindex") else []
    return next((name for name in names if name.startswith("lo")), "lo")
