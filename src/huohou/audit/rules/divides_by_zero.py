"""A length of nothing by which the framework divides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.values import Value
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """litgpt's finetuning without warmup; OLMo-core's WSD without decay."""
    place: Value | None = None
    framework = reading.facts.get("framework") or reading.dialect
    settings = reading.settings
    if framework == "litgpt" and not any(
        key in settings for key in ("tokenizer_dir", "initial_checkpoint_dir", "model_name")
    ):
        if settings.number("train.lr_warmup_steps") == 0:
            place = settings.find("train.lr_warmup_steps")
    elif "olmo" in framework:
        key = next((key for key in settings if key.rsplit(".", 1)[-1] in ("decay_fraction", "decay_steps")), None)
        if key is not None and settings.number(key) == 0:
            place = settings.find(key)
    if place is not None:
        yield Found(
            place,
            Text(
                f"a length of {place.written or 0} is divided by: the run ends in a ZeroDivisionError.",
                f"长度 {place.written or 0} 会被当作除数：训练以 ZeroDivisionError 结束。",
            ),
            Text("write at least 1.", "请至少写 1。"),
            replaced(reading, "train.lr_warmup_steps", place, "1") if framework == "litgpt" else (),
        )


def _file(warmup: int) -> Example:
    text = (
        "# huohou: ignore[updates-at-zero] as litgpt does\ncheckpoint_dir: c\ntrain:\n  save_interval: 100\n"
        "  log_interval: 1\n  global_batch_size: 8\n  micro_batch_size: 8\n"
        f"  lr_warmup_steps: {warmup}\n  max_steps: 1000\n  min_lr: 0.0\neval:\n  interval: 100\noptimizer:\n"
        "  init_args:\n    lr: 0.0001\n"
    )
    return Example("finetune.yaml", text)


RULE = Rule(
    id="divides-by-zero",
    severity="error",
    title=Text("The framework divides by a length of 0.", "框架会除以长度 0。"),
    why=Text(
        "litgpt's finetuning computes i / W also where W is 0, and OLMo-core's WSD divides by the decay in the last "
        "update. The same happened in DeepSpeed (log 1), in torchtitan and in others at the edges of their phases.",
        "litgpt 微调在 W 为 0 时仍计算 i / W；OLMo-core 的 WSD 在最后一步除以衰减长度。DeepSpeed（log 1）、"
        "torchtitan 等在阶段边界上也出过同样的错误。",
    ),
    victims=("allenai/OLMo-core PR #655", "deepspeedai/DeepSpeed #771", "pytorch/torchtitan PR #1010"),
    check=check,
    bad=(replace(_file(0), fixed=_file(1).text),),
    good=(_file(50),),
)
