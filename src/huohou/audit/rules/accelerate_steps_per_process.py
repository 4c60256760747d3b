"""Accelerate steps a prepared scheduler once for every process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.document import Document
from huohou.audit.edits import line_of
from huohou.audit.reading import Edit, Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.values import Value
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A prepared scheduler on several processes."""
    gpus = reading.facts.get("gpus") or 1
    if not reading.facts.get("prepared") or gpus < 2 or not reading.roles:
        return
    horizon = reading.roles[0].horizon
    end = "" if horizon is None else f": its {horizon:g} steps are over in update {math.ceil(horizon / gpus)}"
    end_zh = "" if horizon is None else f"：{horizon:g} 步在第 {math.ceil(horizon / gpus)} 个更新步就走完"
    yield Found(
        None,
        Text(
            f"the prepared scheduler makes {gpus} steps in each update, one for every process{end}.",
            f"prepare 过的调度器每个更新步前进 {gpus} 步（每个进程一步）{end_zh}。",
        ),
        Text(
            "leave the scheduler out of prepare, or write Accelerator(step_scheduler_with_optimizer=False).",
            "不要把调度器交给 prepare，或写 Accelerator(step_scheduler_with_optimizer=False)。",
        ),
        _edit(reading),
        line=reading.settings.line,
    )


def _edit(reading: Reading) -> tuple[Edit, ...]:
    """The argument put into the only call of Accelerator; with an accumulation the flag means something else."""
    document: Document = reading.facts["document"]
    calls = [call for call in document.module.calls if call.last_name == "Accelerator"] if document.module else []
    if len(calls) != 1 or "gradient_accumulation_steps" in calls[0].settings or calls[0].positional:
        return ()
    place = Value(None, calls[0].line, "", document.source.name)
    line = line_of(reading, place)
    if line is None or line.count("Accelerator(") != 1:
        return ()
    empty = "Accelerator()" in line
    old, more = ("Accelerator()", ")") if empty else ("Accelerator(", ", ")
    if not empty and line.rstrip().endswith("("):
        more = ","
    return (Edit(place.file, place.line, old, f"Accelerator(step_scheduler_with_optimizer=False{more}"),)


def _file(more: str) -> Example:
    text = (
        "from accelerate import Accelerator\nfrom transformers import get_linear_schedule_with_warmup\n\n"
        f"accelerator = Accelerator({more})\noptimizer = AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = get_linear_schedule_with_warmup(optimizer, 80, 1000)\n"
        "model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)\n"
    )
    ignored = "# huohou: ignore[updates-at-zero] as the Transformers do\n"
    return Example("train.py", ignored + text, Given(updates=1000, gpus=8))


RULE = Rule(
    id="accelerate-steps-per-process",
    severity="error",
    title=Text("The scheduler runs as many times too fast as there are processes.", "有几个进程，调度器就快几倍。"),
    why=Text(
        "AcceleratedScheduler.step calls the scheduler num_processes times in each update unless batches are "
        "split. Lengths "
        "that are given in updates end N times too early: with 8 processes the rate is 0 after an eighth of the run.",
        "除非拆分批次，AcceleratedScheduler.step 在每个更新步调用调度器 num_processes 次。按更新步给出的长度会提"
        "前 N 倍用完："
        "8 个进程时，训练到八分之一学习率就成了 0。",
    ),
    victims=("huggingface/accelerate #1382", "huggingface/accelerate #2142", "Lightricks/LTX-Video-Trainer #67"),
    check=check,
    bad=(replace(_file(""), fixed=_file("step_scheduler_with_optimizer=False").text),),
    good=(_file("step_scheduler_with_optimizer=False"),),
)
