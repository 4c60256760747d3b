"""For LLaMA-Factory: keys of its YAML. What stands in ``stage`` and the like is only there to make it a whole file."""

from __future__ import annotations

from typing import Any

from huohou.audit.convert import trainer_family
from huohou.audit.convert.search import Values
from huohou.audit.convert.target import yaml_lines
from huohou.audit.convert.wanted import Wanted

name = "llamafactory"
title = "LLaMA-Factory"
suffix = ".yaml"
comment = "# "

starts = trainer_family.starts


def write(values: Values, wanted: Wanted) -> str:
    """The keys that decide the rates, and those without which there is no training."""
    keys: dict[str, Any] = {
        "stage": "sft", "do_train": True, "finetuning_type": "lora", "learning_rate": wanted.peak,
        "lr_scheduler_type": values["kind"],
    }  # fmt: skip
    own = trainer_family.kwargs(values, wanted.peak)
    if own:
        keys["lr_scheduler_kwargs"] = own
    keys |= {"warmup_steps": values["warmup"], "max_steps": wanted.updates}
    return yaml_lines(keys)
