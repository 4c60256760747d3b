"""The examples run, and apply their plans."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "adapters"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_plain_torch() -> None:
    guard = load("plain_torch").main().guard
    assert (guard.said, guard.proof.en) == ([], "planned == applied: 100 of 100 updates")


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
def test_trainer(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    guard = load("trainer").main(str(tmp_path)).guard
    assert (guard.said, guard.proof.en) == ([], "planned == applied: 30 of 30 updates")
