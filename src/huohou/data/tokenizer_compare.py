"""Two tokenizers, of which one grew from the other, on the same texts."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_report import TokenizerReport, measure_tokenizer

_BETWEEN = 2000
"""Characters of a line, at most, that are compared as one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``plain_lines``: lines that hold no character of an added piece, of the texts and of :func:`english_and_code`;
    ``changed``: those of them whose ids are others now, with the first few."""

    before: TokenizerReport
    after: TokenizerReport
    plain_lines: int
    changed: int
    examples: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        return {
            "before": self.before.to_plain(),
            "plain_lines": self.plain_lines,
            "changed": self.changed,
            "examples": list(self.examples),
        }


def added_characters(old: Tokenizer, new: Tokenizer) -> frozenset[str]:
    """Every character of a token that only the new one has."""
    special = set(new.special_ids.values())
    ids = [i for i in range(old.vocab_size, new.vocab_size) if i not in special and new.token_of(i)]
    front = new.encode("\n").tolist()
    start = len(new.decode(front))
    return frozenset("".join(new.decode([*front, i])[start:] for i in ids)) - {"\ufffd"}


def english_and_code(size: int = 1_000_000) -> list[str]:
    """So many bytes of English and code, at least: sources of Python's own library, in the order of their names."""
    found: list[str] = []
    total = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        found.append(text)
        total += len(text.encode())
        if total >= size:
            break
    return found


def compare(old: Tokenizer, new: Tokenizer, texts: Sequence[str], plain_bytes: int = 1_000_000) -> Comparison:
    """Both on the same texts; ``plain_bytes`` of English and code are looked at besides."""
    added = added_characters(old, new)
    lines = [line[:_BETWEEN] for text in (*texts, *english_and_code(plain_bytes)) for line in text.splitlines()]
    plain = [line for line in dict.fromkeys(lines) if line and added.isdisjoint(line)]
    changed = [
        line
        for line, before, after in zip(plain, old.encode_batch(plain), new.encode_batch(plain), strict=True)
        if before.tolist() != after.tolist()
    ]
    return Comparison(
        before=measure_tokenizer(old, texts),
        after=measure_tokenizer(new, texts),
        plain_lines=len(plain),
        changed=len(changed),
        examples=tuple(line[:40] for line in changed[:5]),
    )
