"""For OLMo-core: its scheduler, optimizer and duration in Python. Its warmup and its end are where ours are."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import number, rate
from huohou.audit.convert.wanted import Wanted

name = "olmo-core"
title = "OLMo-core"
suffix = ".py"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """Its schedulers; WSD's floor and the start of its warmup are rates, the others' floor is a share."""
    warmup = wanted.top if wanted.rise is not None else 0
    if wanted.fall is None:
        yield Start({"kind": "ConstantWithWarmup", "warmup": warmup}, ("warmup",))
    for floor in dict.fromkeys((wanted.last, wanted.floor)):
        for kind in ("LinearWithWarmup", "CosWithWarmup"):
            yield Start({"kind": kind, "warmup": warmup, "alpha_f": floor}, ("warmup",), ("alpha_f",))
        decay = max(1, min(wanted.updates, wanted.updates - wanted.turn))
        values = {"kind": "WSD", "warmup": warmup, "decay": decay, "decay_min_lr": floor}
        yield Start(values, ("warmup", "decay"), ("decay_min_lr",))
    yield Start({"kind": "InvSqrtWithWarmup", "warmup": warmup, "alpha_f": 0.0}, ("warmup",), ("alpha_f",))


def write(values: Values, wanted: Wanted) -> str:
    """The three that decide the rates; the last belongs into the ``TrainerConfig``."""
    kind = values["kind"]
    said = [f"warmup={values['warmup']}"]
    if "alpha_f" in values:
        said.append(f"alpha_f={number(float(values['alpha_f']))}")
    if "decay" in values:
        said += [f"decay={values['decay']}", f"decay_min_lr={number(rate(values['decay_min_lr'], wanted.peak))}"]
    return (
        "from olmo_core.optim import AdamWConfig\n"
        f"from olmo_core.optim.scheduler import {kind}\n"
        "from olmo_core.train import Duration\n"
        "\n"
        f"optim = AdamWConfig(lr={number(wanted.peak)})\n"
        f"scheduler = {kind}({', '.join(said)})\n"
        f"trainer = dict(max_duration=Duration.steps({wanted.updates}))\n"
    )
