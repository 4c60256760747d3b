"""What other people's repositories call: the hook of pre-commit and the workflow of GitHub Actions."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from huohou.audit.folder import ENDINGS
from huohou.cli.arguments import Parser, dashes
from huohou.cli.audit import arguments
from huohou.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


def parse(command: str) -> None:
    words = shlex.split(command)
    assert words[:2] == ["huohou", "audit"]
    parser = Parser(prog="huohou audit")
    arguments(parser)
    parser.parse_args(dashes(words[2:]))


def test_the_hook_calls_a_verb_that_exists_on_every_kind_of_file() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    parse(f"{hook['entry']} --fail-on warning a.yaml b.py")
    for ending in ENDINGS:
        assert re.search(hook["files"], f"configs/run{ending}"), ending
    assert not re.search(hook["files"], "README.md")


def test_the_workflow_calls_a_verb_that_exists() -> None:
    workflow = yaml.safe_load((ROOT / "examples" / "ci" / "audit.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["audit"]["steps"]
    (command,) = (step["run"] for step in steps if "huohou audit" in step.get("run", ""))
    parse(command)
    (uploaded,) = (step["with"]["sarif_file"] for step in steps if "upload-sarif" in step.get("uses", ""))
    assert f"--sarif {uploaded}" in command


def test_each_file_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two files are not compared, and one that trains nothing is no mistake."""
    trains, other = tmp_path / "train.py", tmp_path / "compose.yaml"
    trains.write_text("TrainingArguments('o', learning_rate=1e-4, max_steps=9, warmup_steps=20)\n", encoding="utf-8")
    other.write_text("services: {}\n", encoding="utf-8")
    assert main(["audit", "--each", str(other)]) == 0
    assert main(["audit", str(other)]) == 2
    capsys.readouterr()
    assert main(["audit", "--each", str(trains), str(other)]) == 1
    printed = capsys.readouterr().out
    assert "1 files train something, 0 were not understood, 1 others." in printed
    assert "warmup-not-shorter-than-run" in printed
