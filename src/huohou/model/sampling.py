"""Choosing a token from logits: greedy or drawn, with the flags and the order in which transformers applies them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from huohou.errors import RunFailed, UserError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen.

    ``temperature`` 0 takes the most probable token; above 0 one is drawn, after the logits were divided by it, from
    the ``top_k`` most probable ones (0: all), of these from the smallest set that holds ``top_p`` of the probability
    (Holtzman et al. 2019), of these from the ones with at least ``min_p`` times the highest probability (Nguyen et al.
    2024). ``repetition_penalty`` divides positive logits of tokens that are already there, prompt included, and
    multiplies negative ones (Keskar et al. 2019); 1 does nothing. Raises ``UserError`` for settings out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        infinite = float("inf")
        _check(
            "temperature",
            self.temperature,
            0 <= self.temperature < infinite,
            "0 (the most probable token) or a number above it",
            "0（取概率最大的词元）或大于 0 的数",
        )
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1", "大于 0 且不超过 1")
        _check("top_k", self.top_k, self.top_k >= 0, "0 (all) or more", "0（全部）或更大")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1", "0 到 1")
        _check(
            "repetition_penalty",
            self.repetition_penalty,
            0 < self.repetition_penalty < infinite,
            "a number above 0 (1: none)",
            "大于 0 的数（1 为不惩罚）",
        )

    def choose(
        self,
        logits: Tensor,
        seen: Sequence[Sequence[int]],
        suppressed: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """One token a row from logits [rows, V]; ``seen`` are each row's tokens so far, ``suppressed`` never chosen."""
        logits = logits.float()
        if logits.isnan().any():
            raise RunFailed(
                "the model's output is not a number (NaN), so no token can be chosen; its training has diverged.",
                "模型的输出不是数（NaN），无法选出词元；它的训练已经发散。",
            )
        if self.repetition_penalty != 1 or suppressed is not None:
            logits = logits.clone()
        if self.repetition_penalty != 1:
            for row, tokens in zip(logits, seen, strict=True):
                there = torch.tensor(sorted(set(tokens)), device=logits.device)
                old = row[there]
                row[there] = torch.where(old < 0, old * self.repetition_penalty, old / self.repetition_penalty)
        if suppressed is not None:
            logits[:, suppressed] = -torch.inf
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        probabilities = self._kept(logits.cpu() / self.temperature)
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1).to(logits.device)

    def _kept(self, logits: Tensor) -> Tensor:
        """Probabilities, 0 where a limit leaves a token out; the most probable one always stays."""
        if 0 < self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        probabilities = logits.softmax(dim=-1)
        if self.top_p < 1:
            ordered, order = probabilities.sort(dim=-1, descending=True)
            # A token stays while those before it hold less than top_p, so the first one always does.
            ordered[ordered.cumsum(dim=-1) - ordered >= self.top_p] = 0.0
            probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
        if self.min_p:
            least = self.min_p * probabilities.max(dim=-1, keepdim=True).values
            probabilities = probabilities.masked_fill(probabilities < least, 0.0)
        return probabilities


def _check(name: str, value: float, right: bool, en: str, zh: str) -> None:
    if not right:
        raise UserError(f"{name} is {value}; it must be {en}.", f"{name} 是 {value}；应为{zh}。")
