"""kill -9 of one process: at a random moment of its run, and again while it goes on, until it is let finish."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from faults.outcome import Outcome
from faults.runs import Place, ended, plain, wait_until
from huohou.train.checkpoint import find

COUNT, QUICK = 40, 2
KILLS = 2
"""How often each run is killed before it may finish."""

Victim = Callable[[subprocess.Popen[str], random.Random], int | None]
"""Which process is killed, by its number; ``None`` where it is gone already."""


def run(place: Place, count: int, seed: int) -> Outcome:
    """``count`` runs that were all killed, beside one that was not."""
    return kill(place, count, seed, (), lambda process, _: process.pid)


def kill(place: Place, count: int, seed: int, arguments: tuple[str, ...], victim: Victim) -> Outcome:
    """The same for any kind of run."""
    draw = random.Random(seed)
    whole = place.finish("whole", *arguments)
    assert whole.status == 0, whole.said
    expected, seconds = place.end("whole"), place.seconds("whole")
    outcome = Outcome()
    for number in range(count):
        name = f"killed-{number + 1}"
        outcome.details.append(plain(_one(place, name, draw, seconds, expected, arguments, victim)))
    outcome.count("runs that were killed went on by themselves and ended", [d["ended"] for d in outcome.details])
    outcome.count("… bit-equal with the run that was not", [d["equal"] for d in outcome.details])
    outcome.count("… and left nothing half written", [d["clean"] for d in outcome.details])
    outcome.count("every finished checkpoint was whole after every kill", [d["whole"] for d in outcome.details])
    return outcome


def _one(
    place: Place,
    name: str,
    draw: random.Random,
    seconds: float,
    expected: dict[str, str],
    arguments: tuple[str, ...],
    victim: Victim,
) -> dict[str, Any]:
    """One run, killed :data:`KILLS` times."""
    moments: list[int] = []
    half, left, whole = 0, 0.0, True
    while len(moments) < KILLS:
        process = place.start(name, *arguments)
        # The start of Python takes far longer than the run: the moment is drawn from the run itself, and it may fall
        # between any two instructions.
        wait_until(lambda: _begun(place, name) > len(moments), process)
        time.sleep(draw.uniform(0, seconds * 0.6))
        found = victim(process, draw)
        if found is not None:
            os.kill(found, signal.SIGKILL)
        began = time.monotonic()
        if ended(process).status == 0:
            # It was faster than the moment. A run that was never killed is begun anew.
            if moments:
                break
            shutil.rmtree(place.run_folder(name))
            continue
        left = max(left, time.monotonic() - began)
        moments.append(place.updates(name))
        half += bool(place.debris(name))
        whole = whole and not find(place.run_folder(name) / "checkpoints").unusable
    last = place.finish(name, *arguments)
    return {
        "run": name,
        "killed after update": moments,
        "kills while a checkpoint was half written": half,
        "all processes had left after seconds": left,
        "whole": whole,
        "ended": last.status == 0,
        "equal": last.status == 0 and place.end(name) == expected,
        "clean": not place.debris(name),
        **({} if last.status == 0 else {"said": place.without_path(last.said[-500:])}),
    }


def _begun(place: Place, name: str) -> int:
    """How many processes have reached this run's loop so far."""
    path = place.run_folder(name) / "events.jsonl"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return text.count('"event": "start"') + text.count('"event": "resume"')
