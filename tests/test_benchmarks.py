"""Every benchmark runs at its smallest setting and writes what it found; no figure is judged here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def smoke(name: str, results: Path) -> dict[str, Any]:
    """The JSON of one benchmark, run as a person runs it."""
    command = [sys.executable, "-m", "benchmarks", name, "--smoke", "--results", str(results)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    assert str(results / f"{name}.json") in done.stdout
    assert found["benchmark"] == name
    assert found["smoke"] is True
    assert found["command"].endswith(f"benchmarks {name} --smoke --results {results}")
    assert found["machine"]["versions"]["huohou"]
    assert all(run["seconds"] > 0 for runs in found["runs"].values() for run in runs)
    return found


@pytest.mark.heavy
def test_audit(tmp_path: Path) -> None:
    found = smoke("audit", tmp_path)
    assert set(found["figures"]) == set(found["runs"])
    assert {name.partition(",")[0] for name in found["figures"]} == {"one file", "a folder of 50 files"}


@pytest.mark.heavy
def test_cold(tmp_path: Path) -> None:
    found = smoke("cold", tmp_path)
    assert set(found["figures"]) == set(found["runs"])
    for name, runs in found["runs"].items():
        assert found["figures"][name]["seconds"]["median"] == median(run["seconds"] for run in runs)


@pytest.mark.slow
def test_stream(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    found = smoke("stream", tmp_path)
    assert found["figures"]["seconds"]["huohou"]["median"] == found["runs"]["huohou"][0]["own"]["seconds"]
    assert found["settings"]["updates"] == 1000


@pytest.mark.slow
def test_data(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    found = smoke("data", tmp_path)
    sides = found["figures"]["tokenising, generated"]
    assert set(sides) == {"huohou", "tokenizers", "datasets"}
    assert sides["huohou"]["huohou_is_times"]["of_medians"] == 1


@pytest.mark.slow
def test_step(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("there is no C++ compiler here")
    found = smoke("step", tmp_path)
    sides = found["figures"]["smoke"]
    assert len(sides) == 3
    assert all(side["tokens_per_second"]["median"] > 0 for side in sides.values())


@pytest.mark.slow
def test_command(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("there is no C++ compiler here")
    found = smoke("command", tmp_path)
    sides = found["figures"]["smoke"]
    assert [side["compiled"] for side in sides.values()] == [False, False, True]
    # One judge measures all the models, which had the same data: after four updates they are much alike.
    losses = [side["validation_loss"]["median"] for side in sides.values()]
    assert max(losses) - min(losses) < 0.1
