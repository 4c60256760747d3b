"""What a benchmark found: a table for a person and JSON for everyone else."""

from __future__ import annotations

import json
import os
import platform
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import Ran
from huohou.train.environment import installed_version, processor

PACKAGES = ("huohou", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "pydantic")


@dataclass(frozen=True, slots=True)
class Options:
    """How a benchmark is run.

    Attributes:
        work: An empty folder for whatever it needs.
        smoke: The smallest setting, which proves that it runs and measures nothing.
        rounds: How often each side is run; ``None``: the benchmark's own number.
    """

    work: Path
    smoke: bool = False
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for a person, under a title."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        cells = [list(self.columns), *map(list, self.rows)]
        widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([self.title, "=" * _width(self.title), lines[0], "-" * _width(lines[0]), *lines[1:]])


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that a benchmark found.

    Attributes:
        table: For a person.
        settings: What was run: sizes, seeds, numbers of updates.
        figures: Medians, spreads and ratios, by name.
        runs: Every single measurement, by side.
    """

    table: Table
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]
    runs: Mapping[str, Sequence[Ran]] = field(default_factory=dict)


def write(name: str, found: Found, options: Options, folder: Path) -> Path:
    """Write ``NAME.json`` and return its path."""
    path = folder / f"{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    value = {
        "benchmark": name,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "smoke": options.smoke,
        "machine": machine(),
        "settings": found.settings,
        "figures": found.figures,
        "runs": {side: [ran.plain() for ran in runs] for side, runs in found.runs.items()},
    }
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")
    return path


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := installed_version(name))},
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def megabytes(size: float | None) -> str:
    """Bytes for a table."""
    return "–" if size is None else f"{size / 1e6:,.0f} MB"
