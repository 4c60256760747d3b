"""Data are streamed, and nobody says how many updates the run makes."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text

_KINDS = ("llamafactory", "axolotl")


def check(reading: Reading) -> Iterator[Found]:
    """``streaming`` on and no ``max_steps``, in frameworks whose Trainer needs one."""
    place = reading.settings.find("streaming")
    if place is None or reading.settings.flag("streaming") is not True:
        return
    if (reading.facts.get("framework") or reading.dialect) not in _KINDS or (
        reading.settings.number("max_steps") or 0
    ) > 0:
        return
    yield Found(
        place,
        Text(
            "the data are streamed, so their number is unknown, and max_steps is not written: the run does not start.",
            "数据是流式读取的，数量未知，又没有写 max_steps：训练无法启动。",
        ),
        Text("write max_steps; epochs mean nothing to a stream.", "请写 max_steps；对流式数据，轮数没有意义。"),
    )  # fmt: skip


def _file(more: str) -> Example:
    text = (
        "# huohou: ignore[updates-at-zero] the Trainer's own\n"
        "model_name_or_path: m\nstage: pt\ndo_train: true\nfinetuning_type: lora\ndataset: d\nstreaming: true\n"
        "learning_rate: 1.0e-4\nper_device_train_batch_size: 2\nlr_scheduler_type: cosine\nwarmup_steps: 50\n"
        f"{more}output_dir: out\n"
    )
    return Example("run.yaml", text, Given(updates=None if more else 1000))


RULE = Rule(
    id="stream-without-length",
    severity="error",
    title=Text("A stream of data and no number of updates.", "流式数据却没有更新步数。"),
    why=Text(
        "A Trainer whose data have no length needs max_steps: it is the end of the run and the length of the schedule, "
        "and num_train_epochs cannot take its place.",
        "数据没有长度时，Trainer 需要 max_steps：它既是训练的终点，也是学习率计划的长度，num_train_epochs 代替不了它。",
    ),
    victims=("huggingface/transformers #12499", "huggingface/datasets #5773", "huggingface/trl PR #6333"),
    check=check,
    bad=(_file(""),),
    good=(_file("max_steps: 1000\n"),),
)
