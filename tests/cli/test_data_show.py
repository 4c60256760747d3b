"""``huohou data show``: samples as a model sees them, with and without colour, and nothing that reaches a terminal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from huohou.cli.main import main
from huohou.data.tokenizer_training import train_tokenizer

ROWS = [
    {"instruction": "你好", "output": "你也好"},
    {"instruction": "坏\x1b[2J\u202e字", "output": "好\x07吧"},
    {"instruction": "没有回答", "output": ""},
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "talk.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8"
    )
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": "你好\n再见"}, ensure_ascii=False), encoding="utf-8")
    train_tokenizer(["你好，你也好。没有回答。坏字好吧再见"] * 30, 278).save(tmp_path / "tok")
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["data", "show", *words]) == 0
    return capsys.readouterr().out


def test_samples_with_marks_where_there_is_no_colour(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk = str(files / "talk.jsonl")
    out = shown(capsys, talk, "--tokenizer", str(files / "tok"), "-n", "3", "--ids")
    assert f"—— 1 ({talk}:1: 23 tokens, 3 learned)\n" in out
    assert "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n{+你也好<|im_end|>\n+}\n" in out
    assert f"—— 3 ({talk}:3: left out: there is nothing to learn in it)" in out
    assert "read as alpaca, UTF-8" in out
    assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out
    assert "坏\\x1b[2J\\u202e字" in out and "{+好\\x07吧" in out
    out = shown(capsys, talk, "--tokenizer", str(files / "tok"), "--template", "alpaca2", "-n", "1")
    assert "你好 [/INST]{+ 你也好</s>+}\n" in out


def test_colour_on_a_terminal_and_not_with_no_color(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    words = (str(files / "talk.jsonl"), "--tokenizer", str(files / "tok"), "-n", "1")
    out = shown(capsys, *words)
    assert "\x1b[32m你也好<|im_end|>" in out and "{+" not in out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "{+你也好<|im_end|>" in shown(capsys, *words)


def test_without_a_tokenizer_messages_are_listed(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, str(files / "talk.jsonl"), "-n", "2")
    assert "user: 你好\nassistant: {+你也好+}\n" in out and "\x1b" not in out


def test_pretraining_files(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = str(files / "text.jsonl")
    assert shown(capsys, text) == "—— 1 (5 characters)\n你好\n再见\n"
    out = shown(capsys, text, "--tokenizer", str(files / "tok"))
    assert "5 characters" in out and "with the end token" in out and "{+你好\n再见</s>+}" in out


def test_a_run_file(files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    (files / "run.yaml").write_text(
        "name: x\nstage: sft\nmodel: {path: tok}\ndata: {train: talk.jsonl, system: 简短, learn: last}\n"
        "train: {updates: 5}\nschedule: {peak: 1e-4}\n",
        encoding="utf-8",
    )
    out = shown(capsys, "run.yaml", "-n", "1")
    assert "<|im_start|>system\n简短<|im_end|>\n<|im_start|>user\n你好" in out and "{+你也好<|im_end|>\n+}" in out
    (files / "run.yaml").write_text(
        "name: x\ndata: {embedded: {characters: 5000}}\ntokenizer: {path: tok}\ntrain: {updates: 5}\nschedule: {peak: 1e-4}\n",
        encoding="utf-8",
    )
    assert "with the end token" in shown(capsys, "run.yaml", "-n", "1")


def test_a_run_that_goes_on_from_a_run_folder_uses_the_tokenizer_of_its_model(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    shutil.copytree("tok", "runs/before/model")
    Path("runs/before/model/config.json").write_text("{}", encoding="utf-8")
    (files / "run.yaml").write_text(
        "name: x\nstage: sft\nmodel: {path: runs/before}\ndata: {train: talk.jsonl}\n"
        "train: {updates: 5}\nschedule: {peak: 1e-4}\n",
        encoding="utf-8",
    )
    assert "{+你也好<|im_end|>" in shown(capsys, "run.yaml", "-n", "1")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["talk.jsonl", "--template", "chatml"], "--template needs a tokenizer"),
        (["talk.jsonl", "--tokenizer", "tok", "--template", "llama3"], "does not have as a token"),
        (["text.jsonl", "--tokenizer", "tok", "--template", "chatml"], "no form of dialogue that is known"),
        (["nowhere.jsonl"], "there is no such file"),
    ],
    ids=["no tokenizer", "wrong template", "no dialogues", "no file"],
)
def test_mistakes_are_one_sentence(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(files)
    assert main(["data", "show", *words]) == 2
    assert says in capsys.readouterr().err


def test_the_embedded_dialogues_are_written_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from huohou.data.dialogues import dialogues_of_files
    from huohou.data.embedded import embedded_dialogues

    output = tmp_path / "talk.jsonl"
    assert main(["data", "embedded", "--dialogues", "30", "--output", str(output)]) == 0
    assert "30 dialogues" in capsys.readouterr().out
    read = dialogues_of_files([output])
    assert [one.canonical() for one in read] == [one.canonical() for one in embedded_dialogues(0, 30)]
    assert main(["data", "embedded", "--dialogues", "30", "--output", str(tmp_path / "talk.txt")]) == 2
    assert main(["data", "embedded", "--dialogues", "3", "--characters", "30", "--output", str(output)]) == 2
