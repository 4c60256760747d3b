"""What huohou says about a plan that goes on from a model: optimizer state, new rows, adapters, replay, unfreezing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from huohou.language import Text
from huohou.plan.groups import Own
from huohou.plan.result import Advice
from huohou.schedule.recipes import Built, ScheduleSpec
from huohou.units import decimal_text

NEW_ROWS = (5, 10)
"""How many times the body's rate new rows usually take."""

NEW_ROWS_MOST = Fraction(2, 1000)
"""The highest rate that new rows usually take."""

_IBRAHIM = "Ibrahim et al. 2024 (arXiv 2403.08763); Gupta et al. 2023 (arXiv 2308.04014)"
_ADAM = "Ma & Yarats 2019 (arXiv 1910.04209)"
_NEW_ROWS = Text(
    "synthesis of EEVE (arXiv 2402.14714) and Chinese-LLaMA (arXiv 2304.08177); not measured here",
    "综合 EEVE（arXiv 2402.14714）与 Chinese-LLaMA（arXiv 2304.08177）；未在此测量",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the optimizer's moments begin.

    Attributes:
        carried: Whether they are those that another run left.
        rate: The rate of that run's last update, where its folder says it.
    """

    carried: bool = False
    rate: float | None = None

    def raised(self, peak: Fraction) -> bool:
        """Whether the rate has to rise from where the moments were left; where that is not known, it may have to."""
        return self.rate is None or float(peak) > self.rate


FRESH = State()


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """The plan as this advice looks at it.

    Attributes:
        spec: What was asked.
        built: The curve that it means.
        updates: T.
        stage: ``continue`` or ``sft``.
        state: Where the optimizer's moments begin.
        groups: The parts with a schedule of their own.
        follows: Which curve each part that moves follows.
        lora: The settings of adapters, where there are any.
        grown: Whether the vocabulary gains rows.
        mixed: The corpora of a mixture.
        beta2: AdamW's second decay rate, where known.
        weight_decay: Of matrices, where known.
    """

    spec: ScheduleSpec
    built: Built
    updates: int
    stage: str
    state: State
    groups: Mapping[str, Own]
    follows: Mapping[str, str]
    lora: Mapping[str, Any] | None
    grown: bool
    mixed: Any
    beta2: float | None
    weight_decay: float | None


def advise_continued(case: Continued) -> tuple[Advice, ...]:
    """All that there is to say, in order."""
    made = [_carried(case) if case.state.carried else _fresh(case)]
    if case.grown:
        made.append(_new_rows(case))
        if case.follows.get("body") and "body" not in case.groups:
            made.append(_body_waits(case))
    made.extend(_clocks(case))
    if case.lora is not None:
        made.append(_lora(case))
    if case.stage == "continue" and not case.mixed:
        made.append(_replay())
    return tuple(made)


def _source(text: str) -> Text:
    return Text(text, text)


def least_warmup(beta2: float | None, updates: int) -> int:
    """Updates before a fresh second moment means something, and the least that is usual."""
    return min(max(math.ceil(2 / (1 - (beta2 or 0.95))), 100), max(1, updates // 4))


def _fresh(case: Continued) -> Advice:
    least, w = least_warmup(case.beta2, case.updates), case.built.warmup
    short = w < least
    return Advice(
        "optimizer-fresh",
        Text(
            f"the optimizer begins fresh: its moments know nothing, so a warmup of at least max(2/(1-beta2), 100) "
            f"updates, here {least} (at most a quarter of the run), is advised; it has {w}"
            + (f", write schedule.warmup: {least} steps" if short else ""),
            f"优化器从零开始：动量一无所知，建议预热至少 max(2/(1-beta2), 100) 步，"
            f"这里为 {least}（不超过全程的四分之一）；"
            f"现在是 {w}" + (f"，可写 schedule.warmup: {least} steps" if short else ""),
        ),
        _source(f"{_ADAM}; {_IBRAHIM}"),
        "moderate",
    )


def _carried(case: Continued) -> Advice:
    peak, rate = float(case.spec.peak), case.state.rate
    if rate is None:
        en = "its last rate is not known: with the same rate no warmup is needed, with a higher one 0.5-1%"
        zh = "那次训练停在何处没有记录：学习率相同时不需要预热，更高时预热 0.5-1%"
    elif peak <= rate:
        en = f"the run before stopped at a rate of {rate:g} and this one does not rise above it: no warmup is needed"
        zh = f"之前的训练停在学习率 {rate:g}，本次不高于它：不需要预热"
    else:
        en = f"the rate rises {peak / rate:.3g}-fold, {rate:g} to {peak:g}: a re-warming, for 0.5-1% of the run or more"
        zh = f"学习率从 {rate:g} 升到 {peak:g}（{peak / rate:.3g} 倍）：这是再预热，取全程的 0.5-1% 或更多"
    return Advice(
        "optimizer-carried",
        Text(
            f"the optimizer's moments are carried over; {en}; this plan has {case.built.warmup} updates",
            f"优化器的动量接着用；{zh}；本计划为 {case.built.warmup} 步",
        ),
        _source(_IBRAHIM),
        "moderate",
    )


def _new_rows(case: Continued) -> Advice:
    low, high = NEW_ROWS
    main = float(case.spec.peak)
    own = case.groups.get("new_rows")
    if "new_rows" not in case.follows:
        en, zh = (
            "here they are frozen: what they begin with is all that they will know",
            "这里它们被冻结：将停留在初始值",
        )
    elif own is None:
        en = f"here they follow the main peak of {main:g}; groups: {{new_rows: {low}x}} gives them their own"
        zh = f"这里它们随主峰值 {main:g}；可写 groups: {{new_rows: {low}x}}"
    else:
        peak = float(own.spec.peak)
        en, zh = f"here they have {peak:g}, {peak / main:.3g}x", f"这里为 {peak:g}，即 {peak / main:.3g} 倍"
        if own.spec.peak > NEW_ROWS_MOST:
            en += f", above the {float(NEW_ROWS_MOST):g} that is usually the most"
            zh += f"，高于通常的上限 {float(NEW_ROWS_MOST):g}"
    decay = case.weight_decay
    en_decay = (
        "; weight decay pulls rare rows to 0 between their visits: 0 is advised for rows, and optimizer.weight_decay "
        f"is {decay:g}"
        if decay
        else ""
    )
    zh_decay = f"；权重衰减会把少见的行拉向 0：建议各行为 0，而 optimizer.weight_decay 是 {decay:g}" if decay else ""
    return Advice(
        "new-rows",
        Text(
            f"new rows know little and may learn {low}-{high} times as fast as the body; {en}{en_decay}",
            f"新增的行所知甚少，可以用主体 {low}-{high} 倍的学习率；{zh}{zh_decay}",
        ),
        _NEW_ROWS,
        "weak",
    )


def _body_waits(case: Continued) -> Advice:
    wait = max(1, min(300, case.updates // 20))
    return Advice(
        "new-rows-first",
        Text(
            "new rows learned alone at first disturb the body less: groups: {body: {start: "
            f"{wait} steps}}, old_rows: {{start: {wait} steps}}}} lets the rest wait and begin on its own clock",
            f"先单独学习新增的行，对主体的扰动较小：groups: {{body: {{start: {wait} steps}}, old_rows: {{start: "
            f"{wait} steps}}}} 让其余部分等待，再按自己的时钟开始",
        ),
        _NEW_ROWS,
        "weak",
    )


def _clocks(case: Continued) -> list[Advice]:
    """Parts that begin later with a fresh second moment and no rise of their own."""
    made: list[Advice] = []
    for part, own in case.groups.items():
        least = least_warmup(case.beta2, case.updates - own.start)
        if own.start and own.warmup < min(least, math.ceil(2 / (1 - (case.beta2 or 0.95)))):
            made.append(
                Advice(
                    f"clock-{part}",
                    Text(
                        f"{part} begins to move in update {own.start + 1} with moments that know nothing, and rises "
                        f"for {own.warmup} updates only; its warmup should have at least {least}",
                        f"{part} 从第 {own.start + 1} 步开始移动，动量一无所知，却只上升 {own.warmup} 步；"
                        f"它的预热至少应有 {least} 步",
                    ),
                    _source(_ADAM),
                    "moderate",
                )
            )
    return made


def _lora(case: Continued) -> Advice:
    assert case.lora is not None
    ratio = case.lora.get("plus_ratio")
    plus_en = f"; with LoRA+ the matrices B take {decimal_text(Fraction(str(ratio)))}x of that" if ratio else ""
    plus_zh = f"；LoRA+ 让矩阵 B 取其 {decimal_text(Fraction(str(ratio)))} 倍" if ratio else ""
    return Advice(
        "lora-rate",
        Text(
            "adapters take about 10 times the rate of full training, 1e-4 to 2e-4 at the ranks of "
            f"Chinese-LLaMA-Alpaca-2; the peak is {float(case.spec.peak):g}{plus_en}",
            "适配器的学习率约为全量训练的 10 倍，Chinese-LLaMA-Alpaca-2 的秩下为 1e-4 到 2e-4；"
            f"这里峰值是 {float(case.spec.peak):g}{plus_zh}",
        ),
        Text(
            "Thinking Machines 2025, LoRA without regret; Chinese-LLaMA-Alpaca-2's scripts",
            "Thinking Machines 2025，LoRA without regret；Chinese-LLaMA-Alpaca-2 的脚本",
        ),
        "weak",
    )


def _replay() -> Advice:
    return Advice(
        "replay",
        Text(
            "nothing of what the model was trained on before is replayed: 1-5% of it, about 25% where the language "
            "changes, keeps what it knows; write data.mix",
            "没有回放模型以前的训练数据：掺入 1-5%（语言改变时约 25%）可保住已有能力；请写 data.mix",
        ),
        _source("Ibrahim et al. 2024 (arXiv 2403.08763)"),
        "moderate",
    )
