"""For litgpt's pretraining: keys of its YAML. With several micro-batches an update it would rise within the update."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import rate, yaml_lines
from huohou.audit.convert.wanted import Wanted

name = "litgpt"
title = "litgpt"
suffix = ".yaml"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """One schedule: i / W, then a cosine to ``min_lr``."""
    for floor in dict.fromkeys((wanted.floor, wanted.last)):
        yield Start({"warmup": wanted.lagging, "floor": floor}, ("warmup",), ("floor",))


def write(values: Values, wanted: Wanted) -> str:
    """The keys that decide the rates, for an accumulation of 1."""
    train = {
        "global_batch_size": 1, "micro_batch_size": 1, "lr_warmup_steps": values["warmup"],
        "max_steps": wanted.updates, "min_lr": rate(values["floor"], wanted.peak),
    }  # fmt: skip
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": wanted.peak}}
    return yaml_lines({"model_name": "pythia-14m", "devices": 1, "train": train, "optimizer": optimizer})
