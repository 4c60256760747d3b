"""The lines that DeepSpeed's engine prints: ``[Rank 0] step=10, skipped=2, lr=[…], mom=[…]``.

The engine prints after its scheduler has stepped, so the rate is the one that the next update will use, and counts the
updates that were tried; those that an overflow made it skip did not move the scheduler. Where several engines share a
log (actor and critic of PPO) each prints in its turn, the actor first.
"""

from __future__ import annotations

import re
from collections import Counter

from huohou.audit.logs.log import Lines, Log, Rows
from huohou.language import Text

name = "deepspeed"
title = Text("lines of DeepSpeed's engine", "DeepSpeed 引擎的日志行")

_LINE = re.compile(r"\bstep=(\d+), skipped=(\d+), lr=\[([^\]]*)\]")
_COMMAND = re.compile(r"\bcmd = (.*)")
_EPOCH = re.compile(r"Beginning of Epoch \d+/(\d+), Total (Micro|Generation) Batches (\d+)")
_PPO = re.compile(r"ppo_ep:|act_loss|Generation Batches|actor_learning_rate|\[actor\]", re.IGNORECASE)


def sees(log: Lines) -> int:
    """Its own line anywhere."""
    return 90 if _LINE.search(log.text) else 0


def read(log: Lines) -> Log:
    """The rates of each engine, and of each group of parameters where their rates differ."""
    found: list[tuple[int, int, int, list[str], int]] = []
    turn, last = 0, -1
    for number, line in enumerate(log.lines, 1):
        if "skipped=" not in line:
            continue
        match = _LINE.search(line)
        if match is None:
            continue
        step, skipped = int(match.group(1)), int(match.group(2))
        turn = turn + 1 if step == last else 0
        last = step
        rates = [text.strip() for text in match.group(3).split(",") if text.strip()]
        if rates:
            found.append((step, skipped, turn, rates, number))
    engines = _engines(found)
    ppo = engines == 2 and bool(_PPO.search(log.text))
    names = {1: ("model",), 2: ("actor", "critic") if ppo else ("model", "model-2")}.get(
        engines, tuple(f"model-{place + 1}" for place in range(engines))
    )
    groups = max((len(set(rates)) for _, _, _, rates, _ in found), default=1)
    rows = Rows()
    for step, skipped, turn, rates, number in found:
        if turn >= engines:
            continue
        for place, rate in enumerate(rates if groups > 1 else rates[:1]):
            role = names[turn] if groups == 1 else f"{names[turn]} group {place + 1}"
            rows.add(role, step, rate, number, skipped)
    command = _COMMAND.search(log.head)
    return Log(log.name, name, rows.tracks(), logged="next", command=command.group(1).strip() if command else None)


def _engines(found: list[tuple[int, int, int, list[str], int]]) -> int:
    """How many engines print: as many lines as most steps have (a micro-batch may print step 0 again)."""
    lines = Counter(step for step, *_ in found if step > 0)
    if not lines:
        return 1
    return max(1, Counter(lines.values()).most_common(1)[0][0])
