"""The optimizer state of one run taken along into the next (``optimizer.state: carried``), from the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from huohou.cli.main import main
from huohou.train import checkpoint

FIRST = """\
name: first
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 64}
tokenizer: {vocab_size: 300}
data: {train: poems.txt, split: line, sequence_length: 32}
batch: {size: 4}
schedule: {peak: 3e-3, warmup: 25%, decay: cosine}
train: {updates: 12, threads: 1, device: cpu}
"""
SECOND = """\
stage: continue
name: second
model: {path: runs/first}
data: {train: poems.txt, split: line, sequence_length: 32}
batch: {size: 4}
schedule: {peak: 3e-3, decay: cosine}
optimizer: {state: carried, from: runs/first}
train: {updates: 20, threads: 1, device: cpu}
checkpoint: {every: 1, keep: 30}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run, and a tokenizer that continues its own."""
    folder = tmp_path_factory.mktemp("carried")
    lines = [f"春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。第{i}首，{'山水' * (i % 5)}。" for i in range(120)]
    (folder / "poems.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "more.txt").write_text("\n".join(f"{one}星期天大家喝茶下棋。" for one in lines) + "\n", encoding="utf-8")
    (folder / "first.yaml").write_text(FIRST, encoding="utf-8")
    (folder / "second.yaml").write_text(SECOND, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", "first.yaml", "--quiet"]) == 0
        grown = ["--train", "more.txt", "--vocab-size", "310", "--output", "grown"]
        assert main(["tokenizer", "extend", "runs/first/model", *grown]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def moments(name: str, update: int) -> dict[str, torch.Tensor]:
    """The optimizer's state after an update of a run."""
    listed = checkpoint.listing(Path("runs") / name / "checkpoints")
    found = next(one.checkpoint for one in listed if one.folder.name == f"checkpoint-{update}")
    assert found is not None
    return dict(checkpoint.load(found).tensors["optimizer"])


def test_the_plan_says_what_it_means_for_the_rise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "second.yaml"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    # The first run's floor is a tenth of its peak.
    assert "the optimizer's moments are carried over; the rate rises 10-fold, 0.0003 to 0.003: a re-warming" in said
    assert main(["plan", "second.yaml", "schedule.peak=3e-4"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "does not rise above it: no warmup is needed; this plan has 0 updates" in said
    assert main(["plan", "second.yaml", "optimizer.state=fresh", "optimizer.from=null"]) == 0
    assert "the optimizer begins fresh" in " ".join(capsys.readouterr().out.split())


def test_moments_go_on_and_new_rows_begin_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["name=carried"], ["name=fresh", "optimizer.state=fresh", "optimizer.from=null"]):
        grown = ["tokenizer.path=grown", "schedule.peak=3e-4", "schedule.warmup=off", "train.updates=8"]
        assert main(["train", "second.yaml", *words, *grown]) == 0
        said = capsys.readouterr().out
        # Embedding and head are one; its new rows are the parameter that the first run did not have.
        assert ("carried over the optimizer state of 11 of 12 parameters from runs/first" in said) == (
            words == ["name=carried"]
        )
        assert "planned == applied: 8 of 8 updates" in said
    before, carried, fresh = moments("first", 12), moments("carried", 1), moments("fresh", 1)
    new = {name for name in carried if "new_weight" in name}
    assert carried.keys() == fresh.keys() and new and carried.keys() - new == before.keys()
    for name, held in carried.items():
        key, was = name.rpartition("/")[2], None if name in new else before[name]
        if key == "step":
            assert held == (1 if was is None else 13)
            continue
        # The first gradient is the same in both runs, so what they hold differs by what was carried over.
        beta = {"exp_avg": 0.9, "exp_avg_sq": 0.95}[key]
        expected = fresh[name] if was is None else fresh[name] + beta * was
        torch.testing.assert_close(held, expected, rtol=1e-5, atol=1e-9)


def test_rows_that_were_gained_before_have_joined_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "second.yaml", "name=gained", "tokenizer.path=grown", "train.updates=8", "--quiet"]) == 0
    third = ["name=third", "model.path=runs/gained", "optimizer.from=runs/gained", "train.updates=8"]
    assert main(["train", "second.yaml", *third]) == 0
    assert "carried over the optimizer state of 11 of 11 parameters from runs/gained" in capsys.readouterr().out
    before, after = moments("gained", 8), moments("third", 1)
    name = next(name for name in before if name.endswith("new_weight/exp_avg_sq"))
    joined = torch.cat((before[name.replace("new_weight", "weight")], before[name]))
    # What was seen before is forgotten by a factor, and squares are added to it.
    assert (after[name.replace("new_weight", "weight")] >= 0.949 * joined).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.from=runs/nothing"], "optimizer.from: there is no folder runs/nothing"),
        (["optimizer.from=null"], "optimizer.state is carried, but nothing says from where"),
        (["optimizer.state=fresh"], "optimizer.from says where the moments are, but optimizer.state is fresh"),
        (["optimizer.from=runs/first/model"], "optimizer.from: runs/first/model is not a checkpoint of huohou"),
        (["lora={rank: 2}"], "the state in runs/first fits no parameter of this model"),
        (["optimizer.name=adamw8bit"], "only AdamW takes moments over"),
        (["train.engine=deepspeed"], "train.engine deepspeed can only begin with a fresh one"),
    ],
)
def test_what_cannot_be_carried_is_one_sentence(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "lora" in words[0]:
        pytest.importorskip("peft")
    capsys.readouterr()
    assert main(["train", "second.yaml", "name=refused", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not Path("runs/refused").exists()
