"""Several corpora as one: which corpus each position of a run reads, by weight, and which of its sequences.

Position g belongs to the corpus into whose part of [0, 1) the point ``frac(s + g φ)`` falls, where φ is the golden
ratio and the parts are as long as the corpora's shares of all weights. No points are spread more evenly (Weyl's
sequence with the number that fractions approach worst), so that after any number of sequences each corpus has had its
share to within a few. How many of the first g positions a corpus had is a sum of floors with a closed form, all in
whole numbers; position → (corpus, sequence) is therefore a function of the seed alone, and of no process, micro-batch
or position before.

A corpus's n-th sequence is the one its own order, with its own seed and its own epochs, has in place n: what the
others do, or whether they are there, does not change it. One epoch of a mixture is as many sequences as its corpora
have together; how often each is gone through meanwhile depends on its weight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence as Several
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from huohou.data.order import Batches, Order
from huohou.data.packing import Sequence

_BITS = 40
_CIRCLE = 1 << _BITS
_GOLDEN = 679_535_556_991
"""2⁴⁰ times the golden ratio's fractional part; it is odd, so that 2⁴⁰ positions pass before one point returns."""


class Source(Protocol):
    """Sequences that can be read by number: the protocol of :class:`huohou.data.packing.Packed`."""

    count: int
    sequence_length: int
    tokens: int
    padded: int
    targets: int

    def batch(self, indices: NDArray[np.int64]) -> Sequence: ...

    def padding(self, indices: NDArray[np.int64]) -> int: ...

    def target_bytes(self, index: int) -> int: ...


class Concatenated:
    """The sequences of several sources, one source behind the other.

    ``count``, ``tokens``, ``padded``, ``targets``: as of one source, added up.
    """

    def __init__(self, parts: Several[Source]) -> None:
        self.parts = tuple(parts)
        self.sequence_length = self.parts[0].sequence_length
        self.count = sum(part.count for part in self.parts)
        self.tokens = sum(part.tokens for part in self.parts)
        self.padded = sum(part.padded for part in self.parts)
        self.targets = sum(part.targets for part in self.parts)
        self._firsts = np.cumsum([0, *(part.count for part in self.parts)])

    def __len__(self) -> int:
        return self.count

    def _split(self, indices: NDArray[np.int64]) -> list[tuple[Source, NDArray[np.int64], NDArray[np.int64]]]:
        """For each source that is met: its rows among the indices, and its own numbers of their sequences."""
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= self.count):
            raise IndexError(f"sequence indices must be from 0 to {self.count - 1}")
        owner = np.searchsorted(self._firsts, indices, side="right") - 1
        found: list[tuple[Source, NDArray[np.int64], NDArray[np.int64]]] = []
        for number, part in enumerate(self.parts):
            rows = np.flatnonzero(owner == number)
            if rows.size:
                found.append((part, rows, np.asarray(indices)[rows] - self._firsts[number]))
        return found

    def batch(self, indices: NDArray[np.int64]) -> Sequence:
        """Several sequences as arrays [B, L], in the order of ``indices``."""
        pieces = [(rows, part.batch(own)) for part, rows, own in self._split(indices)]
        if not pieces:
            return self.parts[0].batch(indices)

        def gathered(name: str) -> NDArray[np.int32] | None:
            values = [getattr(sequence, name) for _, sequence in pieces]
            if values[0] is None:
                return None
            whole = np.empty((len(indices), values[0].shape[1]), dtype=np.int32)
            for (rows, _), value in zip(pieces, values, strict=True):
                whole[rows] = value
            return whole

        inputs, targets = gathered("inputs"), gathered("targets")
        assert inputs is not None and targets is not None
        return Sequence(inputs, targets, gathered("positions"), gathered("segments"))

    def sequence(self, index: int) -> Sequence:
        """Sequence ``index``, 0 ≤ index < count."""
        one = self.batch(np.array([index]))
        positions = None if one.positions is None else one.positions[0]
        segments = None if one.segments is None else one.segments[0]
        return Sequence(one.inputs[0], one.targets[0], positions, segments)

    def padding(self, indices: NDArray[np.int64]) -> int:
        """Padded positions in these sequences."""
        return sum(part.padding(own) for part, _, own in self._split(indices))

    def target_bytes(self, index: int) -> int:
        """Bytes of text behind the targets of a sequence."""
        number = int(np.searchsorted(self._firsts, index, side="right")) - 1
        return self.parts[number].target_bytes(index - int(self._firsts[number]))


def floor_sum(n: int, m: int, a: int, b: int) -> int:
    """The sum of ``⌊(a·i + b) / m⌋`` over i = 0 … n − 1, for a, b ≥ 0, in O(log m) steps (the AtCoder library's)."""
    total = 0
    while n > 0:
        total += n * (n - 1) // 2 * (a // m) + n * (b // m)
        a, b = a % m, b % m
        top = a * n + b
        if top < m:
            break
        n, b = divmod(top, m)
        m, a = a, m
    return total


@dataclass(frozen=True, slots=True)
class Shares:
    """Which corpus each position reads; ``edges``: where the parts of the circle end, the last at 2⁴⁰."""

    edges: tuple[int, ...]
    start: int

    @classmethod
    def of(cls, weights: Several[Fraction], seed: int) -> Shares:
        """The parts of the circle that belong to these weights, and a starting point by the seed."""
        total = sum(weights)
        edges: list[int] = []
        reached = Fraction(0)
        for weight in weights:
            reached += weight
            edges.append(round(reached / total * _CIRCLE))
        digest = hashlib.sha256(f"huohou mix {seed}".encode()).digest()
        return cls(tuple(edges), int.from_bytes(digest[:8], "big") % _CIRCLE)

    def before(self, position: int) -> list[int]:
        """How many of the first ``position`` positions each corpus has."""
        counts: list[int] = []
        below = 0
        for edge in self.edges:
            # A point lies below the edge where taking the edge away from it leaves the turn of the circle it is in.
            whole = floor_sum(position, _CIRCLE, _GOLDEN, self.start + _CIRCLE)
            less = floor_sum(position, _CIRCLE, _GOLDEN, self.start + _CIRCLE - edge)
            counts.append(whole - less - below)
            below += counts[-1]
        return counts

    def owners(self, first: int, last: int) -> NDArray[np.int64]:
        """The corpus of each of the positions ``first … last - 1``."""
        begin = (self.start + first * _GOLDEN) % _CIRCLE
        points = (np.arange(last - first, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(begin)) % np.uint64(_CIRCLE)
        return np.searchsorted(np.array(self.edges, dtype=np.uint64), points, side="right").astype(np.int64)


def source_seed(seed: int, name: str) -> int:
    """The seed of one corpus's own order."""
    return int.from_bytes(hashlib.sha256(f"huohou source {seed} {name}".encode()).digest()[:6], "big")


@dataclass(frozen=True, slots=True)
class MixedOrder(Batches):
    """The order of a run that reads several corpora.

    ``counts``: sequences of each; ``weights``: their shares of the run's sequences; ``names``: with which their seeds
    are made. The sequences are numbered as :class:`Concatenated` numbers them.
    """

    counts: tuple[int, ...] = ()
    weights: tuple[Fraction, ...] = ()
    names: tuple[str, ...] = ()

    def shares(self) -> Shares:
        """Which corpus each position reads."""
        return Shares.of(self.weights, self.seed)

    def drawn(self, positions: int) -> tuple[int, ...]:
        """How many sequences of each corpus the first ``positions`` positions read."""
        return tuple(self.shares().before(positions))

    def slice(self, first: int, last: int) -> NDArray[np.int64]:
        """The sequences at positions ``first … last - 1``."""
        result = np.empty(max(0, last - first), dtype=np.int64)
        if not result.size:
            return result
        shares = self.shares()
        owners, before = shares.owners(first, last), shares.before(first)
        offset = 0
        for number, (count, name) in enumerate(zip(self.counts, self.names, strict=True)):
            rows = np.flatnonzero(owners == number)
            if rows.size:
                own = Order(count, 1, source_seed(self.seed, name))
                result[rows] = own.slice(before[number], before[number] + rows.size) + offset
            offset += count
        return result
