"""LLaMA-Factory fills in a decay of two thirds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A ``warmup_stable_decay`` of LLaMA-Factory in which ``num_decay_steps`` is not written."""
    filled: dict[str, Any] | None = reading.facts.get("filled_in")
    written = reading.settings.find("lr_scheduler_type")
    if not filled or "lr_scheduler_kwargs.num_decay_steps" in reading.settings or written is None:
        return
    own = reading.settings.get("lr_scheduler_kwargs")
    if own is not None and "num_decay_steps" in str(own):
        return
    decay, stable = filled.get("num_decay_steps"), filled.get("num_stable_steps")
    yield Found(
        written,
        Text(
            f"the phases are not written, so {stable} updates are stable and {decay} decay: a third and two thirds.",
            f"没有写各阶段的长度，因此稳定 {stable} 步、衰减 {decay} 步：三分之一与三分之二。",
        ),
        Text(
            "write lr_scheduler_kwargs: {num_decay_steps: …}, a tenth or a fifth of the run.",
            "请写 lr_scheduler_kwargs: {num_decay_steps: …}，取全程的十分之一或五分之一。",
        ),
    )


def _file(more: str) -> Example:
    text = (
        "model_name_or_path: m\nstage: sft\ndo_train: true\nfinetuning_type: lora\ndataset: d\n"
        "learning_rate: 1.0e-4\nper_device_train_batch_size: 2\nlr_scheduler_type: warmup_stable_decay\n"
        f"lr_scheduler_kwargs: {{{more}min_lr_ratio: 0.1}}\nwarmup_steps: 100\nmax_steps: 1000\noutput_dir: out\n"
    )
    return Example("run.yaml", text)


RULE = Rule(
    id="one-third-stable",
    severity="warning",
    title=Text("Two thirds of the run decay.", "三分之二的训练都在衰减。"),
    why=Text(
        "LLaMA-Factory fills in num_stable_steps as a third of what the warmup leaves and lets the rest decay, where "
        "others hold the peak for 80 to 90 % of the run.",
        "LLaMA-Factory 把预热之后的三分之一作为 num_stable_steps，其余都衰减；而通常的做法是全程的 80 % 到 90 % 保持"
        "峰值。",
    ),
    victims=("hiyouga/LLaMA-Factory PR #7304", "hiyouga/LLaMA-Factory #5548"),
    check=check,
    bad=(_file(""),),
    good=(_file("num_decay_steps: 200, "),),
)
