"""Records of a file, whatever its format: each with its line, its value, or the reason why it has none.

A *record* is what can become one document: a line or a part of a txt file, a line of jsonl, an element of a json
list, a row of a table. What is wrong with one record is the record's own matter; what makes the rest of a file
unreadable (a JSON list that breaks off, a damaged archive) is a UserError at once.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from huohou.data.encoding import Encoding, detect, named
from huohou.data.files import Bytes, format_of, reading, shown_path
from huohou.data.json_list import json_list
from huohou.data.lines import LINE_LIMIT, Line, lines, too_long
from huohou.errors import UserError, missing_extra
from huohou.language import Text

Split = Literal["line", "blank", "file"]


@dataclass(slots=True)
class Record:
    """One record: ``value`` is a text, or what JSON or a table holds; with a ``problem`` it has no value.

    ``line`` counts from 1 (a parquet file's rows do); ``raw`` is the record as it is written, where that is at hand.
    """

    line: int
    value: Any = None
    problem: Text | None = None
    column: int | None = None
    raw: str | None = None


class RecordFile:
    """A file of records. Its facts are known once it has been opened; iterating opens it anew each time."""

    def __init__(
        self,
        path: Path,
        *,
        encoding: str = "auto",
        split: Split = "line",
        field: Callable[[Sequence[str]], str | None] = lambda names: None,
        limit: int = LINE_LIMIT,
    ) -> None:
        """``field`` chooses the one column that is read from a parquet file, given the columns' names (None: all)."""
        self.path, self._field, self._limit = path, field, limit
        self._split: Split = split
        self._asked = encoding
        self.format, _ = format_of(path)
        self.compression: str | None = None
        self.encoding: Encoding | None = None
        self._bytes: Bytes | None = None
        self._row = self._rows = 0
        with reading(path):
            self._look()

    def _look(self) -> None:
        """Find compression, format and encoding from the file's beginning."""
        with Bytes(self.path) as stream:
            head = stream.read(1 << 16)
        opened = Bytes(self.path)
        with opened as stream:
            self.compression = opened.compression
            if head[:4] == b"PAR1" or self.format == "parquet":
                self.format = "parquet"
                return
            self._refuse_foreign(head)
            if self._asked == "auto":
                self.encoding = detect(stream, shown_path(self.path))
            else:
                self.encoding = named(self._asked, head)
        start = head[len(self.encoding.mark) :].decode(self.encoding.name, "replace").lstrip()
        self.format = _refined(self.format, start)

    def _refuse_foreign(self, head: bytes) -> None:
        kinds = {b"PK\x03\x04": "zip (xlsx, docx)", b"%PDF": "PDF", b"\xd0\xcf\x11\xe0": "Office", b"BZh": "bzip2",
                 b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z", b"SQLite": "SQLite", b"\x89PNG": "PNG"}  # fmt: skip
        for mark, kind in kinds.items():
            if head.startswith(mark):
                where = shown_path(self.path)
                raise UserError(
                    f"{where}: this is a file of kind {kind}, not text; export it as txt, jsonl, csv or parquet.",
                    f"{where}：这是 {kind} 文件，不是文本；请导出为 txt、jsonl、csv 或 parquet。",
                )

    @property
    def position(self) -> int:
        """Bytes taken from the disk so far, for a progress display."""
        if self._rows:
            return self.path.stat().st_size * self._row // self._rows
        return self._bytes.position if self._bytes and not self._bytes.raw.closed else 0

    def __iter__(self) -> Iterator[Record]:
        with reading(self.path):
            self._row = 0
            if self.format == "parquet":
                yield from self._parquet()
                return
            assert self.encoding is not None
            self._bytes = Bytes(self.path)
            with self._bytes as stream:
                where = shown_path(self.path)
                if self.format == "json":
                    for line, value in json_list(stream, self.encoding, where, limit=self._limit):
                        yield Record(line, value)
                    return
                read = lines(stream, self.encoding, where, limit=self._limit)
                if self.format == "jsonl":
                    yield from _jsonl(read)
                elif self.format in ("csv", "tsv"):
                    yield from _table(read, where, "," if self.format == "csv" else "\t", self._limit)
                elif self._split == "line":
                    yield from _text_lines(read)
                else:
                    yield from _text_parts(read, self._split, self._limit)

    @property
    def seekable(self) -> bool:
        """Whether a record can be found from any place in the file: it is a line of an uncompressed file."""
        by_line = self.encoding is not None and self.encoding.by_line
        return by_line and self.compression is None and (self.format == "jsonl" or self._lines_of_text)

    @property
    def _lines_of_text(self) -> bool:
        return self.format == "txt" and self._split == "line"

    def block(self, offset: int, length: int) -> tuple[list[Record], int]:
        """(records, their bytes): those that begin in the ``length`` bytes from ``offset`` of a seekable file."""
        assert self.encoding is not None
        with reading(self.path), open(self.path, "rb") as file:
            file.seek(offset)
            if offset:
                file.readline(self._limit)
            raw = file.read(length)
            raw += file.readline(self._limit)
        read = lines(BytesIO(raw), Encoding(self.encoding.name), shown_path(self.path), limit=self._limit)
        return list(_text_lines(read) if self._lines_of_text else _jsonl(read)), len(raw)

    def _parquet(self) -> Iterator[Record]:
        try:
            import pyarrow.parquet as parquet  # pyright: ignore[reportMissingTypeStubs]
        except ImportError:
            raise missing_extra("pyarrow", "data") from None
        file: Any = parquet.ParquetFile(self.path)
        with file:
            field = self._field(list(file.schema_arrow.names))
            self._rows = int(file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=1024, columns=[field] if field else None):
                for value in _rows(batch):
                    self._row += 1
                    yield Record(self._row, value)


def _refined(form: str | None, start: str) -> str:
    """The format, where the name leaves it open or the content plainly says another one of the JSON kind."""
    if form is None:
        return _refined("json", start) if re.match(r'\{\s*"|\[\s*[\[{"]', start) else "txt"
    if form == "jsonl" and start.startswith("["):
        # A list over several lines under the name of jsonl; a list in each line is jsonl with lists in it.
        return "jsonl" if _complete(start.split("\n", 1)[0]) and "\n" in start.strip() else "json"
    if form == "json" and start.startswith("{"):
        first, _, rest = start.partition("\n")
        value = _complete(first)
        if value is not None and (rest.strip() or not isinstance(value.get("data"), list)):
            return "jsonl"
    return form


def _complete(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _jsonl(read: Iterable[Line]) -> Iterator[Record]:
    for line in read:
        if line.problem is not None:
            yield Record(line.number, None, line.problem, line.column, line.text)
        elif line.text.strip():
            try:
                yield Record(line.number, json.loads(line.text), raw=line.text)
            except json.JSONDecodeError as error:
                problem = Text(f"not valid JSON: {error.msg}", f"不是合法的 JSON：{error.msg}")
                yield Record(line.number, None, problem, error.colno, line.text)
            except (RecursionError, ValueError) as error:
                reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
                problem = Text(f"not usable JSON: {reason}", f"无法使用的 JSON：{reason}")
                yield Record(line.number, None, problem, None, line.text)


def _text_lines(read: Iterable[Line]) -> Iterator[Record]:
    for line in read:
        if line.problem is not None:
            yield Record(line.number, None, line.problem, line.column, line.text)
        elif line.text.strip():
            yield Record(line.number, line.text, raw=line.text)


def _text_parts(read: Iterable[Line], split: Split, limit: int) -> Iterator[Record]:
    """Documents that are several lines: the parts between blank lines, or the whole file."""
    kept: list[str] = []
    first, size = 1, 0
    problem: Text | None = None
    column: int | None = None
    bad_line = 0

    def finished() -> Iterator[Record]:
        if problem is not None:
            yield Record(bad_line, None, problem, column, "\n".join(kept))
        elif any(text.strip() for text in kept):
            text = "\n".join(kept)
            yield Record(first, text, raw=text)

    for line in read:
        if split == "blank" and line.problem is None and not line.text.strip():
            yield from finished()
            kept, size, problem, column = [], 0, None, None
            continue
        if not kept:
            first = line.number
        size += len(line.text)
        if problem is None and (line.problem is not None or size > limit):
            problem, column, bad_line = line.problem or too_long(limit), line.column, line.number
        if size <= limit or not kept:
            kept.append(line.text)
    yield from finished()


def _table(read: Iterable[Line], where: str, delimiter: str, limit: int) -> Iterator[Record]:
    # The csv module knows only one limit for all readers; ours is never below what others may have set.
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    broken: list[Line] = []
    taken: list[Line] = []

    def fed() -> Iterator[str]:
        for line in read:
            taken.append(line)
            if line.problem is not None:
                broken.append(line)
            yield line.text + "\n"

    rows = csv.reader(fed(), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        taken.clear()
        broken.clear()
        problem: Text | None = None
        row: list[str] = []
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            problem = Text(f"not a valid row: {error}", f"不是合法的行：{error}")
        line = taken[0].number if taken else 0
        raw = "\n".join(part.text for part in taken)
        if names is None:
            if problem is not None or broken:
                reason = problem or broken[0].problem
                assert reason is not None
                raise UserError(
                    f"{where}:1: the header cannot be read: {reason.en}.", f"{where}:1：无法读取表头：{reason.zh}。"
                )
            if row:
                names = row
            continue
        if broken:
            yield Record(broken[0].number, None, broken[0].problem, broken[0].column, raw)
        elif problem is not None:
            yield Record(line, None, problem, None, raw)
        elif row and len(row) != len(names):
            yield Record(
                line, None, Text(f"{len(row)} columns where the header has {len(names)}",
                                 f"有 {len(row)} 列，而表头有 {len(names)} 列"), None, raw
            )  # fmt: skip
        elif row:
            yield Record(line, dict(zip(names, row, strict=True)), raw=raw)


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    names: list[str] = list(batch.schema.names)
    columns: list[list[Any]] = []
    for column in batch.columns:
        try:
            columns.append(column.to_pylist())
        except UnicodeDecodeError:
            columns.append([_cell(cell) for cell in column])
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _cell(cell: Any) -> Any:
    """A parquet cell; a text that is not UTF-8 becomes bytes, which no document can be."""
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return bytes(cell.as_buffer())
