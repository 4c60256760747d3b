"""Before 0.15.3 DeepSpeed made the first update at the peak."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A warmup of DeepSpeed's, on a version before 0.15.3 that ``--version`` names."""
    given: Given | None = reading.facts.get("given")
    version = None if given is None else given.version("deepspeed")
    kind = reading.facts.get("deepspeed_scheduler")
    config = reading.facts.get("deepspeed_config")
    if version is None or config is None or version >= (0, 15, 3):
        return
    if kind not in ("WarmupLR", "WarmupDecayLR", "WarmupCosineLR"):
        return
    yield Found(
        config.find("scheduler.type"),
        Text(
            f"DeepSpeed {'.'.join(map(str, version))} makes the first update at the optimizer's full rate, before the "
            "warmup begins.",
            f"DeepSpeed {'.'.join(map(str, version))} 在预热开始之前，会以优化器的完整学习率做第一步更新。",
        ),
        Text("take DeepSpeed 0.15.3 or newer.", "请用 DeepSpeed 0.15.3 或更新版本。"),
    )


def _file(version: str) -> Example:
    text = (
        '{"train_batch_size": 8, "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}, '
        '"scheduler": {"type": "WarmupLR", "params": {'
        '"warmup_min_lr": 1e-6, "warmup_max_lr": 1e-4, "warmup_num_steps": 100, "warmup_type": "linear"}}}\n'
    )
    return Example("ds.json", text, Given(updates=1000, versions={"deepspeed": version}))


RULE = Rule(
    id="deepspeed-first-update-at-peak",
    severity="error",
    title=Text("The first update is made at the full rate.", "第一步就用完整的学习率。"),
    why=Text(
        "Up to 0.15.2 the scheduler wrote its first rate only after the first update, which was therefore made at the "
        "optimizer's own: the largest step of the run, on moments that know one batch.",
        "0.15.2 及以前，调度器在第一步之后才写入学习率，因此第一步用的是优化器自己的学习率：动量只见过一个批次，却迈"
        "出全程最大的一步。",
    ),
    victims=("deepspeedai/DeepSpeed #5731", "deepspeedai/DeepSpeed #6569", "deepspeedai/DeepSpeed PR #6597"),
    check=check,
    bad=(_file("0.14.4"),),
    good=(_file("0.19.8"),),
)
