"""From records to documents: one text each, in order, with every record that is not used counted and explained.

``read == used + bad + empty`` holds at every moment of a pass. A *bad* record has no text that can be used (broken
JSON, no such field, a number or null in it, a lone surrogate); an *empty* one has a text of white space only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from huohou import records
from huohou.data.corpus import key_of
from huohou.data.files import find_sources, shown_error, shown_path
from huohou.data.formats import Record, RecordFile, Split
from huohou.errors import UserError
from huohou.language import Text

TEXT_FIELDS = ("text", "content", "内容", "正文", "文本", "raw_content", "body", "article", "document", "passage",
               "paragraph", "sentence")  # fmt: skip
"""Names of the field that holds the text, tried in this order where none is given."""

READING_VERSION = 1
"""Changes whenever the same files would give other documents."""


@dataclass(slots=True)
class Counts:
    """What became of the records: ``read == used + skipped``, ``skipped == bad + empty``."""

    read: int = 0
    used: int = 0
    bad: int = 0
    empty: int = 0

    @property
    def skipped(self) -> int:
        return self.bad + self.empty


@dataclass(slots=True)
class FileFacts:
    """What was found in one file."""

    path: str
    format: str
    encoding: str
    compression: str | None
    text: str | None
    counts: Counts = field(default_factory=Counts)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


class Documents:
    """The documents of files. Every pass over it reads the files anew and counts afresh.

    ``text`` names the field (or column) that holds the text; without it the first of :data:`TEXT_FIELDS` that a
    file's first fitting record has is used for that file. ``split`` says how documents are apart in txt files.
    ``on_bad="skip"`` goes on after a bad record and writes it, with the reason, to ``rejects`` (jsonl);
    ``"stop"`` raises a UserError that names file and line.
    """

    def __init__(
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        text: str | None = None,
        split: Split = "line",
        encoding: str = "auto",
        on_bad: Literal["stop", "skip"] = "stop",
        rejects: Path | None = None,
    ) -> None:
        self.sources = find_sources(sources)
        self.text, self.encoding, self.on_bad = text, encoding, on_bad
        self.split: Split = split
        self.rejects = rejects
        self.on_problem: Callable[[UserError], None] | None = None
        """Told of every bad record, with ``on_bad="skip"`` too."""
        self.counts = Counts()
        self._facts: list[FileFacts] = []
        self._done_bytes = 0
        self._open: RecordFile | None = None
        self._first_problem: UserError | None = None

    @property
    def files(self) -> tuple[FileFacts, ...]:
        """What the latest pass found in the files that it has opened."""
        return tuple(self._facts)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(_stat(path)[0] for source in self.sources for path in source.files)

    @property
    def position(self) -> int:
        """Bytes of the disk that the running pass has gone through."""
        return self._done_bytes + (self._open.position if self._open else 0)

    def open(self, path: Path, field: Field) -> RecordFile:
        """One of the files, to be read in the way of this corpus."""
        return RecordFile(path, encoding=self.encoding, split=self.split, field=field)

    def quick_key(self) -> str:
        """Changes when a file's path, size or time of change does, or the way of reading."""
        files = [
            [str(path.resolve()), *_stat(path), source.limit] for source in self.sources for path in source.files
        ]  # fmt: skip
        return key_of(READING_VERSION, files, self.text, self.split, self.encoding, self.on_bad)

    def __iter__(self) -> Iterator[str]:
        self.counts, self._facts, self._done_bytes, self._first_problem = Counts(), [], 0, None
        rejects = _Rejects(self.rejects if self.on_bad == "skip" else None)
        try:
            for source in self.sources:
                left = source.limit
                for path in source.files:
                    if left == 0:
                        break
                    facts = yield from self._file(path, left, rejects)
                    if source.named and facts.counts.read == 0:
                        raise UserError(
                            f"{shown_path(path)}: this file is empty: it holds no record.",
                            f"{shown_path(path)}：这个文件是空的，没有任何记录。",
                        )
                    left = None if left is None else left - facts.counts.read
            if self.counts.used == 0:
                raise self._nothing()
        finally:
            self._open = None
            rejects.close()

    def _file(self, path: Path, left: int | None, rejects: _Rejects) -> Generator[str, None, FileFacts]:
        field = Field(self.text)
        file = self._open = self.open(path, field)
        encoding = str(file.encoding) if file.encoding else "binary"
        facts = FileFacts(shown_path(path), file.format or "txt", encoding, file.compression, None)
        self._facts.append(facts)
        for record in file:
            document, problem = document_of(record, field)
            facts.text = field.name if file.format != "txt" else None
            for counts in (self.counts, facts.counts):
                counts.read += 1
                counts.bad += problem is not None
                counts.empty += problem is None and document is None
                counts.used += document is not None
            if problem is not None:
                error = _bad(path, record, problem)
                self._first_problem = self._first_problem or error
                if self.on_problem is not None:
                    self.on_problem(error)
                if self.on_bad == "stop":
                    raise error
                rejects.add(path, record, problem)
            elif document is not None:
                yield document
            if left is not None and facts.counts.read == left:
                break
        self._open, self._done_bytes = None, self._done_bytes + _stat(path)[0]
        return facts

    def _nothing(self) -> UserError:
        where = ", ".join(source.spec for source in self.sources)
        if self._first_problem is not None:
            first = self._first_problem.text
            return UserError(
                f"{where}: none of the {self.counts.read} records can be used; the first: {first.en}",
                f"{where}：{self.counts.read} 条记录全部不可用；第一条：{first.zh}",
            )
        return UserError(
            f"{where}: there is no document in it ({self.counts.read} records, all empty).",
            f"{where}：没有任何文档（{self.counts.read} 条记录，全部为空）。",
        )


def _stat(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(
            f"{shown_path(path)}: the file cannot be read ({shown_error(error)}).",
            f"{shown_path(path)}：无法读取文件（{shown_error(error)}）。",
        ) from error
    return status.st_size, status.st_mtime_ns


_SURROGATE = re.compile("[\ud800-\udfff]")


class Field:
    """The name of the field that holds the text: the given one, or the first usual one that is met."""

    def __init__(self, given: str | None) -> None:
        self.given = self.name = given

    def __call__(self, names: Iterable[str]) -> str | None:
        """The field's name if it is among these."""
        present = set(names)
        if self.name is None:
            self.name = next((name for name in TEXT_FIELDS if name in present), None)
        return self.name if self.name in present else None


def document_of(record: Record, field: Field) -> tuple[str | None, Text | None]:
    """(document, None), (None, problem), or (None, None) for an empty one."""
    if record.problem is not None:
        return None, record.problem
    value = record.value
    if isinstance(value, dict):
        fields: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        name = field(map(str, fields))
        if name is None:
            has = ", ".join(list(fields)[:8]) or "–"
            wanted = Text(f"no field {field.name}", f"没有字段 {field.name}")
            if field.name is None:
                wanted = Text("no field that is known to hold text", "没有已知的文本字段")
            return None, Text(f"{wanted.en} (fields: {has})", f"{wanted.zh}（字段：{has}）")
        value = fields[name]
        place = Text(f"field {name} holds", f"字段 {name} 的值是")
    else:
        place = Text("the record is", "该记录是")
    if not isinstance(value, str):
        kind = _kind(value)
        return None, Text(f"{place.en} {kind.en}, not text", f"{place.zh}{kind.zh}，不是文本")
    if value.isascii() or not (surrogate := _SURROGATE.search(value)):
        return (value if value.strip() else None), None
    code = f"U+{ord(surrogate.group()):04X}"
    at = surrogate.start() + 1
    return None, Text(
        f"half a character ({code}) at character {at} of the text", f"文本第 {at} 个字符是半个字符（{code}）"
    )


def _kind(value: object) -> Text:
    kinds: list[tuple[type | tuple[type, ...], Text]] = [
        (type(None), Text("null", "空值（null）")), (bool, Text("true or false", "布尔值")),
        ((int, float), Text("a number", "数字")), (list, Text("a list", "列表")), (dict, Text("an object", "对象")),
        (bytes, Text("bytes that are not UTF-8", "不是 UTF-8 的字节")),
    ]  # fmt: skip
    return next((text for kind, text in kinds if isinstance(value, kind)), Text("another thing", "其他类型"))


def _raw(record: Record) -> str:
    if record.raw is not None:
        return record.raw
    return json.dumps(record.value, ensure_ascii=False, default=repr)


def visible(text: str, length: int = 80) -> str:
    """The first characters of a foreign text, safe to show in a terminal: control characters are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:length])


def _bad(path: Path, record: Record, problem: Text) -> UserError:
    place = f"{shown_path(path)}:{record.line}" + (f":{record.column}" if record.column is not None else "")
    start = visible(_raw(record))
    return UserError(
        f"{place}: {problem.en}: “{start}”; repair it, or go on without such records (on_bad: skip).",
        f"{place}：{problem.zh}：“{start}”；请修复它，或跳过这样的记录（on_bad: skip）。",
    )


class _Rejects:
    """The file of skipped records; it comes into being with the first one, and an older one is replaced."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._file = path, None
        if path is not None and path.exists():
            path.unlink()

    def add(self, path: Path, record: Record, problem: Text) -> None:
        if self._path is None:
            return
        line = records.line_of(
            {"file": shown_path(path), "line": record.line, "column": record.column, "reason": str(problem),
             "text": _SURROGATE.sub("\ufffd", _raw(record))}
        )  # fmt: skip
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self._path, "w", encoding="utf-8", newline="\n")  # noqa: SIM115
            self._file.write(line + "\n")
        except OSError as error:
            raise UserError(
                f"{self._path}: the skipped records cannot be written ({shown_error(error)}).",
                f"{self._path}：无法写入被跳过的记录（{shown_error(error)}）。",
            ) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
