"""The sections ``optimizer``, ``train`` and ``checkpoint``."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import model_validator

from huohou.config.kinds import Wrong, choice, count, number, string, strings
from huohou.config.section import ABSENT, Section, key
from huohou.config.values import BETAS, EPOCHS, STAGE, SWITCH
from huohou.language import Text

_OPTIMIZERS = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_8bit": "adamw8bit",
    "adamw_bnb_8bit": "adamw8bit",
    "paged_adamw_8bit": "paged_adamw8bit",
}
"""Other spellings of the optimizers, those of the Transformers."""


class Optimizer(Section):
    """How a gradient becomes a change."""

    title = Text("How a gradient becomes a change of the weights.", "梯度怎样变成权重的改变。")

    name: Annotated[
        Literal["adamw", "adamw8bit", "paged_adamw8bit"],
        choice("adamw", "adamw8bit", "paged_adamw8bit", spellings=_OPTIMIZERS),
    ] = key(
        "adamw",
        "The optimizer; the 8-bit ones keep the two moments in 8 bits (bitsandbytes).",
        "优化器；8bit 的把两个动量存为 8 比特（bitsandbytes）。",
    )
    state: Annotated[Literal["fresh", "carried"], choice("fresh", "carried")] = key(
        "fresh",
        "Whether the moments begin at 0, or where another run left them.",
        "动量从 0 开始，还是接着另一次训练的动量。",
    )
    from_: Annotated[str | None, string("the path of a checkpoint or a run folder", "检查点或训练目录的路径")] = key(
        None,
        "Where the carried moments are: a checkpoint, or a run folder (its newest).",
        "要接着用的动量在哪里：检查点，或训练目录（取最新）。",
        said=ABSENT,
        alias="from",
    )
    betas: Annotated[tuple[float, float], BETAS] = key((0.9, 0.95), "Decay of the two moments.", "两个动量的衰减系数。")
    eps: Annotated[float, number(0, above=True, example="1e-8")] = key(
        1e-8, "Added to the root of the second moment.", "加在二阶动量平方根上的小数。"
    )
    weight_decay: Annotated[float, number(0, example="0.1")] = key(
        0.1, "Decoupled weight decay of matrices; norms have none.", "矩阵的解耦权重衰减；归一化参数不衰减。"
    )
    max_grad_norm: Annotated[float | None, number(0, above=True, example="1.0").or_off()] = key(
        1.0, "Global gradient norm above which gradients are scaled down.", "梯度全局范数超过此值时按比例缩小。"
    )
    fused: Annotated[bool | Literal["auto"], choice("auto", switch=True)] = key(
        "auto", "Whether the update is one fused kernel.", "是否用融合的优化器内核。"
    )

    @model_validator(mode="after")
    def _carried_from(self) -> Optimizer:
        if (self.state == "carried") == (self.from_ is None):
            raise Wrong(
                "optimizer.state is carried, but nothing says from where; write optimizer.from: a checkpoint or a run "
                "folder"
                if self.from_ is None
                else "optimizer.from says where the moments are, but optimizer.state is fresh; write state: carried, "
                "or remove from",
                "optimizer.state 是 carried，却没有说明从哪里来；请写 optimizer.from: 检查点或训练目录"
                if self.from_ is None
                else "optimizer.from 写了动量的位置，而 optimizer.state 是 fresh；请写 state: carried，或去掉 from",
                whole=True,
                keys=("optimizer.from", "optimizer.state"),
            )
        return self


class Train(Section):
    """How long, on what, and what is watched."""

    title = Text("How long, on what, and what is watched meanwhile.", "训练多久、用什么设备、途中观察什么。")

    updates: Annotated[int | None, count(1, unit="update")] = key(
        None,
        "Length of the run in updates. One of updates, epochs and tokens.",
        "训练长度（更新步）。updates、epochs、tokens 三者择一。",
        said=ABSENT,
    )
    epochs: Annotated[Fraction | None, EPOCHS] = key(
        None,
        "Length of the run in passes over the data.",
        "训练长度（遍历数据的轮数）。",
        said=Text("1, where no length is given", "未写长度时为 1"),
    )
    tokens: Annotated[int | None, count(1, unit="token", example=2_000_000_000)] = key(
        None, "Length of the run in tokens, such as 2B.", "训练长度（token 数），例如 2B、20亿。", said=ABSENT
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], choice("auto", "cpu", "cuda", spellings={"gpu": "cuda"})] = key(
        "auto", "auto takes a GPU where there is one.", "auto 表示有 GPU 就用 GPU。"
    )
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        choice(
            "auto",
            "float32",
            "bfloat16",
            "float16",
            spellings={"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"},
        ),
    ] = key(
        "auto",
        "Type of the computation; auto is float32 on a CPU, bfloat16 on a GPU that has it, else float16.",
        "计算的数据类型；auto 在 CPU 上为 float32，GPU 支持时为 bfloat16，否则 float16。",
    )
    compile: Annotated[bool | Literal["auto"], choice("auto", switch=True)] = key(
        "auto",
        "torch.compile; auto compiles where the run is long enough to gain.",
        "torch.compile；auto 在训练足够长时编译。",
    )
    threads: Annotated[int | None, count(1, example=4)] = key(
        None, "CPU threads.", "CPU 线程数。", said=Text("torch's choice", "由 torch 决定")
    )
    deterministic: Annotated[bool, SWITCH] = key(
        False, "Only kernels that give the same bits every time.", "只用每次结果逐位相同的内核。"
    )
    engine: Annotated[
        Literal["auto", "ddp", "fsdp2", "deepspeed"],
        choice("auto", "ddp", "fsdp2", "deepspeed", spellings={"fsdp": "fsdp2"}),
    ] = key(
        "auto",
        "How several processes share the work; auto is ddp where there are several.",
        "多个进程怎样分工；auto 在多进程时为 ddp。",
    )
    zero_stage: Annotated[int, STAGE] = key(
        2,
        "What DeepSpeed divides: 1 moments, 2 gradients too, 3 weights too.",
        "DeepSpeed 切分什么：1 动量，2 加梯度，3 加权重。",
    )
    offload: Annotated[bool, SWITCH] = key(
        False, "Keep what is divided in the memory of the CPU.", "把切分的状态放在 CPU 内存里。"
    )
    recompute: Annotated[bool, SWITCH] = key(
        False,
        "Compute activations again in the backward pass instead of keeping them (activation checkpointing).",
        "反向时重新计算激活而不保存（激活检查点）。",
    )
    timeout: Annotated[int, count(1, unit="second", example=600)] = key(
        600, "Seconds after which a process that waits for another gives up.", "一个进程等待另一个进程的最长秒数。"
    )
    evaluate_every: Annotated[int | None, count(1, unit="update").or_off()] = key(
        200, "Updates between evaluations, where there is validation data.", "两次评估之间的更新步数（有验证数据时）。"
    )
    evaluate_sequences: Annotated[int | None, count(1, example=512)] = key(
        512, "Sequences of an evaluation, at most.", "每次评估最多用多少条序列。"
    )
    sample_every: Annotated[int | None, count(1, unit="update").or_off()] = key(
        None, "Updates between samples of text.", "两次生成样例之间的更新步数。"
    )
    sample_prompts: Annotated[
        tuple[str, ...], strings("a text, or a list of them", "一段文字，或文字的列表", least=0)
    ] = key((), "What the samples begin with.", "样例的开头。", said=Text("none", "无"))
    layers_every: Annotated[int | None, count(1, unit="update", example=10).or_off()] = key(
        10, "Updates between records of each layer's gradient norm.", "两次记录各层梯度范数之间的更新步数。"
    )
    print_every: Annotated[int | None, count(1, unit="update", example=10)] = key(
        None,
        "Updates between printed lines where there is no progress bar; metrics.jsonl has every update anyway.",
        "没有进度条时，每隔多少更新步打印一行；metrics.jsonl 总是每步都记。",
        said=Text("about a hundred lines a run", "全程约一百行"),
    )

    @model_validator(mode="after")
    def _one(self) -> Train:
        given = [name for name in ("updates", "epochs", "tokens") if getattr(self, name) is not None]
        if len(given) > 1:
            one, two = given[:2]
            raise Wrong(
                f"train.{one} and train.{two} both say how long the run is; keep one",
                f"train.{one} 与 train.{two} 都规定了训练长度；请只留一个",
                whole=True,
                keys=(f"train.{two}", f"train.{one}"),
            )
        if not given:
            object.__setattr__(self, "epochs", Fraction(1))
        return self


class Checkpoint(Section):
    """What is kept."""

    title = Text("What is kept on the way, to go on from.", "途中保存什么，以便接着训练。")

    every: Annotated[int | None, count(1, unit="update").or_off()] = key(
        500, "Updates between checkpoints; the end always has one.", "两次保存之间的更新步数；结束时总会保存。"
    )
    keep: Annotated[int, count(1, example=3)] = key(
        3, "How many checkpoints are kept; the oldest go first.", "保留多少个检查点；最旧的先删。"
    )
    keep_best: Annotated[bool, SWITCH] = key(
        False,
        "Keep the one with the lowest validation loss as well.",
        "另外保留验证损失最低的一个。",
    )
