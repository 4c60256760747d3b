"""Samples laid into sequences: attention and positions stay inside each sample, and only answers are learned.

A sample of n ids takes n - 1 positions: its last id is only a target. With ``packing`` samples are laid together by
best fit, the longest first: each goes where it leaves the least room, into a new sequence where it fits nowhere. This
depends on their lengths and order alone, so the same samples always give the same sequences. Without it every sample
has a sequence of its own, filled up with padding.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from huohou.data.packing import IGNORED, Sequence
from huohou.data.sample_cache import SampleCache
from huohou.errors import UserError


def best_fit(lengths: NDArray[np.int64], room: int) -> list[list[int]]:
    """Which samples share a sequence, for samples of these lengths (from 1 to ``room``), the longest first."""
    bins: list[list[int]] = []
    # Sequences by the room that is left in them; bit r of `some` says that there is one with room r.
    left: list[list[int]] = [[] for _ in range(room + 1)]
    some = 0
    for sample in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[sample])
        fitting = some >> length
        if fitting:
            free = length + (fitting & -fitting).bit_length() - 1
            place = left[free].pop()
            if not left[free]:
                some ^= 1 << free
            bins[place].append(sample)
        else:
            free, place = room, len(bins)
            bins.append([sample])
        rest = free - length
        if rest:
            left[rest].append(place)
            some |= 1 << rest
    return bins


class PackedSamples:
    """The sequences of a sample cache, as :class:`huohou.data.packing.Packed` is of a token cache.

    ``count``: their number; ``tokens``: input positions in them, padding not counted; ``targets``: targets that are
    learned; ``padded``: positions of padding.
    """

    def __init__(self, cache: SampleCache, sequence_length: int, *, packing: bool = True) -> None:
        self.cache, self.sequence_length, self.packing = cache, sequence_length, packing
        starts = np.concatenate(([0], np.asarray(cache.ends[:-1]))) if len(cache.ends) else np.zeros(0, np.int64)
        self._starts: NDArray[np.int64] = starts.astype(np.int64)
        lengths = (np.asarray(cache.ends) - self._starts - 1).astype(np.int64)
        if not len(lengths):
            raise UserError("the data hold no sample to learn from.", "数据中没有可学习的样本。")
        longest = int(lengths.max())
        if longest > sequence_length:
            raise UserError(
                f"data.sequence_length: {sequence_length} is too short for a sample of {longest} tokens.",
                f"data.sequence_length: {sequence_length} 放不下有 {longest} 个词元的样本。",
            )
        bins = best_fit(lengths, sequence_length) if packing else [[i] for i in range(len(lengths))]
        self._samples = np.array([sample for one in bins for sample in one], np.int64)
        self._bounds = np.concatenate(([0], np.cumsum([len(one) for one in bins]))).astype(np.int64)
        filled = np.add.reduceat(lengths[self._samples], self._bounds[:-1])
        self._padding = sequence_length - filled
        self.count = len(bins)
        self.tokens = int(filled.sum())
        self.padded = int(self._padding.sum())
        self.targets = int(np.count_nonzero(cache.learned))

    def __len__(self) -> int:
        return self.count

    def samples_of(self, index: int) -> list[int]:
        """Which samples sequence ``index`` holds, in their order."""
        return self._samples[self._bounds[index] : self._bounds[index + 1]].tolist()

    def sequence(self, index: int) -> Sequence:
        """Sequence ``index``, 0 ≤ index < count."""
        one = self.batch(np.array([index]))
        assert one.positions is not None and one.segments is not None
        return Sequence(one.inputs[0], one.targets[0], one.positions[0], one.segments[0])

    def batch(self, indices: NDArray[np.int64]) -> Sequence:
        """Several sequences as arrays [B, L], in the order of ``indices``."""
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= self.count):
            raise IndexError(f"sequence indices must be from 0 to {self.count - 1}")
        shape = (len(indices), self.sequence_length)
        inputs, targets = np.zeros(shape, np.int32), np.full(shape, IGNORED, np.int32)
        positions, segments = np.zeros(shape, np.int32), np.full(shape, -1, np.int32)
        for row, index in enumerate(indices):
            at = 0
            for number, (ids, learned) in enumerate(self._pieces(int(index))):
                part = slice(at, at + len(ids) - 1)
                inputs[row, part] = ids[:-1]
                targets[row, part] = np.where(learned[1:], ids[1:], IGNORED)
                positions[row, part] = np.arange(len(ids) - 1)
                segments[row, part] = number
                at = part.stop
        return Sequence(inputs, targets, positions, segments)

    def _pieces(self, index: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
        for sample in self.samples_of(index):
            part = slice(int(self._starts[sample]), int(self.cache.ends[sample]))
            yield self.cache.tokens[part].astype(np.int32), self.cache.learned[part].astype(np.bool_)

    def padding(self, indices: NDArray[np.int64]) -> int:
        """Padded positions in these sequences."""
        return int(self._padding[np.asarray(indices, np.int64)].sum())

    def target_bytes(self, index: int) -> int:
        """Bytes of text behind the targets of a sequence; bits per byte is nats / ln 2 / bytes."""
        targets = self.sequence(index).targets
        return int(self.cache.token_bytes[targets[targets != IGNORED]].sum())
