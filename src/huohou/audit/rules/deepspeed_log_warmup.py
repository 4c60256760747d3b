"""DeepSpeed warms up along a logarithm unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.edits import added
from huohou.audit.reading import Edit, Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.values import Settings
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``warmup_type`` not written."""
    config = reading.facts.get("deepspeed_config")
    if config is None or "scheduler.params.warmup_type" in config:
        return
    if reading.facts.get("deepspeed_scheduler") not in ("WarmupLR", "WarmupDecayLR", "WarmupCosineLR"):
        return
    yield Found(
        config.find("scheduler.type"),
        Text(
            "warmup_type is not written, so the warmup is logarithmic: two thirds of the peak after a tenth of it.",
            "没有写 warmup_type，因此按对数预热：走完十分之一时已到峰值的三分之二。",
        ),
        Text('write "warmup_type": "linear".', '请写 "warmup_type": "linear"。'),
        _edit(reading, config),
    )


def _edit(reading: Reading, config: Settings) -> tuple[Edit, ...]:
    """The word behind the first entry of the parameters that stands plainly on its line."""
    for key in ("warmup_num_steps", "warmup_max_lr", "warmup_min_lr", "total_num_steps"):
        edit = added(reading, key, config.find(f"scheduler.params.{key}"), "warmup_type", '"linear"')
        if edit:
            return edit
    return ()


def _file(scheduler: str, lr: str = "1e-4") -> Example:
    optimizer = f'"optimizer": {{"type": "AdamW", "params": {{"lr": {lr}}}}}'
    return Example("ds.json", f'{{"train_batch_size": 8, {optimizer}, "scheduler": {scheduler}}}', Given(updates=1000))


_PARAMS = '{"type": "WarmupLR", "params": {"warmup_min_lr": 1e-6, "warmup_max_lr": 1e-4, "warmup_num_steps": 100}}'
_LINEAR = _PARAMS.replace('"warmup_num_steps": 100', '"warmup_num_steps": 100, "warmup_type": "linear"')

RULE = Rule(
    id="deepspeed-log-warmup",
    severity="warning",
    title=Text("DeepSpeed's warmup is logarithmic.", "DeepSpeed 的预热是对数曲线。"),
    why=Text(
        "The default of warmup_type is log: ln(k + 1) / ln(W). With W = 1000 the rate is at 33 % of the peak in "
        "update 10 and "
        "at 67 % in update 100; its mean over the warmup is 0.86 of the peak instead of a half.",
        "warmup_type 的默认值是 log：ln(k + 1) / ln(W)。W = 1000 时第 10 步已到峰值的 33 %，第 100 步到 67 %；预"
        "热期平均为峰值的 "
        "0.86，而不是一半。",
    ),
    victims=("deepspeedai/DeepSpeed #1298",),
    check=check,
    bad=(Example("ds.json", _file(_PARAMS).text, Given(updates=1000), fixed=_file(_LINEAR).text),),
    good=(_file(_LINEAR),),
)
