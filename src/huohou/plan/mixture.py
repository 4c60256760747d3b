"""What a run reads of each corpus of a mixture: how many sequences, and how often it goes through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from huohou.data.mixing import Shares
from huohou.language import Text
from huohou.plan.result import Advice, Plan

MOST_PASSES = 4
"""How often a corpus may be gone through before repeating it is worth much less than new text."""


def with_draws(plan: Plan, weights: Mapping[str, Fraction]) -> Plan:
    """The plan with the sequences and passes of each corpus, and what an epoch of the mixture means."""
    batch, last = plan.batch.sequences, plan.batch.last
    if batch is None:
        return plan
    positions = (plan.updates - 1) * batch + (last or batch)
    drawn = Shares.of(tuple(weights.values()), (plan.execution or {})["seed"]).before(positions)
    sources: list[dict[str, Any]] = [
        {**source, "drawn": count, "passes": count / source["sequences"]}
        for source, count in zip(plan.data["sources"], drawn, strict=True)
    ]
    return replace(plan, data={**plan.data, "sources": sources}, advice=(_advice(sources), *plan.advice))


def _advice(sources: list[dict[str, Any]]) -> Advice:
    passes = ", ".join(f"{one['name']} {one['passes']:.3g}" for one in sources)
    often = [one["name"] for one in sources if one["passes"] > MOST_PASSES]
    en = f"; {', '.join(often)} more than {MOST_PASSES} times, where repeating adds little" if often else ""
    zh = f"；{'、'.join(often)} 超过 {MOST_PASSES} 遍，重复的收益很小" if often else ""
    return Advice(
        "mixture",
        Text(
            "an epoch of a mixture is as many sequences as its corpora have together; weights are shares of the "
            f"sequences, so this run goes through its corpora so many times: {passes}{en}",
            f"混合语料的一轮，是各语料序列数之和；权重是序列的占比，因此本次训练读各语料的遍数为：{passes}{zh}",
        ),
        Text("Muennighoff et al. 2023 (arXiv 2305.16264)", "Muennighoff et al. 2023（arXiv 2305.16264）"),
        "strong" if often else "moderate",
    )
