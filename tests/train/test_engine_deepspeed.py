"""DeepSpeed's stages in two processes beside one process: same rates, same losses, same state, resumed by each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from huohou import records
from huohou.errors import UserError
from huohou.train.engine_deepspeed import DeepSpeedEngine
from huohou.train.execution import settle

SCRIPT = Path(__file__).parent / "zero.py"


def run(folder: Path, stage: int, dtype: str = "float32", offload: bool = False) -> tuple[dict[str, Any], str]:
    """What the two processes found out, and everything that they printed."""
    pytest.importorskip("deepspeed")
    result = folder / "result.json"
    environment = {**os.environ, "WORLD_SIZE": "2", "STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(stage), str(result), dtype, "offload" if offload else "no"]
    started = [
        subprocess.Popen(
            command,
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    return json.loads(result.read_text(encoding="utf-8")), "".join(said)


CASES = [
    pytest.param(0, False, marks=pytest.mark.heavy, id="0"),
    pytest.param(1, False, marks=pytest.mark.heavy, id="1"),
    pytest.param(2, False, marks=pytest.mark.heavy, id="2"),
    pytest.param(3, False, marks=pytest.mark.heavy, id="3"),
    pytest.param(1, True, marks=pytest.mark.slow, id="1 offloaded"),
    pytest.param(3, True, marks=pytest.mark.slow, id="3 offloaded"),
]


@pytest.mark.parametrize(("stage", "offload"), CASES)
def test_two_processes_compute_what_one_does_and_each_goes_on_where_the_other_stood(
    tmp_path: Path, stage: int, offload: bool
) -> None:
    found, said = run(tmp_path, stage, offload=offload)
    assert found["rates"], "rates are equal to the last bit"
    assert found["loss"] < 1e-6
    assert found["norm"] < 1e-5
    assert found["same layers"] and found["layers"] < 1e-5
    assert found["clipped"] and 0 < found["clips"] < 50
    assert found["falls"] < 0.9
    assert found["names"] == {"model": True, "optimizer": True}
    assert found["state"] < 1e-6
    assert found["resumed equals uninterrupted"]
    assert found["from single"] < 1e-6
    assert found["to single"] < 1e-6
    assert found["to another stage"] < 1e-6
    assert found["evaluated"] < 1e-6
    assert found["written"] > 0.99
    assert found["sampled"] and found["complete"]
    assert said == "", "DeepSpeed is silent"


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 3])
def test_bfloat16_is_autocast_over_fp32_weights_as_in_one_process(tmp_path: Path, stage: int) -> None:
    found, _ = run(tmp_path, stage, "bfloat16")
    assert found["rates"]
    # Products in bf16 round differently for other sizes of a micro-batch; what is resumed is bit-equal all the same.
    assert found["loss"] < 1e-3
    assert found["resumed equals uninterrupted"]
    assert found["falls"] < 0.9


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    model = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"pip install 'huohou\[deepspeed\]'"):
        DeepSpeedEngine(model, lambda held: torch.optim.AdamW([{"params": held.parameters(), "curve": "all"}]))


RUN = """\
name: alone
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 64}
tokenizer: {vocab_size: 300}
data: {embedded: {characters: 20k}, sequence_length: 32}
batch: {size: 6, micro_batch: 2}
schedule: {peak: 1e-3, warmup: 25%, decay: cosine}
train: {updates: 12, threads: 1, device: cpu, compile: false}
checkpoint: {every: 6, keep: 2}
"""


def train(folder: Path, *arguments: str) -> str:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "huohou", "train", "run.yaml", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def losses(folder: Path, name: str) -> list[tuple[float, float]]:
    return [(line["rate"], line["loss"]) for line in records.read(folder / "runs" / name / "metrics.jsonl")]


@pytest.mark.slow
def test_by_the_command_from_two_processes_to_one(tmp_path: Path) -> None:
    pytest.importorskip("deepspeed")
    (tmp_path / "run.yaml").write_text(RUN, encoding="utf-8")
    train(tmp_path)
    said = train(tmp_path, "name=three", "--nproc", "2", "train.engine=deepspeed", "train.zero_stage=3")
    assert "DeepSpeed" not in said and "Warning" not in said
    shutil.rmtree(tmp_path / "runs" / "three" / "checkpoints" / "checkpoint-12")
    shutil.rmtree(tmp_path / "runs" / "three" / "model")
    train(tmp_path, "name=three", "--resume")
    alone, three = losses(tmp_path, "alone"), losses(tmp_path, "three")
    assert len(three) == 12
    assert [rate for rate, _ in alone] == [rate for rate, _ in three]
    assert max(abs(a - b) / a for (_, a), (_, b) in zip(alone, three, strict=True)) < 1e-6


def test_layers_that_deepspeed_would_cut_are_not_compiled() -> None:
    wishes: Any = SimpleNamespace(
        device="cpu", dtype="auto", compile="auto", threads=1, deterministic=False, engine="deepspeed", zero_stage=3
    )
    assert settle(wishes, fused=False, seed=1, seconds=1e6)["compile"] is False
    wishes.compile = True
    with pytest.raises(UserError, match="train.compile is true, but with train.zero_stage 3"):
        settle(wishes, fused=False, seed=1, seconds=1e6)
