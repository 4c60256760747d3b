"""WarmupDecayLR without a peak uses 1e-3 and not the optimizer's rate."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.edits import added
from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.values import as_number
from huohou.language import Text

_BESIDE = "scheduler.params.warmup_num_steps"


def check(reading: Reading) -> Iterator[Found]:
    """``warmup_max_lr`` not written."""
    config = reading.facts.get("deepspeed_config")
    given: Given | None = reading.facts.get("given")
    version = None if given is None else given.version("deepspeed")
    # WarmupLR takes the optimizer's rate since 0.17.2.
    kinds = ("WarmupDecayLR", "WarmupLR") if version is not None and version < (0, 17, 2) else ("WarmupDecayLR",)
    if config is None or reading.facts.get("deepspeed_scheduler") not in kinds:
        return
    if "scheduler.params.warmup_max_lr" in config:
        return
    rate = config.find("optimizer.params.lr")
    other = "" if rate is None else f" ({rate.value})"
    yield Found(
        config.find("scheduler.type"),
        Text(
            f"warmup_max_lr is not written, so the peak is 0.001 and not the optimizer's rate{other}.",
            f"没有写 warmup_max_lr，因此峰值是 0.001，而不是优化器的学习率{other}。",
        ),
        Text('write "warmup_max_lr", the peak itself.', '请写出 "warmup_max_lr"，即峰值。'),
        ()
        if rate is None or as_number(rate.value) is None
        else added(reading, "warmup_num_steps", config.find(_BESIDE), "warmup_max_lr", rate.written),
    )


def _file(scheduler: str, lr: str = "1e-4") -> Example:
    optimizer = f'"optimizer": {{"type": "AdamW", "params": {{"lr": {lr}}}}}'
    return Example("ds.json", f'{{"train_batch_size": 8, {optimizer}, "scheduler": {scheduler}}}', Given(updates=1000))


_PARAMS = (
    '{"type": "WarmupDecayLR", "params": {"warmup_min_lr": 1e-6, "total_num_steps": 1000, "warmup_type": "linear", '
    '"warmup_num_steps": 100}}'
)
_WITH_PEAK = _PARAMS.replace('"warmup_num_steps": 100', '"warmup_num_steps": 100, "warmup_max_lr": 1e-4')

RULE = Rule(
    id="deepspeed-default-peak",
    severity="error",
    title=Text("The peak is DeepSpeed's default of 1e-3.", "峰值成了 DeepSpeed 的默认值 1e-3。"),
    why=Text(
        "WarmupDecayLR's warmup_max_lr is 0.001 where it is not written, and goes before the rate of the "
        "optimizer: a run "
        "meant for 5e-7 trains at two thousand times of it. WarmupLR did the same up to 0.17.",
        "没有写 warmup_max_lr 时，WarmupDecayLR 取 0.001，并且优先于优化器的学习率：本想用 5e-7 的训练会以两千倍"
        "的学习率进行。"
        "0.17 以前的 WarmupLR 也是如此。",
    ),
    victims=("deepspeedai/DeepSpeed #7303", "deepspeedai/DeepSpeed PR #7360"),
    check=check,
    bad=(Example("ds.json", _file(_PARAMS).text, Given(updates=1000), fixed=_file(_WITH_PEAK).text),),
    good=(_file(_WITH_PEAK),),
)
