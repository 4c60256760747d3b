"""A run file of our own asks for what cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text

_SCHEDULE = ("schedule.warmup", "schedule.num_warmup_steps", "schedule.decay_length", "schedule.floor", "schedule.peak")


def check(reading: Reading) -> Iterator[Found]:
    """What ``huohou plan`` refuses of a file that it understands."""
    why: Text | None = reading.facts.get("cannot_be")
    if why is None:
        return
    # The first key of the schedule that the sentence names, else the first that is there.
    named = [key for key in reading.settings if re.search(rf"\b{re.escape(key.rsplit('.', 1)[-1])}\b", why.en)]
    yield Found(
        reading.settings.find(*(key for key in named if key in _SCHEDULE), *named, *_SCHEDULE),
        Text(f"huohou plan refuses it: {why.en}", f"huohou plan 会拒绝：{why.zh}"),
        Text("write what the sentence asks for.", "请按该句的要求修改。"),
    )


def _file(warmup: str) -> Example:
    text = (
        "name: small\nmodel:\n  preset: 1m\ntokenizer:\n  vocab_size: 2048\ndata:\n  train: corpus.jsonl\n"
        "  sequence_length: 128\nbatch:\n  size: 16\nschedule:\n  peak: 3e-3\n"
        f"  warmup: {warmup}\n  decay: cosine\n  floor: 10%\ntrain:\n  updates: 600\n"
    )
    return Example("run.yaml", text)


RULE = Rule(
    id="run-file-cannot-be",
    severity="error",
    title=Text("The run file asks for what cannot be.", "配置文件要求的训练不成立。"),
    why=Text(
        "huohou refuses a warmup that is not shorter than the run, phases that do not fit into it, and lengths that "
        "disagree, before anything is computed. Elsewhere such a run starts, and never reaches its peak.",
        "预热不短于全程、各阶段放不进全程、长度互相矛盾，huohou 在开始计算之前就会拒绝。在别的框架里，这样的"
        "训练照样启动，却到不了峰值。",
    ),
    victims=("salesforce/LAVIS #72", "PrimeIntellect-ai/prime-rl #968"),
    check=check,
    bad=(_file("800 steps"),),
    good=(_file("30 steps"), _file("5%")),
)
