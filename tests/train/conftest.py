"""The modules of this folder's helpers can be imported by its tests."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No machine stops in these tests, and waiting for the disk is most of what they would do."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
