"""``huohou audit``: what it prints, what it writes and how it ends."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from huohou.cli.main import main

RUN = """learning_rate: 1e-4
lr_scheduler_type: cosine
warmup_steps: 10
max_steps: 100
per_device_train_batch_size: 8
"""
BAD = RUN.replace("10\n", "1000\n", 1)
PPO = (
    "deepspeed main.py --actor_model_name_or_path a --critic_model_name_or_path c --data_split 2,4,4 "
    "--actor_learning_rate 9.65e-6 --critic_learning_rate 5e-6 --num_warmup_steps 10 --bf16\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    (tmp_path / "ppo.sh").write_text(PPO, encoding="utf-8")
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["audit", *words]) == status
    return capsys.readouterr().out


def data(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> dict[str, Any]:
    out = shown(capsys, *words, "--json", status=status)
    assert out.count("\n") == 1
    return json.loads(out)


def test_text_says_what_is_applied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "run.yaml")
    assert "T = 100, W = 10" in out and "reached in update 11" in out
    assert "1 at zero" in out and "T=100" in out and "updates-at-zero" in out


def test_text_in_chinese(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "run.yaml", "--lang", "zh")
    assert "在更新步 11 达到" in out and "提示" in out


def test_json_is_one_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, "run.yaml")
    curve = found["curves"]["model"]
    assert curve["updates"] == 100 and curve["warmup_updates"] == 10 and curve["peak"] == 1e-4
    assert curve["first"] == 0 and curve["peak_at"] == 11 and 0 < curve["last"] < 1e-7
    assert isinstance(curve["assumptions"], list) and found["error"] is None
    (finding,) = found["findings"]
    assert set(finding) == {"rule", "severity", "file", "line", "message", "fix"}
    assert (finding["rule"], finding["file"], finding["line"]) == ("updates-at-zero", "run.yaml", 3)


@pytest.mark.parametrize(
    "words",
    [
        ["none.yaml"],
        [],
        ["run.yaml", "--updates", "many"],
        ["run.yaml", "--as", "nothing"],
        ["run.yaml", "--bogus"],
        ["run.yaml", "--version", "transformers"],
        ["run.yaml", "--csv", "-"],
        ["run.yaml", "bad.yaml", "--fail-on", "sometimes"],
    ],
    ids=" ".join,
)
def test_a_mistake_under_json_is_an_object_too(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = data(capsys, *words, status=2)
    assert found["curves"] == {} and found["findings"] == [] and found["error"]


def test_a_mistake_without_json_is_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "none.yaml"]) == 2
    assert "none.yaml does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fail_on", "file", "status"),
    [("error", "run.yaml", 0), ("note", "run.yaml", 1), ("error", "bad.yaml", 1), ("never", "bad.yaml", 0)],
)
def test_exit_statuses(fail_on: str, file: str, status: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown(capsys, file, "--fail-on", fail_on, status=status)


def test_rates(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "run.yaml", "--rates", "1,6,11") == "1 0.0\n6 5e-05\n11 0.0001\n"
    lines = shown(capsys, "ppo.sh", "--updates", "100", "--rates", "11").splitlines()
    assert lines == ["11 9.65e-06 5e-06"]
    assert data(capsys, "run.yaml", "--rates", "11")["rates"] == [{"update": 11, "model": 1e-4}]


def test_csv_has_a_row_for_each_update(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown(capsys, "run.yaml", "--csv", "out.csv")
    lines = (folder / "out.csv").read_text(encoding="ascii").splitlines()
    assert lines[0] == "update,rate" and len(lines) == 101 and lines[11] == "11,0.0001"
    shown(capsys, "bad.yaml", "--csv", "bad.csv", status=1)
    assert len((folder / "bad.csv").read_text(encoding="ascii").splitlines()) == 101
    out = shown(capsys, "ppo.sh", "--updates", "20", "--csv", "-")
    assert out.startswith("update,actor,critic\n1,0.0,0.0\n") and out.count("\n") == 21


def test_flags_go_before_the_file_and_are_assumptions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = data(capsys, "run.yaml", "--updates", "50")["curves"]["model"]
    # max_steps is the scheduler's own horizon, whatever the run makes.
    assert curve["updates"] == 50 and curve["horizon"] == 100
    assert any("--updates" in text for text in curve["assumptions"])
    found = data(capsys, "ppo.sh", "--updates", "200")["curves"]
    assert found["critic"]["model"] == "c" and found["actor"]["updates"] == 200


def test_what_is_missing_is_asked_for_by_its_flag(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run.yaml").write_text(RUN.replace("max_steps: 100\n", ""), encoding="utf-8")
    assert "--samples" in shown(capsys, "run.yaml")
    curve = data(capsys, "run.yaml", "--samples", "8000", "--gpus", "2")["curves"]["model"]
    assert curve["updates"] == 1500


def test_standard_input_and_a_pasted_command(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(RUN.encode())))
    assert data(capsys, "-")["curves"]["model"]["updates"] == 100
    words = ["--json", "--", "torchrun", "a.py", "--learning_rate", "1e-4", "--max_steps", "70", "--warmup_steps", "7"]
    assert main(["audit", *words]) == 0
    assert json.loads(capsys.readouterr().out)["curves"]["model"]["warmup_updates"] == 7


def test_two_files_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "linear.yaml").write_text(RUN.replace("cosine", "linear"), encoding="utf-8")
    out = shown(capsys, "run.yaml", "linear.yaml")
    assert "largest difference" in out and "run.yaml | linear.yaml" in out
    (found,) = data(capsys, "run.yaml", "linear.yaml")["differences"]
    assert found["role"] == "model" and 10 < found["at"] < 100 and found["largest"] > 0
    assert "the same rate in every update" in shown(capsys, "run.yaml", "run.yaml")


def test_a_folder_has_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "c.yaml").write_text(RUN, encoding="utf-8")
    (deep / "other.yaml").write_text("services: {web: {image: x}}\n", encoding="utf-8")
    hidden = folder / ".git"
    hidden.mkdir()
    (hidden / "h.yaml").write_text(BAD, encoding="utf-8")
    out = shown(capsys, ".", status=1)
    assert "4 files train something, 0 were not understood, 1 others." in out
    assert str(Path("a/b/c.yaml")) in out and "h.yaml" not in out
    found = data(capsys, ".", status=1)
    assert len(found["files"]) == 4 and found["others"] == 1


def test_suppressed_findings_are_shown_with_their_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = RUN.replace("warmup_steps: 10", "warmup_steps: 10  # huohou: ignore[updates-at-zero] known")
    (folder / "run.yaml").write_text(text, encoding="utf-8")
    assert "suppressed: updates-at-zero (line 3): known" in shown(capsys, "run.yaml", "--fail-on", "note")


def test_findings_for_machines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "bad.yaml", "--sarif", "out.sarif", "--github", status=1)
    assert "::error file=bad.yaml,line=3,title=warmup-not-shorter-than-run::" in out
    (run,) = json.loads((folder / "out.sarif").read_text(encoding="utf-8"))["runs"]
    assert {result["ruleId"] for result in run["results"]} <= {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] == 3


def test_a_run_that_its_scheduler_ends(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "o = AdamW(m.parameters(), lr=1e-3)\ns = OneCycleLR(o, max_lr=1e-3, total_steps=100)\n"
    (folder / "a.py").write_text(text, encoding="utf-8")
    assert "raises an error after update 101" in shown(capsys, "a.py", "--updates", "500")


@pytest.mark.parametrize(("page", "language"), [("docs/audit.md", "en"), ("docs/zh/audit.md", "zh")])
def test_the_page_lists_every_rule_and_every_dialect(page: str, language: str) -> None:
    from huohou.audit.dialects.all import DIALECTS
    from huohou.audit.rules.all import RULES

    words = {"error": "错误", "warning": "警告", "note": "提示"}
    text = (Path(__file__).resolve().parents[2] / page).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for rule in RULES:
        severity = words[rule.severity] if language == "zh" else rule.severity
        assert f"| {rule.id} | {severity} | {getattr(rule.title, language)} |" in rows
    for dialect in DIALECTS:
        assert any(row.startswith(f"| {dialect.name} | ") for row in rows)
