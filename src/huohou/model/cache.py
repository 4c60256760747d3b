"""The keys and values of what was read so far, so that generating a token costs one position."""

from __future__ import annotations

import torch
from torch import Tensor


class LayerCache:
    """One layer's keys and values: [B, slots, K, W] each, made when the first ones arrive."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put [B, T, K, W] into the slots of the current positions; returns all slots within reach."""
        if self.keys is None or self.values is None:
            shape = (keys.shape[0], self.cache.slots, *keys.shape[2:])
            self.keys, self.values = keys.new_zeros(shape), values.new_zeros(shape)
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
        self.keys[rows, self.cache.positions] = keys
        self.values[rows, self.cache.positions] = values
        return self.keys[:, : self.cache.reach], self.values[:, : self.cache.reach]


class Cache:
    """A slot for every position of every row.

    A row's token at position p lies in slot p, so rows of different lengths need no padding rule: a slot beyond a
    row's position is never looked at, and is overwritten when the row gets there. ``reach`` is how many slots are
    looked at in this call, ``positions`` [B, T] where this call's inputs go.
    """

    def __init__(self, layers: int, slots: int) -> None:
        self.slots = slots
        self.reach = slots
        self.positions = torch.zeros(0, 0, dtype=torch.int64)
        self.layers = [LayerCache(self) for _ in range(layers)]
