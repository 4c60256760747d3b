"""For torchtune: keys of its YAML. It has one scheduler, the Transformers' cosine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import yaml_lines
from huohou.audit.convert.wanted import Wanted

name = "torchtune"
title = "torchtune"
suffix = ".yaml"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """The cosine, or no scheduler at all."""
    if wanted.fall is None and wanted.rise is None:
        yield Start({"warmup": None})
    yield Start({"warmup": wanted.lagging}, ("warmup",))
    yield Start({"warmup": None})


def write(values: Values, wanted: Wanted) -> str:
    """The keys that decide the rates; the data have to fill an epoch of so many updates."""
    keys: dict[str, Any] = {"optimizer": {"_component_": "torch.optim.AdamW", "lr": wanted.peak}}
    if values["warmup"] is not None:
        component = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
        keys["lr_scheduler"] = {"_component_": component, "num_warmup_steps": values["warmup"]}
    keys |= {"epochs": 1, "max_steps_per_epoch": wanted.updates, "gradient_accumulation_steps": 1, "batch_size": 1}
    return yaml_lines(keys)
