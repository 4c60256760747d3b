"""Megatron takes the schedule from the checkpoint and not from the command."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text

_BOTH = ("use_checkpoint_opt_param_scheduler", "override_opt_param_scheduler")


def check(reading: Reading) -> Iterator[Found]:
    """``--use-checkpoint-opt-param-scheduler`` beside a schedule of the command's own; both flags at once."""
    if reading.facts.get("family") != "megatron":
        return
    place = reading.settings.find("use_checkpoint_opt_param_scheduler")
    if place is None or place.value is False:
        return
    if all(key in reading.settings for key in _BOTH):
        yield Found(
            place,
            Text(
                "the checkpoint's schedule and the command's cannot both be asked for: Megatron-LM refuses that.",
                "不能同时要求用检查点的和命令行的学习率计划：Megatron-LM 会拒绝。",
            ),
            Text("keep one of the two flags.", "两个参数只留一个。"),
        )
        return
    written = [
        f"--{key.replace('_', '-')}"
        for key in ("lr", "min_lr", "lr_warmup_iters", "lr_decay_iters")
        if key in reading.settings
    ]
    if written and "load" in reading.settings:
        yield Found(
            place,
            Text(
                f"where --load finds a checkpoint its schedule is used and this command's {', '.join(written)} is not.",
                f"--load 找到检查点时，使用其中的学习率计划，本命令的 {'、'.join(written)} 不起作用。",
            ),
            Text(
                "write --override-opt-param-scheduler where the command's own is meant.",
                "若要用命令行的，请写 --override-opt-param-scheduler。",
            ),
        )  # fmt: skip


def _file(more: str) -> Example:
    flags = (
        "--train-iters 1000 --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --lr-warmup-iters 100 --lr-warmup-init "
        f"1e-6 --global-batch-size 64 --micro-batch-size 1 --seq-length 4096 --load out {more}"
    )
    return Example("run.sh", f"torchrun pretrain_gpt.py {flags}\n")


RULE = Rule(
    id="checkpoint-schedule-wins",
    severity="warning",
    title=Text("The checkpoint's schedule goes before the command's.", "检查点的学习率计划优先于命令行。"),
    why=Text(
        "Where the command differs from the checkpoint Megatron-LM stops with an AssertionError; the flag that "
        "silences it takes everything from the checkpoint, a new peak, floor and length included.",
        "命令行与检查点不一致时，Megatron-LM 会断言失败；用来消除该错误的参数会全部沿用检查点，新的峰值、下限、长度都"
        "不起作用。",
    ),
    victims=("NVIDIA/Megatron-LM #963", "NVIDIA/Megatron-LM #1138", "NVIDIA/Megatron-LM #1533"),
    check=check,
    bad=(_file("--use-checkpoint-opt-param-scheduler"),),
    good=(_file("--override-opt-param-scheduler"),),
)
