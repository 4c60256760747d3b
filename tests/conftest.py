"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from huohou.language import choose_language

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Messages are English in tests unless a test says otherwise, whatever the machine's locale."""
    choose_language("en")
    yield
    choose_language(None)


@pytest.fixture
def shared_data() -> Path:
    """Real corpora beside the checkout; they are not part of the project."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real corpora are not beside this checkout")
    return folder
