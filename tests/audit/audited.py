"""What tests of dialects share: an audit of a text, its only curve, and golden rates to compare it with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import Audit, examine
from huohou.audit.reading import Given, Role
from huohou.audit.source import Source

SEEN = (1, 2, 9, 10, 11, 50, 80, 81, 99, 100)
"""The updates at which a golden table gives rates: both ends, and around W = 10 and a decay from 80 on."""


def audit(text: str, name: str, **given: Any) -> Audit:
    """The audit of a text as if it lay in a file of that name; ``given`` are the flags."""
    return examine(Document(Source(name, text, Path(name))), Given(**given))


def only(found: Audit) -> Role:
    """The one curve of the one run that was found."""
    (reading,) = found.readings
    (role,) = reading.roles
    return role


def agrees(role: Role, rates: list[float], seen: tuple[int, ...] = SEEN) -> None:
    """The curve has these rates, to 1e-12 of the highest."""
    peak = max(rates)
    assert [role.applied.rate(update) for update in seen] == pytest.approx(rates, rel=0, abs=1e-12 * peak)
