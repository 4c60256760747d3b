"""The elements of a JSON list, or of the list under ``data`` in a JSON object, read while the file streams past."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from huohou.data.encoding import Encoding
from huohou.data.lines import LINE_LIMIT, characters, too_long
from huohou.errors import UserError

_SPACE = " \t\r\n"
# After these messages of the json module more text may still make the value whole.
_OPEN = ("Unterminated string", "Expecting value", "Expecting ',' delimiter", "Expecting ':' delimiter",
         "Expecting property name", "Invalid \\uXXXX escape", "Invalid \\escape", "Illegal trailing comma")  # fmt: skip


class _Scanner:
    """A window over the text: whole values are taken from its front, text is added at its back."""

    def __init__(self, pieces: Iterator[str], where: str, limit: int) -> None:
        self._pieces, self._where, self._limit = pieces, where, limit
        self._text, self._at, self._ended = "", 0, False
        self._line, self._counted = 1, 0
        self._decoder = json.JSONDecoder()

    @property
    def line(self) -> int:
        """The line at which the window's front stands, from 1."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _more(self, wanted: int) -> bool:
        """Add at least ``wanted`` characters; False at the file's end."""
        _ = self.line
        parts, size = [self._text[self._at :]], 0
        self._at = self._counted = 0
        while size < wanted:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                break
            parts.append(piece)
            size += len(piece)
        self._text = "".join(parts)
        return size > 0

    def peek(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(1):
                return ""

    def skip(self) -> None:
        """Go past the character that :meth:`peek` showed."""
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
                # A number that touches the window's end may have more digits, so it is read again with more text.
                self._more(1)
            except json.JSONDecodeError as error:
                definite = not error.msg.startswith(_OPEN) or (
                    len(self._text) - error.pos > 16 and not error.msg.startswith("Unterminated string")
                )
                if definite or self._ended:
                    self.fail(error.msg, error.pos)
                if len(self._text) - self._at > self._limit:
                    self.too_long()
                self._more(max(len(self._text) - self._at, 1))
            except (RecursionError, ValueError) as error:
                self.fail("nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0])

    def too_long(self) -> None:
        why = too_long(self._limit)
        raise UserError(
            f"{self._where}:{self.line}: a value that is {why.en}.", f"{self._where}:{self.line}：该值{why.zh}。"
        )

    def fail(self, reason: str, position: int | None = None) -> None:
        at = self._at if position is None else position
        line = self.line + self._text.count("\n", self._at, at)
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        near = " ".join(self._text[at : at + 40].split()) or "the end of the file"
        raise UserError(
            f"{self._where}:{line}:{column}: not valid JSON: {reason}, at “{near}”; what follows cannot be read.",
            f"{self._where}:{line}:{column}：不是合法的 JSON：{reason}，位置在“{near}”；其后的内容无法读取。",
        )


def json_list(
    stream: IO[bytes], encoding: Encoding, where: str, *, limit: int = LINE_LIMIT
) -> Iterator[tuple[int, Any]]:
    """(line, element) of the list. An object without a list ``data`` is itself a record, and so are its followers."""
    scanner = _Scanner(characters(stream, encoding, where), where, limit)
    first = scanner.peek()
    if first == "[":
        yield from _elements(scanner)
    elif first == "{":
        line = scanner.line
        scanner.skip()
        found, plain = False, dict[str, Any]()
        while scanner.peek() != "}":
            key = scanner.value()
            if scanner.peek() != ":":
                scanner.fail("Expecting ':' delimiter")
            scanner.skip()
            if key == "data" and scanner.peek() == "[":
                found = True
                yield from _elements(scanner)
            else:
                plain[str(key)] = scanner.value()
            if scanner.peek() == ",":
                scanner.skip()
            elif scanner.peek() != "}":
                scanner.fail("Expecting ',' delimiter")
        scanner.skip()
        if not found:
            yield line, plain
            # Objects one after the other, jsonl under the name of json.
            while scanner.peek() == "{":
                yield scanner.line, scanner.value()
    elif first:
        scanner.fail("Expecting a list or an object")
    if scanner.peek():
        scanner.fail("Extra data")


def _elements(scanner: _Scanner) -> Iterator[tuple[int, Any]]:
    """The elements of the list whose bracket is next."""
    scanner.skip()
    if scanner.peek() == "]":
        scanner.skip()
        return
    while True:
        scanner.peek()
        line = scanner.line
        yield line, scanner.value()
        follows = scanner.peek()
        if follows not in (",", "]"):
            scanner.fail("Expecting ',' delimiter")
        scanner.skip()
        if follows == "]":
            return
