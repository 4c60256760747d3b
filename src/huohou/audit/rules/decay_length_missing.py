"""A warmup-stable-decay that is not told how long it decays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``warmup_stable_decay`` without ``num_decay_steps``; Megatron's WSD without its decay iterations."""
    kwargs: dict[str, Any] = reading.facts.get("kwargs") or {}
    kind, family = reading.facts.get("scheduler"), reading.facts.get("family")
    megatron = family == "megatron" and kind == "WSD"
    if megatron:
        missing = reading.settings.find("lr_wsd_decay_iters", "lr_wsd_decay_samples") is None
        key = "--lr-wsd-decay-iters"
    else:
        missing = (
            family == "transformers"
            and kind == "warmup_stable_decay"
            and "num_decay_steps" not in kwargs
            and "filled_in" not in reading.facts
            and reading.dialect == "transformers"
            and _readable(reading)
        )
        key = "num_decay_steps"
    if missing:
        yield Found(
            reading.settings.find("lr_scheduler_type", "lr_decay_style"),
            Text(f"{kind} has no {key}: the run does not start.", f"{kind} 没有写 {key}：训练无法启动。"),
            Text(f"write {key}, such as a tenth of the run.", f"请写 {key}，例如全程的十分之一。"),
        )


def _readable(reading: Reading) -> bool:
    written = reading.settings.find("lr_scheduler_kwargs")
    return written is None or (written.known and isinstance(written.value, dict | str | type(None)))


def _megatron(more: str) -> Example:
    flags = (
        "--train-iters 1000 --lr 3e-4 --min-lr 3e-5 --lr-decay-style WSD --lr-warmup-iters 100 --lr-warmup-init 1e-6 "
        f"--global-batch-size 64 --micro-batch-size 1 --seq-length 4096{more}"
    )
    return Example("run.sh", f"torchrun pretrain_gpt.py {flags}\n")


RULE = Rule(
    id="decay-length-missing",
    severity="error",
    title=Text("Nobody says how long the decay is.", "没有写衰减长度。"),
    why=Text(
        "warmup_stable_decay of the Transformers raises a TypeError without num_decay_steps, and Megatron's WSD an "
        "AssertionError without --lr-wsd-decay-iters; other frameworks hold the peak to the end instead.",
        "Transformers 的 warmup_stable_decay 没有 num_decay_steps 会报 TypeError，Megatron 的 WSD 没有 "
        "--lr-wsd-decay-iters 会断言失败；别的框架则一直停在峰值。",
    ),
    victims=("huggingface/transformers #34905", "hiyouga/LLaMA-Factory #5548"),
    check=check,
    bad=(
        trainer(lr_scheduler_type='"warmup_stable_decay"', lr_scheduler_kwargs='{"min_lr_ratio": 0.1}'),
        _megatron(""),
    ),
    good=(_megatron(" --lr-wsd-decay-iters 100"),),
)
