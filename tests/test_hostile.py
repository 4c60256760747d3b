"""What a hostile or unlucky world does to a run: each has a rule, and none of it loses anything."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from huohou import records
from huohou.cli.main import main
from huohou.config import load_run
from huohou.data.documents import Documents
from huohou.errors import UserError
from huohou.train.checkpoint import find

RUN = """\
name: small
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 64}
tokenizer: {vocab_size: 300}
data: {train: poems.txt, split: line, sequence_length: 32}
batch: {size: 4}
schedule: {peak: 3e-3, warmup: 25%}
train: {updates: 8, threads: 1}
checkpoint: {every: 4, keep: 2}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, its tokens and one finished run."""
    folder = tmp_path_factory.mktemp("hostile")
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
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    there = tmp_path / "place"
    shutil.copytree(trained, there)
    monkeypatch.chdir(there)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return there


def train(*arguments: str) -> int:
    try:
        return main(["train", "run.yaml", "--quiet", *arguments])
    finally:
        torch.use_deterministic_algorithms(False)


def lines(name: str) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in line.items() if k != "seconds"} for line in records.read(Path("runs", name, "metrics.jsonl"))
    ]


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own, with these variables and few others."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TEMP") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "huohou", *arguments],
        cwd=folder,
        env={**kept, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=300,
        check=False,
    )


# Data that change: a run is made of the bytes that it was planned with.


def test_a_file_that_is_cut_off_during_the_run_does_no_harm_and_is_named_afterwards(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huohou.stages.lm import LanguageModelling

    whole = Path("poems.txt").read_bytes()
    real = LanguageModelling.batch

    def cutting(self: Any, index: int) -> Any:
        if index == 3:
            Path("poems.txt").write_bytes(whole[: len(whole) // 2])
        return real(self, index)

    monkeypatch.setattr(LanguageModelling, "batch", cutting)
    assert train("name=cut") == 0
    assert lines("cut") == lines("small")
    shutil.rmtree("runs/cut/model")
    capsys.readouterr()
    assert train("name=cut", "--resume") == 2
    said = capsys.readouterr().err
    assert ".content was" in said and said.count("\n") == 1


@pytest.mark.parametrize("kept_time", [False, True])
def test_other_bytes_of_the_same_size_are_noticed(
    place: Path, capsys: pytest.CaptureFixture[str], kept_time: bool
) -> None:
    path = Path("poems.txt")
    before = path.stat()
    path.write_bytes(path.read_bytes().replace("春眠".encode(), "秋眠".encode()))
    if kept_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.rmtree("runs/small/checkpoints/checkpoint-8")
    shutil.rmtree("runs/small/model")
    assert train("--resume") == 2
    assert ".content was" in capsys.readouterr().err


# Documents of every shape.


def test_millions_of_empty_documents_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_bytes(b"\n" * 2_000_000 + "春眠不觉晓\n".encode())
    tracemalloc.start()
    try:
        found = list(Documents(str(path), split="line"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 1
    assert peak < 20_000_000


ODD: dict[str, str] = {
    "only white space": " \t\n\u3000\n\r\n \u00a0\n" * 200,
    "one letter each": "春\n" * 4000,
    "one long line": "春眠不觉晓，处处闻啼鸟。" * 4000 + "\n",
    "zero width and marks": "\u200b春\u200d\ufeff眠\u2028不\u0085觉\u202e晓\n" * 800,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_documents_are_trained_on_or_refused_in_a_sentence(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("poems.txt").write_text(ODD[name], encoding="utf-8", newline="")
    shutil.rmtree("runs")
    status = train("name=odd", "tokenizer.vocab_size=263")
    said = capsys.readouterr().err
    if status:
        assert status == 2 and said.count("\n") == 1 and "poems.txt" in said
    else:
        assert all(line["loss"] > 0 and not line["skipped"] for line in lines("odd"))
    assert status == (2 if name == "only white space" else 0), said


# The run file.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("updates: 0x10", "updates"),
        ("updates: 1e1000", "updates"),
        ("updates: .nan", "updates"),
        ("updates: " + "9" * 5000, "updates"),
        ("updates: __import__('os')", "updates"),
    ],
)
def test_numbers_that_are_none(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_run_text(RUN.replace("updates: 8", text))


def test_full_width_digits_are_digits() -> None:
    assert load_run_text(RUN.replace("updates: 8", "updates: １００")).train.updates == 100


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch canary')",
        '\'__import__("os").mkdir("canary")\'',
        "${oc.env:HOME}",
        "{_target_: os.system, command: touch canary}",
        "!!python/object/apply:os.system ['touch canary']",
        "9**9**9",
        "1e999999999",
        "%s%n%x",
        "'" + "9" * 4000 + "%'",
        "'1" + "亿" * 2000 + " tokens'",
    ],
)
@pytest.mark.parametrize("key", ["peak", "warmup", "floor", "decay"])
def test_a_schedule_computes_nothing(key: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    schedule = {"peak": "3e-3", "warmup": "25%", key: text}
    written = ", ".join(f"{name}: {value}" for name, value in schedule.items())
    with pytest.raises(UserError) as caught:
        load_run_text(RUN.replace("schedule: {peak: 3e-3, warmup: 25%}", f"schedule: {{{written}}}"))
    assert len(str(caught.value)) < 400
    assert not Path("canary").exists()


def load_run_text(text: str) -> Any:
    path = Path("hostile.yaml")
    path.write_text(text, encoding="utf-8")
    try:
        return load_run(path)
    finally:
        path.unlink()


# No network.


def test_nothing_is_asked_of_the_network(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    assert main(["plan", "run.yaml"]) == 0
    assert train("name=offline") == 0
    assert main(["report", "runs/offline"]) == 0


# Sizes at the edges.


def test_data_smaller_than_a_batch_fill_it_from_the_next_epoch(place: Path) -> None:
    Path("poems.txt").write_text("春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n" * 9, encoding="utf-8")
    shutil.rmtree("runs")
    assert train("name=little", "batch.size=64", "tokenizer.vocab_size=270") == 0
    assert len(lines("little")) == 8


@pytest.mark.parametrize("updates", ["0", "-1"])
def test_no_updates_are_refused(place: Path, capsys: pytest.CaptureFixture[str], updates: str) -> None:
    assert train("name=none", f"train.updates={updates}") == 2
    assert f"train.updates is {updates}" in capsys.readouterr().err
    assert not Path("runs/none").exists()


def test_one_update_uses_the_peak_and_is_saved(place: Path) -> None:
    assert train("name=one", "train.updates=1", "schedule.warmup=off") == 0
    assert [line["rate"] for line in lines("one")] == [3e-3]
    assert Path("runs/one/checkpoints/checkpoint-1").is_dir() and Path("runs/one/model").is_dir()


@pytest.mark.parametrize("every", ["1000", "off"])
def test_the_end_is_saved_whatever_the_cadence(place: Path, every: str) -> None:
    assert train("name=seldom", f"checkpoint.every={every}") == 0
    assert [path.name for path in Path("runs/seldom/checkpoints").iterdir()] == ["checkpoint-8"]


def test_part_of_an_epoch(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text(RUN.replace("updates: 8", "epochs: 0.25"), encoding="utf-8")
    assert train("name=quarter") == 0
    whole = json.loads(Path("runs/small/plan.json").read_text(encoding="utf-8"))
    part = json.loads(Path("runs/quarter/plan.json").read_text(encoding="utf-8"))
    batches = math.ceil(whole["data"]["sequences"] / 4 * 0.25)
    assert part["updates"] == len(lines("quarter")) == batches > 0


def test_a_validation_share_that_leaves_nothing_is_a_sentence_or_no_evaluation(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = train("name=unjudged", "data.validation=0.001%", "train.evaluate_every=2")
    said = capsys.readouterr().err
    if status == 0:
        assert not any("evaluation" in line for line in lines("unjudged"))
    else:
        assert status == 2 and "validation" in said and said.count("\n") == 1


# Names and places.


NAMES: dict[str, str] = {
    "spaces": "a folder  with spaces",
    "Chinese": "诗 词／全集",
    "emoji": "🙂 𠮷 é",
    "shell": "$(touch canary); `x` & 'y' -rf *",
    "percent and braces": "100% {x} [y] %s",
}


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_folder_works(name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / NAMES[name]
    shutil.copytree(place, folder)
    shutil.rmtree(folder / "runs" / "small")
    monkeypatch.chdir(folder)
    assert train("--output", f"out/{NAMES[name]}") == 0
    run = Path("out", NAMES[name])
    assert find(run / "checkpoints").newest is not None
    assert main(["report", str(run)]) == 0
    assert not Path("canary").exists()


def test_a_name_that_is_too_long_is_a_sentence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--output", "长" * 200) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said
    assert sorted(path.name for path in place.iterdir()) == sorted({"poems.txt", "run.yaml", "runs"})


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_to_data_and_to_the_run_folder_are_followed(place: Path, tmp_path: Path) -> None:
    Path("poems.txt").rename(tmp_path / "elsewhere.txt")
    Path("poems.txt").symlink_to(tmp_path / "elsewhere.txt")
    (tmp_path / "disk").mkdir()
    Path("out").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert train("--output", "out/run") == 0
    assert find(tmp_path / "disk" / "run" / "checkpoints").newest is not None


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may write anywhere")
def test_a_place_without_permission_is_a_sentence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locked = place / "locked"
    locked.mkdir(mode=0o555)
    assert train("--output", "locked/run") == 2
    assert "locked" in capsys.readouterr().err


@pytest.mark.heavy
@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_a_name_that_the_locale_cannot_write_is_a_sentence(place: Path) -> None:
    Path("run.yaml").write_text(RUN.replace("small", "诗"), encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = command(place, "train", "run.yaml", **locale)
    said = done.stderr.decode("ascii")
    assert done.returncode == 2 and said.count("\n") == 1
    assert "where names are ascii: set PYTHONUTF8=1" in said
    assert command(place, "train", "run.yaml", "name=plain", **locale).returncode == 0
    assert command(place, "train", "run.yaml", **{**locale, "PYTHONUTF8": "1"}).returncode == 0


@pytest.mark.heavy
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONUTF8": "1", "PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "gbk", "HUOHOU_LANG": "zh"},
        {"PYTHONIOENCODING": "cp1252", "HUOHOU_LANG": "zh"},
    ],
    ids=["ascii", "a Chinese Windows console", "a Western Windows console in Chinese"],
)
def test_no_console_is_too_small_for_what_is_said(place: Path, environment: dict[str, str]) -> None:
    text = RUN.replace("updates: 8", "updates: 4, sample_every: 2, sample_prompts: [春🙂]").replace("small", "诗🙂")
    Path("run.yaml").write_text(text, encoding="utf-8")
    done = command(place, "train", "run.yaml", **environment)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert b"Traceback" not in done.stderr
    wrong = command(place, "train", "run.yaml", "schedule.peek=1", "name=𠮷", **environment)
    assert wrong.returncode == 2 and b"Traceback" not in wrong.stderr


# Checkpoints of others that can run code.


class Canary:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_a_folder_of_torchs_own_distributed_checkpoints_is_refused_unread(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch.distributed.checkpoint.state_dict_saver import save

    foreign = Path("runs/small/checkpoints/checkpoint-9")
    shutil.rmtree("runs/small/checkpoints")
    shutil.rmtree("runs/small/model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It says that it is alone.
        save({"model": {"weight": torch.zeros(4)}}, checkpoint_id=foreign, no_dist=True)
    (foreign / ".metadata").write_bytes(pickle.dumps(Canary(place / "canary")))
    assert train("--resume") == 2
    said = capsys.readouterr().err
    assert "checkpoint-9" in said and "pickle" in said
    assert not (place / "canary").exists()
    pickle.loads((foreign / ".metadata").read_bytes())
    assert (place / "canary").exists(), "the trap is one"
