"""axolotl makes two updates of a warmup of one."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.edits import replaced
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``warmup_steps: 1`` in axolotl."""
    if reading.facts.get("bumped"):
        yield Found(
            reading.settings.find("warmup_steps"),
            Text("warmup_steps 1 is run as 2.", "warmup_steps 1 会按 2 执行。"),
            Text("write warmup_steps: 2, or a share.", "请写 warmup_steps: 2，或写占比。"),
            replaced(reading, "warmup_steps", reading.settings.find("warmup_steps"), "2"),
        )


def _file(steps: int) -> Example:
    text = (
        "# huohou: ignore[updates-at-zero] the Trainer's own\nbase_model: m\nmicro_batch_size: 2\nsequence_len: 2048\n"
        f"datasets:\n  - path: d\nlearning_rate: 1e-4\nlr_scheduler: cosine\nwarmup_steps: {steps}\nmax_steps: 1000\n"
    )
    return Example("run.yml", text)


RULE = Rule(
    id="one-becomes-two",
    severity="note",
    title=Text("axolotl makes 2 of a warmup of 1.", "axolotl 会把 1 步预热改成 2 步。"),
    why=Text(
        "A warmup of 1 was refused by old Transformers, so axolotl writes 2 in its place; what runs is not what "
        "is written.",
        "旧版 Transformers 不接受 1 步预热，axolotl 因此改成 2；实际运行的与写的不同。",
    ),
    victims=("axolotl-ai-cloud/axolotl core/builders/base.py", "hiyouga/LLaMA-Factory #4005"),
    check=check,
    bad=(Example("run.yml", _file(1).text, fixed=_file(2).text),),
    good=(_file(20),),
)
