"""Where T comes from: flags before the file, tokens by what an update holds, and the data where they are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from huohou.audit.data_size import count
from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Given, Reading
from huohou.audit.source import Source


def read(name: str, text: str, **given: Any) -> Reading:
    (reading,) = examine(Document(Source(name, text, Path(name))), Given(**given)).readings
    return reading


TRAINER = "TrainingArguments('o', per_device_train_batch_size=4, gradient_accumulation_steps=2, num_train_epochs=2{})"
MEGATRON = (
    "python pretrain_gpt.py --lr 1e-4 --global-batch-size 16 --seq-length 1024 --lr-warmup-iters 10 "
    "--lr-decay-style cosine --train-iters {}"
)
TITAN = "[optimizer]\nlr = 1e-4\n[training]\nsteps = 500\nseq_len = 256\nglobal_batch_size = 8\n[lr_scheduler]\n{}"
NANO = (
    "max_iters = 99\nlr_decay_iters = 100\nwarmup_iters = 5\nlearning_rate = 1e-3\nblock_size = 64\nbatch_size = 4\n"
    "gradient_accumulation_steps = 2\n"
)

# (file, flags, T, horizon)
FLAGS: list[tuple[str, str, dict[str, Any], int, float]] = [
    ("a.py", TRAINER.format(""), {"samples": 800}, 200, 200),
    ("a.py", TRAINER.format(""), {"samples": 800, "gpus": 4}, 50, 50),
    ("a.py", TRAINER.format(""), {"samples": 800, "accumulation": 8}, 50, 50),
    ("a.py", TRAINER.format(""), {"updates": 37}, 37, 37),
    ("a.py", TRAINER.format(", max_steps=90"), {"samples": 800}, 90, 90),
    # The file states the horizon; the run is said to be shorter.
    ("a.py", TRAINER.format(", max_steps=90"), {"updates": 60}, 60, 90),
    ("a.py", TRAINER.format(", max_length=128").replace("TrainingArguments", "SFTConfig"), {"tokens": 102400}, 200, 200),
    ("a.sh", MEGATRON.format(200), {}, 200, 200),
    ("a.sh", MEGATRON.format(200), {"updates": 150}, 150, 200),
    ("a.sh", MEGATRON.format("200 --lr-decay-iters 300"), {"updates": 150}, 150, 300),
    ("a.sh", MEGATRON.format(200), {"tokens": 16 * 1024 * 120}, 120, 200),
    ("a.toml", TITAN.format("warmup_steps = 5\n"), {"updates": 80}, 80, 80),
    ("a.toml", TITAN.format("warmup_steps = 5\ntotal_steps = 300\n"), {"updates": 80}, 80, 300),
    ("a.toml", TITAN.format("warmup_steps = 5\n"), {"tokens": 8 * 256 * 70}, 70, 70),
    ("a.py", NANO, {}, 100, 100),
    ("a.py", NANO, {"tokens": 64 * 4 * 2 * 33}, 33, 100),
    (
        "a.sh", "torchrun --nproc_per_node 4 train.py --learning_rate 1e-4 --per_device_train_batch_size 2 "
        "--num_train_epochs 1 --lr_scheduler_type cosine --warmup_steps 3", {"samples": 800}, 100, 100,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "given", "updates", "horizon"), FLAGS)
def test_flags_go_before_the_file(name: str, text: str, given: dict[str, Any], updates: int, horizon: float) -> None:
    reading = read(name, text, **given)
    (role,) = reading.roles
    assert (role.applied.updates, role.horizon) == (updates, horizon)


@pytest.mark.parametrize(
    ("name", "text", "each"),
    [
        ("a.py", TRAINER.format(", max_steps=10, max_length=128").replace("TrainingArguments", "SFTConfig"), 1024),
        ("a.sh", MEGATRON.format(200), 16 * 1024),
        ("a.toml", TITAN.format("warmup_steps = 5\n"), 8 * 256),
        ("a.py", NANO, 64 * 4 * 2),
    ],
    ids=["trl", "megatron", "torchtitan", "nanogpt"],
)
def test_an_update_in_tokens(
    name: str, text: str, each: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from huohou.cli.main import main

    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    main(["audit", str(path), "--json", "--fail-on", "never"])
    assert json.loads(capsys.readouterr().out)["curves"]["model"]["tokens_per_update"] == each
    main(["audit", str(path), "--fail-on", "never"])
    assert f"an update {each:.4g}" in capsys.readouterr().out


def test_data_files_are_counted(tmp_path: Path) -> None:
    rows = [{"a": "x\ny"}, {"a": "z"}, {"a": ""}]
    files = {
        "a.json": json.dumps(rows),
        "b.jsonl": "".join(json.dumps(row) + "\n" for row in rows) + "\n",
        "c.json": "".join(json.dumps(row) + "\n" for row in rows),
        "d.csv": 'a,b\n"one\nstill one",2\n3,4\n5,6\n',
        "e.json": json.dumps({"a": 1}, indent=1),
        "f.bin": "abc",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert [count(tmp_path / name) for name in files] == [3, 3, 3, 3, None, None]
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.table({"a": [1, 2, 3]}), tmp_path / "g.parquet")
    assert count(tmp_path / "g.parquet") == 3


FACTORY = (
    "stage: sft\ndo_train: true\nfinetuning_type: lora\ntemplate: qwen\ncutoff_len: 1024\ndataset: one,two\n"
    "learning_rate: 1e-4\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 4\nnum_train_epochs: 2\n"
    "lr_scheduler_type: cosine\nwarmup_ratio: 0.1\n{}"
)


@pytest.mark.parametrize(
    ("more", "given", "updates"),
    [
        ("", {}, 28),
        ("max_samples: 40\n", {}, 20),
        ("val_size: 0.1\n", {}, 26),
        ("", {"samples": 80}, 20),
        ("packing: true\n", {}, None),
        ("dataset_dir: elsewhere\n", {}, None),
    ],
    ids=["counted", "limited", "split", "told", "packed", "absent"],
)
def test_llama_factorys_data(more: str, given: dict[str, Any], updates: int | None, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    info = {"one": {"file_name": "one.json"}, "two": {"file_name": "two.jsonl", "formatting": "sharegpt"}}
    (data / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    (data / "one.json").write_text(json.dumps([{}] * 40), encoding="utf-8")
    (data / "two.jsonl").write_text("{}\n" * 70, encoding="utf-8")
    path = tmp_path / "train.yaml"
    path.write_text(FACTORY.format(more), encoding="utf-8")
    audit = examine(Document(Source(str(path), path.read_text(encoding="utf-8"), path)), Given(**given))
    (reading,) = audit.readings
    if updates is None:
        assert not reading.roles and "--samples" in str(reading.missing[0])
    else:
        assert reading.roles[0].applied.updates == updates
        assert given or any("one, two hold" in str(text) for text in reading.assumptions)
