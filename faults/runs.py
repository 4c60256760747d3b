"""The run that is harmed: a model of a few thousand parameters, trained by the real command in processes of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huohou import records

UPDATES = 40

RUN = f"""\
name: whole
model: {{hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 64}}
tokenizer: {{vocab_size: 300}}
data: {{embedded: {{characters: 40k}}, validation: 5%, sequence_length: 32}}
batch: {{size: 4, micro_batch: 2}}
schedule: {{peak: 3e-3, warmup: 25%, decay: cosine}}
train: {{updates: {UPDATES}, evaluate_every: 8, threads: 1, device: cpu, compile: false}}
checkpoint: {{every: 1, keep: 2}}
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended: its exit status (negative: the signal) and what it printed."""

    status: int
    said: str


class Place:
    """A working folder with the run file; runs are told apart by name and share their tokens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "run.yaml").write_text(RUN, encoding="utf-8")

    def run_folder(self, name: str) -> Path:
        """Where a run's files lie."""
        return self.folder / "runs" / name

    def start(self, name: str, *arguments: str, program: tuple[str, ...] = ("-m", "huohou")) -> subprocess.Popen[str]:
        """Begin or go on with a run."""
        command = [sys.executable, *program, "train", "run.yaml", f"name={name}", "--resume", "auto", *arguments]
        root = str(Path(__file__).resolve().parents[1])
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": root, "LANG": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            # Whoever kills this script by a signal to its group must not be taken for one of the kills.
            start_new_session=True,
        )

    def finish(self, name: str, *arguments: str) -> Ended:
        """Let a run go to its end."""
        return ended(self.start(name, *arguments))

    def without_path(self, said: str) -> str:
        """What was printed, without the place where it happened."""
        return said.replace(str(self.folder), "WORK")

    def seconds(self, name: str) -> float:
        """How long the updates of a finished run took, its saves included."""
        times = [path.stat().st_mtime for path in (self.run_folder(name) / "plan.json", self.metrics(name))]
        return times[1] - times[0]

    def metrics(self, name: str) -> Path:
        """The run's record of updates."""
        return self.run_folder(name) / "metrics.jsonl"

    def end(self, name: str) -> dict[str, str]:
        """A hash of each thing that two runs which end alike have alike: weights, moments, generators, records."""
        folder = self.run_folder(name)
        found = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((folder / "checkpoints" / f"checkpoint-{UPDATES}").glob("*.safetensors"))
        }
        lines = [{k: v for k, v in line.items() if k != "seconds"} for line in records.read(self.metrics(name))]
        found["metrics"] = hashlib.sha256(json.dumps(lines, sort_keys=True).encode("utf-8")).hexdigest()
        weights = folder / "model" / "model.safetensors"
        found["model folder"] = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else "missing"
        return found

    def debris(self, name: str) -> list[str]:
        """What a half-written or half-removed checkpoint left behind."""
        folder = self.run_folder(name) / "checkpoints"
        paths = folder.iterdir() if folder.is_dir() else []
        return sorted(path.name for path in paths if ".tmp-" in path.name or ".old-" in path.name)

    def updates(self, name: str) -> int:
        """How many updates are on record."""
        return len(list(records.read(self.metrics(name)))) if self.metrics(name).exists() else 0


def ended(process: subprocess.Popen[str], timeout: float = 300) -> Ended:
    """Wait for a process."""
    said, _ = process.communicate(timeout=timeout)
    return Ended(process.returncode, said)


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str], timeout: float = 120) -> bool:
    """Look again and again until something is so; ``False`` where the process ended before."""
    last = time.monotonic() + timeout
    while not true():
        if process.poll() is not None or time.monotonic() > last:
            return true()
        time.sleep(0.002)
    return True


def plain(details: dict[str, Any]) -> dict[str, Any]:
    """One case for the JSON, its numbers rounded to what they mean."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in details.items()}
