"""The stream of tokens cut into sequences: inputs, targets, and where attention may look.

The stream has n tokens, of which the first n − 1 are inputs and the last n − 1 targets: sequence i takes inputs
``i·L … (i+1)·L − 1`` and as their targets the tokens one place further, the first token of the next sequence
included. So every target of the stream is learned exactly once, and there are ⌈(n − 1) / L⌉ sequences, the last one
padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from huohou.data.token_cache import TokenCache
from huohou.errors import UserError

IGNORED = -100
"""The target where there is none: the loss leaves it out."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One sequence, arrays of int32 [L], or several, [B, L].

    ``targets`` is -100 where there is none. With attention inside documents, ``segments`` numbers the documents of
    the sequence from 0 (padding: -1) and ``positions`` counts from 0 in each; else both are None. A document that
    a cut divides is two documents as far as attention goes. Padding has input 0 and position 0.
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    positions: NDArray[np.int32] | None
    segments: NDArray[np.int32] | None


def pack_counts(tokens: int, sequence_length: int) -> tuple[int, int]:
    """(sequences, padded positions) of a stream of so many tokens, end tokens included."""
    whole, rest = divmod(max(tokens - 1, 0), sequence_length)
    return whole + (rest > 0), (sequence_length - rest if rest else 0)


class Packed:
    """The sequences of a token cache.

    ``count``: their number S; ``tokens``: input positions in them, padding not counted; ``targets``: targets that
    are learned; ``padded``: positions of padding.
    With ``attention="documents"`` the target of a document's last token is none.
    """

    def __init__(
        self,
        cache: TokenCache,
        sequence_length: int,
        attention: Literal["packed", "documents"] = "packed",
    ) -> None:
        if sequence_length < 1:
            raise UserError(
                f"data.sequence_length: {sequence_length} is not a length; write a whole number from 1.",
                f"data.sequence_length: {sequence_length} 不是合法的长度；请写 1 或更大的整数。",
            )
        self.cache, self.sequence_length, self.attention = cache, sequence_length, attention
        self.count, self.padded = pack_counts(len(cache), sequence_length)
        self.tokens = self.count * sequence_length - self.padded
        if self.count == 0:
            raise UserError(
                f"the data have {len(cache)} tokens, too few to learn anything from; take more data.",
                f"数据只有 {len(cache)} 个词元，学不到任何东西；请增加数据。",
            )
        # The end token of each document but the last is an input of the stream; these are without a target.
        inside = int(np.searchsorted(cache.ends, self.tokens, side="right"))
        self.targets = self.tokens - (inside if attention == "documents" else 0)

    def __len__(self) -> int:
        return self.count

    def sequence(self, index: int) -> Sequence:
        """Sequence ``index``, 0 ≤ index < count."""
        one = self.batch(np.array([index]))
        positions = None if one.positions is None else one.positions[0]
        segments = None if one.segments is None else one.segments[0]
        return Sequence(one.inputs[0], one.targets[0], positions, segments)

    def batch(self, indices: NDArray[np.int64]) -> Sequence:
        """Several sequences as arrays [B, L], in the order of ``indices``."""
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= self.count):
            raise IndexError(f"sequence indices must be from 0 to {self.count - 1}")
        length = self.sequence_length
        shape = (len(indices), length)
        inputs, targets = np.zeros(shape, np.int32), np.full(shape, IGNORED, np.int32)
        by_document = self.attention == "documents"
        positions = np.zeros(shape, np.int32) if by_document else None
        segments = np.full(shape, -1, np.int32) if by_document else None
        for row, index in enumerate(indices):
            first = int(index) * length
            block = self.cache.tokens[first : first + length + 1]
            used = len(block) - 1
            inputs[row, :used] = block[:-1]
            targets[row, :used] = block[1:]
            if positions is not None and segments is not None:
                self._documents(first, used, targets[row], positions[row], segments[row])
        return Sequence(inputs, targets, positions, segments)

    def _documents(
        self,
        first: int,
        used: int,
        targets: NDArray[np.int32],
        positions: NDArray[np.int32],
        segments: NDArray[np.int32],
    ) -> None:
        """Fill one row with the documents of stream positions ``first … first + used - 1``."""
        ends = self.cache.ends
        low = int(np.searchsorted(ends, first, side="right"))
        high = int(np.searchsorted(ends, first + used, side="right"))
        # Where, in this row, a document ends: just behind its last token.
        inner = np.asarray(ends[low:high]) - first
        targets[inner - 1] = IGNORED
        place = np.arange(used)
        number = np.searchsorted(inner, place, side="right")
        starts = np.concatenate(([0], inner))
        segments[:used] = number
        positions[:used] = place - starts[number]

    def padding(self, indices: NDArray[np.int64]) -> int:
        """Padded positions in these sequences; all padding of a stream lies in its last one."""
        return self.padded * int(np.count_nonzero(indices == self.count - 1))

    def target_bytes(self, index: int) -> int:
        """Bytes of text behind the targets of a sequence; bits per byte is nats / ln 2 / bytes."""
        targets = self.sequence(index).targets
        return int(self.cache.token_bytes[targets[targets != IGNORED]].sum())
