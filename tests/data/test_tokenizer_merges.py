"""What the order of merges promises, on random small vocabularies, beside the library that will run them."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from huohou.data.tokenizer_merges import Merges, Pair, arrange

LETTERS = "abcd"


def random_base(chance: random.Random) -> tuple[list[str], list[Pair]]:
    """A vocabulary as training leaves one: each merge of two pieces that exist by then."""
    vocab = list(LETTERS)
    pairs: list[Pair] = []
    for _ in range(chance.randint(0, 8)):
        pair = chance.choice(vocab), chance.choice(vocab)
        if "".join(pair) not in vocab and len("".join(pair)) < 6:
            vocab.append("".join(pair))
            pairs.append(pair)
    return vocab, pairs


def words(chance: random.Random, number: int, longest: int) -> list[str]:
    return ["".join(chance.choices(LETTERS, k=chance.randint(1, longest))) for _ in range(number)]


def ids_of(vocab: list[str], pairs: list[Pair], texts: list[str]) -> Iterator[list[str]]:
    import tokenizers

    model = tokenizers.models.BPE(vocab={token: i for i, token in enumerate(vocab)}, merges=pairs)
    return (one.tokens for one in tokenizers.Tokenizer(model).encode_batch(texts))


@pytest.mark.parametrize("seed", range(40))
def test_splits_are_the_librarys(seed: int) -> None:
    chance = random.Random(seed)
    vocab, pairs = random_base(chance)
    texts = words(chance, 50, 14)
    merges = Merges(vocab, pairs)
    assert [merges.split(text) for text in texts] == list(ids_of(vocab, pairs, texts))


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_every_added_piece_is_reached_and_nothing_else_changes(seed: int, complete: bool) -> None:
    chance = random.Random(seed)
    vocab, pairs = random_base(chance)
    unreachable = {token for token in vocab if Merges(vocab, pairs).split(token) != [token]}
    wanted = words(chance, 12, 6)
    merges = Merges(vocab, pairs)
    done = arrange(merges, wanted, complete)
    new = [piece for piece, _ in done.pieces]
    grown = [*vocab, *new], [*pairs, *(pair for _, pair in done.pieces if pair)]
    assert list(ids_of(*grown, new)) == [[piece] for piece in new]
    assert set(wanted) <= {*vocab, *new, *done.unreachable}
    assert set(done.completed) <= set(new) - set(wanted) and (complete or not done.completed)
    if complete and not unreachable:
        assert not done.unreachable
    texts = [text for text in words(chance, 80, 12) if not any(piece in text for piece in new)]
    assert texts and list(ids_of(*grown, texts)) == list(ids_of(vocab, pairs, texts))
    # What was reachable stays so.
    old = [token for token in vocab if token not in unreachable]
    assert list(ids_of(*grown, old)) == [[token] for token in old]


def test_a_piece_waits_for_what_it_is_made_of() -> None:
    merges = Merges("abc", [])
    done = arrange(merges, ["abc", "ab"], complete=False)
    assert done.pieces == [("ab", ("a", "b")), ("abc", ("ab", "c"))] and not done.unreachable
    assert arrange(Merges("abc", []), ["abc"], complete=False).unreachable == ["abc"]
    completed = arrange(Merges("ab", []), ["abx", "aby"], complete=True)
    assert completed.completed == ["x", "y", "ab"] and not completed.unreachable


def test_an_old_merge_that_takes_the_middle_first() -> None:
    base = Merges(["a", "b", "c", "d", "bc"], [("b", "c")])
    assert arrange(base, ["ab", "abcd"], complete=False).unreachable == ["abcd"]
    base = Merges(["a", "b", "c", "d", "bc"], [("b", "c")])
    done = arrange(base, ["ab", "abcd"], complete=True)
    assert dict(done.pieces) == {"ab": ("a", "b"), "abc": ("a", "bc"), "abcd": ("abc", "d")}


def test_an_old_piece_that_no_merge_makes_is_left_as_it_is() -> None:
    base = Merges(["a", "b", "c", "ab"], [])
    assert arrange(base, ["abc"], complete=True).unreachable == ["abc"] and not base.ranks


def test_symbols_that_cannot_be_new() -> None:
    done = arrange(Merges("ab", []), ["x", "ax", "ab"], complete=True, symbol_may_be_new=False)
    assert [piece for piece, _ in done.pieces] == ["ab"] and done.unreachable == ["x", "ax"]
