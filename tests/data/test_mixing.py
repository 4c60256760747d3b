"""Mixtures: every corpus gets its share, in its own order, and a position's sequence depends on nothing else."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.data.mixing import Concatenated, MixedOrder, Shares, floor_sum, source_seed
from huohou.data.order import Order
from huohou.data.packing import Sequence

WEIGHTS = st.lists(st.fractions(Fraction(1, 100), 100), min_size=1, max_size=5)


def mixed(counts: tuple[int, ...], weights: tuple[int, ...], seed: int = 7, batch: int = 8, **more: int) -> MixedOrder:
    names = tuple("abcde"[: len(counts)])
    fractions = tuple(Fraction(weight) for weight in weights)
    return MixedOrder(sum(counts), batch, seed, counts=counts, weights=fractions, names=names, **more)


@given(st.integers(0, 60), st.integers(1, 50), st.integers(0, 200), st.integers(0, 200))
def test_the_closed_form_is_the_sum(n: int, m: int, a: int, b: int) -> None:
    assert floor_sum(n, m, a, b) == sum((a * i + b) // m for i in range(n))


@settings(max_examples=60, deadline=None)
@given(WEIGHTS, st.integers(0, 2**31), st.integers(0, 3000))
def test_counts_before_a_position_are_those_of_the_positions_themselves(
    weights: list[Fraction], seed: int, position: int
) -> None:
    shares = Shares.of(weights, seed)
    owners = shares.owners(0, position)
    assert shares.before(position) == [int((owners == i).sum()) for i in range(len(weights))]


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, st.integers(0, 2**31))
def test_no_corpus_is_ever_far_from_its_share(weights: list[Fraction], seed: int) -> None:
    owners = Shares.of(weights, seed).owners(0, 2000)
    for number, weight in enumerate(weights):
        share = float(weight / sum(weights))
        had = np.cumsum(owners == number)
        assert np.abs(had - share * np.arange(1, 2001)).max() < 6


def test_each_corpus_is_read_in_its_own_order_over_its_own_epochs() -> None:
    counts = (50, 9, 21)
    order = mixed(counts, (5, 1, 3))
    read = order.slice(0, 400)
    offsets = np.cumsum([0, *counts])
    for number, (count, name) in enumerate(zip(counts, "abc", strict=True)):
        own = read[(read >= offsets[number]) & (read < offsets[number + 1])] - offsets[number]
        assert own.tolist() == Order(count, 1, source_seed(7, name)).slice(0, len(own)).tolist()


def test_a_corpus_that_is_added_does_not_change_the_order_of_the_others() -> None:
    two, three = mixed((30, 30), (1, 1)), mixed((30, 30, 30), (1, 1, 1))
    first = [i for i in two.slice(0, 100).tolist() if i < 30]
    again = [i for i in three.slice(0, 150).tolist() if i < 30]
    shared = min(len(first), len(again))
    assert shared > 30
    assert first[:shared] == again[:shared]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 500), st.integers(0, 60))
def test_a_position_does_not_depend_on_the_pieces_it_is_read_in(batch: int, first: int, length: int) -> None:
    order = mixed((13, 40), (2, 7))
    whole = order.slice(first, first + length)
    pieces = [order.slice(i, min(i + batch, first + length)) for i in range(first, first + length, batch)]
    assert whole.tolist() == np.concatenate([np.empty(0, np.int64), *pieces]).tolist()


def test_batches_go_on_from_any_batch_with_another_size() -> None:
    before = mixed((13, 40), (2, 7), batch=6)
    after = mixed((13, 40), (2, 7), batch=10, first_batch=4, first_position=24)
    assert np.concatenate([before.batch(k) for k in range(4)] + [after.batch(k) for k in (4, 5)]).tolist() == (
        before.slice(0, 44).tolist()
    )
    with pytest.raises(IndexError, match="begins with 4"):
        after.batch(3)


class Numbers:
    """A source whose sequence i holds nothing but its own name and i."""

    sequence_length = 4
    padded = 3
    targets = 5

    def __init__(self, name: int, count: int, *, segments: bool = False) -> None:
        self.name, self.count, self.segments = name, count, segments
        self.tokens = count * 4

    def batch(self, indices: np.ndarray) -> Sequence:
        rows = np.repeat((self.name * 100 + indices).astype(np.int32)[:, None], 4, axis=1)
        return Sequence(rows, -rows, rows + 1 if self.segments else None, rows + 2 if self.segments else None)

    def padding(self, indices: np.ndarray) -> int:
        return 3 * int((indices == self.count - 1).sum())

    def target_bytes(self, index: int) -> int:
        return self.name * 1000 + index


@pytest.mark.parametrize("segments", [False, True])
def test_a_batch_over_several_sources_has_their_rows_in_its_own_order(segments: bool) -> None:
    whole = Concatenated([Numbers(1, 3, segments=segments), Numbers(2, 5, segments=segments)])
    assert (whole.count, len(whole), whole.tokens, whole.padded, whole.targets) == (8, 8, 32, 6, 10)
    indices = np.array([7, 0, 3, 2])
    batch = whole.batch(indices)
    assert batch.inputs[:, 0].tolist() == [204, 100, 200, 102]
    assert batch.targets[:, 0].tolist() == [-204, -100, -200, -102]
    assert (batch.positions is not None) == segments
    if batch.segments is not None:
        assert batch.segments[:, 0].tolist() == [206, 102, 202, 104]
    assert whole.padding(indices) == 6
    assert [whole.target_bytes(i) for i in (2, 3)] == [1002, 2000]
    assert whole.sequence(3).inputs.tolist() == [200] * 4
    with pytest.raises(IndexError):
        whole.batch(np.array([8]))
