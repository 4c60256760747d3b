"""A short run in float16 does not finish its schedule."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.looking import look
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text

_SHORT = 300


def check(reading: Reading) -> Iterator[Found]:
    """float16, a schedule that waits for skipped updates, and a short run."""
    place = reading.settings.find("fp16", "fp16.enabled")
    if not reading.facts.get("skips") or place is None or place.value is not True or not reading.roles:
        return
    role = reading.roles[0]
    curve = role.applied
    # A run that ends at its highest rate, in its warmup or a constant one, has no decay that could be cut.
    if not 2 <= curve.updates <= _SHORT or curve.rate(curve.updates) >= 0.99 * look(curve).peak:
        return
    yield Found(
        place,
        Text(
            "updates that float16 skips do not step the schedule but count as updates of the run: of "
            f"{curve.updates}, each one that is skipped is missing at the end of the decay.",
            f"float16 跳过的更新步不推进学习率计划，却算作训练的步数：{curve.updates} 步里每跳过一步，衰减的末尾就少一"
            "步。",
        ),
        Text("train in bfloat16 where the device has it.", "设备支持时请用 bfloat16。"),
    )


RULE = Rule(
    id="skipped-updates-delay",
    severity="note",
    title=Text("Skipped updates are missing at the end.", "跳过的更新步会使末尾缺失。"),
    why=Text(
        "The loss scale begins at 65536, and the first updates are skipped until it fits. The Trainer and DeepSpeed "
        "do not step the schedule for them, so a run of 100 updates with 10 skipped ends ten updates above its floor.",
        "loss scale 从 65536 开始，最初几步往往被跳过。Trainer 和 DeepSpeed 这时不推进学习率计划，因此 100 步的训练跳"
        "过 10 步，结束时离下限还差十步。",
    ),
    victims=("NVIDIA/NeMo PR #3293", "huggingface/transformers PR #11144"),
    check=check,
    bad=(trainer(fp16="True", max_steps="100", warmup_steps="10"),),
    good=(
        trainer(bf16="True", max_steps="100", warmup_steps="10"),
        trainer(fp16="True"),
    ),
)
