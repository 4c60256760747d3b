"""A batch that grows, under a schedule that is written in iterations."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``--rampup-batch-size`` beside lengths in iterations."""
    place = reading.settings.find("rampup_batch_size")
    if reading.facts.get("family") != "megatron" or place is None or place.value in (None, False):
        return
    if reading.facts.get("unit") == "samples" or "train_iters" not in reading.settings:
        return
    yield Found(
        place,
        Text(
            "the batch grows while the schedule counts samples of full batches: the warmup takes longer than it "
            "says, and the decay does not end; Megatron-LM itself refuses this.",
            "批大小逐步增大，而学习率计划按满批的样本数计：预热比所写的更久，衰减走不完；Megatron-LM 本身会拒绝。",
        ),
        Text(
            "write --train-samples, --lr-warmup-samples and --lr-decay-samples.",
            "请写 --train-samples、--lr-warmup-samples 和 --lr-decay-samples。",
        ),
    )


def _file(more: str) -> Example:
    flags = (
        "--train-iters 1000 --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --lr-warmup-iters 100 --lr-warmup-init "
        f"1e-6 --global-batch-size 64 --micro-batch-size 1 --seq-length 4096 {more}"
    )
    return Example("run.sh", f"torchrun pretrain_gpt.py {flags}\n")


RULE = Rule(
    id="rampup-stretches-the-warmup",
    severity="warning",
    title=Text("A growing batch stretches the warmup.", "增大的批拉长了预热。"),
    why=Text(
        "Iterations are multiplied by the full global batch. With W = 10, T = 100 and a batch that grows from 8 to "
        "16 over 160 samples the peak comes in iteration 20 instead of 10, and the last rate is 0.6 of it.",
        "迭代数会乘以完整的全局批大小。W = 10、T = 100、批在 160 个样本内从 8 增到 16 时，峰值在第 20 次迭代才出现，"
        "最后的学习率还有峰值的 0.6。",
    ),
    victims=("NVIDIA-NeMo/Megatron-Bridge #2609", "NVIDIA-NeMo/Megatron-Bridge PR #4796"),
    check=check,
    bad=(_file("--rampup-batch-size 8 8 160"),),
    good=(_file(""),),
)
