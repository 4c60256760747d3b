"""The files of a run folder: lines that are appended and read while they grow, and files that are replaced whole."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from huohou import records


def test_lines_are_read_while_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert list(records.read(path)) == []
    records.append(path, {"update": 1, "loss": float("nan"), "text": "行\u2028里"})
    records.append(path, {"update": 2, "loss": float("-inf"), "nested": [float("inf"), {"a": 1.5}]})
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"update": 3, "lo')
    assert list(records.read(path)) == [
        {"update": 1, "loss": "nan", "text": "行\u2028里"},
        {"update": 2, "loss": "-inf", "nested": ["inf", {"a": 1.5}]},
    ]


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "plan.json"
    records.write_json(path, {"a": "火候"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "火候"}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        records.write_json(path, {"a": "other"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "火候"}
    assert [p.name for p in path.parent.iterdir()] == ["plan.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_a_replaced_file_has_the_usual_permissions(tmp_path: Path) -> None:
    records.write_atomically(tmp_path / "report.html", "x")
    (tmp_path / "plain").write_text("x", encoding="utf-8")
    assert (tmp_path / "report.html").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_paths_of_a_run_folder() -> None:
    folder = records.RunFolder(Path("runs/x"))
    names = [folder.config, folder.plan, folder.metrics, folder.events, folder.environment, folder.checkpoints]
    assert [path.name for path in [*names, folder.model, folder.report]] == [
        "config.yaml", "plan.json", "metrics.jsonl", "events.jsonl", "environment.json", "checkpoints", "model",
        "report.html",
    ]  # fmt: skip
