"""Parts of a model and changes on the way, as the terminal, the picture and the page show them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from huohou import records
from huohou.language import choose_language
from huohou.plan.changes import At, find_changes, replanned
from huohou.plan.groups import GroupSpec
from huohou.plan.planner import Request, make_plan
from huohou.plan.result import Plan
from huohou.plan.sizes import Asked
from huohou.report.figures import figures
from huohou.report.plan_changes import order_text, render_changes, value_text
from huohou.report.plan_png import write_png
from huohou.report.plan_section import plans
from huohou.report.plan_text import render
from huohou.report.runs import load_run
from huohou.schedule.recipes import Schedule
from huohou.units import Duration, Level


def request(peak: str = "1e-3", updates: int = 40, *, body: bool = True) -> Request:
    groups = {
        "new_rows": GroupSpec(peak=Level.parse("500%", key="")),
        "old_rows": GroupSpec(peak=None),
        "body": GroupSpec(start=Duration.parse("10 steps", key="")),
    }
    return Request(
        spec=Schedule(peak=peak, warmup="4 steps"),
        asked=Asked(updates=updates),
        name="parts",
        stage="continue",
        scratch=False,
        model={"parameters": 100, "lora": None},
        groups=groups if body else {},
        grown=True,
        execution={"seed": 1},
        config={"schedule": {"peak": peak}, "train": {"updates": updates}},
    )


def changed() -> Plan:
    now = request("2e-3", 60)
    return replanned(make_plan(request()), make_plan(now), now, At(20, 21), "retarget")


def run_folder(folder: Path, plan: Plan) -> Path:
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan.to_plain()), encoding="utf-8")
    for u in range(1, plan.updates + 1):
        rate = {name: curve(u) for name, curve in plan.applied_curves().items()}
        line = {"update": u, "rate": rate, "loss": 5.0 / u, "tokens": 8, "gradient_norm": 1.0, "clipped": False}
        records.append(folder / "metrics.jsonl", {**line, "skipped": False, "seconds": 0.1})
    if plan.replans:
        entry = {k: v for k, v in plan.replans[0].items() if k not in ("asked", "was")}
        records.append(folder / "events.jsonl", {"event": "replan", "time": "t", **entry})
    return folder


@pytest.mark.parametrize("ascii", [False, True])
def test_the_terminal_shows_every_part(ascii: bool) -> None:
    text = render(make_plan(request()), ascii=ascii)
    assert "parts" in text
    assert "waits at 0 1-10, warmup 11-14, decay 15-40" in text
    assert "old_rows" in text
    assert "off: never moves" in text
    assert "new rows (new_rows)" in text
    assert "body (body)" in text
    assert "5e-3" in text
    if ascii:
        assert text.isascii() or "≈" in text
    choose_language("zh")
    assert "等待（学习率 0）" in render(make_plan(request()))


def test_a_plan_of_one_curve_says_nothing_of_parts() -> None:
    assert "\nparts" not in render(make_plan(request(body=False)))


def test_the_json_has_every_part() -> None:
    plain = make_plan(request()).to_plain()
    assert set(plain["groups"]) == {"all", "new_rows", "body"}
    assert plain["frozen"] == ["old_rows"]
    assert plain["parts"] == {"new_rows": "new_rows", "body": "body"}
    assert [phase["name"] for phase in plain["group_phases"]["body"]] == ["wait", "warmup", "decay"]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_png(make_plan(request()), tmp_path / "parts.png")
    assert (tmp_path / "parts.png").stat().st_size > 10_000


def test_the_page_shows_parts_and_changes(tmp_path: Path) -> None:
    run = load_run(run_folder(tmp_path / "run", changed()))
    assert set(run.curves()) == {"new_rows", "body"}
    page = plans([run])
    assert "waits at 0 1-10" in page
    assert "never moves" in page
    assert "Changes of the plan on the way" in page
    assert "schedule.peak: 1e-3 → 2e-3" in page
    assert "train.updates: 40 → 60" in page
    (rate,) = [figure for figure in figures([run]) if getattr(figure, "key", "") == "rate"]
    dotted = [line for line in rate.lines if line.role == "limit"]  # pyright: ignore[reportAttributeAccessIssue]
    upright, before = dotted
    assert upright.updates.tolist() == [20, 20]
    assert before.updates[0] == 21
    assert before.updates[-1] == 40
    was = make_plan(request()).curve
    assert before.values.tolist() == [was(int(u)) for u in before.updates]
    assert "Dotted" in rate.caption.en  # pyright: ignore[reportAttributeAccessIssue]


def test_a_page_without_changes_has_no_marks(tmp_path: Path) -> None:
    run = load_run(run_folder(tmp_path / "run", make_plan(request(body=False))))
    assert "Changes of the plan" not in plans([run])
    (rate,) = [figure for figure in figures([run]) if getattr(figure, "key", "") == "rate"]
    assert not [line for line in rate.lines if line.role == "limit"]  # pyright: ignore[reportAttributeAccessIssue]


def test_hostile_records_do_not_break_the_page(tmp_path: Path) -> None:
    plan = changed().to_plain()
    plan["replans"] = [
        {"update": 3, "choice": "<script>", "changes": [{"key": "<img>", "before": "<b>", "after": {}}], "rates": "x"},
        {"update": "3"},
        7,
    ]
    folder = run_folder(tmp_path / "run", make_plan(request()))
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    page = plans([load_run(folder)])
    assert "<script>" not in page
    assert "<img>" not in page
    assert "<b>&lt;b" not in page


def test_the_table_of_a_change() -> None:
    was, now = make_plan(request()), request("2e-3", 60)
    at = At(20, 21)
    new = make_plan(now)
    plans_ = {
        "keep": replanned(was, new, now, at, "keep"),
        "retarget": replanned(was, new, now, at, "retarget"),
        "rewarm": replanned(was, new, now, at, "rewarm", Duration.parse("5 steps", key="")),
    }
    text = render_changes(find_changes(was, new), plans_, at)
    rows = [line.split() for line in text.split("\n")]
    assert ["schedule.peak", "1e-3", "2e-3"] in rows
    assert ["update", "20", *[repr(was.curve(20))] * 3] in rows
    assert ["update", "21", *(repr(plan.curve(21)) for plan in plans_.values())] in rows
    assert ["updates", "(T)", "40", "60", "60"] in rows
    assert "the next batch is the one that would have come anyway" in text
    assert max(len(line) for line in text.split("\n")) < 120


def test_what_becomes_of_the_data() -> None:
    assert "position" not in order_text(None).en
    assert "sequence 48 of the same order" in order_text({"position": 48, "read": 48}).en
    assert "a new pass begins" in order_text({"position": 0, "read": 48}).en
    assert value_text("x" * 100).endswith("…")
