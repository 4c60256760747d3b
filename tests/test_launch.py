"""From a run file to a finished run, with a model of some thousand parameters."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from huohou import launch, records
from huohou.cli.main import main
from huohou.config import RunConfig, load_run
from huohou.errors import RunFailed, UserError
from huohou.language import choose_language
from huohou.model import read_model
from huohou.plan import requests
from huohou.plan.result import Plan
from huohou.stages.lm import LanguageModelling
from huohou.train import checkpoint, saving
from huohou.train.signals import Stopped

UPDATES = 16

RUN = """\
# A run so small that it takes a second.
name: small
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 64}
tokenizer: {vocab_size: 300}
data: {train: poems.txt, split: line, validation: 10%, sequence_length: 32}
batch: {size: 4, micro_batch: 2}
schedule: {peak: 3e-3, warmup: 25%, decay: cosine}
train: {updates: 16, evaluate_every: 8, sample_every: 16, sample_prompts: 春, threads: 1}
checkpoint: {every: 4, keep: 3}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a corpus, its token cache and tokenizer, and one finished run, ``whole``."""
    folder = tmp_path_factory.mktemp("launch")
    lines = [f"春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。第{i}首，{'山水' * (i % 5)}。" for i in range(120)]
    (folder / "poems.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "run.yaml").write_text(RUN, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        launch.train(load("name=whole"), stream=io.StringIO())
    finally:
        os.chdir(before)
        torch.use_deterministic_algorithms(False)
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    # No machine stops in these tests, and waiting for the disk is most of what they would do.
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def load(*overrides: str) -> RunConfig:
    return load_run("run.yaml", overrides=overrides)


def lines(name: str) -> list[dict[str, Any]]:
    path = Path("runs") / name / "metrics.jsonl"
    return [{k: v for k, v in line.items() if k != "seconds"} for line in records.read(path)]


def events(name: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in records.read(Path("runs") / name / "events.jsonl") if event["event"] == kind]


def weights(name: str) -> bytes:
    return (Path("runs") / name / "model" / "model.safetensors").read_bytes()


def train(name: str, *overrides: str, **how: Any) -> str:
    """Train, and return what was said."""
    stream = io.StringIO()
    launch.train(load(f"name={name}", *overrides), stream=stream, **how)
    return stream.getvalue()


@contextmanager
def interrupted(batch: int, action: Callable[[], Any]) -> Generator[None]:
    """Something happens when this batch is read."""
    real = LanguageModelling.batch

    def read(self: LanguageModelling, index: int) -> Any:
        if index == batch:
            action()
        return real(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LanguageModelling, "batch", read)
        yield


class Leave(Exception):
    """Stands for whatever ends a process."""


def leave_at(batch: int, name: str) -> None:
    """A run of this name that ends before it reads this batch."""

    def leave() -> None:
        raise Leave

    with interrupted(batch, leave), pytest.raises(Leave):
        train(name)


def test_a_run_folder_holds_what_it_promises() -> None:
    folder = Path("runs/whole")
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "plan.json",
        "environment.json",
        "metrics.jsonl",
        "events.jsonl",
        "checkpoints",
        "tokenizer",
        "model",
    }
    assert (folder / "config.yaml").read_text(encoding="utf-8") == RUN
    assert [line["update"] for line in lines("whole")] == list(range(1, UPDATES + 1))
    plan = Plan.from_plain(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
    assert plan.exact and plan.updates == UPDATES
    assert [line["rate"] for line in lines("whole")] == [plan.curve(update) for update in range(1, UPDATES + 1)]
    assert plan.execution == {
        "device": "cpu",
        "dtype": "float32",
        "compile": False,
        "threads": 1,
        "fused": True,
        "seed": 42,
        "deterministic": False,
    }
    assert [event["update"] for event in events("whole", "evaluation")] == [8, 16]
    assert [event["prompt"] for event in events("whole", "sample")] == ["春"]
    assert lines("whole")[-1]["loss"] < lines("whole")[0]["loss"] - 0.1
    assert 0 < lines("whole")[-1]["evaluation"]["bits_per_byte"] < 8


def test_the_environment_is_described_without_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_a-secret")
    text = Path("runs/whole/environment.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["versions"]["torch"] == torch.__version__
    assert found["hardware"]["cores"] >= 1
    from huohou.train.environment import environment

    assert "secret" not in json.dumps(environment())


def test_the_model_is_a_hugging_face_folder() -> None:
    model = read_model(Path("runs/whole/model"))
    assert model.config.eos_token_id is not None
    assert Path("runs/whole/model/tokenizer.json").is_file()


@pytest.mark.parametrize("batch", [2, 4, 7, 15])
def test_a_resumed_run_is_the_same_bit_for_bit(batch: int) -> None:
    name = f"cut{batch}"
    leave_at(batch, name)
    said = train(name, resume=True)
    assert f"going on after update {batch // 4 * 4} of 16." in said
    assert said.splitlines()[-2] == "planned == applied: 16 of 16 updates, 0 skipped, 16 batches read"
    assert weights(name) == weights("whole")
    assert lines(name) == lines("whole")


def test_a_checkpoint_of_a_run_that_was_killed_can_be_talked_to(tmp_path: Path, capsys: Any) -> None:
    leave_at(6, "killed")
    # Its own tokenizer is enough: neither the cache nor the corpus is looked at.
    Path("runs/killed").rename(tmp_path / "killed")
    assert main(["export", str(tmp_path / "killed"), "--output", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["chat", str(tmp_path / "out"), "--plain", "--greedy", "--once", "春", "--max-tokens", "4"]) == 0
    assert capsys.readouterr().out.strip()
    assert main(["chat", str(tmp_path / "killed"), "--plain", "--once", "春"]) == 2
    assert "export one of its checkpoints" in capsys.readouterr().err


def test_what_decides_bits_is_taken_from_the_plan() -> None:
    leave_at(10, "settled")
    said = train("settled", "train.dtype=bfloat16", "optimizer.fused=false", resume="auto")
    assert "train.dtype: the run goes on with float32" in said
    assert "optimizer.fused: the run goes on with True" in said
    assert weights("settled") == weights("whole")


def test_a_smaller_micro_batch_is_allowed_and_told() -> None:
    leave_at(10, "smaller")
    said = train("smaller", "batch.micro_batch=1", resume=True)
    assert "micro_batch is 1 from here on, and was 2" in said
    assert lines("smaller")[-1]["loss"] == pytest.approx(lines("whole")[-1]["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.peak=1e-3", r"schedule.peak was 0.003 and is 0.001"),
        ("schedule.warmup=2 steps", r"schedule.warmup was .* and is .*"),
        ("train.updates=48", r"train.updates was 16 and is 48"),
        ("batch.size=8", r"batch.size was 4 and is 8"),
        ("seed=7", r"seed was 42 and is 7"),
        ("optimizer.weight_decay=0.2", r"optimizer.weight_decay was 0.1 and is 0.2"),
        ("model.hidden_size=32", r"model.hidden_size was 16 and is 32"),
    ],
)
def test_a_changed_plan_is_refused_with_both_values(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"runs/whole was planned otherwise: {message}.*undo the change"):
        train("whole", override, resume=True)


def test_changed_data_are_refused() -> None:
    leave_at(10, "changed")
    text = Path("poems.txt").read_text(encoding="utf-8")
    try:
        Path("poems.txt").write_text(text.replace("夜来", "今夜"), encoding="utf-8")
        with pytest.raises(UserError, match=r"(data|tokenizer)\.content was"):
            train("changed", resume=True)
    finally:
        Path("poems.txt").write_text(text, encoding="utf-8")
    train("changed", resume=True)
    assert weights("changed") == weights("whole")


def test_keys_that_decide_nothing_may_change() -> None:
    leave_at(10, "watched")
    train("watched", "train.evaluate_every=off", "checkpoint.every=off", "train.layers_every=1", resume=True)
    assert weights("watched") == weights("whole")


def test_a_finished_run_is_left_alone() -> None:
    before = {path: path.read_bytes() for path in Path("runs/whole").rglob("*") if path.is_file()}
    for resume in (True, "auto"):
        assert "runs/whole is finished: 16 of 16 updates; nothing was done." in train("whole", resume=resume)
    assert {path: path.read_bytes() for path in Path("runs/whole").rglob("*") if path.is_file()} == before


def test_a_finished_run_without_its_model_gets_it() -> None:
    shutil.copytree("runs/whole", "runs/modelless")
    shutil.rmtree("runs/modelless/model")
    train("modelless", resume=True)
    assert weights("modelless") == weights("whole")
    assert [e["event"] for e in records.read(Path("runs/modelless/events.jsonl"))][-2:] == ["resume", "end"]
    assert len(lines("modelless")) == UPDATES


def test_an_existing_run_is_refused() -> None:
    with pytest.raises(UserError, match="runs/whole already holds a run: go on with it by --resume"):
        train("whole")


def test_no_run_cannot_be_resumed_but_auto_begins_one() -> None:
    with pytest.raises(UserError, match="there is no run in runs/fresh to go on with"):
        train("fresh", resume=True)
    assert not Path("runs/fresh").exists()
    train("fresh", resume="auto")
    assert weights("fresh") == weights("whole")


def test_somebody_elses_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine: true\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.yaml exists already"):
        train("other", f"output={tmp_path}", resume="auto")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def damage(name: str, update: int) -> Path:
    path = Path("runs") / name / "checkpoints" / f"checkpoint-{update}" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    return path


def test_a_damaged_checkpoint_falls_back_loudly() -> None:
    leave_at(14, "damaged")
    damage("damaged", 12)
    with pytest.raises(UserError, match=r"checkpoint-12 is damaged: model.safetensors is not what was written"):
        train("damaged", resume=True, strict=True)
    said = train("damaged", resume=True)
    assert "WARNING: the checkpoint" in said and "The run goes on from the one of update 8." in said
    assert weights("damaged") == weights("whole")
    assert lines("damaged") == lines("whole")


def test_a_run_is_never_begun_again_over_damaged_checkpoints() -> None:
    leave_at(6, "ruined")
    damage("ruined", 4)
    for resume in (True, "auto"):
        with pytest.raises(UserError, match="checkpoint-4 is damaged"):
            train("ruined", resume=resume)
    assert len(lines("ruined")) == 6


def test_a_checkpoint_of_another_plan_is_refused() -> None:
    leave_at(6, "foreign")
    train_other = {"fingerprint": "0", "plan_fingerprint": "1"}
    found = checkpoint.find(Path("runs/foreign/checkpoints")).newest
    assert found is not None
    forged = type(found.manifest)(found.manifest.position, train_other, found.manifest.files)
    (found.folder / "MANIFEST.json").write_text(forged.render(), encoding="ascii")
    with pytest.raises(UserError, match="belongs to another plan"):
        train("foreign", resume=True)


def test_debris_is_cleaned_and_told() -> None:
    leave_at(6, "debris")
    (Path("runs/debris/checkpoints") / "checkpoint-8.tmp-0123abcd").mkdir()
    assert "left half written: checkpoint-8.tmp-0123abcd" in train("debris", resume=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(number: int, status: int, capsys: Any) -> None:
    name = f"signal{status}"
    with interrupted(9, lambda: os.kill(os.getpid(), number)):
        assert main(["train", "run.yaml", f"name={name}", "--quiet"]) == status
    said = capsys.readouterr().out
    assert f"checkpoint-10 is there. Go on with: huohou train run.yaml name={name} --resume" in said
    assert not Path(f"runs/{name}/.lock").exists()
    assert main(["train", "run.yaml", f"name={name}", "--resume"]) == 0
    assert weights(name) == weights("whole")


def test_a_signal_while_the_data_are_prepared_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "prepare", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        train("early")
    assert not Path("runs/early").exists()


def test_five_bad_updates_fail_the_run(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    real = LanguageModelling.loss

    def spoiled(self: Any, model: Any, micro: Any) -> torch.Tensor:
        return real(self, model, micro) * (float("nan") if model.training else 1.0)

    monkeypatch.setattr(LanguageModelling, "loss", spoiled)
    assert main(["train", "run.yaml", "name=broken", "--quiet"]) == 1
    error = capsys.readouterr().err
    assert "5 updates in a row were not finite after update 0" in error
    assert "Traceback" not in error


def test_too_little_space_is_told_before_the_first_update(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    monkeypatch.setattr("huohou.data.cache.shutil.disk_usage", lambda path: usage, raising=False)
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"not enough space for a checkpoint .* needed, 0.0 MB free"):
        train("full")
    assert not Path("runs/full").exists()


def test_an_unwritable_place_is_told() -> None:
    Path("a-file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"a-file.* could not be written"):
        train("blocked", "output=a-file/run")


def test_a_model_that_cannot_be_written_is_told() -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    message = r"finished and saved in .*checkpoint-16, but .* No space left on device"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RunFailed, match=message):
        patch.setattr(launch, "keep_result", full)
        train("modelfull")
    train("modelfull", resume=True)
    assert weights("modelfull") == weights("whole")


def test_several_processes_are_refused() -> None:
    with pytest.raises(UserError, match=r"batch\.gpus is 2"):
        train("many", "batch.gpus=2", "batch.size=8")


def test_a_missing_gpu_is_told() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=r"train\.device is cuda, but torch .* sees no GPU"):
        train("gpu", "train.device=cuda")


def test_epochs_end_with_a_short_batch() -> None:
    train("epochs", "train.updates=null", "train.epochs=1", "schedule.warmup=10%")
    plan = json.loads(Path("runs/epochs/plan.json").read_text(encoding="utf-8"))
    assert sum(line["tokens"] for line in lines("epochs")) == plan["data"]["tokens"] - 1
    assert len(lines("epochs")) == plan["updates"]


def test_the_micro_batch_is_chosen_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MICRO_BATCH_TOKENS", 100)
    train("chosen", "batch.micro_batch=null", "train.updates=2", "schedule.warmup=1 steps")
    batch = json.loads(Path("runs/chosen/plan.json").read_text(encoding="utf-8"))["batch"]
    assert (batch["micro_batch"], batch["accumulation"]) == (3, 2)


def test_what_could_not_be_used_is_in_the_run_folder_of_every_run() -> None:
    good = Path("poems.txt").read_text(encoding="utf-8").splitlines()
    records_ = [json.dumps({"text": line}, ensure_ascii=False) for line in good]
    Path("poems.jsonl").write_text("\n".join([*records_, '{"text": 5}', "{"]) + "\n", encoding="utf-8")
    skip = ("data={train: poems.jsonl, on_bad: skip, sequence_length: 32}", "train.updates=1", "schedule.warmup=off")
    for name in ("skipping", "skipping-again"):
        train(name, *skip)
        rejected = list(records.read(Path("runs") / name / "rejects.jsonl"))
        assert [line["line"] for line in rejected] == [len(good) + 1, len(good) + 2]


def test_attention_is_part_of_the_plan() -> None:
    with pytest.raises(UserError, match=r"data\.attention was packed and is documents"):
        train("whole", "data.attention=documents", resume=True)


def test_messages_are_chinese_where_chinese_is_asked_for() -> None:
    choose_language("zh")
    assert "runs/whole 已完成：16/16 个更新步" in train("whole", resume=True)
    said = train("chinese", "train.print_every=8")
    assert "更新步 8/16 · 损失" in said
    assert "planned == applied: 16 of 16 updates, 0 skipped, 16 batches read" in said


def test_the_command_line_tells_a_misplaced_word(capsys: Any) -> None:
    assert main(["train", "--resume", "run.yaml"]) == 2
    assert main(["train", "run.yaml", "--resume", "name=x"]) == 2
    assert "write --resume alone or --resume auto, after the run file" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_ten_kills_of_the_command_change_no_bit() -> None:
    """From the command line, at random moments of its whole life: data, planning, updates, saving, writing the model."""
    start = "import sys; from huohou.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, "train", "run.yaml", "name=killed", "train.updates=400"]
    command += ["checkpoint.every=3", "train.evaluate_every=50", "--resume", "auto", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    draw, kills = random.Random(), 0
    for _ in range(10):
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            # The imports alone take seconds; without a plan in the folder there is nothing yet that could break.
            deadline = time.monotonic() + 60
            while process.poll() is None and not Path("runs/killed/.lock").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 2))
            process.kill()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 5
    assert subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode == 0
    train("unkilled", "train.updates=400", "train.evaluate_every=50", "checkpoint.every=off")
    assert weights("killed") == weights("unkilled")
    assert lines("killed") == lines("unkilled")
    assert not list(Path("runs/killed/checkpoints").glob("*.tmp-*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_run_is_resumed_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("there is no C++ compiler here")
    # Torch writes its own place there once something was compiled in this process.
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    changes = ("train.compile=true", "batch.size=5")
    train("compiled", *changes)
    with interrupted(6, lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(Stopped):
        train("compiledcut", *changes)
    train("compiledcut", *changes, resume=True)
    assert weights("compiledcut") == weights("compiled")
    assert any(Path("runs/.cache/compiled").iterdir())
