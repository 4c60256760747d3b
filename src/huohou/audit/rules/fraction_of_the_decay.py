"""Megatron's warmup fraction is one of the decay and not of the run."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.edits import renamed
from huohou.audit.reading import Edit, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``--lr-warmup-fraction`` where the decay is not as long as the run."""
    fraction, horizon = reading.facts.get("warmup_fraction"), reading.roles[0].horizon if reading.roles else None
    if fraction is None or horizon is None or abs(horizon - reading.facts["updates"]) < 1:
        return
    yield Found(
        reading.settings.find("lr_warmup_fraction"),
        Text(
            f"the warmup is {fraction:g} of the {horizon:g} updates of the decay ({reading.roles[0].warmup:g}), "
            "not of the "
            f"{reading.facts['updates']} of the run.",
            f"预热是衰减长度 {horizon:g} 步的 {fraction:g}（{reading.roles[0].warmup:g} 步），而不是全程 "
            f"{reading.facts['updates']} 步的。",
        ),
        Text("write --lr-warmup-iters.", "请写 --lr-warmup-iters。"),
        _edit(reading, float(fraction)),
    )


def _edit(reading: Reading, fraction: float) -> tuple[Edit, ...]:
    if "lr_warmup_iters" in reading.settings or reading.facts.get("unit") == "samples":
        return ()
    steps = str(round(fraction * reading.facts["updates"]))
    return renamed(reading, "lr_warmup_fraction", reading.settings.find("lr_warmup_fraction"), "lr_warmup_iters", steps)


def _file(more: str) -> Example:
    flags = (
        "--train-iters 1000 --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --lr-warmup-fraction 0.1 "
        f"--lr-warmup-init 1e-6 --global-batch-size 64 --micro-batch-size 1 --seq-length 4096 {more}"
    )
    return Example("run.sh", f"torchrun pretrain_gpt.py {flags}\n")


RULE = Rule(
    id="fraction-of-the-decay",
    severity="warning",
    title=Text("The warmup fraction is one of the decay.", "预热占比是相对衰减长度的。"),
    why=Text(
        "Megatron takes --lr-warmup-fraction of --lr-decay-iters, which includes the warmup and may differ from "
        "the run.",
        "Megatron 的 --lr-warmup-fraction 以 --lr-decay-iters 为基数（其中已含预热），它可以与训练步数不同。",
    ),
    victims=("THUDM/slime PR #516", "NVIDIA/Megatron-LM #1413"),
    check=check,
    bad=(
        Example(
            "run.sh",
            _file("--lr-decay-iters 800").text,
            fixed=_file("--lr-decay-iters 800").text.replace("fraction 0.1", "iters 100"),
        ),
    ),
    good=(_file(""),),
)
