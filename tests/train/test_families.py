"""Grown models, adapters and models of transformers, shared out by FSDP2: what one process computes, two do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from safetensors.torch import load_file

from huohou import records
from huohou.cli.main import main
from huohou.data.tokenizer_training import train_tokenizer
from huohou.model import ModelConfig, build, write_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RUN = """\
stage: continue
name: run
tokenizer: {path: grown}
data: {train: more.txt, split: line, validation: 10%, sequence_length: 32}
batch: {size: 6, micro_batch: 2}
schedule: {peak: 3e-4, warmup: 25%, decay: cosine}
optimizer: {eps: 1e-5}
train: {updates: 20, evaluate_every: 10, sample_every: 20, sample_prompts: 春, threads: 1, timeout: 60, device: cpu}
checkpoint: {every: 20}
"""

KINDS: dict[str, list[str]] = {
    "grown": ["model.path=own", "groups={new_rows: 5x, body: {start: 5 steps}}"],
    "adapted": ["model.path=own", "lora={rank: 4, alpha: 4, dropout: 0, rows: new, plus_ratio: 2}"],
    "foreign": ["model.path=gpt2", "groups.new_rows=2x", "train.recompute=true"],
    "foreign, adapted": [
        "model.path=gemma2",
        "tokenizer.path=null",
        "lora={rank: 4, alpha: 4, dropout: 0, dora: true}",
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models of three families with one tokenizer, and a tokenizer that continues it."""
    transformers: Any = pytest.importorskip("transformers")
    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("families")
    lines = [f"春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。第{i}首，{'山水' * (i % 5)}。" for i in range(120)]
    tokenizer = train_tokenizer(lines, 300)
    more = [f"{line}星期天的早晨，大家在院子里喝茶下棋。" for line in lines]
    (folder / "more.txt").write_text("\n".join(more) + "\n", encoding="utf-8")
    (folder / "run.yaml").write_text(RUN, encoding="utf-8")
    tokenizer.save(folder / "base")
    extend = ["tokenizer", "extend", str(folder / "base"), "--train", str(folder / "more.txt"), "--vocab-size", "320"]
    assert main([*extend, "--output", str(folder / "grown")]) == 0
    ends = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    shape = {
        "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64, "vocab_size": tokenizer.vocab_size, **ends,
    }  # fmt: skip
    tied = {"tie_word_embeddings": True}
    write_model(build(ModelConfig.from_huggingface({**shape, **tied}, "own"), seed=1), folder / "own", tokenizer)
    dropouts = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    gpt2 = {"vocab_size": tokenizer.vocab_size, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    made = {
        "gpt2": transformers.GPT2Config(**gpt2, **dropouts, **ends),
        "gemma2": transformers.Gemma2Config(**shape, sliding_window=16, head_dim=8, query_pre_attn_scalar=8),
    }
    for name, config in made.items():
        torch.manual_seed(3)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder / name)
        tokenizer.save(folder / name)
    return folder


Run = tuple[str, list[str], int | None]


def run(kind: str, name: str, *overrides: str, stop_at: int | None = None) -> Run:
    return "run.yaml", [*KINDS[kind], f"output={name}", *overrides], stop_at


def train(place: Path, *runs: Run, count: int = 1) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HUOHOU_LANG": "en", "TRANSFORMERS_VERBOSITY": "error"}
    command = [sys.executable, families.__file__, *(["--launch", str(count)] if count > 1 else []), json.dumps(runs)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def check_equal(one: Path, other: Path, rel: float = 1e-6) -> None:
    a, b = list(records.read(one / "metrics.jsonl")), list(records.read(other / "metrics.jsonl"))
    assert [line["update"] for line in a] == [line["update"] for line in b] == list(range(1, 21))
    for x, y in zip(a, b, strict=True):
        assert (x["rate"], x["tokens"]) == (y["rate"], y["tokens"])
        assert x["loss"] == pytest.approx(y["loss"], rel=rel)
        assert x["gradient_norm"] == pytest.approx(y["gradient_norm"], rel=10 * rel)
        if "evaluation" in x:
            assert x["evaluation"]["loss"] == pytest.approx(y["evaluation"]["loss"], rel=rel)
    files = [
        next(folder.glob("model/*.safetensors"), folder / "adapter/adapter_model.safetensors")
        for folder in (one, other)
    ]
    held, given = map(load_file, files)
    assert held.keys() == given.keys()
    for name, tensor in held.items():
        torch.testing.assert_close(
            given[name], tensor, rtol=0, atol=20 * rel, msg=lambda said, name=name: f"{name}: {said}"
        )


def test_two_processes_compute_what_one_does_and_either_goes_on_for_the_other(place: Path) -> None:
    """Without dropout, and with an epsilon that keeps Adam from making rates out of rounding."""
    fsdp2, whole = "train.engine=fsdp2", ("grown", "adapted", "foreign")
    train(place, *(run(kind, f"one {kind}") for kind in KINDS))
    shared = [run(kind, f"two {kind}", fsdp2) for kind in KINDS]
    offloaded = [run(kind, f"offloaded {kind}", fsdp2, "train.offload=true") for kind in ("grown", "adapted")]
    begun = [run(kind, f"moved {kind}", fsdp2, stop_at=7) for kind in whole]
    train(place, *shared, *offloaded, *begun, count=2)
    for kind in whole:
        assert (place / f"moved {kind}" / "checkpoints" / "checkpoint-8" / "layout.json").is_file()
    train(place, *(run(kind, f"moved {kind}", stop_at=13) for kind in whole))
    train(place, *(run(kind, f"moved {kind}", fsdp2) for kind in whole), count=2)
    for kind in KINDS:
        check_equal(place / f"one {kind}", place / f"two {kind}")
    for kind in ("grown", "adapted"):
        check_equal(place / f"one {kind}", place / f"offloaded {kind}")
    for kind in whole:
        check_equal(place / f"one {kind}", place / f"moved {kind}")


def test_two_processes_in_bfloat16(place: Path) -> None:
    """Matrices that rest are bfloat16 and what moves is fp32, in one and the same layer."""
    bf16 = "train.dtype=bfloat16"
    train(place, *(run(kind, f"one bf16 {kind}", bf16) for kind in KINDS))
    train(place, *(run(kind, f"two bf16 {kind}", bf16, "train.engine=fsdp2") for kind in KINDS), count=2)
    for kind in KINDS:
        check_equal(place / f"one bf16 {kind}", place / f"two bf16 {kind}", rel=3e-3)
