"""Checkpoints and final models of run folders, exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import UserError
from huohou.export import export
from huohou.model import ModelConfig, build, read_model, write_model
from huohou.model.adapter_write import write_adapter
from huohou.model.base import identify
from huohou.model.lora import add_adapters
from huohou.model.rows import split_rows
from huohou.train.checkpoint import Snapshot
from huohou.train.manifest import Position
from huohou.train.saving import save as save_checkpoint

VOCABULARY, WIDTH, MORE = 290, 16, 6
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["春眠不觉晓， 处处闻啼鸟。夜来风雨声，花落知多少。"] * 5, VOCABULARY)


@pytest.fixture
def base(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    write_model(build(ModelConfig(**SHAPE), seed=1), tmp_path / "base", tokenizer)
    return tmp_path / "base"


def run_folder(path: Path, model: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "plan.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    return path


def save(run: Path, update: int, model: nn.Module, loss: float | None = None) -> None:
    """A checkpoint as the trainer writes it: what requires gradients."""
    tensors = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    plain: dict[str, Any] = {} if loss is None else {"validation": loss}
    save_checkpoint(run / "checkpoints", Snapshot(Position(update, update, 1), {"model": tensors}, plain, {}), keep=9)


def shake(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


def same(folder: Path, model: nn.Module, rows: int = VOCABULARY) -> bool:
    ids = torch.randint(0, rows, (3, 12), generator=torch.Generator().manual_seed(2))
    model.eval()
    with torch.no_grad():
        return torch.allclose(read_model(folder).eval()(ids), model(ids), atol=1e-5)


def silent(text: object) -> None:
    pass


def test_any_checkpoint_of_a_run_from_nothing(tmp_path: Path, tokenizer: Tokenizer) -> None:
    run = run_folder(tmp_path / "run", SHAPE)
    tokenizer.save(run / "tokenizer")
    models = {update: build(ModelConfig(**SHAPE), seed=update) for update in (2, 4, 6)}
    for update, loss in ((2, 3.0), (4, 1.0), (6, 2.0)):
        save(run, update, models[update], loss)
    for which, update in ((None, 6), ("last", 6), ("best", 4), ("2", 2)):
        export(run, tmp_path / "out", checkpoint=which, say=silent)
        assert same(tmp_path / "out", models[update])
    assert Tokenizer.load(tmp_path / "out").vocab_size == tokenizer.vocab_size
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["eos_token_id"] == tokenizer.eos_id
    with pytest.raises(UserError, match=r"no checkpoint '3' \(there are: 2, 4, 6\)"):
        export(run, tmp_path / "out", checkpoint="3", say=silent)


def test_a_checkpoint_with_adapters_and_new_rows(tmp_path: Path, base: Path, tokenizer: Tokenizer) -> None:
    lora = {"rank": 4, "alpha": 6.0, "targets": ["all"], "rslora": True, "dora": True, "rows": "new", "adapters": []}
    rows = VOCABULARY + MORE
    run = run_folder(tmp_path / "run", {"path": str(base), "rows": rows, "vocab_size": rows - 2, "lora": lora})
    model = read_model(base)
    split_rows(model, VOCABULARY, torch.randn(MORE, WIDTH), torch.randn(MORE, WIDTH))
    add_adapters(model, lora, seed=1)
    shake(model, 1)
    save(run, 3, model)
    tokenizer.save(run / "tokenizer")
    export(run, tmp_path / "out", checkpoint="last", say=silent)
    assert same(tmp_path / "out", model, rows)
    # What fills the vocabulary up is no token.
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["suppress_tokens"] == list(range(tokenizer.vocab_size, rows))
    write_adapter(model, run / "adapter", identify(base), tokenizer)
    export(run, tmp_path / "final", say=silent)
    assert same(tmp_path / "final", model, rows)


def test_a_checkpoint_of_a_whole_grown_model(tmp_path: Path, base: Path) -> None:
    rows = VOCABULARY + MORE
    run = run_folder(tmp_path / "run", {"path": str(base), "rows": rows, "vocab_size": rows, "lora": None})
    model = read_model(base)
    split_rows(model, VOCABULARY, torch.randn(MORE, WIDTH), torch.randn(MORE, WIDTH))
    shake(model, 1)
    save(run, 3, model)
    export(run, tmp_path / "out", dtype="float32", say=silent)
    assert same(tmp_path / "out", model, rows)


def test_a_finished_run_is_its_model(tmp_path: Path, base: Path) -> None:
    run = run_folder(tmp_path / "run", SHAPE)
    shutil.copytree(base, run / "model")
    export(run, tmp_path / "out", dtype="bfloat16", say=silent)
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"


def test_a_damaged_checkpoint_is_not_exported(tmp_path: Path, base: Path) -> None:
    run = run_folder(tmp_path / "run", SHAPE)
    save(run, 2, build(ModelConfig(**SHAPE), seed=1))
    file = run / "checkpoints" / "checkpoint-2" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors"):
        export(run, tmp_path / "out", say=silent)
    assert not (tmp_path / "out").exists()
