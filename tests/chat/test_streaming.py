"""Text while it comes: whole characters, the same text in the end, nothing that a terminal would obey."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.chat.streaming import TextStream, harmless
from huohou.data.tokenizer import Tokenizer
from huohou.model.opening import Opened

RARE = "龘龖😀👨‍👩‍👧é한"


def pieces(tokenizer: Tokenizer, ids: list[int], before: tuple[int, ...] = ()) -> list[str]:
    stream = TextStream(tokenizer, before)
    return [*map(stream.add, ids), stream.end()]


def test_a_character_of_several_tokens_comes_whole(opened: Opened) -> None:
    ids = opened.tokenizer.encode(f"小石说{RARE}，好。").tolist()
    assert len(ids) > len(RARE) * 2
    found = pieces(opened.tokenizer, ids)
    assert "".join(found) == f"小石说{RARE}，好。"
    assert not any("\ufffd" in piece for piece in found)
    # It streams: the text does not come all at once at the end.
    assert sum(bool(piece) for piece in found) > len(RARE)


@settings(deadline=None, max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=24))
def test_the_pieces_are_the_text(opened: Opened, text: str) -> None:
    ids = opened.tokenizer.encode(text).tolist()
    assert "".join(pieces(opened.tokenizer, ids)) == opened.tokenizer.decode(ids, special=False)


def test_half_a_character_at_the_end_is_left_out(opened: Opened) -> None:
    ids = opened.tokenizer.encode("好😀").tolist()
    for cut in range(1, 4):
        assert "".join(pieces(opened.tokenizer, ids[:-cut])) == "好"


@settings(deadline=None, max_examples=60)
@given(ids=st.lists(st.integers(0, 699), max_size=40))
def test_any_tokens_can_be_shown(opened: Opened, ids: list[int]) -> None:
    ids = [i % opened.tokenizer.vocab_size for i in ids]
    text, whole = "".join(pieces(opened.tokenizer, ids)), opened.tokenizer.decode(ids, special=False)
    assert text == whole if "\ufffd" not in whole else text.encode() is not None


def test_bytes_that_are_no_character_do_not_hold_back_what_follows(opened: Opened) -> None:
    tokenizer = opened.tokenizer
    wrong = next(i for i in range(tokenizer.vocab_size) if tokenizer.decode([i]) == "\ufffd")
    ids = [*[wrong] * 9, *tokenizer.encode("好的").tolist()]
    found = pieces(tokenizer, ids)
    assert "".join(found).endswith("好的")
    assert any(found[:9])


def test_special_tokens_have_no_text(opened: Opened) -> None:
    ids = opened.tokenizer.encode("好").tolist()
    assert "".join(pieces(opened.tokenizer, [opened.tokenizer.end_id, *ids, opened.tokenizer.end_id])) == "好"


def test_harmless() -> None:
    text = "红\x1b[31m\x1b]52;c;aGk=\x07\r\n行\t\u202e逆\x9b2J\r"
    assert harmless(text) == "红\\x1b[31m\\x1b]52;c;aGk=\\x07\n行\t\\u202e逆\\x9b2J\\r"
    assert harmless("👨‍👩‍👧，正常") == "👨‍👩‍👧，正常"


@pytest.mark.external
def test_sentencepiece_keeps_spaces_and_characters(shared_data: Path) -> None:
    tokenizer = Tokenizer.load(shared_data / "tokenizer" / "tokenizer.model")
    text = f"Hello world, {RARE}龘 the end"
    ids = tokenizer.encode(text).tolist()
    found = pieces(tokenizer, ids)
    assert "".join(found) == text and not any("\ufffd" in piece for piece in found)
    # Where the answer goes on with a text, the space before its first word is part of it.
    assert "".join(pieces(tokenizer, ids[2:], tuple(ids[:2]))) == text[len(tokenizer.decode(ids[:2])) :]
