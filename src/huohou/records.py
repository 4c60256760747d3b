"""The run folder: which files it holds, and how their lines are appended and read while they are written.

The folder is huohou's public contract. ``metrics.jsonl`` has at least one line for each update::

    {"update": 17, "rate": 0.0003, "loss": 5.21, "tokens": 4096, "gradient_norm": 1.7, "clipped": true,
     "skipped": false, "seconds": 0.41}

``update`` counts from 1; ``rate`` is the rate that this update used (an object by group where there are several);
``loss`` is the mean in nats per target token; ``gradient_norm`` is the global norm before clipping; ``seconds`` is
this update's own wall time. A line may also hold ``layers`` (gradient norms by layer name) and ``evaluation``
(``loss``, ``bits_per_byte``, ``tokens``). A skipped update writes a line with ``skipped: true`` and the number of
the update that it tried to be. ``events.jsonl`` has one line for each thing that happened: ``{"event": …,
"update": …, "time": …}``.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths inside one run folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The run file as it was written by its author."""
        return self.path / "config.yaml"

    @property
    def plan(self) -> Path:
        """The resolved plan."""
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, written before the first update: with it any checkpoint can be exported."""
        return self.path / "tokenizer"

    @property
    def model(self) -> Path:
        """The trained model, as a Hugging Face folder."""
        return self.path / "model"

    @property
    def report(self) -> Path:
        return self.path / "report.html"


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity; a number that is not finite becomes its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def line_of(record: Mapping[str, Any]) -> str:
    """One record as one line of JSON, without its newline."""
    return json.dumps(_finite(record), ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add one line. It is written by a single call, so that a reader never meets half of it in the middle."""
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.write(line_of(record) + "\n")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file that may still be growing; a last line that is not complete yet is left out."""
    if not path.exists():
        return
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            yield json.loads(line)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that every reader sees either the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of this process's own; the file gets the usual permissions, as one that is passed around should.
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write plain data as readable JSON, atomically."""
    write_atomically(path, json.dumps(_finite(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n")
