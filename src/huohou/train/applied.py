"""The proof that a run applied its plan: a hash over the rate of every update, carried from one process to the next.

The rates are those that the optimizer held when it stepped, bit for bit. The hash travels in the checkpoint, so that
a run which was stopped ten times is compared with its plan as a whole.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from huohou import records
from huohou.errors import RunFailed

NOTHING = hashlib.sha256(b"").hexdigest()
"""The hash of a run in which no update was applied yet."""

Curves = Mapping[str, Callable[[int], float]]
"""For each group of parameters its curve: update (from 1) to rate."""


def extend(digest: str, rates: Mapping[str, float]) -> str:
    """The hash after one more update that used these rates."""
    content = hashlib.sha256(bytes.fromhex(digest))
    for name, rate in sorted(rates.items()):
        content.update(name.encode("utf-8") + struct.pack("<d", rate))
    return content.hexdigest()


def rates_at(curves: Curves, update: int) -> dict[str, float]:
    """The planned rate of every group in one update."""
    return {name: curve(update) for name, curve in curves.items()}


def planned(curves: Curves, updates: int) -> str:
    """The hash that a run of this many updates must end with."""
    digest = NOTHING
    for update in range(1, updates + 1):
        digest = extend(digest, rates_at(curves, update))
    return digest


def difference(curves: Curves, metrics: Path) -> RunFailed:
    """What to say when the hashes differ: the first update whose recorded rate is not the planned one."""
    for line in records.read(metrics):
        if not line["skipped"]:
            rates = rates_at(curves, line["update"])
            used, meant = line["rate"], plain(rates)
            if used != meant:
                return RunFailed(
                    f"planned != applied: update {line['update']} used the rate {used}, the plan says {meant}.",
                    f"planned != applied：更新步 {line['update']} 使用的学习率为 {used}，计划为 {meant}。",
                )
    return RunFailed(
        f"planned != applied: the rates that were used are not those of the plan, and {metrics} does not show where.",
        f"planned != applied：所用学习率与计划不符，而 {metrics} 未显示位置。",
    )


def plain(rates: Mapping[str, float]) -> Any:
    """Rates as a record shows them: a number where there is one curve, else an object by group."""
    return next(iter(rates.values())) if len(rates) == 1 else dict(rates)
