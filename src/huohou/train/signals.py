"""Ctrl-C and SIGTERM as a wish that the loop grants after the update it is in.

Ctrl-C once: save after this update and stop (exit status 130). Ctrl-C twice: stop at once. SIGTERM, which clusters
send before they kill: save and stop (143). Where the system has them: SIGHUP, which a lost connection sends, is
survived, and SIGUSR1 asks for a checkpoint after this update.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from huohou.language import Text

_SAVING = Text(
    "stopping after this update; once more to stop at once, without saving.",
    "将在本更新步之后保存并停止；再按一次则不保存、立即停止。",
)


class Stopped(Exception):
    """The run was asked to stop, by the signal with this exit status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"stopped by a signal (exit status {status})")


class Signals:
    """While the context lasts, ``stop`` is the exit status of a signal that asked for an end, else ``None``.

    ``save`` says that a checkpoint was asked for. Before :meth:`begin` there is nothing worth saving, so a signal that
    asks for an end raises :class:`Stopped` where it arrives.
    """

    def __init__(self, say: Callable[[Text], None]) -> None:
        self.stop: int | None = None
        self.save = False
        self._say = say
        self._graceful = False
        self._before: dict[int, Any] = {}

    def begin(self) -> None:
        """From here on the loop looks at ``stop`` after every update."""
        self._graceful = True

    def __enter__(self) -> Signals:
        # Python lets only the main thread set handlers; a run inside another thread is stopped by its caller.
        if threading.current_thread() is threading.main_thread():
            handlers = {"SIGINT": self._arrived, "SIGTERM": self._arrived}
            handlers |= {"SIGHUP": self._survived, "SIGUSR1": self._asked}
            self._before = {
                number: signal.signal(number, handler)
                for name, handler in handlers.items()
                if (number := getattr(signal, name, None)) is not None
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        status = 128 + number
        if not self._graceful or (self.stop is not None and number == signal.SIGINT):
            raise Stopped(status)
        if self.stop is None:
            self.stop = status
            if number == signal.SIGINT:
                # A line may be half written at this moment, and Python refuses to begin another one inside it.
                with suppress(RuntimeError):
                    self._say(_SAVING)

    def _survived(self, number: int, frame: FrameType | None) -> None:
        """The terminal is gone, the run is not."""

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.save = True
