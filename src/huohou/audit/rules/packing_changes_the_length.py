"""Samples are packed, so their number is not that of the sequences."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text

_WORDS = ("packing", "sample_packing", "neat_packing")


def check(reading: Reading) -> Iterator[Found]:
    """Packing on, and a T that was counted from ``--samples``."""
    given: Given | None = reading.facts.get("given")
    place = reading.settings.find(*_WORDS)
    if given is None or given.samples is None or given.updates is not None or place is None:
        return
    if (
        reading.settings.flag(*_WORDS) is not True
        or (reading.settings.number("max_steps") or 0) > 0
        or not reading.roles
    ):
        return
    updates = reading.roles[0].applied.updates
    yield Found(
        place,
        Text(
            f"samples are packed into sequences, so the run makes fewer updates than the {updates} that their number "
            "gives.",
            f"样本会被拼接成序列，实际更新步数少于按样本数算出的 {updates} 步。",
        ),
        Text(
            "count the sequences after packing and give --updates.",
            "请统计拼接后的序列数，并给出 --updates。",
        ),
    )  # fmt: skip


def _file(packing: str) -> Example:
    text = (
        "# huohou: ignore[updates-at-zero] the Trainer's own\n"
        "model_name_or_path: m\nstage: sft\ndo_train: true\nfinetuning_type: lora\ndataset: d\n"
        "learning_rate: 1.0e-4\nper_device_train_batch_size: 2\nlr_scheduler_type: cosine\nwarmup_steps: 50\n"
        f"num_train_epochs: 3\npacking: {packing}\noutput_dir: out\n"
    )
    return Example("run.yaml", text, Given(samples=8000))


RULE = Rule(
    id="packing-changes-the-length",
    severity="note",
    title=Text("Packed samples make fewer updates.", "拼接样本会减少更新步数。"),
    why=Text(
        "Packing joins short samples into sequences of full length. A run of 1360 updates by the number of samples "
        "made 207, so that a warmup of 100 updates was half of it.",
        "packing 把短样本拼成整长的序列。按样本数算有 1360 步的训练实际只有 207 步，于是 100 步的预热占了一半。",
    ),
    victims=("huggingface/trl #746", "axolotl-ai-cloud/axolotl #1170", "axolotl-ai-cloud/axolotl PR #978"),
    check=check,
    bad=(_file("true"),),
    good=(_file("false"),),
)
