"""How probable a model finds tokens: sums over windows, and single continuations of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from huohou.model.foreign import Foreign
from huohou.model.llama import Llama
from huohou.model.loss import IGNORED

LOGITS_AT_ONCE = 2**25
"""Where a model gives all logits at once, so many are held (128 MiB in fp32)."""


@torch.inference_mode()
def nats(model: Llama | Foreign, inputs: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> float:
    """The sum of nats over all targets of some rows; −100 stands where nothing is predicted.

    Rows are filled up on the right: what stands there lies after a row's own tokens, so none of them sees it.
    """
    device = next(model.parameters()).device
    given = pad_sequence([torch.tensor(row, device=device) for row in inputs], batch_first=True)
    wanted = pad_sequence([torch.tensor(row, device=device) for row in targets], True, IGNORED)
    total, _ = model.loss(given, wanted)
    return float(total.double())


@torch.inference_mode()
def log_probabilities(
    model: Llama | Foreign, rows: Sequence[Sequence[int]], first: Sequence[int]
) -> list[tuple[list[float], bool]]:
    """For each row of tokens the logarithm of the probability of its tokens from place ``first`` on.

    ``first`` is at least 1. The flag says whether each of these tokens is the most probable one at its place.
    """
    device = next(model.parameters()).device
    given = pad_sequence([torch.tensor(row[:-1], device=device) for row in rows], batch_first=True)
    index = [(i, place - 1) for i, row in enumerate(rows) for place in range(first[i], len(row))]
    wanted = torch.tensor([rows[i][place + 1] for i, place in index], device=device)
    logits = _logits(model, given, *(torch.tensor(part, device=device) for part in zip(*index, strict=True)))
    chosen = -F.cross_entropy(logits, wanted, reduction="none")
    best = logits.argmax(dim=-1) == wanted
    found: list[tuple[list[float], bool]] = []
    at = 0
    for i, row in enumerate(rows):
        count = len(row) - first[i]
        found.append((chosen[at : at + count].double().tolist(), bool(best[at : at + count].all())))
        at += count
    return found


@torch.inference_mode()
def next_log_probabilities(
    model: Llama | Foreign, rows: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]
) -> list[list[float]]:
    """For each row of tokens the logarithm of the probability that each of some tokens comes next."""
    device = next(model.parameters()).device
    given = pad_sequence([torch.tensor(row, device=device) for row in rows], batch_first=True)
    places = torch.tensor([len(row) - 1 for row in rows], device=device)
    logits = _logits(model, given, torch.arange(len(rows), device=device), places)
    shares = F.log_softmax(logits, dim=-1).double()
    return [[float(shares[i, token]) for token in some] for i, some in enumerate(tokens)]


def _logits(model: Llama | Foreign, given: Tensor, rows: Tensor, places: Tensor) -> Tensor:
    """Logits [N, V] in fp32 at some places of some rows; our own decoder computes no others."""
    if isinstance(model, Llama):
        return model.lm_head(model.model(given)[rows, places]).float()
    at_once = max(1, LOGITS_AT_ONCE // (given.shape[1] * model.rows))
    parts: list[Tensor] = []
    for first in range(0, given.shape[0], at_once):
        here = (rows >= first) & (rows < first + at_once)
        logits = model(given[first : first + at_once])
        assert isinstance(logits, Tensor)
        parts.append(logits[rows[here] - first, places[here]].float())
    return torch.cat(parts)
