"""What a person sees while a run goes on: a bar in a terminal, calm plain lines elsewhere.

The time left is estimated from this run's own updates on a clock that cannot jump.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from huohou.language import Text


class PhaseLike(Protocol):
    """A named stretch of the plan, from update ``first`` to ``last``."""

    @property
    def text(self) -> Text: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """The numbers of one applied update."""

    update: int
    loss: float
    rates: Mapping[str, float]
    gradient_norm: float
    tokens: int
    seconds: float


class Progress:
    """Shows a run's updates; ``say`` prints a sentence that should not be missed.

    ``every``: updates between plain lines; ``None``: about a hundred lines a run, never more than one a second nor
    less than one a minute.
    ``quiet`` leaves only the sentences.
    """

    def __init__(
        self,
        *,
        every: int | None = None,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._updates = 0
        self._phases: tuple[PhaseLike, ...] = ()
        self._done = 0
        self._every = every
        self._quiet = quiet
        self._stream = stream if stream is not None else sys.stdout
        self._clock = clock
        self._bar: Any = None
        self._deaf = False
        self._began = self._last_line = clock()
        self._tokens, self._seconds = 0, 0.0

    def begin(self, done: int, updates: int, phases: tuple[PhaseLike, ...] = ()) -> None:
        """The loop starts now, after ``done`` of ``updates`` updates that were made before."""
        self._done, self._updates, self._phases = done, updates, phases
        self._began = self._last_line = self._clock()
        if not self._quiet and self._stream.isatty() and os.environ.get("TERM") != "dumb":
            self._bar = _bar(self._stream, updates, done)

    def show(self, shown: Shown) -> None:
        """One more update was applied."""
        self._tokens += shown.tokens
        self._seconds += shown.seconds
        if self._bar is not None:
            self._bar.update(shown.update, self.line(shown))
        elif not self._quiet and self._due(shown.update):
            self._last_line = self._clock()
            self._print(self.line(shown))

    def _due(self, update: int) -> bool:
        if update in (1, self._updates):
            return True
        if self._every is not None:
            return update % self._every == 0
        waited = self._clock() - self._last_line
        return waited >= 60 or (waited >= 1 and update % max(1, self._updates // 100) == 0)

    def line(self, shown: Shown) -> str:
        """One line about one update, in the language in force."""
        seconds = max(self._clock() - self._began, 1e-9)
        made = shown.update - self._done
        left = duration(seconds / max(made, 1) * (self._updates - shown.update))
        speed = short(self._tokens / max(self._seconds, 1e-9))
        rates = " ".join(f"{rate:.2e}" for rate in shown.rates.values())
        phase = self._phase(shown.update)
        parts = (
            Text(f"update {shown.update}/{self._updates}", f"更新步 {shown.update}/{self._updates}"),
            Text(f"loss {shown.loss:.3f}", f"损失 {shown.loss:.3f}"),
            Text(f"rate {rates}", f"学习率 {rates}"),
            *([phase] if phase else []),
            Text(f"gradient {shown.gradient_norm:.2f}", f"梯度 {shown.gradient_norm:.2f}"),
            Text(f"{speed} tokens/s", f"{speed} 词元/秒"),
            Text(f"left {left}", f"剩余 {left}"),
        )
        return " · ".join(str(part) for part in parts)

    def _phase(self, update: int) -> Text | None:
        for phase in self._phases:
            if phase.first <= update <= phase.last:
                share = (update - phase.first + 1) * 100 // (phase.last - phase.first + 1)
                return Text(f"{phase.text.en} {share}%", f"{phase.text.zh} {share}%")
        return None

    def say(self, text: Text) -> None:
        """Print a sentence; in a terminal it appears above the bar."""
        if self._bar is not None:
            self._bar.say(str(text))
        else:
            self._print(str(text))

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, line: str) -> None:
        if self._deaf:
            return
        coding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            print(line.encode(coding, "replace").decode(coding), file=self._stream, flush=True)
        except (OSError, ValueError):
            # The terminal or the other end of the pipe is gone. The run, which is worth more, is not.
            self._deaf = True


class _Bar:
    """rich's progress bar with the line of text beneath it."""

    def __init__(self, progress: Any, task: Any) -> None:
        self._progress = progress
        self._task = task

    def update(self, update: int, line: str) -> None:
        self._progress.update(self._task, completed=update, line=line)

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)

    def stop(self) -> None:
        self._progress.stop()


def _bar(stream: TextIO, updates: int, done: int) -> _Bar:
    # rich takes a while to import and is needed in a terminal only. It honours NO_COLOR by itself.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(file=stream)
    progress = Progress(BarColumn(bar_width=16), TextColumn("{task.fields[line]}", markup=False), console=console)
    task = progress.add_task("", total=updates, completed=done, line="")
    progress.start()
    return _Bar(progress, task)


def one_line(text: str) -> str:
    """Text of unknown origin made safe for a terminal: line ends are shown, control characters are not obeyed."""
    return "".join(c if c.isprintable() else "⏎" if c == "\n" else "·" for c in text)


def short(number: float) -> str:
    """A number as people say it: 950, 12.3k, 1.2M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = max(0, round(seconds))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
