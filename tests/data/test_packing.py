"""Packing and order beside slow, obvious versions of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from huohou.data.order import Order, permutation
from huohou.data.packing import IGNORED, Packed, pack_counts
from huohou.data.token_cache import TokenCache
from huohou.errors import UserError

END = 2


def cache_of(documents: list[list[int]]) -> TokenCache:
    stream = [token for document in documents for token in (*document, END)]
    ends = np.cumsum([len(document) + 1 for document in documents])
    return TokenCache(
        path=Path(), key="", tokens=np.array(stream, np.uint16), ends=ends.astype(np.int64),
        token_bytes=np.arange(100, dtype=np.int32), documents=len(documents), characters=1, bytes=1, vocab_size=100,
        counts={}, files=[],
    )  # fmt: skip


def slowly(documents: list[list[int]], length: int, attention: str) -> list[list[tuple[int, ...]]]:
    """(input, target, position, segment) of every place, one token after the other."""
    stream = [(token, number) for number, document in enumerate(documents) for token in (*document, END)]
    places: list[tuple[int, ...]] = []
    for here in range(len(stream) - 1):
        (token, number), (following, its_number) = stream[here], stream[here + 1]
        first = here - here % length
        if attention == "packed":
            places.append((token, following, 0, 0))
            continue
        start = max(first, min(i for i in range(len(stream)) if stream[i][1] == number))
        target = following if its_number == number else IGNORED
        places.append((token, target, here - start, number - stream[first][1]))
    sequences = [places[i : i + length] for i in range(0, len(places), length)]
    padding = (0, IGNORED, 0, -1 if attention == "documents" else 0)
    return [sequence + [padding] * (length - len(sequence)) for sequence in sequences]


DOCUMENTS = st.lists(st.lists(st.integers(3, 99), min_size=1, max_size=9), min_size=1, max_size=9)


@given(DOCUMENTS, st.integers(1, 12), st.sampled_from(["packed", "documents"]))
@example([[5, 6, 7], [8, 9]], 4, "documents")
def test_packing_is_what_it_says(
    documents: list[list[int]], length: int, attention: Literal["packed", "documents"]
) -> None:
    cache = cache_of(documents)
    expected = slowly(documents, length, attention)
    if not expected:
        with pytest.raises(UserError, match="too few to learn"):
            Packed(cache, length, attention)
        return
    packed = Packed(cache, length, attention)
    assert packed.count == len(expected) == len(packed)
    total_targets = 0
    for index, places in enumerate(expected):
        found = packed.sequence(index)
        assert found.inputs.dtype == found.targets.dtype == np.int32
        assert found.inputs.tolist() == [place[0] for place in places]
        assert found.targets.tolist() == [place[1] for place in places]
        if attention == "packed":
            assert found.positions is None and found.segments is None
        else:
            assert found.positions is not None and found.segments is not None
            assert found.positions.tolist() == [place[2] for place in places]
            assert found.segments.tolist() == [place[3] for place in places]
        targets = [place[1] for place in places if place[1] != IGNORED]
        total_targets += len(targets)
        assert packed.target_bytes(index) == sum(targets)
    assert packed.targets == total_targets
    assert packed.tokens == len(cache) - 1
    assert packed.count * length == packed.tokens + packed.padded
    assert (packed.count, packed.padded) == pack_counts(len(cache), length)
    order = np.arange(packed.count)[::-1]
    assert np.array_equal(packed.batch(order).inputs, np.stack([packed.sequence(int(i)).inputs for i in order]))


def test_indices_and_lengths_outside_are_refused() -> None:
    packed = Packed(cache_of([[5, 6, 7]]), 2)
    for index in (-1, packed.count):
        with pytest.raises(IndexError):
            packed.sequence(index)
    with pytest.raises(UserError, match="sequence_length"):
        Packed(cache_of([[5]]), 0)


@given(st.integers(0, 2**63), st.integers(0, 9), st.integers(1, 300))
def test_every_epoch_is_a_permutation(seed: int, epoch: int, size: int) -> None:
    found = permutation(seed, epoch, size, np.arange(size))
    assert sorted(found.tolist()) == list(range(size))
    picked = np.array([size - 1, 0, size // 2])
    assert permutation(seed, epoch, size, picked).tolist() == [int(found[p]) for p in picked]


def test_the_order_is_fixed_for_ever() -> None:
    # These numbers are part of the format of a run: resuming relies on them.
    assert permutation(1, 0, 10, np.arange(10)).tolist() == FIXED
    assert permutation(1, 1, 10, np.arange(10)).tolist() != FIXED
    assert permutation(2, 0, 10, np.arange(10)).tolist() != FIXED


FIXED = [0, 6, 7, 9, 2, 8, 3, 4, 1, 5]


def test_orders_are_evenly_spread() -> None:
    counted: dict[tuple[int, ...], int] = {}
    for seed in range(2400):
        found = tuple(permutation(seed, 0, 4, np.arange(4)).tolist())
        counted[found] = counted.get(found, 0) + 1
    # 24 orders, 100 times each on average; the chi-square's 99.99 % point for 23 degrees of freedom is 56.
    assert len(counted) == 24
    assert sum((count - 100) ** 2 / 100 for count in counted.values()) < 56
    large = permutation(7, 0, 100_000, np.arange(100_000))
    assert abs(np.corrcoef(np.arange(100_000), large)[0, 1]) < 0.02
    assert (np.abs(np.diff(large)) == 1).mean() < 0.001


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 5), st.integers(1, 40), st.sampled_from([1, 2, 3, 4]))
def test_batches_are_the_stream_whatever_reads_them(size: int, batch: int, seed: int, run: int, world: int) -> None:
    order = Order(size, batch, seed, positions=run)
    updates = -(-run // batch)
    stream = [int(permutation(seed, g // size, size, np.array([g % size]))[0]) for g in range((updates + 2) * batch)]
    read = [order.batch(k).tolist() for k in range(updates)]
    assert [index for one in read for index in one] == stream[:run]
    assert all(len(one) == batch for one in read[:-1])
    # A run that skipped updates takes further, full batches, in the same order.
    assert order.batch(updates).tolist() == stream[updates * batch : (updates + 1) * batch]
    # Processes that share a batch in turns, and a run resumed anywhere, see the same sequences.
    shared = [
        [order.at(k * batch + i) for i in range(rank, len(read[k]), world)] for k in range(1) for rank in range(world)
    ]
    assert sorted(index for one in shared for index in one) == sorted(read[0])
    assert Order(size, batch, seed, positions=run).batch(updates - 1).tolist() == read[-1]
    assert order.epochs(updates) == run / size
    assert order.epochs(updates + 1) == (updates + 1) * batch / size
    assert Order(size, batch, seed).batch(updates - 1).tolist() == stream[(updates - 1) * batch : updates * batch]
