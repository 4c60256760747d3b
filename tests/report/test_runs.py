"""Reading run folders: whole ones, growing ones, resumed ones, damaged ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from huohou.errors import UserError
from huohou.report.runs import load_run, load_runs


def line(update: int, **more: Any) -> dict[str, Any]:
    base = {"update": update, "rate": 1e-3, "loss": 5.0 - update / 10, "tokens": 10, "gradient_norm": 1.0}
    return {**base, "clipped": False, "skipped": False, "seconds": 0.5, **more}


def test_a_whole_run(build: Any) -> None:
    run = load_run(build(updates=60, warmup=6))
    assert run.name == "run"
    assert run.updates.tolist() == list(range(1, 61))
    assert run.complete and run.length == 60
    assert run.curves()["all"](6) == 3e-3
    assert run.rates["all"][5] == 3e-3
    assert run.layers.norms.shape == (60, 7)
    assert len(run.evaluations.updates) == 12
    assert run.environment["torch"] == "2.13.0"


def test_a_growing_file_gives_its_complete_lines(build: Any) -> None:
    path = build(lines=[line(1), line(2)], updates=10)
    with open(path / "metrics.jsonl", "a", encoding="utf-8", newline="\n") as file:
        file.write('{"update": 3, "ra')
        file.flush()
        run = load_run(path)
        assert run.updates.tolist() == [1, 2]
        assert not run.complete and run.unreadable == 0
        file.write('te": 0.001, "loss": 4.0}\n')
    assert load_run(path).loss.tolist() == [4.9, 4.8, 4.0]


def test_names_of_numbers_that_are_not_finite(build: Any) -> None:
    run = load_run(build(lines=[line(1, loss=math.nan, gradient_norm=math.inf), line(2, loss="-inf", seconds=None)]))
    assert math.isnan(run.loss[0]) and run.loss[1] == -math.inf
    assert run.gradient_norm[0] == math.inf
    assert math.isnan(run.seconds[1])


def test_skipped_updates_are_kept_apart(build: Any) -> None:
    run = load_run(build(lines=[line(1), line(2, skipped=True, loss="nan"), line(2), line(3)]))
    assert run.updates.tolist() == [1, 2, 3]
    assert [record["update"] for record in run.skipped] == [2]
    assert run.remade == 0


def test_updates_made_again_after_a_resume_count_once(build: Any) -> None:
    first = [line(u, layers={"a": 1.0}, evaluation={"loss": 1.0}) for u in range(1, 6)]
    first.insert(4, line(5, skipped=True))
    again = [line(u, loss=9.0, layers={"a": 2.0}, evaluation={"loss": 2.0}) for u in (4, 5, 6)]
    run = load_run(build(lines=first + again))
    assert run.updates.tolist() == [1, 2, 3, 4, 5, 6]
    assert run.loss[3:].tolist() == [9.0, 9.0, 9.0]
    assert run.layers.norms[:, 0].tolist() == [1, 1, 1, 2, 2, 2]
    assert run.evaluations.loss.tolist() == [1, 1, 1, 2, 2, 2]
    assert run.remade == 2 and run.skipped == ()


def test_rates_of_several_groups(build: Any) -> None:
    run = load_run(build(lines=[line(1, rate={"all": 1e-3}), line(2, rate={"all": 2e-3, "new": 5e-3})]))
    assert run.rates["all"].tolist() == [1e-3, 2e-3]
    assert math.isnan(run.rates["new"][0]) and run.rates["new"][1] == 5e-3


def test_lines_that_are_no_records_are_counted(build: Any) -> None:
    path = build(lines=[line(1)])
    with open(path / "metrics.jsonl", "ab") as file:
        file.write(
            b'{"update": 2, "ra{"update": 2}\n[1]\n{"loss": 1}\n{"update": true}\n\xff\xfe\n' + b"[" * 100_000 + b"\n\n"
        )
    run = load_run(path)
    assert run.updates.tolist() == [1]
    assert run.unreadable == 6


def test_optional_files_may_be_missing(build: Any) -> None:
    path = build(lines=[line(1)])
    for name in ("plan.json", "events.jsonl", "environment.json"):
        (path / name).unlink()
    run = load_run(path)
    assert run.planned_updates is None and run.curves() == {} and run.events == () and run.name == "run"


def test_evaluations_of_events_are_used_where_the_lines_have_none(build: Any) -> None:
    events = [{"event": "evaluation", "update": 5, "loss": 4.5}, {"event": "evaluation", "update": 1, "loss": 5.5}]
    run = load_run(build(lines=[line(1)], events=events))
    assert run.evaluations.updates.tolist() == [1, 5]
    assert np.isnan(run.evaluations.bits_per_byte).all()


def test_runs_of_one_name_are_told_apart(build: Any) -> None:
    one, two, three = load_runs([build("a", name="demo"), build("b", name="demo"), build("c", name="other")])
    assert one.name != two.name and one.name.startswith("demo (") and three.name == "other"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_no_run_folder_is_said_in_one_sentence(tmp_path: Path, language: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for path, said in (
        (tmp_path / "none", "does not exist"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "empty", "neither"),
    ):
        with pytest.raises(UserError) as error:
            load_run(path)
        assert said in error.value.text.en and str(path) in getattr(error.value.text, language)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not JSON"), ("[]", "one JSON object"), (json.dumps({"groups": {"all": {}}}), "no curve")],
)
def test_a_broken_plan_is_named(build: Any, text: str, said: str) -> None:
    path = build(lines=[line(1)])
    (path / "plan.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said) as error:
        load_run(path).curves()
    assert "plan.json" in str(error.value)
