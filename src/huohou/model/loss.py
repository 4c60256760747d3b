"""Cross entropy of a vocabulary's logits, summed, without ever holding all logits where they would be large."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from huohou.model.rows import head_parts

IGNORED = -100
"""The target of a position that has none."""

LOGITS_AT_ONCE, LOGITS_AT_ONCE_ON_CPU = 2**26, 2**20
"""How many logits are held at once: accelerators want large products (256 MiB in fp32); a CPU is fastest with what
its caches keep (4 MiB, measured)."""

FEWEST_TOKENS, MOST_CHUNKS = 256, 16
"""Products of fewer tokens are slow, and so are many small ones."""


def chunk_size(tokens: int, vocab_size: int, device: str) -> int:
    """How many tokens' logits are computed at once."""
    held = LOGITS_AT_ONCE_ON_CPU if device == "cpu" else LOGITS_AT_ONCE
    return max(held // vocab_size, FEWEST_TOKENS, math.ceil(tokens / MOST_CHUNKS))


def ordinary(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The sum of nats of tokens whose logits are held at once: [N, D], [V, D], [N] to an fp32 scalar."""
    return F.cross_entropy(F.linear(hidden, weight).float(), targets, ignore_index=IGNORED, reduction="sum")


def with_slope(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What :func:`ordinary` gives, and its gradient by the logits [N, V], of which rows without a target mean nothing.

    The gradient of a token's nats by its logits is the distribution less one at the answer.
    """
    product = F.linear(hidden, weight)
    shares = F.log_softmax(product, dim=-1, dtype=torch.float32)
    present = (targets != IGNORED)[:, None]
    answer = torch.where(present, targets[:, None], 0)
    chosen = shares.gather(1, answer)
    nats = torch.where(present, -chosen, 0.0).sum()
    # In place: each pass over the logits costs as much as a tenth of the product.
    slope = shares.exp_().scatter_add_(1, answer, torch.full_like(chosen, -1.0))
    return nats, slope.to(product.dtype)


@dataclass(frozen=True, slots=True)
class Kernels:
    """How the loss of some tokens is computed: as it stands here, or compiled."""

    ordinary: Callable[[Tensor, Tensor, Tensor], Tensor] = ordinary
    with_slope: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = with_slope


EAGER = Kernels()


def cross_entropy(
    hidden: Tensor,
    weight: Tensor | Sequence[Tensor],
    targets: Tensor,
    chunk: int | None = None,
    kernels: Kernels = EAGER,
) -> tuple[Tensor, Tensor]:
    """The sum of nats over all targets (fp32 scalar), and their count (int64 scalar).

    ``hidden`` is [..., D], ``weight`` the head's [V, D] or the parts that make it up, of which only those that are
    trained take the work of a gradient, ``targets`` [...] with −100 where nothing is predicted. The loss is computed
    from fp32 logits whatever the type of the product. ``chunk`` is the number of tokens taken at once (by default
    :func:`chunk_size`); chunks change memory and speed, never the result. A loss in chunks can be differentiated once,
    since its gradients are computed with it; one chunk gives an ordinary loss.
    """
    hidden, targets = hidden.flatten(0, -2), targets.flatten()
    count = (targets != IGNORED).sum()
    parts = (weight,) if isinstance(weight, Tensor) else tuple(weight)
    chunk = chunk or chunk_size(targets.shape[0], sum(map(len, parts)), hidden.device.type)
    if chunk >= targets.shape[0]:
        return kernels.ordinary(hidden, _joined(parts), targets), count
    if torch.is_grad_enabled() and (hidden.requires_grad or any(part.requires_grad for part in parts)):
        return _ChunkedCrossEntropy.apply(hidden, targets, chunk, kernels, *parts), count
    matrix = _joined(parts)
    chunks = zip(hidden.split(chunk), targets.split(chunk), strict=True)
    return torch.stack([kernels.ordinary(h, matrix, t) for h, t in chunks]).sum(), count


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def loss_of_head(head: nn.Module, hidden: Tensor, targets: Tensor, kernels: Kernels = EAGER) -> tuple[Tensor, Tensor]:
    """:func:`cross_entropy` of a head of any kind: what :func:`cross_entropy` gives where it is a matrix of rows."""
    parts = head_parts(head)
    if parts is not None:
        return cross_entropy(hidden, parts, targets, kernels=kernels)
    hidden, targets = hidden.flatten(0, -2), targets.flatten()
    chunk = chunk_size(targets.shape[0], head.out_features, hidden.device.type)  # pyright: ignore[reportArgumentType]
    # Such a head has parameters of its own kind, so logits are computed again on the way back instead of kept.
    nats = [
        checkpoint(_of_logits, head, h, t, use_reentrant=False)
        for h, t in zip(hidden.split(chunk), targets.split(chunk), strict=True)
    ]
    return torch.stack(nats).sum(), (targets != IGNORED).sum()  # pyright: ignore[reportArgumentType]


def _of_logits(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(head(hidden).float(), targets, ignore_index=IGNORED, reduction="sum")


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The sum of nats and, in the same pass, its gradients, so that a chunk's logits are computed only once.

    The sum's own gradient is a scalar, which multiplies the gradients kept here (as in Liger, Hsu et al. 2024).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, chunk: int, kernels: Kernels, *parts: Tensor) -> Tensor:
        nats = torch.zeros((), dtype=torch.float32, device=hidden.device)
        matrix = _joined(parts)
        to_hidden = []
        ends = list(accumulate(map(len, parts), initial=0))
        to_parts = [
            (slice(first, end), torch.zeros_like(part, dtype=torch.float32) if needed else None)
            for part, first, end, needed in zip(parts, ends, ends[1:], ctx.needs_input_grad[4:], strict=False)
        ]
        for h, t in zip(hidden.split(chunk), targets.split(chunk), strict=True):
            some, slope = kernels.with_slope(h, matrix, t)
            nats = nats + some
            # Rows without a target are dropped where rows are short: in what goes in and out, not in the logits.
            present = (t != IGNORED)[:, None]
            if ctx.needs_input_grad[0]:
                to_hidden.append((slope @ matrix.to(slope.dtype)).to(hidden.dtype) * present)
            for rows, to_part in to_parts:
                if to_part is not None:
                    to_part += slope[:, rows].T @ (h * present).to(slope.dtype)
        ctx.save_for_backward(
            torch.cat(to_hidden) if to_hidden else None,
            *(
                None if to_part is None else to_part.to(part.dtype)
                for (_, to_part), part in zip(to_parts, parts, strict=True)
            ),
        )
        return nats

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_hidden, *to_parts = (None if kept is None else kept * gradients[0] for kept in ctx.saved_tensors)
        return to_hidden, None, None, None, *to_parts
