"""What the columns of a table of numbers are called that hold updates, rates and skips."""

from __future__ import annotations

import re

RATE = re.compile(r"(learning[ _-]?rate|(?<![a-z])lr(?![a-z])|(?<![a-z])rate)", re.IGNORECASE)
_UPDATE = re.compile(
    r"(^|[/_. -])(update|updates|step|steps|iteration|iterations|iter|iter_num|global_step|_step)$", re.IGNORECASE
)
_NOT_A_RATE = re.compile(
    r"(clip|accept|learning_rate_\w*(?:min|max)|win|drop|hit|error|success|sample|frame|__)", re.IGNORECASE
)
ROLES = ("actor", "critic", "generator", "discriminator", "policy", "value", "model")


def is_rate(column: str) -> bool:
    """Whether a column by this name holds learning rates."""
    return bool(RATE.search(column)) and not _NOT_A_RATE.search(column)


def is_update(column: str) -> bool:
    """Whether a column by this name counts updates."""
    return bool(_UPDATE.search(column.strip()))


def is_skips(column: str) -> bool:
    """Whether a column by this name counts updates that were skipped."""
    return "skip" in column.lower()
