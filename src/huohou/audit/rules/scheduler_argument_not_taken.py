"""An argument of the scheduler that its type does not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import renamed, replaced
from huohou.audit.reading import Edit, Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text

_TAKEN = {
    "linear": (),
    "constant": (),
    "constant_with_warmup": (),
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("lr_end", "power"),
    "inverse_sqrt": ("timescale",),
    "cosine_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"),
    "warmup_stable_decay": (
        "num_decay_steps",
        "num_stable_steps",
        "warmup_type",
        "decay_type",
        "min_lr_ratio",
        "num_cycles",
    ),
}


def check(reading: Reading) -> Iterator[Found]:
    """``lr_scheduler_kwargs`` against the parameters of the type."""
    kind = str(reading.facts.get("scheduler"))
    if "kwargs" not in reading.facts or kind not in _TAKEN:
        return
    strange = sorted(key for key in reading.facts["kwargs"] if key not in _TAKEN[kind] and key != "last_epoch")
    if not strange:
        return
    names = ", ".join(strange)
    silent = kind in ("constant", "constant_with_warmup")
    en, zh = ("ignores", "会静默忽略") if silent else ("does not take", "不接受（TypeError）")
    known = ", ".join(_TAKEN[kind])
    floor = any(key.startswith("min_lr") for key in strange)
    yield Found(
        reading.settings.find("lr_scheduler_kwargs", *(f"lr_scheduler_kwargs.{key}" for key in strange)),
        Text(f"lr_scheduler_type {kind} {en} {names}.", f"lr_scheduler_type {kind} {zh} {names}。"),
        Text(
            "write lr_scheduler_type: cosine_with_min_lr." if floor else f"it takes {known or 'nothing'}.",
            "请写 lr_scheduler_type: cosine_with_min_lr。" if floor else f"它接受 {known or '无参数'}。",
        ),
        _edit(reading, kind, strange),
    )


_FLOOR = {
    "cosine_with_min_lr": "min_lr_rate",
    "cosine_warmup_with_min_lr": "min_lr_rate",
    "warmup_stable_decay": "min_lr_ratio",
}


def _edit(reading: Reading, kind: str, strange: list[str]) -> tuple[Edit, ...]:
    """A floor under the word of its type; a plain cosine becomes the one that has a floor."""
    if len(strange) != 1 or strange[0] not in ("min_lr", "min_lr_rate", "min_lr_ratio"):
        return ()
    key = strange[0]
    place = reading.settings.find(f"lr_scheduler_kwargs.{key}", "lr_scheduler_kwargs")
    if kind == "cosine" and key != "min_lr_ratio":
        written = reading.settings.find("lr_scheduler_type")
        word = "cosine_with_min_lr"
        quoted = f'"{word}"' if written is not None and written.file.endswith(".py") else word
        return replaced(reading, "lr_scheduler_type", written, quoted)
    if kind in _FLOOR and key != "min_lr":
        return renamed(reading, key, place, _FLOOR[kind])
    return ()


_WRONG = trainer(lr_scheduler_kwargs='{"min_lr_ratio": 0.1}')

RULE = Rule(
    id="scheduler-argument-not-taken",
    severity="error",
    title=Text("The scheduler has no such argument.", "调度器没有这个参数。"),
    why=Text(
        "A floor is taken by cosine_with_min_lr, cosine_warmup_with_min_lr and warmup_stable_decay, each under "
        "a word of its "
        "own. Others end in a TypeError, and constant_with_warmup drops every argument without a word.",
        "只有 cosine_with_min_lr、cosine_warmup_with_min_lr 和 warmup_stable_decay 接受下限，而且各用各的词。其"
        "他类型会报 "
        "TypeError，constant_with_warmup 则静默丢弃所有参数。",
    ),
    victims=("modelscope/ms-swift sft_args.py", "EleutherAI/gpt-neox PR #1008"),
    check=check,
    bad=(replace(_WRONG, fixed=trainer().text),),
    good=(trainer(),),
)
