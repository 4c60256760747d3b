"""Resuming with a changed run file: a table and exit status 2 without consent, the exact curve with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from huohou import records
from huohou.cli.main import main
from huohou.config import RunConfig, load_run
from huohou.errors import UserError
from huohou.launch import train
from huohou.plan.facts import prepare
from huohou.plan.result import Plan
from huohou.train.take_up import Consent
from huohou.units import Duration

RUN = """
name: changed
data: {train: corpus.txt, sequence_length: 8}
model: {hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2}
tokenizer: {vocab_size: 270}
batch: {size: 4}
schedule: {peak: 3e-3, warmup: 4 steps}
train: {updates: 12, device: cpu, dtype: float32, compile: false, threads: 1, evaluate_every: off, layers_every: off}
checkpoint: {every: 6, keep: 9}
"""


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text("".join(f"第{i}天看见{i * 7 % 97}只鸟。\n" for i in range(60)), encoding="utf-8")
    Path("run.yaml").write_text(RUN, encoding="utf-8")
    prepare(load_run("run.yaml", ["data.train=corpus.txt"])).tokenizer.save(Path("tokenizer"))
    Path("run.yaml").write_text(RUN.replace("vocab_size: 270", "path: tokenizer"), encoding="utf-8")
    train(load_run("run.yaml"), quiet=True)


def changed(*overrides: str) -> RunConfig:
    return load_run("run.yaml", overrides)


def recorded() -> Plan:
    return Plan.from_plain(json.loads(Path("runs/changed/plan.json").read_text(encoding="utf-8")))


def applied() -> list[float]:
    return [line["rate"] for line in records.read(Path("runs/changed/metrics.jsonl")) if not line["skipped"]]


def events(kind: str) -> list[dict[str, Any]]:
    return [e for e in records.read(Path("runs/changed/events.jsonl")) if e["event"] == kind]


ROW_15 = {
    "peak": ["schedule.peak=1e-3", "train.updates=20"],
    "horizon": ["train.updates=20"],
    "warmup": ["schedule.warmup=16 steps", "train.updates=20"],
    "decay": ["schedule.decay=linear", "schedule.floor=0", "train.updates=20"],
    "batch": ["batch.size=6", "train.updates=20"],
    "seed": ["seed=7", "train.updates=20"],
    "data": ["data.train=[corpus.txt, more.txt]", "train.updates=20"],
    "optimizer": ["optimizer.weight_decay=0.3", "train.updates=20"],
}


@pytest.mark.parametrize("kind", ROW_15)
def test_no_change_happens_silently_and_with_consent_the_curve_is_exact(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("more.txt").write_text("新来的一行。\n" * 40, encoding="utf-8")
    before = Path("runs/changed/plan.json").read_bytes()
    lines = applied()
    was = recorded()
    with pytest.raises(UserError) as caught:
        train(changed(*ROW_15[kind]), resume=True)
    said = capsys.readouterr().out
    assert "The plan has changed. 12 updates are made, 12 batches are read" in said
    key = ROW_15[kind][0].partition("=")[0]
    assert key in said
    assert key in caught.value.text.en
    assert "--on-change" in caught.value.text.zh
    assert "keep" in said
    assert "retarget" in said
    assert Path("runs/changed/plan.json").read_bytes() == before
    assert applied() == lines

    run = changed(*ROW_15[kind])
    new = prepare(run).plan
    train(run, resume=True, quiet=True, consent=Consent("retarget"))
    plan = recorded()
    assert plan.updates == 20
    assert applied() == [was.curve(u) for u in range(1, 13)] + [new.curve(u) for u in range(13, 21)]
    assert [plan.curve(u) for u in range(1, 21)] == applied()
    (event,) = events("replan")
    assert (event["update"], event["choice"], event["updates"]) == (12, "retarget", [12, 20])
    assert event["rates"] == [was.curve(13), new.curve(13)]
    assert {"before", "after"} == set(event["curves"])
    assert key in {change["key"] for change in event["changes"]}
    # The same run file is no change any more.
    train(run, resume=True, quiet=True)
    assert len(events("replan")) == 1


def test_rewarm_and_keep() -> None:
    run = changed("train.updates=24", "schedule.peak=5e-3")
    train(run, resume=True, quiet=True, consent=Consent("rewarm", Duration.parse("4 steps", key="")))
    rates = applied()
    assert len(rates) == 24
    assert rates[15] == 5e-3
    assert rates[11] < rates[12] < rates[13] < rates[14] < rates[15] > rates[16]
    # Another peak is left aside: nothing more is made.
    train(changed("train.updates=24", "schedule.peak=1e-3"), resume=True, quiet=True, consent=Consent("keep"))
    assert applied() == rates
    train(changed("train.updates=24", "schedule.peak=1e-3"), resume=True, quiet=True)


def test_a_change_in_the_middle_reads_the_rest_of_the_same_order() -> None:
    run = changed("batch.size=6", "train.updates=16")
    train(run, resume=True, quiet=True, consent=Consent("retarget"))
    prepared = prepare(run)
    order = prepared.order_of(recorded())
    whole = prepared.order(4, 42, None)
    assert np.concatenate([order.batch(k) for k in range(12, 16)]).tolist() == whole.slice(48, 72).tolist()
    with pytest.raises(IndexError):
        order.batch(11)


def test_a_killed_run_goes_on_after_its_change(tmp_path: Path) -> None:
    """The plan is written before the first update that follows it; a run that dies between is still the same run."""
    run = changed("train.updates=20")
    train(run, resume=True, quiet=True, consent=Consent("retarget"))
    folder = Path("runs/changed")
    for name in ("checkpoint-18", "checkpoint-20"):
        for path in sorted((folder / "checkpoints" / name).rglob("*"), reverse=True):
            path.unlink()
        (folder / "checkpoints" / name).rmdir()
    rates = applied()
    train(run, resume=True, quiet=True)
    assert applied() == rates


def test_a_checkpoint_from_before_other_data_were_read_is_refused() -> None:
    run = changed("batch.size=6", "train.updates=20")
    train(run, resume=True, quiet=True, consent=Consent("retarget"))
    for update in (12, 18, 20):
        (Path("runs/changed/checkpoints") / f"checkpoint-{update}" / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="changed after update 12"):
        train(run, resume=True, quiet=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.hidden_size=32"], "model.hidden_size was 16 and is 32. This cannot be changed on the way"),
        (["tokenizer.vocab_size=280"], "model.vocab_size|tokenizer.vocab_size was null and is 280"),
    ],
)
def test_what_is_trained_cannot_be_changed_even_with_consent(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(changed(*overrides), resume=True, quiet=True, consent=Consent("retarget"))


def test_the_command_line_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["train", "run.yaml", "schedule.peak=1e-3", "train.updates=14", "--resume"])
    shown = capsys.readouterr()
    assert status == 2
    assert "retarget" in shown.out
    assert shown.err.startswith("huohou: runs/changed was planned otherwise: schedule.peak was 0.003 and is 0.001")
    assert main(["train", "run.yaml", "name=fresh", "--on-change", "keep"]) == 2
    assert "belongs to --resume" in capsys.readouterr().err
    words = ["train", "run.yaml", "schedule.peak=5e-3", "train.updates=20", "--resume", "--quiet"]
    assert main([*words, "--on-change", "rewarm"]) == 2
    assert "--rewarm" in capsys.readouterr().err
    assert main([*words, "--on-change", "rewarm", "--rewarm", "3 steps"]) == 0
    assert applied()[14] == 5e-3


def test_a_tokenizer_that_would_be_trained_on_other_data_is_not_exchanged() -> None:
    Path("more.txt").write_text("新来的一行，说的是别的事。\n" * 40, encoding="utf-8")
    trained = ["name=trained", "tokenizer.vocab_size=270"]
    train(changed(*trained), quiet=True)
    with pytest.raises(UserError, match=r"tokenizer\.content was .*a tokenizer that is trained on the data changes"):
        train(changed(*trained, "data.train=[corpus.txt, more.txt]"), resume=True, consent=Consent("retarget"))
    # The same tokenizer at another place is no change.
    Path("tokenizer").rename("elsewhere")
    train(changed("tokenizer.path=elsewhere"), resume=True, quiet=True)


@pytest.mark.parametrize(
    ("choice", "length", "message"),
    [
        ("other", None, "--on-change is other; write keep, retarget, rewarm"),
        ("retarget", "10%", "belongs to --on-change rewarm"),
        ("rewarm", None, "say for how long by --rewarm"),
        ("rewarm", "soon", "--rewarm is 'soon'"),
    ],
)
def test_flags_that_say_nothing_sensible(choice: str, length: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Consent.read(choice, length)
