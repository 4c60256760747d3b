"""A model of some thousand parameters that nobody trained, with a tokenizer of the embedded corpus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from huohou.model.opening import Opened, open_for_use


@pytest.fixture(scope="session")
def tiny(tiny_model: Callable[[int, float], Path]) -> Path:
    """A Hugging Face folder without a chat template."""
    return tiny_model(128, 0.3)


@pytest.fixture(scope="session")
def opened(tiny: Path) -> Opened:
    return open_for_use(tiny, device="cpu")
