"""Samples laid into sequences, beside a slow and obvious version of the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from huohou.data.packing import IGNORED
from huohou.data.sample_cache import SampleCache
from huohou.data.sample_packing import PackedSamples, best_fit
from huohou.errors import UserError


def cache_of(samples: list[list[tuple[int, bool]]]) -> SampleCache:
    flat = [pair for sample in samples for pair in sample]
    return SampleCache(
        path=Path(), key="", tokens=np.array([i for i, _ in flat], np.uint16), learned=np.array([m for _, m in flat], np.uint8),
        ends=np.cumsum([len(sample) for sample in samples]).astype(np.int64), token_bytes=np.arange(100, dtype=np.int32),
        characters=1, bytes=1, vocab_size=100, counts={}, examples=[], files=[],
    )  # fmt: skip


def slow_best_fit(lengths: list[int], room: int) -> list[list[int]]:
    """Each sample, the longest first, where it leaves the least room; of equal rooms the one that became so last."""
    bins: list[list[int]] = []
    free: list[int] = []
    changed: list[int] = []
    for step, sample in enumerate(sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))):
        fitting = [b for b in range(len(bins)) if free[b] >= lengths[sample]]
        if fitting:
            place = min(fitting, key=lambda b: (free[b], -changed[b]))
            bins[place].append(sample)
            free[place] -= lengths[sample]
            changed[place] = step
        else:
            bins.append([sample])
            free.append(room - lengths[sample])
            changed.append(step)
    return bins


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60))
@example([20, 20, 1])
def test_best_fit_is_what_it_says(lengths: list[int]) -> None:
    bins = best_fit(np.array(lengths), 20)
    assert bins == slow_best_fit(lengths, 20)
    assert sorted(sample for one in bins for sample in one) == list(range(len(lengths)))
    assert all(sum(lengths[sample] for sample in one) <= 20 for one in bins)


SAMPLES = st.lists(
    st.lists(st.tuples(st.integers(3, 99), st.booleans()), min_size=2, max_size=9).map(
        # The first id is never learned, the last one always is.
        lambda sample: [(sample[0][0], False), *sample[1:-1], (sample[-1][0], True)]
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@given(SAMPLES, st.booleans())
def test_sequences_hold_every_sample_once_with_its_own_positions(
    samples: list[list[tuple[int, bool]]], packing: bool
) -> None:
    length = 8
    packed = PackedSamples(cache_of(samples), length, packing=packing)
    batch = packed.batch(np.arange(packed.count))
    assert batch.positions is not None and batch.segments is not None
    met: list[int] = []
    for index in range(packed.count):
        places: list[tuple[int, int, int, int]] = []
        for number, sample in enumerate(packed.samples_of(index)):
            met.append(sample)
            ids = samples[sample]
            for position in range(len(ids) - 1):
                following, learned = ids[position + 1]
                places.append((ids[position][0], following if learned else IGNORED, position, number))
        padding = length - len(places)
        places += [(0, IGNORED, 0, -1)] * padding
        rows = (batch.inputs[index], batch.targets[index], batch.positions[index], batch.segments[index])
        assert list(zip(*(row.tolist() for row in rows), strict=True)) == places
        assert packed.padding(np.array([index])) == padding
        assert packed.target_bytes(index) == sum(target for _, target, _, _ in places if target != IGNORED)
    assert sorted(met) == list(range(len(samples)))
    assert packing or met == list(range(len(samples)))
    assert packed.tokens == sum(len(sample) - 1 for sample in samples)
    assert packed.padded == packed.count * length - packed.tokens == packed.padding(np.arange(packed.count))
    assert packed.targets == int((batch.targets != IGNORED).sum()) == sum(m for sample in samples for _, m in sample)


def test_indices_are_checked_and_may_repeat() -> None:
    packed = PackedSamples(cache_of([[(5, False), (6, True)], [(7, False), (8, True)]]), 4, packing=False)
    assert packed.batch(np.array([1, 0, 1])).inputs[:, 0].tolist() == [7, 5, 7]
    assert packed.padding(np.array([1, 0, 1])) == 9
    for wrong in (-1, 2):
        with pytest.raises(IndexError):
            packed.batch(np.array([wrong]))


def test_a_sample_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="too short for a sample of 5 tokens"):
        PackedSamples(cache_of([[(5, False)] * 5 + [(6, True)]]), 4)
