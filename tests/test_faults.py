"""The fault script at a few of each kind, as a person runs it; and that it would see what goes wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from faults.outcome import Outcome  # noqa: E402 - the package lies at the root, beside this folder.
from faults.runs import Place  # noqa: E402

FULL = {"kills": 40, "ranks": 20, "damage": 1000, "disk": 4}
"""How often the documentation says that each kind is done."""


def harm(results: Path, name: str, *arguments: str) -> dict[str, Any]:
    """The JSON of one kind."""
    command = [sys.executable, "-m", "faults", name, "--results", str(results), *arguments]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (results / f"{name}.json").read_text(encoding="utf-8")
    assert not re.search(r"(^|[\s\"'=(])/\w+/", text), "no path of a machine"
    found = json.loads(text)
    if found["skipped"]:
        pytest.skip(found["skipped"])
    assert found["passed"] and all(row["kept"] == row["cases"] > 0 for row in found["rows"])
    assert all(row["promise"] in done.stdout for row in found["rows"])
    return found


@pytest.mark.heavy
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    [case] = harm(tmp_path, "kills", "--count", "1")["details"]
    assert case["killed after update"]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks for processes in /proc")
def test_one_of_two_ranks(tmp_path: Path) -> None:
    [case] = harm(tmp_path, "ranks", "--count", "1")["details"]
    assert case["killed after update"] and case["all processes had left after seconds"] < 60


@pytest.mark.heavy
def test_damage_is_noticed_and_named(tmp_path: Path) -> None:
    found = harm(tmp_path, "damage", "--quick")
    assert {case["kind"] for case in found["details"]} >= {"one bit flipped", "cut off", "removed"}
    assert {case["run"] for case in found["details"] if "run" in case} == {"whole", "in parts"}


@pytest.mark.slow
def test_a_full_disk_costs_nothing(tmp_path: Path) -> None:
    found = harm(tmp_path, "disk", "--quick")
    assert [case["kind"] for case in found["details"]] == ["before", "in the middle"]


def test_what_went_wrong_is_seen(tmp_path: Path) -> None:
    outcome = Outcome()
    outcome.count("kept", [True, True])
    assert outcome.passed
    outcome.count("broken once", [True, False])
    assert not outcome.passed
    assert "broken once  1 of 2" in outcome.table("harm")
    place = Place(tmp_path)
    assert place.updates("none") == 0 and place.debris("none") == []


@pytest.mark.parametrize("page", ["docs/reliability.md", "docs/zh/reliability.md"])
def test_the_page_says_how_often(page: str) -> None:
    import importlib

    text = (ROOT / page).read_text(encoding="utf-8")
    for name, count in FULL.items():
        assert count == importlib.import_module(f"faults.{name}").COUNT
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert re.search(rf"\b{count}\b", row), row


@pytest.mark.parametrize("name", FULL)
def test_the_recorded_results_are_of_the_whole_script(name: str) -> None:
    path = ROOT / "faults" / "results" / f"{name}.json"
    if not path.exists():
        pytest.skip("it has not been run in full here")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["passed"] and not found["quick"]
    runs = [case for case in found["details"] if "by the command" not in case.get("kind", "")]
    assert len(runs) >= FULL[name]
