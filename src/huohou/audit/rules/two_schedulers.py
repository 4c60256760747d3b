"""Two schedulers are written, and the one in the DeepSpeed file is used."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A DeepSpeed scheduler beside ``lr_scheduler_type``."""
    inner = reading.facts.get("deepspeed_scheduler")
    written = reading.settings.find("lr_scheduler_type")
    if inner is None or written is None or reading.facts.get("family") != "transformers":
        return
    yield Found(
        written,
        Text(
            f"the DeepSpeed configuration's {inner} is used, and lr_scheduler_type {written.value} is not.",
            f"实际使用 DeepSpeed 配置中的 {inner}，lr_scheduler_type {written.value} 不起作用。",
        ),
        Text("take the scheduler out of the DeepSpeed file.", "从 DeepSpeed 配置中删去 scheduler。"),
    )


RULE = Rule(
    id="two-schedulers",
    severity="error",
    title=Text("Two schedulers, one of them unused.", "写了两个调度器，其中一个不起作用。"),
    why=Text(
        "Where the DeepSpeed configuration has a scheduler, the Trainer hands it the rate and the warmup and "
        "makes none of "
        "its own: WarmupLR stays at the peak to the end, whatever lr_scheduler_type says.",
        "DeepSpeed 配置中有 scheduler 时，Trainer 只把学习率和预热填进去，不再建立自己的调度器：WarmupLR 会一直"
        "停在峰值，"
        "无论 lr_scheduler_type 写了什么。",
    ),
    victims=("QwenLM/Qwen-VL #183", "huggingface/transformers #33523"),
    check=check,
    bad=(
        trainer(
            deepspeed='"ds.json"',
            beside=(
                (
                    "ds.json",
                    '{"scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": 1e-6, "warmup_max_lr": "auto", '
                    '"warmup_num_steps": "auto", "warmup_type": "linear"}}}',
                ),
            ),
        ),
    ),
    good=(trainer(deepspeed='"ds.json"', beside=(("ds.json", '{"zero_optimization": {"stage": 2}}'),)),),
)
