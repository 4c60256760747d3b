"""A file's lines as text, each with its number, and with what is wrong with it if anything is.

A line ends at LF or CRLF and nowhere else: U+2028, form feeds and lone CRs are characters of the text. Memory is
bounded: a line longer than the limit is a bad line, and its rest is read past, not kept.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from huohou.data.encoding import Encoding
from huohou.errors import UserError
from huohou.language import Text

LINE_LIMIT = 256 << 20
"""The longest line, document or JSON value, in bytes: far above a book, far below what fills a machine."""

_CHUNK = 1 << 16


@dataclass(slots=True)
class Line:
    """One line without its end; where ``problem`` is set, ``text`` is only good for showing."""

    number: int
    text: str
    problem: Text | None = None
    column: int | None = None


def too_long(limit: int) -> Text:
    size = f"{limit / (1 << 20):g} MiB"
    return Text(
        f"longer than {size}; cut it into shorter documents", f"长度超过 {size}；请把它切成较短的文档"
    )  # fmt: skip


def _not_text(raw: bytes, error: UnicodeDecodeError, encoding: Encoding) -> tuple[Text, int]:
    column = len(raw[: error.start].decode(encoding.name, "replace")) + 1
    byte = f"0x{raw[error.start]:02x}"
    name = encoding.name.upper()
    return Text(f"byte {byte} is not valid {name}", f"字节 {byte} 不是合法的 {name}"), column


def lines(stream: IO[bytes], encoding: Encoding, where: str, *, limit: int = LINE_LIMIT) -> Iterator[Line]:
    """The lines of a stream that stands at its beginning."""
    if not encoding.by_line:
        yield from _decoded_first(stream, encoding, where, limit)
        return
    stream.read(len(encoding.mark))
    number = 0
    while raw := stream.readline(limit + 2):
        number += 1
        if len(raw) > limit and not raw.endswith(b"\n"):
            while (rest := stream.readline(_CHUNK)) and not rest.endswith(b"\n"):
                pass
            yield Line(number, raw[:400].decode(encoding.name, "replace"), too_long(limit))
            continue
        raw = raw.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield Line(number, raw.decode(encoding.name))
        except UnicodeDecodeError as error:
            problem, column = _not_text(raw, error, encoding)
            yield Line(number, raw.decode(encoding.name, "replace"), problem, column)


def characters(stream: IO[bytes], encoding: Encoding, where: str) -> Iterator[str]:
    """A stream's text in pieces, strictly decoded; bytes that are not text are a UserError that names the line."""
    decoder = codecs.getincrementaldecoder(encoding.name)("strict")
    stream.read(len(encoding.mark))
    number = 1
    while True:
        raw = stream.read(_CHUNK)
        try:
            text = decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            # The error's bytes are what the decoder had kept and this chunk; good ones before it hold line ends.
            before = error.object[: error.start].decode(encoding.name, "replace")
            number += before.count("\n")
            name = encoding.name.upper()
            raise UserError(
                f"{where}:{number}: the bytes here are not valid {name}, which the file begins in; repair the line "
                "or name the encoding (encoding: …).",
                f"{where}:{number}：这里的字节不是合法的 {name}（文件开头是这种编码）；"
                "请修复该行或写明编码（encoding: …）。",
            ) from None
        if text:
            number += text.count("\n")
            yield text
        if not raw:
            return


def _decoded_first(stream: IO[bytes], encoding: Encoding, where: str, limit: int) -> Iterator[Line]:
    """Lines of an encoding in which a byte 0x0A need not end a line (UTF-16 and its like)."""
    number, kept, length, long = 1, list[str](), 0, False
    for text in characters(stream, encoding, where):
        *ended, rest = text.split("\n")
        for piece in ended:
            whole = "".join((*kept, piece)).removesuffix("\r")
            too = long or len(whole) > limit
            yield Line(number, whole[:400], too_long(limit)) if too else Line(number, whole)
            number, kept, length, long = number + 1, [], 0, False
        length += len(rest)
        long = long or length > limit
        if not long:
            kept.append(rest)
    whole = "".join(kept)
    if whole or long:
        yield Line(number, whole[:400], too_long(limit)) if long else Line(number, whole)
