"""Text of tokens while they come, in whole characters only, and made harmless for a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from huohou.data.tokenizer import Tokenizer

_BROKEN = "\ufffd"
_LONGEST = 4
"""The bytes of the longest character, and so the tokens that half a character can be written with."""

_ORDER = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_ORDER}]")


def harmless(text: str) -> str:
    """A model's text as it may go to a terminal: control characters, escapes and turned writing are spelled out.

    Line ends and tabs stay. What a model was trained on decides what it writes, so its text is a stranger's.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


class TextStream:
    """Tokens in, text out. A character that is written with several tokens comes with its last one.

    ``before``: tokens that stand before the first one, so that its leading space is kept where it stands in the middle
    of a text. Special tokens have no text.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = [int(i) for i in before]
        self._start, self._given = 0, len(self._ids)
        # Decoding begins with some tokens that were given already: what a token's text is depends on those before it.

    def add(self, token: int) -> str:
        """The text that this token completes; empty where it ends in the middle of a character."""
        self._ids.append(token)
        text = self._new(len(self._ids))
        if text.endswith(_BROKEN):
            if len(self._ids) - self._given <= _LONGEST:
                return ""
            # More than one character's tokens: the first of them are no character's beginning.
            return self._release(len(self._ids) - _LONGEST + 1)
        return self._release(len(self._ids)) if text else ""

    def end(self) -> str:
        """What is left; a character that was never completed is left out."""
        text = self._new(len(self._ids)).rstrip(_BROKEN)
        self._start = self._given = len(self._ids)
        return text

    def _release(self, upto: int) -> str:
        text = self._new(upto)
        self._start, self._given = self._given, upto
        return text

    def _new(self, upto: int) -> str:
        """The text of the tokens from the given ones on."""
        whole = self._decode(self._start, upto)
        known = self._decode(self._start, self._given)
        # Half a character can spoil the decoding of the whole ones before it; then they are decoded without them.
        return whole[len(known) :] if whole.startswith(known) else self._decode(self._given, upto)

    def _decode(self, start: int, end: int) -> str:
        return self._tokenizer.decode(self._ids[start:end], special=False)
