"""For the Transformers Trainer and TRL's: a call of ``TrainingArguments``."""

from __future__ import annotations

from huohou.audit.convert import trainer_family
from huohou.audit.convert.search import Values
from huohou.audit.convert.target import number
from huohou.audit.convert.wanted import Wanted

name = "transformers"
title = "Transformers Trainer"
suffix = ".py"
comment = "# "

starts = trainer_family.starts


def write(values: Values, wanted: Wanted) -> str:
    """The arguments that decide the rates; the class is TRL's own where its trainer is used."""
    lines = [
        "from transformers import TrainingArguments",
        "",
        "arguments = TrainingArguments(",
        f"    learning_rate={number(wanted.peak)},",
        f'    lr_scheduler_type="{values["kind"]}",',
    ]
    own = trainer_family.kwargs(values, wanted.peak)
    if own:
        inner = ", ".join(f'"{key}": {_python(value)}' for key, value in own.items())
        lines.append(f"    lr_scheduler_kwargs={{{inner}}},")
    if values["warmup"]:
        lines.append(f"    warmup_steps={values['warmup']},")
    lines += [f"    max_steps={wanted.updates},", ")"]
    return "\n".join(lines) + "\n"


def _python(value: float | int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else number(value)
