"""Running one process and saying what it took; running several kinds in turn, so that a drift hits all alike.

The parent stays small on purpose: where the operating system counts a child's peak memory from its birth on, the
parent's own size is the least that it can report.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Ran:
    """One finished process.

    Attributes:
        seconds: Wall time from before it was started until it had ended.
        cpu_seconds: Processor time of it and of the children that it waited for; ``None`` where it is not known.
        peak_bytes: The largest resident size of it or one of those children; ``None`` where it is not known.
        load: The machine's load of the last minute, as the process began; ``None`` where it is not known.
        output: What it printed to standard output.
        own: What it measured itself, by name.
    """

    seconds: float
    cpu_seconds: float | None
    peak_bytes: int | None
    load: float | None
    output: str = ""
    own: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Plain data for the results, without the output."""
        return {name: value for name, value in asdict(self).items() if name != "output"}


def run(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command to its end, with ``env`` added to the variables; one that fails ends the benchmark with what it
    printed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=out, stderr=err)
        cpu = peak = None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu = usage.ru_utime + usage.ru_stime
            peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        else:
            process.wait()
        seconds = time.perf_counter() - began
        out.seek(0)
        output = out.read().decode("utf-8", "replace")
        if process.returncode:
            err.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{output[-2000:]}{err.read().decode('utf-8', 'replace')[-4000:]}")
    return Ran(seconds, cpu, peak, load, output)


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of this package; its working folder must be the checkout."""
    return [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]


def in_turn(sides: Mapping[str, Callable[[int], Ran]], rounds: int) -> dict[str, list[Ran]]:
    """Run every side once a round, each round beginning with another one; a side is told the number of its round."""
    names = list(sides)
    ran: dict[str, list[Ran]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            say(f"round {number + 1} of {rounds}: {name}")
            ran[name].append(sides[name](number))
    return ran


def say(line: str) -> None:
    """Tell a person who waits what is going on."""
    print(f"  {line}", file=sys.stderr, flush=True)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The ratio of the medians, and the least and greatest ratio of a round."""
    rounds = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"of_medians": median(ours) / median(theirs), "min": min(rounds), "max": max(rounds)}
