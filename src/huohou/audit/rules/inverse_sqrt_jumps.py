"""Megatron's inverse square root falls to the floor in one update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A run that is longer than the decay of an inverse square root."""
    if reading.facts.get("family") != "megatron" or reading.facts.get("scheduler") != "inverse-square-root":
        return
    for role in reading.roles:
        horizon, updates = role.horizon, role.applied.updates
        if horizon is None or horizon + 2 > updates or not role.applied.peak:
            continue
        end = int(horizon) + 1
        before, after = role.applied.rate(end), role.applied.rate(end + 1)
        if before - after < 0.01 * role.applied.peak:
            continue
        yield Found(
            reading.settings.find("lr_decay_iters", "lr_decay_samples"),
            Text(
                f"after update {end} the rate falls from {before:.6g} to the floor of {after:.6g} at once, and stays "
                f"there for the {updates - end} updates that are left.",
                f"更新步 {end} 之后，学习率从 {before:.6g} 一步跌到下限 {after:.6g}，剩下的 {updates - end} 步都停在那"
                "里。",
            ),
            Text("make the decay as long as the run.", "让衰减与训练一样长。"),
            replaced(reading, "lr_decay_iters", reading.settings.find("lr_decay_iters"), str(updates)),
        )


def _file(decay: int) -> Example:
    flags = (
        "--train-iters 1000 --lr 3e-4 --min-lr 3e-5 --lr-decay-style inverse-square-root --lr-warmup-iters 100 "
        f"--lr-decay-iters {decay} --lr-warmup-init 1e-6 --global-batch-size 64 --micro-batch-size 1 --seq-length 4096"
    )
    return Example("run.sh", f"torchrun pretrain_gpt.py {flags}\n")


RULE = Rule(
    id="inverse-sqrt-jumps",
    severity="warning",
    title=Text("The inverse square root ends in a jump.", "反平方根衰减以突降结束。"),
    why=Text(
        "An inverse square root has no end of its own. Megatron gives the floor for every position beyond "
        "lr-decay-iters, so the rate falls from 0.32 of the peak to 0.1 of it in one update.",
        "反平方根没有自己的终点。超过 lr-decay-iters 后，Megatron 一律给出下限，因此学习率在一步之内从峰值的 0.32 跌"
        "到 0.1。",
    ),
    victims=("NVIDIA/Megatron-LM optimizer_param_scheduler.py", "EleutherAI/gpt-neox PR #1008"),
    check=check,
    bad=(replace(_file(800), fixed=_file(1000).text),),
    good=(_file(1000),),
)
