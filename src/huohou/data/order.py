"""Which sequences a batch holds: a matter of the seed and the position alone.

Positions count from 0 over all epochs without end. Position g is in epoch g // S, and there the sequence
``permutation(seed, epoch)[g % S]``; batch k covers positions k·B … (k + 1)·B − 1. World size, workers and
micro-batches do not appear, so the same run on other machines sees the same sequences in the same order, and the
number of batches read is all that a resumed run has to know.

The permutation is computed, not stored: a Feistel network over the smallest rectangle a × b that holds S (Black and
Rogaway, "Ciphers with Arbitrary Finite Domains", 2002), numbers that fall outside S being sent through again. It
needs no memory and is the same for every version of numpy.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 12
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def _mixed(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """The finaliser of splitmix64, keyed."""
    mixed = (values + np.uint64(1)) * _MIX[0] ^ key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
    return mixed ^ (mixed >> np.uint64(31))


def permutation(seed: int, epoch: int, size: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The elements at ``positions`` (each 0 ≤ p < size) of a random order of 0 … size − 1."""
    digest = hashlib.sha512(f"huohou order {seed} {epoch} {size}".encode()).digest()
    digest += hashlib.sha512(digest).digest()
    keys = np.frombuffer(digest, dtype="<u8")[:_ROUNDS].astype(np.uint64)
    rows = math.isqrt(size - 1) + 1
    a, b = np.uint64(rows), np.uint64(-(-size // rows))
    found = np.asarray(positions).astype(np.uint64)
    outside = np.ones(found.shape, dtype=bool)
    while outside.any():
        left, right = np.divmod(found[outside], b)
        for number, key in enumerate(keys):
            if number % 2 == 0:
                left = (left + _mixed(right, key) % a) % a
            else:
                right = (right + _mixed(left, key) % b) % b
        found[outside] = left * b + right
        outside = found >= np.uint64(size)
    return found.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Batches:
    """What all orders have in common: positions become batches.

    ``sequences``: S, of one epoch; ``batch_size``: B, in sequences; ``positions``: of the whole run (epochs × S,
    None: no end). The batch in which they end may be short; those after it, which a run takes when updates were
    skipped, are full. ``first_batch`` begins at position ``first_position``: where the size of the batches, the seed
    or the data were changed in the middle of a run, its further batches count on from there.
    """

    sequences: int
    batch_size: int
    seed: int
    positions: int | None = None
    first_batch: int = 0
    first_position: int = 0

    def slice(self, first: int, last: int) -> NDArray[np.int64]:
        """The sequences at positions ``first … last - 1``."""
        raise NotImplementedError

    def at(self, position: int) -> int:
        """The sequence at one position."""
        return int(self.slice(position, position + 1)[0])

    def begin(self, number: int) -> int:
        """The position at which batch ``number`` begins."""
        if number < self.first_batch:
            raise IndexError(f"batch {number} was read in another order; this one begins with {self.first_batch}")
        return self.first_position + (number - self.first_batch) * self.batch_size

    def batch(self, number: int) -> NDArray[np.int64]:
        """The sequences of batch ``number`` (from 0)."""
        first = self.begin(number)
        last = first + self.batch_size
        if self.positions is not None and first < self.positions:
            last = min(last, self.positions)
        return self.slice(first, last)

    def epochs(self, batches: int) -> float:
        """How many epochs have been read after so many batches."""
        read = self.begin(batches)
        if self.positions is not None and read - self.batch_size < self.positions:
            read = min(read, self.positions)
        return read / self.sequences


@dataclass(frozen=True, slots=True)
class Order(Batches):
    """The order of a run that reads one corpus."""

    def slice(self, first: int, last: int) -> NDArray[np.int64]:
        """The sequences at positions ``first … last - 1``."""
        parts: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        while first < last:
            epoch, start = divmod(first, self.sequences)
            stop = min(self.sequences, start + last - first)
            parts.append(permutation(self.seed, epoch, self.sequences, np.arange(start, stop)))
            first += stop - start
        return np.concatenate(parts)
