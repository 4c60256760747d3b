"""How well a tokenizer fits a text: length, coverage, and whether every text comes back as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from huohou.data.tokenizer import Tokenizer

HOSTILE: dict[str, str] = {
    "emoji joined by ZWJ": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
    "rare 汉字 (extension B)": "𠀀𪚥𠮷野家",
    "combining marks": "e\u0301 n\u0303 ǖ a\u0300\u0301\u0302",
    "full-width": "ＡＢＣ１２３，。！　（全角）",
    "control characters": "\x00\x01\x1b[31m\x7f\x85",
    "CRLF": "第一行\r\n第二行\r第三行\n",
    "spaces": "  two  spaces   and\ttabs \u3000 ",
    "U+2028 and U+2029": "前\u2028后\u2029",
    "Arabic": "السلام عليكم",
    "byte order mark and replacement": "\ufeff\ufffd",
    "special tokens as text": "</s><s><|im_start|><0x0A><pad>",
    "the sign ▁": "a▁b",
    "private use and last characters": "\ue000\uffff\U0010ffff",
}
"""Texts on which tokenizers lose characters."""


@dataclass(frozen=True, slots=True)
class TokenizerReport:
    """Lengths are in characters (code points), bytes (UTF-8) and tokens (without begin and end tokens).

    ``own_token``: the share of the text's characters that have a token of their own; ``through_bytes``: the share
    written as byte pieces (None: the vocabulary has no such pieces); ``unknown``: unknown tokens in the text;
    ``round_trip``: the share of the texts that come back exactly; ``lost``: the hostile texts that do not.
    """

    vocab_size: int
    texts: int
    characters: int
    bytes: int
    tokens: int
    characters_per_token: float
    bytes_per_token: float
    own_token: float
    through_bytes: float | None
    unknown: int
    round_trip: float
    lost: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        return {**asdict(self), "lost": list(self.lost), "hostile": len(HOSTILE)}


def measure_tokenizer(tokenizer: Tokenizer, texts: Iterable[str]) -> TokenizerReport:
    """Measure on these texts (at least one) and on :data:`HOSTILE`."""
    count = characters = size = tokens = unknown = equal = through = 0
    pieces = {byte: tokenizer.id_of(f"<0x{byte:02X}>") for byte in range(256)}
    # A character written in bytes has one byte that begins it and others, 0x80 to 0xBF, that go on.
    begins = np.array([i for byte, i in pieces.items() if i is not None and not 0x80 <= byte < 0xC0], dtype=np.int32)
    counted: Counter[str] = Counter()
    for text in texts:
        ids = tokenizer.encode(text)
        count += 1
        characters += len(text)
        size += len(text.encode())
        tokens += len(ids)
        unknown += int((ids == tokenizer.unk_id).sum()) if tokenizer.unk_id is not None else 0
        through += int(np.isin(ids, begins).sum())
        equal += tokenizer.decode(ids) == text
        counted.update(text)
    own = sum(number for character, number in counted.items() if tokenizer.covers(character))
    lost = tuple(name for name, text in HOSTILE.items() if tokenizer.decode(tokenizer.encode(text)) != text)
    return TokenizerReport(
        vocab_size=tokenizer.vocab_size,
        texts=count,
        characters=characters,
        bytes=size,
        tokens=tokens,
        characters_per_token=characters / max(tokens, 1),
        bytes_per_token=size / max(tokens, 1),
        own_token=own / max(characters, 1),
        through_bytes=through / max(characters, 1) if len(begins) else None,
        unknown=unknown,
        round_trip=equal / max(count, 1),
        lost=lost,
    )
