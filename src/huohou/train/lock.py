"""One process a run folder: a lock that dies with its holder.

The operating system holds the lock on the file and drops it when the process ends, however it ends, so a file left
by a killed run is recognised as stale and taken over. Where a file system has no locks, the process number written
in the file decides, for processes of this machine.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from huohou.errors import UserError

# The locked byte lies far behind the text, because Windows lets nobody read a byte that is locked.
_BYTE = 1 << 20


class RunLock:
    """Holds ``RUN/.lock`` for as long as the context lasts; raises :class:`UserError` where another run holds it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        while self._handle is None:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                holder = _holder(handle)
                if not _take(handle, holder):
                    raise self._refusal(holder)
                # The previous holder may have removed the file after it was opened here; then this lock guards nothing.
                if self.path.exists() and os.path.samestat(os.fstat(handle), self.path.stat()):
                    self._handle = handle
            finally:
                if self._handle is None:
                    os.close(handle)
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode("utf-8"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            # Windows cannot remove an open file, others must remove it while it is still locked.
            if os.name != "nt":
                self.path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _refusal(self, holder: dict[str, object]) -> UserError:
        host, pid = holder.get("host", "?"), holder.get("pid", "?")
        return UserError(
            f"{self.path.parent} is being trained by another process (host {host}, process {pid}): wait for it, stop "
            f"it, or choose another output.",
            f"{self.path.parent} 正由另一进程训练（主机 {host}，进程 {pid}）：请等待、停止它，或另选输出目录。",
        )


def _holder(handle: int) -> dict[str, object]:
    """Who wrote the file last, as far as can be read."""
    try:
        holder = json.loads(os.read(handle, 4096))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _take(handle: int, holder: dict[str, object]) -> bool:
    """Lock the open file for this process, if nobody else has it."""
    if os.name == "nt":
        import msvcrt

        os.lseek(handle, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # pyright: ignore
        except OSError:
            return False
        return True
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return not _alive(holder)
    return True


def _alive(holder: dict[str, object]) -> bool:
    """Whether the holder, as written, may still be running; a process of another machine may."""
    pid = holder.get("pid")
    if not isinstance(pid, int):
        return False
    if holder.get("host") != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
