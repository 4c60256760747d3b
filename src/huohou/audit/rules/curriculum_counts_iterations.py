"""Sequences that grow, under a schedule that counts iterations."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text

_CURRICULUM = ("curriculum_learning", "curriculum_learning_legacy")


def check(reading: Reading) -> Iterator[Found]:
    """Megatron-DeepSpeed's curriculum of lengths without ``--lr-decay-tokens``."""
    place = reading.settings.find(*_CURRICULUM)
    if reading.facts.get("family") != "megatron" or place is None or place.value is False:
        return
    if "lr_decay_tokens" in reading.settings:
        return
    yield Found(
        place,
        Text(
            "sequences are short at first, and the schedule counts iterations: it is ahead of the tokens that were "
            "seen.",
            "序列一开始较短，而学习率计划按迭代计：它会走在已见词元数的前面。",
        ),
        Text("write --lr-decay-tokens and --lr-warmup-tokens.", "请写 --lr-decay-tokens 和 --lr-warmup-tokens。"),
    )


def _file(more: str) -> Example:
    flags = (
        "--train-iters 1000 --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --lr-warmup-iters 100 --lr-warmup-init "
        f"1e-6 --global-batch-size 64 --micro-batch-size 1 --seq-length 4096 {more}"
    )
    return Example("run.sh", f"deepspeed pretrain_gpt.py {flags}\n")


RULE = Rule(
    id="curriculum-counts-iterations",
    severity="warning",
    title=Text("Growing sequences need a schedule in tokens.", "变长序列需要按词元计的学习率计划。"),
    why=Text(
        "A curriculum that begins with 64 tokens a sequence has seen a thirtieth of the tokens after a tenth of the "
        "iterations; a decay in iterations is then nearly over while most of the data are still to come.",
        "课程学习从每条 64 个词元开始，走完十分之一的迭代时只见过三十分之一的词元；按迭代的衰减快结束时，大部分数据还"
        "没有见过。",
    ),
    victims=("microsoft/Megatron-DeepSpeed PR #132",),
    check=check,
    bad=(_file("--curriculum-learning"),),
    good=(_file("--curriculum-learning --lr-decay-tokens 1000000000"),),
)
