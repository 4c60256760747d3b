"""For ms-swift: flags of ``swift sft``."""

from __future__ import annotations

import json
from typing import Any

from huohou.audit.convert import trainer_family
from huohou.audit.convert.search import Values
from huohou.audit.convert.target import command
from huohou.audit.convert.wanted import Wanted

name = "ms-swift"
title = "ms-swift"
suffix = ".sh"
comment = "# "

starts = trainer_family.starts


def write(values: Values, wanted: Wanted) -> str:
    """The flags that decide the rates."""
    flags: dict[str, Any] = {"--learning_rate": wanted.peak, "--lr_scheduler_type": values["kind"]}
    own = trainer_family.kwargs(values, wanted.peak)
    if own:
        flags["--lr_scheduler_kwargs"] = json.dumps(own)
    flags |= {"--warmup_steps": values["warmup"], "--max_steps": wanted.updates}
    return command("swift sft", flags)
