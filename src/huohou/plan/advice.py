"""What huohou says about a plan: each piece with its reason, its source and its strength. It never changes the plan.

The article that huohou succeeds gives ranges for the warmup as a share of the run; published runs use a number of
updates. Both are shown, and where they disagree with each other or with the plan. The thresholds between small,
large and very long runs are huohou's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from huohou.language import Text
from huohou.plan.result import Advice
from huohou.schedule.recipes import Built, ScheduleSpec
from huohou.units import decimal_text

SMALL_BELOW = 10_000
VERY_LONG_ABOVE = 100_000
LARGE_PARAMETERS = 1_000_000_000
LARGE_WORLD = 64

PUBLISHED_UPDATES = (500, 8000)
PUBLISHED_SHARE = (Fraction(4, 10_000), Fraction(2, 100))

_ARTICLE = Text(
    "the article on warmup that huohou succeeds (Chinese-LLaMA-Alpaca-2, DeepSpeed-Chat)",
    "huohou 所继承的那篇讲预热的文章（Chinese-LLaMA-Alpaca-2、DeepSpeed-Chat）",
)
_RUNS = Text(
    "published runs: LLaMA, Llama-3, OLMo-2, DeepSeek-V3, Baichuan2, Kimi K2 and others",
    "公开的训练：LLaMA、Llama-3、OLMo-2、DeepSeek-V3、Baichuan2、Kimi K2 等",
)
_SHORT = Text(
    "own measurement: 1.3M parameters, 600 updates, songci, 1-3 seeds (docs/warmup.md)",
    "自己的测量：130 万参数，600 步，宋词，1-3 个种子（docs/zh/warmup.md）",
)
_PRICE = Text(
    "predicted by a loss law fitted to 124M-parameter runs of 25k updates; not measured with varying warmup",
    "由拟合 1.24 亿参数、2.5 万步训练的损失规律预测；没有在不同预热长度下测量过",
)
_WHY = "Kosson et al. 2024 (arXiv 2410.23922); Kalra & Barkeshli 2024 (arXiv 2406.09405)"


def _also(*sources: Text | str) -> Text:
    """Several sources as one."""
    texts = [Text(source, source) if isinstance(source, str) else source for source in sources]
    return Text("; ".join(t.en for t in texts), "；".join(t.zh for t in texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The plan as the advice looks at it.

    Attributes:
        spec: What was asked.
        built: The curve that it means.
        updates: T.
        warmup_given: Whether anybody asked for a warmup.
        scratch: Whether the weights start from nothing.
        parameters: Of the model, where known.
        world_size: Processes.
        beta2: AdamW's second decay rate, where known.
    """

    spec: ScheduleSpec
    built: Built
    updates: int
    warmup_given: bool
    scratch: bool
    parameters: int | None
    world_size: int
    beta2: float | None


def advise(case: Case) -> tuple[Advice, ...]:
    """All that there is to say about a plan, in order."""
    made: list[Advice] = []
    if not case.warmup_given:
        made.append(_default(case))
    made.append(_article(case))
    if case.built.warmup == 0:
        made.append(_off(case))
    made.append(_published(case))
    if case.scratch and case.updates <= 2000 and Fraction(case.built.warmup, case.updates) < Fraction(1, 5):
        made.append(_short(case))
    share = Fraction(case.built.warmup, case.updates)
    if share >= Fraction(1, 10) and case.updates >= SMALL_BELOW:
        made.append(_price(share))
    if case.beta2 is not None and 0 < case.built.warmup < 2 / (1 - case.beta2):
        made.append(_beta2(case))
    made.extend(_decay(case))
    return tuple(made)


def _percent(share: Fraction) -> str:
    return f"{float(share * 100):.3g}%"


def _default(case: Case) -> Advice:
    w, t = case.built.warmup, case.updates
    least = (
        Text(", from scratch at least min(200, 25% of T)", "，从头训练至少 min(200, T 的 25%)")
        if case.scratch
        else Text(
            ", with a fresh AdamW at least min(2/(1-beta2), 25% of T)",
            "，AdamW 从零开始时至少 min(2/(1-beta2), T 的 25%)",
        )
    )
    return Advice(
        "default-length",
        Text(
            f"no warmup was given, so it is {w} updates: 5% of {t}{least.en}, never more than "
            "2000 or T-1; write warmup: to choose it yourself",
            f"没有写预热，因此取 {w} 步：{t} 的 5%{least.zh}，不超过 2000 或 T-1；要自己决定请写 warmup:",
        ),
        _also(_RUNS, _SHORT),
        "moderate",
    )


def _sizes(case: Case) -> list[tuple[str, Text, Fraction, Fraction | None]]:
    """The rows of the article's table in which the run lies: its name, what puts it there, and the range."""
    rows: list[tuple[str, Text, Fraction, Fraction | None]] = []
    t, n = case.updates, case.parameters
    if (n or 0) >= LARGE_PARAMETERS or case.world_size >= LARGE_WORLD:
        rows.append(
            (
                "large",
                Text("large (from 1B parameters or 64 GPUs)", "大型（10 亿参数或 64 张 GPU 起）"),
                Fraction(1, 10),
                Fraction(1, 5),
            )
        )
    if t > VERY_LONG_ABOVE:
        rows.append(
            (
                "very long",
                Text("very long (over 100k updates)", "超长（超过 10 万步）"),
                Fraction(0),
                Fraction(1, 20),
            )
        )
    if t < SMALL_BELOW and not rows:
        rows.append(
            ("small", Text("small (under 10k updates)", "小型（1 万步以下）"), Fraction(1, 20), Fraction(1, 10))
        )
    if not rows:
        rows.append(
            (
                "medium",
                Text(
                    "between small and large (10k to 100k updates, below 1B parameters and 64 GPUs)",
                    "介于小型与大型之间（1 万到 10 万步，10 亿参数和 64 张 GPU 以下）",
                ),
                Fraction(1, 20),
                Fraction(1, 5),
            )
        )
    return rows


def _article(case: Case) -> Advice:
    share = Fraction(case.built.warmup, case.updates)
    parts_en: list[str] = []
    parts_zh: list[str] = []
    for name, label, low, high in _sizes(case):
        if name == "very long":
            inside = share < Fraction(1, 20)
            en, zh = "a smaller share (we read: below 5%)", "更小的占比（我们理解为 5% 以下）"
        elif name == "medium":
            inside = low <= share <= (high or 1)
            en, zh = (
                "nothing; its ranges for small and large runs span 5-20%",
                "没有说明；它给小型和大型训练的范围合起来是 5-20%",
            )
        else:
            inside = low <= share <= (high or 1)
            en = zh = f"{_percent(low)}-{_percent(high or Fraction(1))}"
        verdict_en = "inside" if inside else "outside"
        verdict_zh = "在其内" if inside else "不在其内"
        parts_en.append(f"for a run that is {label.en} the article says {en}; {_percent(share)} is {verdict_en}")
        parts_zh.append(
            f"对{label.zh}的训练，文章{'' if name == 'medium' else '建议 '}{zh}；{_percent(share)} {verdict_zh}"
        )
    return Advice(
        "article-range",
        Text("; ".join(parts_en) + " (the thresholds are huohou's)", "；".join(parts_zh) + "（分界线是 huohou 定的）"),
        _ARTICLE,
        "weak",
    )


def _off(case: Case) -> Advice:
    many = case.world_size >= 8
    fresh = case.scratch
    return Advice(
        "warmup-off",
        Text(
            "the warmup is off: update 1 uses the peak, with an optimizer that knows nothing yet. That is possible "
            "but risky"
            + (", more so from scratch" if fresh else "")
            + (f", and more so with the large batches of {case.world_size} processes" if many else "")
            + "; warmup: 5% costs little",
            "预热已关闭：第 1 步就用峰值，而优化器还一无所知。可以这样做，但有风险"
            + ("，从头训练时更是如此" if fresh else "")
            + (f"，{case.world_size} 个进程的大批量时更是如此" if many else "")
            + "；warmup: 5% 的代价很小",
        ),
        _also(_WHY, _SHORT),
        "strong" if fresh else "moderate",
    )


def _published(case: Case) -> Advice:
    w, share = case.built.warmup, Fraction(case.built.warmup, case.updates)
    low, high = PUBLISHED_UPDATES
    if w > high:
        en, zh = f"your {w} updates are more than any of them", f"你的 {w} 步比它们都多"
    elif share > PUBLISHED_SHARE[1]:
        en = f"your {w} updates are {_percent(share)}, a larger share than theirs, as is usual for shorter runs"
        zh = f"你的 {w} 步占 {_percent(share)}，占比高于它们，较短的训练通常如此"
    elif w < low:
        en, zh = f"your {w} updates are fewer than in any of them", f"你的 {w} 步比它们都少"
    else:
        en, zh = f"your {w} updates ({_percent(share)}) agree with them", f"你的 {w} 步（{_percent(share)}）与它们一致"
    large = any(name == "large" for name, *_ in _sizes(case))
    clash = (
        Text(
            "; here the article and practice disagree: no published large run uses 10-20%",
            "；在这里文章与实践不一致：没有公开的大型训练用 10-20%",
        )
        if large
        else Text("", "")
    )
    return Advice(
        "published-runs",
        Text(
            f"published pretraining runs warm up for {low}-{high} updates, 0.04-2% of them; fine-tuning for 3-10%; "
            f"{en}{clash.en}",
            f"公开的预训练用 {low}-{high} 步预热，占 0.04-2%；微调用 3-10%；{zh}{clash.zh}",
        ),
        _RUNS,
        "strong" if large else "moderate",
    )


def _short(case: Case) -> Advice:
    return Advice(
        "short-run",
        Text(
            "in a measurement of 600-update runs from scratch the longest warmup tried, 40%, ended best at every "
            f"peak that was tried; with {case.updates} updates consider 20-40%",
            f"在从头开始的 600 步训练中，试过的最长预热（40%）在各个峰值下都最好；共 {case.updates} 步时可考虑 20-40%",
        ),
        _SHORT,
        "weak",
    )


def _price(share: Fraction) -> Advice:
    cosine, wsd = ("0.024", "0.009") if share >= Fraction(1, 5) else ("0.011", "0.004")
    return Advice(
        "price",
        Text(
            f"a warmup of {_percent(share)} spends updates below the peak: at a good peak about {cosine} nats of final "
            f"loss with a cosine, {wsd} with a hold and a decay",
            f"占 {_percent(share)} 的预热让许多更新步低于峰值：峰值合适时，最终损失的代价约为余弦 {cosine} nats、"
            f"先保持后衰减 {wsd} nats",
        ),
        _PRICE,
        "weak",
    )


def _beta2(case: Case) -> Advice:
    least = 2 / (1 - (case.beta2 or 0))
    return Advice(
        "beta2",
        Text(
            f"AdamW with beta2 = {case.beta2:g} needs about 2/(1-beta2) = {least:.0f} updates before its second moment "
            f"means something; the warmup has {case.built.warmup}",
            f"beta2 = {case.beta2:g} 的 AdamW 需要约 2/(1-beta2) = {least:.0f} 步，二阶矩才有意义；预热只有 "
            f"{case.built.warmup} 步",
        ),
        _also("Ma & Yarats 2019 (arXiv 1910.04209)"),
        "moderate",
    )


def _decay(case: Case) -> list[Advice]:
    spec, curve, t = case.spec, case.built.curve, case.updates
    made: list[Advice] = []
    if spec.decay in ("inverse_sqrt", "exponential"):
        made.append(
            Advice(
                "last-rate",
                Text(
                    f"this decay keeps its law and stops at the floor: update {t} uses {curve(t)}, "
                    f"{_percent(Fraction(curve(t)) / Fraction(float(curve.peak)))} of the peak",
                    f"这种衰减按自己的规律进行，到下限为止：更新步 {t} 使用 {curve(t)}，"
                    f"为峰值的 {_percent(Fraction(curve(t)) / Fraction(float(curve.peak)))}",
                ),
                Text("its definition (docs/warmup.md)", "它的定义（docs/zh/warmup.md）"),
                "strong",
            )
        )
    if spec.decay in ("constant", "open"):
        made.append(
            Advice(
                "no-decay",
                Text(
                    "the rate never falls; a decay over the last 10-20% usually lowers the final loss",
                    "学习率不会下降；在最后 10-20% 衰减通常能降低最终损失",
                ),
                _also("MiniCPM (arXiv 2404.06395)", "Hägele et al. 2024 (arXiv 2405.18392)"),
                "strong",
            )
        )
    elif spec.decay == "cosine":
        made.append(
            Advice(
                "cosine",
                Text(
                    f"a cosine is what the article goes with; its floor is {spec.floor} of the peak"
                    if not spec.floor.absolute
                    else f"a cosine is what the article goes with; its floor is {decimal_text(spec.floor.number)}",
                    f"余弦衰减与文章一致；下限为 {spec.floor}",
                ),
                _also(
                    _ARTICLE,
                    Text(
                        "a straight line to 0 did as well or better in Bergsma et al. 2025 (arXiv 2502.15938)",
                        "Bergsma et al. 2025（arXiv 2502.15938）中直线降到 0 同样好或更好",
                    ),
                ),
                "moderate",
            )
        )
    return made
