"""Which encoding a file's bytes are in: by its mark, else strictly UTF-8, else by which reading gives ordinary text.

A strict decoder alone is a poor judge of Chinese files: UTF-8 with one broken byte often passes as GB18030, and
GB18030 sometimes as Big5 or UTF-16. Readings that are not strict UTF-8 are therefore compared by their share of
common characters: the 3,755 of GB 2312's first level, the 5,401 of Big5's first level, and punctuation.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from functools import cache
from typing import IO

from huohou.errors import UserError

SAMPLE = 1 << 20
"""So many bytes, from the first one that is not ASCII, decide; what follows must keep to the decision."""

_JUDGED = 50_000
_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# In these a byte 0x0A need not be the end of a line, or what it means depends on what came before.
_NOT_BY_LINE = ("utf-16", "utf-32", "utf-7", "hz", "iso2022")


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec's name and the byte order mark that the file begins with (empty: none)."""

    name: str
    mark: bytes = b""

    def __str__(self) -> str:
        return self.name.upper() + (" with BOM" if self.mark else "")

    @property
    def by_line(self) -> bool:
        """Whether bytes can be cut at 0x0A first and decoded line by line."""
        return not self.name.replace("_", "-").startswith(_NOT_BY_LINE)


@cache
def _common() -> frozenset[str]:
    """Characters that ordinary Chinese text, simplified or traditional, consists of, beyond ASCII."""
    found: set[str] = set()
    for codec, leads, trails in (
        ("gb2312", range(0xA1, 0xD8), range(0xA1, 0xFF)),
        ("big5", range(0xA1, 0xC7), (*range(0x40, 0x7F), *range(0xA1, 0xFF))),
    ):
        for lead in leads:
            for trail in trails:
                found.update(bytes((lead, trail)).decode(codec, "ignore"))
    found.update(chr(i) for i in range(0x20, 0x7F))
    return frozenset(found) | frozenset("\t\n\r——…“”‘’·、。《》〈〉　")


def _ordinary(text: str, *, beyond_ascii: bool) -> float:
    """The share of common characters; one that could not be decoded counts twice against it."""
    judged = [c for c in text if c > "\x7f"] if beyond_ascii else list(text)
    if not judged:
        return 0.0
    good = _common()
    bad = sum(c == "\ufffd" for c in judged)
    return (sum(c in good for c in judged) - bad) / len(judged)


def _strict(sample: bytes, name: str, whole: bool) -> str | None:
    """The sample decoded, a character cut by its end left out unless the sample is the whole file; None: impossible."""
    try:
        return codecs.getincrementaldecoder(name)("strict").decode(sample, final=whole)
    except UnicodeDecodeError:
        return None


def judge(sample: bytes, *, whole: bool) -> str | None:
    """The codec that reads these bytes (no byte order mark) as text, or None where none does."""
    for name in ("utf-16-le", "utf-16-be") if b"\0" in sample else ():
        text = _strict(sample, name, whole)
        if text is not None and "\0" not in text and _ordinary(text[:_JUDGED], beyond_ascii=False) >= 0.6:
            return name
    if _strict(sample, "utf-8", whole) is not None:
        return "utf-8"
    scores: dict[str, float] = {}
    for name in ("utf-8", "gb18030", "cp950"):
        text = sample[: 4 * _JUDGED].decode(name, "replace")
        scores[name] = _ordinary(text, beyond_ascii=True)
    for name in ("utf-16-le", "utf-16-be"):
        text = _strict(sample[: 2 * _JUDGED], name, whole and len(sample) <= 2 * _JUDGED)
        if text is not None and "\0" not in text:
            scores[name] = _ordinary(text, beyond_ascii=False)
    # Big5 and unmarked UTF-16 are rare, so they need more than the same plausibility.
    scores = {name: score - (0.15 if name not in ("utf-8", "gb18030") else 0.0) for name, score in scores.items()}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] >= 0.5:
        return best
    return "gb18030" if _strict(sample, "gb18030", whole) is not None else None


def detect(stream: IO[bytes], where: str) -> Encoding:
    """The encoding of a stream that stands at its beginning; a stream without a readable text is a UserError."""
    head = stream.read(SAMPLE)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, mark)
    ended = len(head) < SAMPLE
    while head and head.isascii() and b"\0" not in head and not ended:
        head = stream.read(SAMPLE)
        ended = len(head) < SAMPLE
    if not ended:
        # What is not ASCII may begin with the last bytes of this block: one more makes a sample worth the name.
        more = stream.read(SAMPLE)
        ended = len(more) < SAMPLE
        head += more
    name = judge(head, whole=ended)
    if name is None:
        raise UserError(
            f"{where}: this is not text in UTF-8, GB18030, Big5 or UTF-16; name its encoding (encoding: …) "
            "or convert the file to UTF-8.",
            f"{where}：不是 UTF-8、GB18030、Big5 或 UTF-16 文本；请写明编码（encoding: …），或把文件转换为 UTF-8。",
        )
    return Encoding(name)


def named(name: str, head: bytes) -> Encoding:
    """The encoding that a person named; a byte order mark that agrees with it is still left out of the text."""
    try:
        canonical = codecs.lookup(name).name
        b"a\n".decode(canonical, "ignore")
    except LookupError:
        raise UserError(
            f"encoding: {name} is not known; write auto, utf-8, gb18030, utf-16 or another name that Python knows.",
            f"encoding: 不认识编码 {name}；请写 auto、utf-8、gb18030、utf-16 或 Python 认识的其他编码名。",
        ) from None
    if canonical in ("utf-16", "utf-32"):
        for mark, marked in _MARKS:
            if marked.startswith(canonical) and head.startswith(mark):
                return Encoding(marked, mark)
        return Encoding(f"{canonical}-le")
    if canonical == "utf-8-sig":
        canonical = "utf-8"
    for mark, marked in _MARKS:
        if marked == canonical and head.startswith(mark):
            return Encoding(canonical, mark)
    return Encoding(canonical)
