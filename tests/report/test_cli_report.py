"""``huohou report``: what it prints and writes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from huohou.cli import report
from huohou.errors import UserError
from huohou.language import choose_language


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    report.arguments(parser)
    return report.run(parser.parse_args([str(word) for word in words]))


def test_one_run_gets_its_page_in_its_folder(build: Any, capsys: Any) -> None:
    path = build()
    assert call(path) == 0
    assert capsys.readouterr().out == f"{path / 'report.html'}\n"
    assert (path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_several_runs_get_theirs_where_the_person_stands(
    build: Any, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    one, two = build("a"), build("b", warmup=0)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert call(one, two) == 0
    assert capsys.readouterr().out == "report.html\n"
    assert (tmp_path / "here" / "report.html").is_file()


def test_json_is_one_object_and_nothing_else(build: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = build("a", updates=60), build("b", updates=60, warmup=0, harm=1.0)
    assert call(one, two, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert not list(tmp_path.rglob("*.html")), "a page is written only where it is asked for"
    first, second = said["runs"]
    assert (first["name"], first["planned_updates"], first["updates"], first["complete"], first["seed"]) == (
        "a",
        60,
        60,
        True,
        "7",
    )
    assert first["applied"] == {"compared": 60, "equal": 60, "largest_difference": 0.0, "at": None}
    assert set(first["measures"]) == set(said["definitions"]) - {"lower_from"}
    assert first["measures"]["spikes"] is None, "too short a run for it"
    (difference,) = said["differences"]
    apart = second["measures"]["final_loss"] - first["measures"]["final_loss"]
    assert difference["final_loss"] == pytest.approx(apart) and difference["final_loss"] > 0.2
    assert difference["run"] == "b" and difference["beside"] == "a" and difference["lower_from"] is None
    assert said["different_settings"] == {"schedule.warmup": ["6 steps", "off"]}
    assert "one observation" in said["trust"]["en"] and "一次观察" in said["trust"]["zh"]


@pytest.mark.parametrize(("tongue", "head"), [("en", "| measure |"), ("zh", "| 指标 |")])
def test_markdown_is_in_the_language_in_force_and_inert(build: Any, capsys: Any, tongue: Any, head: str) -> None:
    choose_language(tongue)
    path = build("x", name="a|b <img> [c](javascript:1)\n# d")
    assert call(path, "--md") == 0
    out = capsys.readouterr().out
    assert head in out
    assert "<img>" not in out and "[c](" not in out and "\n# d" not in out and "a\\|b" in out


def test_a_page_beside_the_summary_only_where_it_is_asked_for(build: Any, tmp_path: Path, capsys: Any) -> None:
    call(build(), "--json", "--output", tmp_path / "page.html")
    json.loads(capsys.readouterr().out)
    assert (tmp_path / "page.html").is_file()


@pytest.mark.heavy
def test_pictures_and_page_are_named(build: Any, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib")
    call(build(), "--png", tmp_path / "png")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and all(Path(line).is_file() for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--json", "--md"], "exclude each other"), (["--output", "."], "is a folder")],
)
def test_mistakes_are_one_sentence(build: Any, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        call(build(), *words)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither plan.json nor metrics.jsonl"):
        call(tmp_path)


def test_reporting_loads_neither_torch_nor_pydantic(build: Any) -> None:
    code = (
        "import sys, argparse; from huohou.cli import report; p = argparse.ArgumentParser(); report.arguments(p);"
        "report.run(p.parse_args(sys.argv[1:]));"
        "print([m for m in ('torch', 'transformers', 'pydantic', 'rich', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code, str(build())], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"
