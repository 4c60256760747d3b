"""The catalogue of documented failures, and which rule finds each of them in a file.

A failure of which a file shows nothing has the reason in the place of rules; where a file shows a part of it, both.
"""

from __future__ import annotations

from dataclasses import dataclass

from huohou.language import Text


@dataclass(frozen=True, slots=True)
class Entry:
    """One documented failure.

    Attributes:
        number: Its place in the catalogue: a class A…H and a number.
        text: What goes wrong.
        rules: The rules that find it.
        beyond: Why a file does not show it, or which part of it.
    """

    number: str
    text: Text
    rules: tuple[str, ...] = ()
    beyond: Text | None = None


_VERSION = Text(
    "Fixed in later releases; the file is the same on both sides of the fix.",
    "后续版本已修复；修复前后的文件没有区别。",
)
_INSIDE = Text(
    "Happens inside the framework's own code; the configuration shows nothing of it.",
    "发生在框架自身的代码里，配置中看不出来。",
)
_CHECKPOINT = Text(
    "Shows only in a checkpoint or in the log of a run that went on (huohou audit --log).",
    "只在检查点或续训的日志中可见（huohou audit --log）。",
)

CATALOGUE: tuple[Entry, ...] = (
    Entry(
        "A1",
        Text("a prepared scheduler is stepped once for every process", "prepare 过的调度器按进程数重复推进"),
        ("accelerate-steps-per-process",),
    ),
    Entry(
        "A2",
        Text("stepped per micro-batch, or made in micro-batches", "逐微批推进，或按微批计长度"),
        ("scheduler-per-micro-batch", "length-in-micro-batches"),
    ),
    Entry("A3", Text("Lightning steps once in an epoch", "Lightning 每轮才推进"), ("lightning-steps-per-epoch",)),
    Entry(
        "A4",
        Text("iterations and updates are mixed up", "混淆迭代与更新步"),
        ("peak-just-missed", "peak-never-reached", "accelerate-steps-per-process", "length-in-micro-batches"),
    ),
    Entry("A5", Text("DeepSpeed steps the scheduler itself", "DeepSpeed 自己推进调度器"), ("deepspeed-steps-itself",)),
    Entry(
        "A6",
        Text("axolotl's own estimate of T under packing", "axolotl 在 packing 下自行估计 T"),
        ("packing-changes-the-length",),
        Text("Whether the estimate forgets the accumulation is a matter of the version.", "是否漏除累积数取决于版本。"),
    ),
    Entry(
        "A7",
        Text("lengths of reinforcement learning loops", "强化学习循环的长度"),
        ("zero-to-the-end", "decay-not-finished"),
        Text(
            "Where the trainer computes the length in its own code, --updates has to say it.",
            "长度由训练器代码计算时，需用 --updates 给出。",
        ),
    ),
    Entry(
        "A8",
        Text("an explicit total that is not divided by the accumulation", "写明的总步数没有除以累积数"),
        ("decay-not-finished", "length-in-micro-batches"),
    ),
    Entry("B1", Text("the first update is at rate 0", "第一步学习率为 0"), ("updates-at-zero",)),
    Entry(
        "B2",
        Text(
            "DeepSpeed: two updates at 0; before 0.15.3 the first at the peak",
            "DeepSpeed：两步为 0；0.15.3 以前第一步即峰值",
        ),
        ("updates-at-zero", "deepspeed-first-update-at-peak"),
    ),
    Entry("B3", Text("torchtitan: peak and slope off by one", "torchtitan：峰值与斜率差一步"), (), _VERSION),
    Entry(
        "B4",
        Text("WarmupCosineLR with a linear warmup misses the peak", "线性预热的 WarmupCosineLR 达不到峰值"),
        ("peak-just-missed", "peak-never-reached"),
    ),
    Entry("B5", Text("timm's warmup overlaps its cosine", "timm 的预热与余弦重叠"), ("peak-never-reached",)),
    Entry("B6", Text("GradualWarmupScheduler stalls", "GradualWarmupScheduler 停顿"), ("gradual-warmup-stalls",)),
    Entry("B7", Text("axolotl's REX begins with a spike", "axolotl 的 REX 第一步尖峰"), (), _VERSION),
    Entry(
        "B8",
        Text("a nested SequentialLR is a step ahead", "嵌套的 SequentialLR 提前一步"),
        ("nested-sequential",),
        Text("The wrong first rate of older PyTorch versions.", "旧版 PyTorch 的第一步学习率错误。"),
    ),
    Entry(
        "B9",
        Text("the rate of the next update is logged", "日志记录的是下一步的学习率"),
        (),
        Text(
            "Only a log shows it: huohou audit --log says which of the two it holds.",
            "只有日志能看出：huohou audit --log 会说明是哪一种。",
        ),
    ),
    Entry(
        "B10",
        Text("the warmup is subtracted from a length that includes it", "从已含预热的长度里又扣掉预热"),
        ("decay-leaves-the-warmup-out",),
    ),
    Entry(
        "C1",
        Text("packed or streamed data have another number of updates", "拼接或流式数据的步数不同"),
        ("packing-changes-the-length", "stream-without-length", "length-is-no-length"),
    ),
    Entry("C2", Text("max_steps against epochs", "max_steps 与轮数"), ("epochs-not-used", "stream-without-length")),
    Entry("C3", Text("a cosine rises again past its end", "余弦越过终点后回升"), ("rises-after-its-end",)),
    Entry("C4", Text("the rate goes below zero", "学习率变为负数"), ("rate-below-zero",)),
    Entry(
        "C5",
        Text("the floor is never reached, or reached by a jump", "下限达不到，或突降到下限"),
        (
            "decay-not-finished",
            "floor-one-step-away",
            "inverse-sqrt-jumps",
            "phases-do-not-fit",
            "scheduler-argument-not-taken",
        ),
        Text(
            "What older versions of nanotron make of lr_decay_starting_step.",
            "旧版 nanotron 对 lr_decay_starting_step 的处理。",
        ),
    ),
    Entry(
        "C6",
        Text("a length that was copied from another run", "照抄自别的训练的长度"),
        ("decay-not-finished", "zero-to-the-end", "rises-after-its-end"),
        Text("A length that the framework's code hard-wires is not in the file.", "写死在框架代码里的长度不在文件中。"),
    ),
    Entry(
        "C7",
        Text("the phases of warmup-stable-decay and their defaults", "WSD 的各阶段及默认值"),
        ("phases-do-not-fit", "decay-length-missing", "one-third-stable", "never-leaves-zero"),
    ),
    Entry("C8", Text("the warmup is longer than the run", "预热比训练还长"), ("warmup-not-shorter-than-run",)),
    Entry(
        "C9",
        Text("division by zero at the edges of phases", "阶段边界上的除零"),
        ("divides-by-zero", "deepspeed-warmup-below-two", "warmup-not-shorter-than-run"),
    ),
    Entry("D1", Text("DeepSpeed's logarithmic warmup", "DeepSpeed 的对数预热"), ("deepspeed-log-warmup",)),
    Entry("D2", Text("DeepSpeed's default peak of 1e-3", "DeepSpeed 的默认峰值 1e-3"), ("deepspeed-default-peak",)),
    Entry(
        "D3",
        Text("warmup_ratio and warmup_steps across versions", "warmup_ratio 与 warmup_steps 的版本差异"),
        ("both-warmup-words", "warmup-ratio-removed", "warmup-share-on-old-version"),
    ),
    Entry("D4", Text("a warmup of 1", "预热写 1"), ("warmup-steps-one", "one-becomes-two")),
    Entry("D5", Text("ratios are rounded differently", "占比的取整不同"), ("ratio-rounds-up-by-rounding-error",)),
    Entry("D6", Text("an explicit 0 is taken for unset", "显式的 0 被当作没有写"), ("zero-is-not-off",)),
    Entry(
        "D7",
        Text("a constant ignores the warmup", "constant 忽略预热"),
        ("warmup-ignored", "scheduler-argument-not-taken"),
    ),
    Entry(
        "D8",
        Text("a share is handed on as a number of updates", "占比被当作步数传下去"),
        ("share-handed-on",),
        Text(
            "LLaMA-Factory's Megatron path, which a flag outside of the file chooses.",
            "LLaMA-Factory 的 Megatron 路径由文件之外的开关选择。",
        ),
    ),
    Entry(
        "D9",
        Text("two warmups at once", "两个预热叠加"),
        ("two-warmups", "warmup-multiplied-with-decay", "two-schedulers"),
    ),
    Entry(
        "D10",
        Text("each framework has its own words for the same phase", "同一阶段各框架用词不同"),
        ("scheduler-argument-not-taken", "decay-length-missing"),
    ),
    Entry(
        "D11",
        Text(
            "optax: decay_steps includes the warmup; a warmup of 0 is 0 for ever",
            "optax：decay_steps 含预热；预热 0 即永远为 0",
        ),
        ("decay-leaves-the-warmup-out", "never-leaves-zero"),
    ),
    Entry(
        "D12",
        Text("pytorch_warmup beside a scheduler of its own", "pytorch_warmup 与另一个调度器并用"),
        ("warmup-multiplied-with-decay",),
    ),
    Entry("D13", Text("absolute floors and groups", "绝对下限与参数组"), ("floor-above-the-rate",)),
    Entry("D14", Text("the base of Megatron's warmup fraction", "Megatron 预热占比的基数"), ("fraction-of-the-decay",)),
    Entry(
        "E1",
        Text("the rate jumps or resets on resume", "续训时学习率跳变或重置"),
        ("resume-keeps-the-old-peak", "scheduler-not-saved"),
        _CHECKPOINT,
    ),
    Entry("E2", Text("the scheduler's state is not saved", "没有保存调度器状态"), ("scheduler-not-saved",)),
    Entry(
        "E3",
        Text("Megatron: the checkpoint goes before the command", "Megatron：检查点优先于命令行"),
        ("checkpoint-schedule-wins",),
        _CHECKPOINT,
    ),
    Entry("E4", Text("nanotron resumes a step off", "nanotron 续训差一步"), (), _INSIDE),
    Entry(
        "E5",
        Text("what of the new configuration holds on resume", "续训时新配置哪些生效"),
        ("resume-keeps-the-old-peak",),
        _CHECKPOINT,
    ),
    Entry(
        "E6",
        Text("a stale initial_lr keeps the old peak", "残留的 initial_lr 保住旧峰值"),
        ("rate-written-by-hand",),
        _CHECKPOINT,
    ),
    Entry("E7", Text("ParlAI restores a scheduler on fresh weights", "ParlAI 在新权重上恢复调度器"), (), _INSIDE),
    Entry(
        "F1",
        Text("skipped updates step the scheduler", "被跳过的更新步推进了调度器"),
        ("steps-on-skipped-updates",),
    ),
    Entry(
        "F2",
        Text("a scheduler that waits for skipped updates never finishes", "等待被跳过更新步的调度器走不完"),
        ("skipped-updates-delay",),
    ),
    Entry(
        "G1",
        Text("SequentialLR's deprecation warning", "SequentialLR 的弃用警告"),
        (),
        Text("A warning of older PyTorch versions that changes no rate.", "旧版 PyTorch 的警告，不影响学习率。"),
    ),
    Entry(
        "G2",
        Text("a rate that is a tensor is shared with the scheduler", "张量形式的学习率与调度器共用"),
        ("rate-is-a-tensor",),
    ),
    Entry(
        "G3",
        Text("lambdas are not in the scheduler's state", "lambda 不在调度器状态中"),
        ("scheduler-saved-whole",),
    ),
    Entry("G4", Text("step() with a number", "给 step() 传数字"), ("step-takes-no-number",)),
    Entry(
        "G5",
        Text("schedulers that collapse several groups", "调度器合并多个参数组"),
        ("floor-above-the-rate",),
        Text(
            "A DeepSpeed JSON does not show the groups that the script makes; the other cases are fixed in later "
            "releases.",
            "DeepSpeed 的 JSON 看不出脚本建了哪些参数组；其余已在后续版本修复。",
        ),
    ),
    Entry(
        "H1", Text("a growing batch breaks the schedule", "增大的批打乱学习率计划"), ("rampup-stretches-the-warmup",)
    ),
    Entry(
        "H2",
        Text("a curriculum of lengths needs tokens", "变长课程需要按词元计"),
        ("curriculum-counts-iterations",),
    ),
    Entry(
        "H3",
        Text("a batch-size schedule needs token units", "批大小计划需要词元单位"),
        (),
        Text("OLMo-core refuses such a run itself.", "OLMo-core 自己会拒绝这样的训练。"),
    ),
)
"""By the catalogue's own numbers, in their order."""
