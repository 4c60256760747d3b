"""kill -9 of one of two processes that train together; the other has to leave, and both go on from the checkpoint."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from faults.kills import kill
from faults.outcome import Outcome
from faults.runs import Place

COUNT, QUICK = 20, 1
ARGUMENTS = ("--nproc", "2")


def run(place: Place, count: int, seed: int) -> Outcome:
    """``count`` runs of two processes."""
    if not sys.platform.startswith("linux"):
        return Outcome(skipped="the processes of a run are found in /proc, which only Linux has")
    return kill(place, count, seed, ARGUMENTS, _one_of_them)


def _one_of_them(launcher: subprocess.Popen[str], draw: random.Random) -> int | None:
    """One of the processes that the launcher began."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == launcher.pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return draw.choice(sorted(found)) if found else None
