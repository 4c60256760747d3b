"""Parts of a model on curves of their own: resting, frozen, and recorded by name."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Model, small_trainer

from huohou import records
from huohou.train import checkpoint
from huohou.train.engine import Engine
from huohou.train.optim import OptimizerSettings, freeze, make_optimizer, parameter_groups

SETTINGS = OptimizerSettings()


def curve_of(model: torch.nn.Module, rows: str | None = "rows") -> dict[str, str | None]:
    return {name: rows if "embed" in name else "all" for name, _ in model.named_parameters()}


def grouped(folder: Path, curves: dict[str, Any], rows: str | None = "rows") -> Any:
    """A trainer whose embedding follows a curve of its own."""
    trainer = small_trainer(folder, curves=curves, updates=12)
    model = Model(0.0)
    followed = curve_of(model, rows)
    freeze(model, followed)
    trainer.engine = Engine(
        model, lambda held: make_optimizer(held, SETTINGS, parameter_groups(held, SETTINGS, followed))
    )
    return trainer


def test_each_part_follows_its_curve(tmp_path: Path) -> None:
    curves = {"all": lambda update: 1e-3, "rows": lambda update: 0.0 if update <= 5 else 2e-3}
    trainer = grouped(tmp_path, curves)
    trainer.run()
    lines = list(records.read(tmp_path / "metrics.jsonl"))
    assert [line["rate"] for line in lines] == [{"all": 1e-3, "rows": curves["rows"](u)} for u in range(1, 13)]
    assert "embed_tokens" not in lines[0]["layers"] and "embed_tokens" in lines[9]["layers"]


def test_a_group_at_rate_zero_is_not_touched(tmp_path: Path) -> None:
    trainer = grouped(tmp_path, {"all": lambda update: 1e-3, "rows": lambda update: 0.0 if update <= 5 else 2e-3})
    rows = trainer.engine.model.embed_tokens.weight
    before = rows.detach().clone()
    for index in range(5):
        line = trainer.attempt(trainer.stage.batch(index))
    assert torch.equal(rows, before)
    assert not trainer.engine.optimizer.state[rows]
    others = [p.grad for p in trainer.engine.model.parameters() if p is not rows]
    # What rests has no share in the norm, or it would scale the others down.
    if not line["clipped"]:
        assert line["gradient_norm"] == pytest.approx(math.sqrt(sum(float(g.square().sum()) for g in others)), rel=1e-5)
    trainer.attempt(trainer.stage.batch(5))
    assert not torch.equal(rows, before)
    assert trainer.engine.optimizer.state[rows]["step"] == 1


def test_a_frozen_part_is_out_of_everything(tmp_path: Path) -> None:
    trainer = grouped(tmp_path, {"all": lambda update: 1e-3}, rows=None)
    before = trainer.engine.model.embed_tokens.weight.detach().clone()
    trainer.run()
    assert torch.equal(trainer.engine.model.embed_tokens.weight, before)
    assert {line["rate"] for line in records.read(tmp_path / "metrics.jsonl")} == {1e-3}
    newest = checkpoint.find(tmp_path / "checkpoints").newest
    assert newest is not None
    assert not [name for name in checkpoint.load(newest).tensors["model"] if "embed" in name]


def test_an_update_in_which_everything_rests_is_an_update(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, curves={"all": lambda update: 0.0 if update < 3 else 1e-3}, updates=4)
    trainer.run()
    assert [line["gradient_norm"] for line in records.read(tmp_path / "metrics.jsonl")][:2] == [0.0, 0.0]


def test_groups_are_by_curve_and_decay() -> None:
    model = Model()
    groups = parameter_groups(model, SETTINGS, curve_of(model))
    assert [(group["curve"], group["weight_decay"]) for group in groups] == [("all", 0.1), ("all", 0.0), ("rows", 0.1)]
    optimizer = partial(make_optimizer, settings=SETTINGS)(model)
    assert [group["curve"] for group in optimizer.param_groups] == ["all", "all"]


def test_the_best_is_kept_beside_the_newest(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, keep=2, keep_best=True, checkpoint_every=10, evaluate_every=3, updates=30)
    losses = iter([3.0, 2.0, 2.5, 2.6, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0])
    trainer.stage.evaluate = lambda model: {"loss": next(losses), "bits_per_byte": None, "tokens": 1}
    trainer.run()
    found = checkpoint.listing(trainer.folder.checkpoints)
    assert [one.folder.name for one in found] == ["checkpoint-15", "checkpoint-20", "checkpoint-30"]
    assert [one.loss for one in found] == [1.5, None, 2.0]
    saved = [event["update"] for event in records.read(trainer.folder.events) if event["event"] == "checkpoint"]
    assert saved == [3, 6, 10, 15, 20, 30]


def test_listing_names_what_is_damaged(tmp_path: Path) -> None:
    small_trainer(tmp_path, updates=10).run()
    path = tmp_path / "checkpoints" / "checkpoint-5" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert [one.problem for one in checkpoint.listing(tmp_path / "checkpoints")] == [None, None]
    first, second = checkpoint.listing(tmp_path / "checkpoints", every_byte=True)
    assert first.problem is not None and "model.safetensors" in first.problem.en
    assert second.problem is None and second.bytes > 0
