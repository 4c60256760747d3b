from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from huohou.cli.main import main
from huohou.train.checkpoint import Snapshot
from huohou.train.manifest import Position
from huohou.train.saving import save


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for update, loss in ((4, 2.5), (8, None)):
        tensors = {"model": {"weight": torch.ones(8, 8)}}
        plain = {"counters": {}, "validation": loss}
        save(tmp_path / "checkpoints", Snapshot(Position(update, update, update * 10), tensors, plain, {}), keep=3)
    return tmp_path


def test_ls_lists_them_oldest_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "ls", str(run)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("checkpoint-4  update 4  40 tokens") and "validation loss 2.5000" in first
    assert second.startswith("checkpoint-8  update 8") and "loss" not in second


def test_verify_reads_every_byte(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "verify", str(run)]) == 0
    assert capsys.readouterr().out.count("every byte as written") == 2
    path = run / "checkpoints" / "checkpoint-8" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    assert main(["checkpoint", "ls", str(run)]) == 0
    capsys.readouterr()
    assert main(["checkpoint", "verify", str(run), "--json"]) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert good["problem"] is None and good["validation_loss"] == 2.5
    assert "model.safetensors" in bad["problem"]["en"]


def test_a_place_that_is_none_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "ls", str(tmp_path / "none")]) == 2
    assert "is no run folder" in capsys.readouterr().err
    assert main(["checkpoint", "ls", str(tmp_path)]) == 0
    assert "there is no checkpoint" in capsys.readouterr().out
