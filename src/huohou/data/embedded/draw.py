"""Seeded drawing that gives the same results for every Python version and on every platform.

Only ``random.Random(int).random`` is used: Python promises that this sequence never changes, and promises it for
nothing else in that module.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

from huohou.errors import UserError

Item = TypeVar("Item")
Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)
_VALIDATION_SHARE = 8
"""One in this many problems, passages and documents belongs to the validation split."""


class Draw:
    """A stream of choices that depends on nothing but the seed and the place it is for."""

    __slots__ = ("random",)

    def __init__(self, seed: int, *place: int) -> None:
        if seed < 0:
            raise UserError(
                f"the embedded corpus takes a seed of 0 or more, not {seed}.",
                f"内置语料的种子须为 0 或更大的整数，不能是 {seed}。",
            )
        for number in place:
            seed = seed << 64 | number
        self.random = random.Random(seed).random

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return int(self.random() * count)

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[int(self.random() * len(items))]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """This many different items in random order; all of them in random order where there are fewer."""
        pool = list(items)
        count = min(count, len(pool))
        for place in range(count):
            other = self.between(place, len(pool) - 1)
            pool[place], pool[other] = pool[other], pool[place]
        return pool[:count]


def split_of(key: str) -> Split:
    """The split to which a problem, passage or document belongs, decided by its own text and nothing else."""
    return "validation" if zlib.crc32(key.encode()) % _VALIDATION_SHARE == 0 else "train"
