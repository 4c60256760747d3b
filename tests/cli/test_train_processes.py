"""``huohou train`` with several processes, from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from huohou import records
from huohou.cli.main import main

RUN = """\
name: small
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 64}
tokenizer: {vocab_size: 300}
data: {train: poems.txt, split: line, validation: 10%, sequence_length: 32}
batch: {size: 6, micro_batch: 2}
schedule: {peak: 1e-3, warmup: 25%, decay: cosine}
train: {updates: 10, evaluate_every: 5, sample_every: 10, sample_prompts: 春, threads: 1, timeout: 60, device: cpu}
checkpoint: {every: 5, keep: 3}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lines = [f"春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。第{i}首，{'山水' * (i % 5)}。" for i in range(120)]
    (tmp_path / "poems.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "run.yaml").write_text(RUN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return tmp_path


def started(*words: str, by: tuple[str, ...] = ("-m", "huohou")) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HUOHOU_LANG": "en"}
    command = [sys.executable, *by, "train", "run.yaml", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)


def lines(name: str) -> list[dict[str, Any]]:
    return list(records.read(Path("runs") / name / "metrics.jsonl"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch.gpus=2"], "batch.gpus is 2, but this is one process"),
        (["--nproc", "none"], "--nproc none: write how many processes"),
        (["--nproc", "0"], "--nproc 0: write how many processes"),
    ],
)
def test_a_wrong_number_of_processes_is_a_mistake(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["train", "run.yaml", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (place / "runs").exists()


@pytest.mark.heavy
def test_two_processes_from_the_command_line(place: Path) -> None:
    done = started("name=two", "train.engine=fsdp2", "--nproc", "2")
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if not line.startswith("[W")]
    # Only one of them talks.
    assert done.stdout.count("counting tokens") == 1
    assert done.stdout.count("planned == applied: 10 of 10 updates") == 1
    assert main(["train", "run.yaml", "name=one", "--quiet"]) == 0
    for a, b in zip(lines("one"), lines("two"), strict=True):
        assert a["rate"] == b["rate"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)
        assert a.get("evaluation", {}).get("tokens") == b.get("evaluation", {}).get("tokens")
    names = {p.name for p in (place / "runs" / "two" / "model").iterdir()}
    assert names == {p.name for p in (place / "runs" / "one" / "model").iterdir()}
    # A finished run, by one process: nothing to do, whatever the number.
    assert main(["train", "run.yaml", "name=two", "--resume", "--quiet"]) == 0


@pytest.mark.slow
def test_torchrun_and_a_mistake_that_only_rank_0_says(place: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "-m", "huohou")
    done = started("name=torchrun", by=torchrun)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("planned == applied: 10 of 10 updates") == 1
    wrong = started("data.train=none.txt", "--nproc", "2")
    assert wrong.returncode == 2
    assert wrong.stderr.count("none.txt") == 1
    other = started("batch.gpus=3", "--nproc", "2")
    assert other.returncode == 2
    assert "the launcher started 2 processes" in other.stderr
