"""Mistakes that people make, each with its one sentence, in both languages, and with nothing lost."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from huohou.cli.main import main

RUN = """\
name: small
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 64}
tokenizer: {vocab_size: 300}
data: {train: poems.txt, sequence_length: 32}
batch: {size: 4}
schedule: {peak: 3e-3, warmup: 25%}
train: {updates: 8, threads: 1}
checkpoint: {every: 4, keep: 2}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and one finished run, ``runs/small``."""
    folder = tmp_path_factory.mktemp("mistakes")
    lines = [f"春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。第{i}首，{'山水' * (i % 5)}。" for i in range(120)]
    (folder / "poems.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "run.yaml").write_text(RUN, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", "run.yaml", "--quiet"]) == 0
    finally:
        os.chdir(before)
        torch.use_deterministic_algorithms(False)
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to make the mistake in."""
    there = tmp_path / "place"
    shutil.copytree(finished, there)
    monkeypatch.chdir(there)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return there


def content(folder: Path) -> dict[str, str]:
    """What lies in a folder; a mistake must leave it so."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write(name: str, text: str | bytes) -> Callable[[], None]:
    def make() -> None:
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))

    return make


def changed(old: str, new: str) -> Callable[[], None]:
    assert old in RUN
    return write("run.yaml", RUN.replace(old, new))


def spoil(name: str, spoiled: Callable[[bytes], bytes]) -> Callable[[], None]:
    def make() -> None:
        path = Path("runs/small/checkpoints") / name
        path.write_bytes(spoiled(path.read_bytes()))

    return make


def only_this_checkpoint(then: Callable[[], None]) -> Callable[[], None]:
    def make() -> None:
        shutil.rmtree("runs/small/checkpoints/checkpoint-4")
        shutil.rmtree("runs/small/model")
        then()

    return make


def foreign_checkpoint() -> None:
    shutil.rmtree("runs/small/checkpoints")
    shutil.rmtree("runs/small/model")
    Path("runs/small/checkpoints/checkpoint-8").mkdir(parents=True)
    torch.save({"model": torch.zeros(2)}, "runs/small/checkpoints/checkpoint-8/pytorch_model.bin")


def newer_manifest(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "format": 99}).encode()


NEW = ["train", "run.yaml", "name=other", "--quiet"]
GO_ON = ["train", "run.yaml", "--resume", "--quiet"]
NOTHING: Callable[[], None] = lambda: None  # noqa: E731 - a table of makers reads best so.

MISTAKES: dict[str, tuple[Callable[[], None], list[str], str]] = {
    # The run file.
    "unknown key": (changed("peak:", "peek:"), NEW, "peek"),
    "unknown section": (changed("batch:", "batches:"), NEW, "batches"),
    "duplicate key": (write("run.yaml", RUN + "name: again\n"), NEW, "run.yaml:10"),
    "tab": (write("run.yaml", RUN + "train:\n\tupdates: 5\n"), NEW, "run.yaml:11"),
    "full-width colon": (changed("name: small", "name：small"), NEW, "：" ),
    "not yaml": (write("run.yaml", "{["), NEW, "run.yaml"),
    "empty": (write("run.yaml", ""), NEW, "run.yaml"),
    "gb18030 run file": (write("run.yaml", ("# 训练\n" + RUN).encode("gb18030")), NEW, "GB18030"),
    "missing run file": (NOTHING, ["train", "rum.yaml"], "rum.yaml"),
    "warmup as a bare number": (changed("warmup: 25%", "warmup: 0.25"), NEW, "25%"),
    "fractional steps": (changed("warmup: 25%", "warmup_steps: 0.03"), NEW, "0.03"),
    "one point zero steps": (changed("warmup: 25%", "num_warmup_steps: 1.0"), NEW, "1.0"),
    "two lengths": (changed("warmup: 25%", "warmup_rate: 0.1, num_warmup_steps: 7"), NEW, "num_warmup_steps"),
    "warmup as long as the run": (changed("warmup: 25%", "warmup: 8 steps"), NEW, "8 "),
    "warmup and decay too long": (changed("warmup: 25%", "warmup: 5 steps, decay: wsd, decay_length: 4 steps"), NEW, "4"),
    "floor above the peak": (NOTHING, [*NEW, "schedule.floor=0.1"], "0.003"),
    "negative peak": (NOTHING, [*NEW, "schedule.peak=-1"], "-1"),
    "unknown unit": (NOTHING, [*NEW, "schedule.warmup=10 parsecs"], "parsecs"),
    "unknown override": (NOTHING, [*NEW, "schedule.peek=1"], "peek"),
    "unknown preset": (write("run.yaml", "model: {preset: 9b}\n" + RUN.partition("tokenizer")[1] + RUN.partition("tokenizer")[2]), NEW, "9b"),
    "heads that do not divide": (changed("num_attention_heads: 2", "num_attention_heads: 3"), NEW, "3"),
    # The data.
    "missing data": (changed("poems.txt", "poem.txt"), NEW, "poem.txt"),
    "glob without a match": (changed("poems.txt", "'*.parquet'"), NEW, "*.parquet"),
    "empty data": (write("poems.txt", ""), NEW, "poems.txt"),
    "broken jsonl": (lambda: (write("poems.jsonl", '{"text": "春"}\n{"text": "秋"\n')(), changed("poems.txt", "poems.jsonl")())[0], NEW, "poems.jsonl:2"),
    "jsonl without the field": (lambda: (write("poems.jsonl", '{"a": 1}\n')(), changed("poems.txt", "poems.jsonl, text: body")())[0], NEW, "body"),
    "wrong encoding": (lambda: (write("poems.txt", ("春眠不觉晓\n" * 500).encode("gb18030"))(), changed("poems.txt", "poems.txt, encoding: utf-8")())[0], NEW, "poems.txt:1"),
    "bytes of no encoding": (write("poems.txt", b"\xe6\x98\xa5\n\xff\xff\xfe\x81\n"), NEW, "poems.txt"),
    "cut gzip": (lambda: (write("poems.txt.gz", gzip.compress("春\n".encode() * 9000)[:-20])(), changed("poems.txt", "poems.txt.gz")())[0], NEW, "poems.txt.gz"),
    "vocabulary too small": (changed("vocab_size: 300", "vocab_size: 100"), NEW, "100"),
    "vocabulary too large": (changed("vocab_size: 300", "vocab_size: 30000"), NEW, "30000"),
    "missing tokenizer": (changed("vocab_size: 300", "path: tok"), NEW, "tok"),
    "prompt longer than the model": (NOTHING, [*NEW, f"train.sample_prompts={'山' * 200}"], "sample_prompts"),
    # The machine.
    "cuda that is not there": (NOTHING, [*NEW, "train.device=cuda"], "cuda"),
    "folder that cannot be made": (NOTHING, ["train", "run.yaml", "--quiet", "--output", "poems.txt/run"], "poems.txt"),
    # Going on.
    "a run is there": (NOTHING, ["train", "run.yaml", "--quiet"], "--resume"),
    "no run is there": (NOTHING, [*GO_ON, "name=none"], "none"),
    "another peak": (NOTHING, [*GO_ON, "schedule.peak=1e-3"], "schedule.peak"),
    "other data": (lambda: write("poems.txt", Path("poems.txt").read_bytes() + "白日依山尽\n".encode())(), GO_ON, "data.content"),
    "damaged checkpoint": (only_this_checkpoint(spoil("checkpoint-8/model.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1]))), GO_ON, "model.safetensors"),
    "cut checkpoint": (only_this_checkpoint(spoil("checkpoint-8/optimizer.safetensors", lambda b: b[:100])), GO_ON, "optimizer.safetensors"),
    "checkpoint of a newer version": (only_this_checkpoint(spoil("checkpoint-8/MANIFEST.json", newer_manifest)), GO_ON, "99"),
    "foreign checkpoint": (foreign_checkpoint, GO_ON, "checkpoint-8"),
    "broken plan": (write("runs/small/plan.json", "{"), GO_ON, "plan.json"),
    # Reading results, and other verbs.
    "report of no run": (NOTHING, ["report", "."], "."),
    "report of nothing": (NOTHING, ["report", "nowhere"], "nowhere"),
    "init over a file": (NOTHING, ["init", "run.yaml"], "run.yaml"),
    "tokenizer that is none": (NOTHING, ["tokenizer", "measure", "poems.txt", "poems.txt"], "poems.txt"),
    "data show of nothing": (NOTHING, ["data", "show", "none.txt"], "none.txt"),
    "plan of too much": (NOTHING, ["plan", "run.yaml", "--peak", "1"], "--peak"),
    "compare with nothing": (NOTHING, ["plan", "run.yaml", "--compare", "no.yaml"], "no.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_nothing_is_lost(
    name: str, language: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, arguments, says = MISTAKES[name]
    make()
    before = content(place)
    capsys.readouterr()
    status = main([*arguments, "--lang", language])
    out, err = capsys.readouterr()
    assert status == 2, out + err
    assert err.count("\n") == 1, err
    assert err.startswith("huohou: ")
    assert "Traceback" not in out + err
    assert says in err
    # What the sentence quotes may be Chinese in either language.
    assert err.rstrip().endswith(("。", "？", "…")) if language == "zh" else err.rstrip().endswith((".", "?", "…"))
    after = content(place)
    # What a finished step has prepared may be new, such as a trained tokenizer; what was there stays as it was.
    assert {path: digest for path, digest in after.items() if path in before} == before
    assert not Path("runs/other").exists()


def test_no_space(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(place)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert main(NEW) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "space" in err or "free" in err
