"""Bits flipped, ends cut off and files removed in the newest of a run's checkpoints; the one before must be used."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.outcome import Outcome
from faults.runs import UPDATES, Place
from huohou.train.checkpoint import find

COUNT, QUICK = 1000, 40
RUNS: dict[str, tuple[str, ...]] = {"whole": (), "in parts": ("--nproc", "2", "train.engine=fsdp2")}
"""One process writes whole tensors; two write what each of them holds."""
THROUGH_THE_COMMAND = 3
"""How many of each kind also go through ``huohou train --resume`` to the end."""


def run(place: Place, count: int, seed: int) -> Outcome:
    """``count`` cases in all, of each kind and each file about as many."""
    draw = random.Random(seed)
    outcome = Outcome()
    for name, arguments in RUNS.items():
        done = place.finish(name, *arguments)
        assert done.status == 0, done.said
        _harm(place, name, count // len(RUNS), draw, outcome)
    before = f"checkpoint-{UPDATES - 1}"
    for kind in KINDS:
        cases = [d for d in outcome.details if d["kind"] == kind]
        outcome.count(f"{kind}: noticed", [d["noticed"] for d in cases])
        outcome.count(f"{kind}: the file is named in both languages", [d["named"] for d in cases])
        outcome.count(f"{kind}: the checkpoint before is used", [d["used"] == before for d in cases])
    _through_the_command(place, draw, outcome)
    return outcome


def _harm(place: Place, run: str, count: int, draw: random.Random, outcome: Outcome) -> None:
    """``count`` cases in the newest checkpoint of a run; each is undone before the next."""
    folder = place.run_folder(run) / "checkpoints"
    newest = folder / f"checkpoint-{UPDATES}"
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        path = draw.choice(sorted(newest.iterdir()))
        content = path.read_bytes()
        case = {"run": run, "kind": kind, "file": path.name, **KINDS[kind](path, draw)}
        found = find(folder)
        said = [error.text.plain() for error in found.unusable if error.folder == newest]
        case |= {
            "noticed": bool(said),
            "named": bool(said) and all(path.name in text for text in said[0].values()),
            "used": "" if found.newest is None else found.newest.folder.name,
        }
        outcome.details.append(case)
        path.write_bytes(content)
    assert not find(folder).unusable, "the harm is undone"


def _through_the_command(place: Place, draw: random.Random, outcome: Outcome) -> None:
    """The same to runs that are taken up by the command: it says what is damaged, and ends bit-equal."""
    expected = place.end("whole")
    goes_on, says, stops = [], [], []
    for number in range(min(THROUGH_THE_COMMAND, max(1, len(outcome.details) // 100))):
        kind = list(KINDS)[number % len(KINDS)]
        name = f"damaged-{number + 1}"
        shutil.copytree(place.run_folder("whole"), place.run_folder(name))
        shutil.rmtree(place.run_folder(name) / "model")
        path = draw.choice(sorted((place.run_folder(name) / "checkpoints" / f"checkpoint-{UPDATES}").iterdir()))
        KINDS[kind](path, draw)
        strict = place.finish(name, "--strict")
        stops.append(strict.status == 2 and path.name in strict.said)
        last = place.finish(name)
        says.append(path.name in last.said and f"checkpoint-{UPDATES}" in last.said)
        goes_on.append(last.status == 0 and place.end(name) == expected)
        outcome.details.append({"kind": f"{kind}, by the command", "file": path.name, "ended": last.status})
    outcome.count("huohou train --resume --strict stops and names the file", stops)
    outcome.count("huohou train --resume names the file", says)
    outcome.count("… goes on from the checkpoint before, and ends bit-equal", goes_on)


def _flip(path: Path, draw: random.Random) -> dict[str, Any]:
    content = bytearray(path.read_bytes())
    bit = draw.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return {"bit": bit, "bytes": len(content)}


def _cut(path: Path, draw: random.Random) -> dict[str, Any]:
    content = path.read_bytes()
    left = draw.randrange(len(content))
    path.write_bytes(content[:left])
    return {"left": left, "bytes": len(content)}


def _remove(path: Path, draw: random.Random) -> dict[str, Any]:
    path.unlink()
    return {}


KINDS: dict[str, Callable[[Path, random.Random], dict[str, Any]]] = {
    "one bit flipped": _flip,
    "cut off": _cut,
    "removed": _remove,
}
