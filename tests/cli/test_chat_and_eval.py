"""``huohou chat`` and ``huohou eval`` as a person types them: on a model that was just trained, and where they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from huohou.cli.main import main

RUN = """\
name: small
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 512}
tokenizer: {vocab_size: 400}
data: {embedded: {characters: 20000}, sequence_length: 64}
batch: {size: 4}
schedule: {peak: 1e-3}
train: {updates: 6, threads: 1, device: cpu}
"""


def huohou(place: Path, *words: str, said: str | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HUOHOU_LANG": "en", "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-m", "huohou", *words],
        input=(said or "").encode(), capture_output=True, check=False, cwd=place, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of six updates in runs/small."""
    folder = tmp_path_factory.mktemp("use")
    (folder / "run.yaml").write_text(RUN, encoding="utf-8")
    done = huohou(folder, "train", "run.yaml")
    assert done.returncode == 0, done.stderr.decode()
    return folder


@pytest.mark.heavy
def test_one_message_and_a_pipe(place: Path) -> None:
    once = huohou(place, "chat", "runs/small", "--greedy", "--max-tokens", "6", "--once", "小石最爱")
    assert once.returncode == 0 and once.stderr == b""
    piped = huohou(
        place, "chat", "runs/small", "--greedy", "--max-tokens", "6", said="小石最爱\n/nothing\n/reset\n小石最爱"
    )
    answers = piped.stdout.decode().splitlines()
    assert piped.returncode == 0 and answers == once.stdout.decode().splitlines() * 2
    assert b"there is no command /nothing" in piped.stderr


@pytest.mark.heavy
def test_a_file_of_prompts(place: Path) -> None:
    (place / "prompts.jsonl").write_text('{"prompt": "一"}\n{"prompt": "小石"}\n', encoding="utf-8")
    words = (
        "chat",
        "runs/small",
        "--file",
        "prompts.jsonl",
        "--output",
        "answers.jsonl",
        "--max-tokens",
        "4",
        "--template",
        "chatml",
    )
    assert huohou(place, *words).returncode == 0
    rows = [json.loads(line) for line in (place / "answers.jsonl").read_text("utf-8").splitlines()]
    assert [row["messages"][0]["content"] for row in rows] == ["一", "小石"]
    again = huohou(place, *words)
    assert again.returncode == 0 and b"2 of 2 are answered already" in again.stderr
    other = huohou(place, *words, "--seed", "9")
    assert other.returncode == 2 and b"--overwrite" in other.stderr and b"Traceback" not in other.stderr


@pytest.mark.heavy
def test_scores_are_the_same_each_time(place: Path) -> None:
    (place / "text.txt").write_text("小石最爱吃的是粽子。\n今天星期三。\n", encoding="gb18030")
    for part in ("dev", "val"):
        (place / "ceval" / part).mkdir(parents=True, exist_ok=True)
        text = "id,question,A,B,C,D,answer,explanation\n" + "".join(
            f"{i},{i}加一？,1,2,3,4,{'ABCD'[i % 4]},略\n" for i in range(4)
        )
        (place / "ceval" / part / f"logic_{part}.csv").write_text(text, encoding="utf-8")
    words = (
        "eval",
        "runs/small",
        "--perplexity",
        "text.txt",
        "--window",
        "16",
        "--stride",
        "4",
        "--ceval",
        "ceval",
        "--shots",
        "0,2",
        "--questions",
        "8",
    )
    first = huohou(place, *words, "--output", "one.json")
    assert first.returncode == 0, first.stderr.decode()
    told = first.stdout.decode()
    assert "bits per byte (2 documents" in told and "C-Eval, 2-shot" in told and "questions: " in told
    second = huohou(place, *words, "--output", "two.json", "--json")
    one = (place / "one.json").read_bytes()
    assert second.returncode == 0 and one == (place / "two.json").read_bytes()
    result = json.loads(one)
    assert json.loads(second.stdout) == result
    assert set(result["results"]) == {"perplexity", "ceval_0", "ceval_2", "questions"}
    assert len(result["model"]["sha256"]) == 64 and result["versions"]["torch"]
    zero = result["results"]["ceval_0"]
    assert zero["subjects"]["logic"]["total"] == 4 and len(zero["subjects"]["logic"]["chosen"]) == 4
    assert zero["groups"]["humanities"]["interval"][0] <= zero["groups"]["humanities"]["share"]
    assert zero["prompts_sha256"] != result["results"]["ceval_2"]["prompts_sha256"]


def test_questions_through_the_models_own_template(place: Path) -> None:
    done = huohou(place, "eval", "runs/small", "--questions", "4", "--chat", "--output", "chat.json")
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads((place / "chat.json").read_text(encoding="utf-8"))
    assert result["template"] == "the tokenizer's chat template"
    assert result["results"]["questions"]["total"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "x"], "name what to measure"),
        (["eval", "x", "--perplexity", "a", "--window", "4", "--stride", "5"], "tokens would be left out"),
        (["eval", "x", "--questions", "0"], "--questions is 0"),
        (["eval", "x", "--ceval", "nowhere"], "there is no such folder"),
        (["eval", "x", "--questions", "2", "--shots", "few"], "--shots is few"),
        (["chat", "x", "--file", "a.txt"], "--file needs --output"),
        (["chat", "x", "--output", "a"], "--output belongs to --file"),
        (["chat", "x", "--greedy", "--temperature", "1"], "disagree"),
        (["chat", "x", "--file", "nowhere.txt", "--output", "o"], "there is no such file"),
        (["chat", "x", "--max-tokens", "0"], "max_tokens is 0"),
        (["chat", "x", "--seed", "99999999999999999999"], "seed is 1e"),
        (["chat", "x", "--temperature", "-1"], "temperature is -1"),
        (["chat", "nowhere", "--once", "x"], "is no folder"),
        (["chat", "unfinished", "--once", "x"], "a run that has no model yet"),
        (["chat", "x", "--device", "cuda:77", "--once", "x"], "no such device|is no folder"),
    ],
)
def test_mistakes_are_one_sentence(
    words: Sequence[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "plan.json").write_text("{}", encoding="utf-8")
    assert main(list(words)) == 2
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1
