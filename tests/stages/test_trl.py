"""The loss of instruction tuning beside TRL's SFTTrainer: the same samples at the same weights, the same number."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from huohou import launch, records
from huohou.config import RunConfig
from huohou.data.chat_template import open_template
from huohou.data.embedded import documents
from huohou.data.tokenizer_training import train_tokenizer
from huohou.model import ModelConfig, build, write_model
from huohou.plan.facts import prepare

EPOCHS, LENGTH, COUNT = 4, 256, 24


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dialogues of one turn and of several, none too long for a sequence, and a model that nobody trained."""
    folder = tmp_path_factory.mktemp("trl")
    source, draw, written = "".join(documents(7, characters=20_000)).replace("\n", ""), random.Random(1), []

    def text(most: int) -> str:
        begin = draw.randrange(10_000)
        return source[begin : begin + draw.randint(4, most)]

    for _ in range(COUNT):
        turns: list[dict[str, str]] = []
        for _ in range(draw.randint(1, 3)):
            turns += [{"role": "user", "content": text(12)}, {"role": "assistant", "content": text(24)}]
        written.append(json.dumps({"messages": turns}, ensure_ascii=False))
    (folder / "dialogues.jsonl").write_text("\n".join(written) + "\n", encoding="utf-8")
    tokenizer = train_tokenizer([source], 500)
    # TRL finds the answers by the template's generation tags.
    tokenizer.chat_template = open_template("chatml", tokenizer).source
    shape = {
        "vocab_size": tokenizer.vocab_size, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": LENGTH, "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id,
    }  # fmt: skip
    write_model(build(ModelConfig.from_huggingface(shape, "trl"), seed=0), folder / "model", tokenizer)
    return folder


def ours(place: Path, *, packing: bool) -> list[dict[str, Any]]:
    """The lines of a run in which every batch is all dialogues."""

    def run(batch: int) -> RunConfig:
        return RunConfig.from_plain(
            {
                "stage": "sft",
                "model": {"path": str(place / "model")},
                "data": {"train": str(place / "dialogues.jsonl"), "sequence_length": LENGTH, "packing": packing},
                "batch": {"size": batch, "micro_batch": 5},
                "schedule": {"peak": 1e-3, "warmup": "off", "decay": "constant"},
                "optimizer": {"betas": [0.9, 0.999], "weight_decay": 0.0, "max_grad_norm": 1.0},
                "train": {"epochs": EPOCHS, "device": "cpu", "threads": 1},
                "output": str(place / f"packing-{packing}"),
            }
        )

    # Packed, they are fewer sequences.
    launch.train(run(prepare(run(COUNT)).train.count), stream=io.StringIO())
    return list(records.read(place / f"packing-{packing}" / "metrics.jsonl"))


@pytest.mark.heavy
@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")
def test_the_loss_is_trl_s(place: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("trl_losses.py")), str(place), str(EPOCHS), str(LENGTH)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads((place / "trl.json").read_text(encoding="utf-8"))
    for packing in (False, True):
        lines = ours(place, packing=packing)
        assert len(lines) == EPOCHS
        for side in theirs.values():
            assert lines[0]["loss"] == pytest.approx(side["loss"], rel=1e-5)
            assert [line["loss"] for line in lines] == pytest.approx(side["logged"], rel=1e-5)
    assert theirs["padded"]["logged"][-1] < theirs["padded"]["logged"][0] - 0.1
