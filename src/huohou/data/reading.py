"""From records to items (documents, dialogues) in order, with every record that is not used counted and explained.

``read == used + bad + empty`` holds at every moment of a pass. A *bad* record cannot be used as it is (broken JSON, no
such field, a number or null in it, a lone surrogate); an *empty* one holds nothing but white space.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from huohou import records
from huohou.data.files import find_sources, shown_error, shown_path
from huohou.data.formats import Record, RecordFile
from huohou.errors import UserError
from huohou.language import Text

Item = TypeVar("Item")

SURROGATE = re.compile("[\ud800-\udfff]")


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


class Reader(Generic[Item]):
    """The items of files. Every pass over it reads the files anew and counts afresh.

    ``on_bad="skip"`` goes on after a bad record and writes it, with the reason, to ``rejects`` (jsonl);
    ``"stop"`` raises a UserError that names file and line.
    """

    named = Text("document", "文档")
    """What an item is called."""

    def __init__(
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        on_bad: Literal["stop", "skip"] = "stop",
        rejects: Path | None = None,
    ) -> None:
        self.sources = find_sources(sources)
        self.on_bad, self.rejects = on_bad, rejects
        self.on_problem: Callable[[UserError], None] | None = None
        """Told of every bad record, with ``on_bad="skip"`` too."""
        self.counts = Counts()
        self._facts: list[FileFacts] = []
        self._done_bytes = 0
        self._open: RecordFile | None = None
        self._first_problem: UserError | None = None

    def state_of_files(self) -> list[list[Any]]:
        """Every file's path, size and time of change, and how many records are taken: plain data for a key."""
        return [[str(path.resolve()), *_stat(path), source.limit] for source in self.sources for path in source.files]

    @abstractmethod
    def begin(self, path: Path) -> tuple[RecordFile, Callable[[Record], tuple[Item | None, Text | None]]]:
        """A file, opened, and what makes an item of each of its records: (item, None), (None, problem), or
        (None, None) for an empty one."""

    @abstractmethod
    def field_of(self, file: RecordFile) -> str | None:
        """What the file facts say about the field or form that is read, as far as it is known."""

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

    def __iter__(self) -> Iterator[Item]:
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

    def _file(self, path: Path, left: int | None, rejects: _Rejects) -> Generator[Item, None, FileFacts]:
        file, item_of = self.begin(path)
        self._open = file
        encoding = str(file.encoding) if file.encoding else "binary"
        facts = FileFacts(shown_path(path), file.format or "txt", encoding, file.compression, None)
        self._facts.append(facts)
        for record in file:
            item, problem = item_of(record)
            facts.text = self.field_of(file)
            for counts in (self.counts, facts.counts):
                counts.read += 1
                counts.bad += problem is not None
                counts.empty += problem is None and item is None
                counts.used += item is not None
            if problem is not None:
                error = _bad(path, record, problem)
                self._first_problem = self._first_problem or error
                if self.on_problem is not None:
                    self.on_problem(error)
                if self.on_bad == "stop":
                    raise error
                rejects.add(path, record, problem)
            elif item is not None:
                yield item
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
            f"{where}: there is no {self.named.en} in it ({self.counts.read} records, all empty).",
            f"{where}：没有任何{self.named.zh}（{self.counts.read} 条记录，全部为空）。",
        )


def _stat(path: Path) -> tuple[int, int]:
    """A file's size in bytes and its time of change in nanoseconds."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(
            f"{shown_path(path)}: the file cannot be read ({shown_error(error)}).",
            f"{shown_path(path)}：无法读取文件（{shown_error(error)}）。",
        ) from error
    return status.st_size, status.st_mtime_ns


def kind_of(value: object) -> Text:
    """What a value is, in words, where it should have been text."""
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
             "text": SURROGATE.sub("\ufffd", _raw(record))}
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
