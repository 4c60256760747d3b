"""A disk that fills up while a run saves: before a checkpoint is begun, and in the middle of one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.outcome import Outcome
from faults.runs import Place, ended, wait_until
from huohou.records import RunFolder
from huohou.train.checkpoint import find

COUNT, QUICK = 4, 2
KINDS = {"before": ("-m", "huohou"), "in the middle": ("-m", "faults.filling")}
"""When the full disk is met, and the program that meets it then."""

SAYS = re.compile(r"(not enough space|disk is full).*?[0-9.]+ [MG]B needed, [0-9.]+ [MG]B free")


def run(place: Place, count: int, seed: int) -> Outcome:
    """``count`` runs on a small disk of their own each (Linux, root)."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return Outcome(skipped="a small disk is mounted for it, which needs Linux and root")
    whole = place.finish("whole")
    assert whole.status == 0, whole.said
    expected = place.end("whole")
    outcome = Outcome()
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        name = f"full-{number + 1}"
        place.run_folder(name).mkdir(parents=True)
        try:
            with _small_disk(place.run_folder(name)) as full:
                outcome.details.append({"kind": kind, **_one(place, name, full, kind, expected)})
        except subprocess.CalledProcessError as error:
            return Outcome(skipped=f"no small disk can be mounted here (mount ends with {error.returncode})")
    for kind in dict.fromkeys(d["kind"] for d in outcome.details):
        cases = [d for d in outcome.details if d["kind"] == kind]
        outcome.count(f"{kind}: it is said how much is needed and how much is free", [d["said"] for d in cases])
        outcome.count(f"{kind}: the checkpoints from before are whole", [d["whole"] for d in cases])
        outcome.count(f"{kind}: nothing half written is left", [d["clean"] for d in cases])
        outcome.count(f"{kind}: with space again it goes on, and ends bit-equal", [d["equal"] for d in cases])
    return outcome


def _one(place: Place, name: str, disk: Path, kind: str, expected: dict[str, str]) -> dict[str, Any]:
    """A run whose disk is filled after some updates, and emptied when it has ended."""
    folder = RunFolder(disk)
    process = place.start(name, program=KINDS[kind])
    wait_until(lambda: place.updates(name) > 3, process)
    # It stands still until the disk is full, or it might have ended by then.
    process.send_signal(signal.SIGSTOP)
    newest = find(folder.checkpoints).newest
    assert newest is not None
    size = sum(entry.bytes for entry in newest.manifest.files.values())
    filler = disk / "of-another-program"
    # Room for the records of the updates and for half a checkpoint.
    with open(filler, "wb") as file:
        try:
            while (free := shutil.disk_usage(disk).free) > 0.6 * size:
                file.write(bytes(min(65536, int(free - 0.5 * size))))
                file.flush()
        except OSError:
            pass
    process.send_signal(signal.SIGCONT)
    stopped = ended(process)
    found = find(folder.checkpoints)
    clean = not place.debris(name)
    filler.unlink()
    last = place.finish(name)
    return {
        "status": stopped.status,
        "said": stopped.status == 1 and bool(SAYS.search(stopped.said)),
        "sentence": place.without_path(match.group(0) if (match := SAYS.search(stopped.said)) else stopped.said[-300:]),
        "last good update": found.newest.manifest.position.update if found.newest else None,
        "whole": found.newest is not None and not found.unusable,
        "clean": clean,
        "equal": last.status == 0 and place.end(name) == expected,
        **({} if last.status == 0 else {"then": place.without_path(last.said[-300:])}),
    }


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of two megabytes in place of a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
