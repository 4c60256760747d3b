"""``huohou plan`` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from huohou.cli.main import main

FLAGS = ["plan", "--updates", "10000", "--peak", "3e-4"]


def out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_rates_are_lines_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    said = out(
        capsys, *FLAGS, "--warmup-rate", "0.1", "--decay", "cosine", "--floor", "10%", "--rates", "1,500,1000,10000"
    )
    assert said == "1 3e-07\n500 0.00015\n1000 0.0003\n10000 3e-05\n"
    assert out(capsys, *FLAGS, "--warmup_rate=0.1", "--rates", "1000,1") == "1000 0.0003\n1 3e-07\n"


def test_a_rate_past_the_end_is_constant_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FLAGS, "--rates", "10001"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "10001 3e-05\n"
    assert "past the end" in captured.err


@pytest.mark.parametrize("flag", ["--warmup-rate", "--warmup_rate", "--warmup-ratio", "--warmup_ratio"])
def test_every_spelling_of_a_rate(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert json.loads(out(capsys, *FLAGS, flag, "0.07", "--json"))["warmup_updates"] == 700


@pytest.mark.parametrize("flag", ["--num-warmup-steps", "--num_warmup_steps", "--warmup-steps", "--warmup_steps"])
def test_every_spelling_of_steps(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert json.loads(out(capsys, *FLAGS, flag, "700", "--json"))["warmup_updates"] == 700


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    said = out(capsys, *FLAGS, "--warmup", "10%", "--json")
    assert said.count("\n") == 1
    plan = json.loads(said)
    assert plan["knots"][1] == {"update": 1000, "value": 1.0, "rate": 3e-4, "shape": "cosine"}


def test_csv_has_a_row_for_every_update(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    out(capsys, *FLAGS, "--csv", str(file))
    rows = file.read_text(encoding="utf-8").splitlines()
    assert rows[0] == "update,rate"
    assert len(rows) == 10_001
    assert rows[10_000] == "10000,3e-05"
    # A long run is written from vectors; the bits are those of single updates.
    long = tmp_path / "long.csv"
    out(capsys, "plan", "--updates", "250000", "--peak", "3e-4", "--csv", str(long))
    wanted = out(capsys, "plan", "--updates", "250000", "--peak", "3e-4", "--rates", "77777,250000").split("\n")
    rows = long.read_text(encoding="utf-8").splitlines()
    assert [rows[77_777], rows[250_000]] == [line.replace(" ", ",") for line in wanted[:2]]
    assert "cannot be written" in mistake(capsys, *FLAGS, "--csv", str(tmp_path / "no" / "x.csv"))


def test_the_text_shows_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    said = out(
        capsys, *("plan", "--epochs", "2", "--sequences", "10000", "--sequence-length", "512", "--batch", "64"),
        *("--micro-batch", "8", "--gpus", "4", "--params", "110M", "--peak", "3e-4", "--warmup", "1M tokens"),
    )  # fmt: skip
    for piece in (
        "T = 313  (2 epochs × 10,000 / 64)", "W = 31", "64 sequences · 32,768 tokens = 8 (micro-batch) × 2 × 4",
        "the last one has 32", "110M parameters", "FLOPs", "a process", "advice", "0.0003, first used by update 31",
    ):  # fmt: skip
        assert piece in said, piece
    chinese = out(capsys, *FLAGS, "--lang", "zh")
    for piece in ("更新步", "预热", "峰值", "衰减", "建议"):
        assert piece in chinese


def test_nothing_is_wider_than_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huohou.report.plan_text import width

    monkeypatch.setenv("COLUMNS", "72")
    for language in ("en", "zh"):
        for line in out(capsys, *FLAGS, "--lang", language).splitlines():
            assert width(line) <= 72, line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan"], "nothing to plan"),
        (["plan", "--updates", "100"], "--peak is missing"),
        (["plan", "--peak", "3e-4"], "nothing says how many updates"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--num-warmup-steps", "100"], "100 updates long, but the run makes only 100"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--warmup-rate", "1.0"], "100 updates long"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--warmup-steps", "0.03"], "--warmup-steps is 0.03"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--warmup-steps", "1.0"], "a share or a number of steps"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--warmup", "0.1"], "a rate or a number of steps"),
        (["plan", "--updates", "100", "--peak", "-1"], "above 0"),
        (["plan", "--updates", "100", "--peak", "nan"], "not a finite number"),
        (["plan", "--updates", "1.5", "--peak", "3e-4"], "--updates is 1.5"),
        (["plan", "--updates", "0", "--peak", "3e-4"], "--updates is 0"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--floor", "1"], "above the peak"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--decay", "cosin"], "decay is 'cosin'"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--warmup-rte", "0.1"], "did you mean --warmup-rate"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--rates", "0"], "at least 1"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--rates", "x"], "--rates is 'x'"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--rates", ","], "--rates is empty"),
        (["plan", "--updates", "9", "--tokens", "1M", "--batch", "8", "--sequence-length", "8", "--peak", "1"], "updates 9 gives 9"),
        (["plan", "--updates", "100", "--peak", "3e-4", "--set", "a=1"], "needs a run file"),
        (["plan", "missing.yaml"], "missing.yaml"),
        (["plan", "run.yaml", "--updates", "5"], "--updates does not go with a run file"),
        (["plam"], "did you mean plan"),
        (["plan", "--lang", "fr"], "write en or zh"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert says in mistake(capsys, *arguments)
    if "--lang" not in arguments:
        assert any(ord(c) > 0x4E00 for c in mistake(capsys, *arguments, "--lang", "zh"))


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("plan", "train", "report", "init", "tokenizer", "data"):
        assert verb in out(capsys, "--help")
    assert out(capsys, "--version").startswith("huohou ")
    assert "预热" in out(capsys, "--help", "--lang", "zh")
    with pytest.raises(SystemExit) as stopped:
        main(["plan", "--help"])
    assert stopped.value.code == 0
    assert "--num-warmup-steps" in capsys.readouterr().out
