"""Our own run files are read as ``huohou plan`` plans them, and the rules hold for them too."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from huohou.audit.dialects import huohou as dialect
from huohou.audit.dialects.all import recognise
from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.looking import look
from huohou.audit.reading import Given
from huohou.audit.source import Source, read_source
from huohou.cli.main import main
from huohou.config import RunConfig
from huohou.plan.facts import plan_of_run
from huohou.schedule.curve import Curve, knots

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("*.yaml"))
RUN = (
    "name: small\nmodel:\n  preset: 1m\ntokenizer:\n  vocab_size: 2048\ndata:\n  train: corpus.jsonl\n"
    "  sequence_length: 128\nbatch:\n  size: 16\nschedule:\n  peak: 3e-3\n{schedule}train:\n  {train}\n"
)


def document(schedule: str, train: str = "updates: 600") -> Document:
    return Document(Source("run.yaml", RUN.format(schedule=schedule, train=train), Path("run.yaml")))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_run_files_have_no_error(path: Path) -> None:
    found = examine(Document(read_source(str(path))), Given(samples=100_000))
    assert found.dialect == "huohou"
    assert any(reading.roles for reading in found.readings)
    assert [finding.rule for finding in found.findings if finding.severity == "error"] == []


SCHEDULES = [
    "  warmup: 5%\n  decay: cosine\n  floor: 10%\n",
    "  warmup: 50 steps\n  warmup_shape: cosine\n  warmup_start: 1%\n  decay: linear\n  floor: 1e-5\n",
    "  warmup: 40 steps\n  warmup_shape: 1-sqrt\n  decay: 1-sqrt\n  decay_length: 20%\n",
    "  warmup: 40 steps\n  warmup_shape: exponential\n  decay: exponential\n",
    "  warmup: 40 steps\n  warmup_shape: logarithmic\n  decay: exponential\n  half_life: 90 steps\n",
    "  warmup: 40 steps\n  decay: polynomial\n  power: 3\n",
    "  warmup: 40 steps\n  decay: inverse_sqrt\n  floor: 40%\n",
    "  warmup: 40 steps\n  decay: wsd\n  decay_length: 20%\n  decay_shape: 1-sqrt\n",
    "  warmup: off\n  decay: restarts\n  cycles: 3\n",
    "  decay: constant\n",
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_are_the_plans_to_the_bit_and_the_pieces_say_the_same(schedule: str) -> None:
    file = document(schedule)
    (role,) = examine(file, Given()).readings[0].roles
    plan = plan_of_run(RunConfig.from_text(file.source.text))
    assert role.applied.updates == plan.updates
    assert role.warmup == plan.warmup_updates
    for update in range(1, plan.updates + 1):
        rate = plan.curve(update)
        assert role.applied.rate(update) == rate
        assert role.applied.peak * role.applied.value(update) == pytest.approx(rate, rel=0, abs=1e-12 * 3e-3)


def test_each_part_has_its_curve_and_a_part_that_waits_is_no_finding() -> None:
    groups = (
        'groups:\n  body:\n    start: 100 steps\n    peak: 0.5x\n  old_rows:\n    length: 300 steps\n    after: "off"\n'
    )
    text = RUN.format(schedule="  warmup: 5%\n", train="updates: 600") + groups
    file = Document(Source("run.yaml", text, Path("run.yaml")))
    audit = examine(file, Given())
    plan = plan_of_run(RunConfig.from_text(text))
    roles = {role.name: role.applied for role in audit.readings[0].roles}
    assert set(roles) == {"model", "body", "old_rows"}
    for part, curve in plan.groups.items():
        assert all(roles[part].rate(update) == curve(update) for update in range(1, 601))
    assert look(roles["body"]).zero == 100
    assert audit.findings == []


def test_flags_say_what_the_data_would() -> None:
    schedule = "  warmup: 5%\n"
    reading = examine(document(schedule, "epochs: 2"), Given()).readings[0]
    assert reading.roles == []
    assert "--samples" in reading.missing[0].en
    for given, updates in ((Given(samples=800), 100), (Given(tokens=800 * 128), 100), (Given(updates=77), 77)):
        assert examine(document(schedule, "epochs: 2"), given).readings[0].roles[0].applied.updates == updates


def test_a_run_without_a_warmup_is_noted_and_carried_moments_are_not() -> None:
    assert [finding.rule for finding in examine(document("  warmup: off\n"), Given()).findings] == ["no-warmup"]


@pytest.mark.parametrize(
    "text",
    [
        "schedule:\n  peak: 1\n",
        "schedule: daily\nmodel: x\ndata: y\n",
        "model:\n  a: 1\ndata:\n  b: 2\nlr: 1e-4\n",
        "- 1\n",
    ],
)
def test_files_of_others_are_not_taken_for_ours(text: str) -> None:
    assert dialect.sees(Document(Source("x.yaml", text, Path("x.yaml")))) == 0


def test_the_surest_dialect_of_a_run_file_is_ours() -> None:
    assert recognise(document("  warmup: 5%\n")) is dialect


def test_a_mistake_in_a_run_file_is_the_sentence_of_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(RUN.format(schedule="  warmpu: 5%\n", train="updates: 9"), encoding="utf-8")
    assert main(["audit", "run.yaml"]) == 2
    assert "warmup" in capsys.readouterr().err


def test_curves_are_equal_where_the_curves_are() -> None:
    curve = Curve(Fraction("1e-3"), knots([(0, 0, "linear"), (10, 1, "hold")]), 100)
    assert dialect.applied(curve, 100) == dialect.applied(curve, 100)
    assert dialect.applied(curve, 100) != dialect.applied(curve, 90)
