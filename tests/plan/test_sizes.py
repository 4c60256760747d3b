"""From data to updates: sequences, batches and the number of updates, and what disagrees."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huohou.errors import UserError
from huohou.plan.sizes import Asked, resolve


def test_one_stream_over_the_epochs() -> None:
    sizes = resolve(Asked(epochs=Fraction(3), sequences=1000, batch=Fraction(64), sequence_length=128))
    assert sizes.updates == 47
    assert sizes.last_batch == 3000 - 46 * 64
    assert sizes.positions == 3000
    assert sizes.tokens == 3000 * 128
    assert sizes.tokens_per_update == 64 * 128
    dropped = resolve(Asked(epochs=Fraction(3), sequences=1000, batch=Fraction(64), drop_last=True))
    assert dropped.updates == 46
    assert dropped.last_batch == 64


@given(st.integers(1, 10**6), st.fractions(Fraction(1, 100), 20, max_denominator=100), st.integers(1, 5000))
def test_t_is_the_ceiling_and_only_the_last_batch_is_short(sequences: int, epochs: Fraction, batch: int) -> None:
    sizes = resolve(Asked(epochs=epochs, sequences=sequences, batch=Fraction(batch)))
    stream = -(-epochs * sequences // 1)
    assert sizes.last_batch is not None
    assert (sizes.updates - 1) * batch + sizes.last_batch == stream
    assert 1 <= sizes.last_batch <= batch


def test_tokens_give_updates() -> None:
    asked = Asked(tokens=2 * 10**9, sequence_length=4096, batch=Fraction(4_194_304), batch_in_tokens=True)
    sizes = resolve(asked)
    assert sizes.batch == 1024
    assert sizes.updates == 477
    assert not sizes.batch_rounded
    rounded = resolve(
        Asked(tokens=2 * 10**9, sequence_length=4096, batch=Fraction(4 * 10**6), batch_in_tokens=True, world_size=8)
    )
    assert rounded.batch == 984
    assert rounded.batch_rounded == 984 - Fraction(4 * 10**6, 4096)


def test_micro_batches() -> None:
    sizes = resolve(Asked(updates=10, batch=Fraction(256), micro_batch=4, world_size=8))
    assert (sizes.accumulation, sizes.micro_batch, sizes.batch) == (8, 4, 256)
    assert resolve(Asked(updates=10, micro_batch=4, accumulation=3, world_size=2)).batch == 24
    assert resolve(Asked(updates=10, batch=Fraction(24), accumulation=3, world_size=2)).micro_batch == 4
    assert resolve(Asked(updates=10, batch=Fraction(10), micro_batch=4)).accumulation == 3


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Asked(), "nothing says how many updates"),
        (Asked(tokens=10**9), "the sequence length and the batch must be known"),
        (Asked(tokens=10**9, sequence_length=128), "the batch must be known"),
        (Asked(epochs=Fraction(3)), "sequences and the batch"),
        (Asked(epochs=Fraction(3), batch=Fraction(4)), "number of sequences must be known"),
        (Asked(updates=100, epochs=Fraction(1), sequences=1000, batch=Fraction(64)), "updates 100 .*100.* but epochs 1 .* gives 16"),
        (Asked(updates=100, tokens=10**6, sequence_length=10, batch=Fraction(10)), "gives 100 updates, but tokens .* 10000"),
        (Asked(updates=10, batch=Fraction(10), world_size=4), "10 sequences .* 4 processes"),
        (Asked(updates=10, batch=Fraction(5, 2)), "whole number"),
        (Asked(updates=10, batch=Fraction(0)), "whole number"),
        (Asked(updates=10, batch=Fraction(64), micro_batch=8, accumulation=4), "batch is 64 .* is 32"),
        (Asked(updates=10, batch=Fraction(8), micro_batch=16), "micro_batch is 16"),
        (Asked(updates=10, batch=Fraction(10), accumulation=3), "10 sequences .* 3 equal"),
        (Asked(updates=10, batch=Fraction(10**6), batch_in_tokens=True), "sequence length is not known"),
        (Asked(epochs=Fraction(1), sequences=10, batch=Fraction(64), drop_last=True), "0 updates"),
    ],
)  # fmt: skip
def test_too_little_and_too_much(asked: Asked, says: str) -> None:
    with pytest.raises(UserError, match=says):
        resolve(asked)
