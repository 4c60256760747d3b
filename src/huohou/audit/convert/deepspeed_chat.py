"""For DeepSpeed-Chat: flags of its SFT step, whose schedulers take no arguments of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert import trainer_family
from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import command
from huohou.audit.convert.wanted import Wanted

name = "deepspeed-chat"
title = "DeepSpeed-Chat"
suffix = ".sh"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """The Transformers' schedules that need no arguments."""
    lagging = wanted.lagging
    for kind in ("constant_with_warmup", "linear", "cosine", "polynomial", "inverse_sqrt"):
        yield Start({"kind": kind, "warmup": lagging}, ("warmup",))
    for start in trainer_family.starts(wanted):
        if not trainer_family.kwargs(start.values, wanted.peak):
            yield start


def write(values: Values, wanted: Wanted) -> str:
    """The flags that decide the rates; how many updates it makes follows from its data."""
    flags: dict[str, Any] = {
        "--learning_rate": wanted.peak,
        "--lr_scheduler_type": values["kind"],
        "--num_warmup_steps": values["warmup"],
        "--gradient_accumulation_steps": 1,
    }
    return command("deepspeed training/step1_supervised_finetuning/main.py", flags)
