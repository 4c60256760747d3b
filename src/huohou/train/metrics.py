"""The run's files of records, as a run that is stopped and taken up again needs them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path


def cut(path: Path, lines: int) -> int:
    """Keep the first ``lines`` lines and drop what comes after; returns how many there are then."""
    if not path.exists():
        return 0
    with open(path, "rb+") as file:
        kept = [len(line) for line in islice(file, lines) if line.endswith(b"\n")]
        file.truncate(sum(kept))
    return len(kept)


def flush(path: Path) -> None:
    """Put the lines on the disk, before a checkpoint is that counts on them."""
    if path.exists():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def now() -> str:
    """The time as records hold it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
