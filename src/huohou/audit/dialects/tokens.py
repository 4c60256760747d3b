"""What an update is in tokens, where a file says the batch and the length of its sequences."""

from __future__ import annotations

from huohou.audit.reading import Given, Reading


def note(reading: Reading, per_update: float | None) -> None:
    """Keep the tokens of an update, so that W and T can be shown in tokens too."""
    if per_update is not None and per_update > 0:
        reading.facts["tokens_per_update"] = per_update


def updates(given: Given, reading: Reading, per_update: float | None, epochs: float = 1.0) -> int | None:
    """The updates that ``--tokens`` make, where the file says what an update holds; the last may be a part of one."""
    if given.tokens is None or given.updates is not None or given.samples is not None or not per_update:
        return None
    made = int(given.tokens * epochs // per_update)
    reading.assume(
        f"{given.tokens} tokens in updates of {per_update:g} make {made} updates.",
        f"{given.tokens} 个词元，每步 {per_update:g} 个：共 {made} 个更新步。",
    )
    return made or None
