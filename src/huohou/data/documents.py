"""Documents: one text of each record, in order.

A *bad* record has no text that can be used; an *empty* one has a text of white space only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from huohou.data.corpus import key_of
from huohou.data.formats import Record, RecordFile, Split
from huohou.data.reading import SURROGATE, Counts, FileFacts, Reader, kind_of, visible
from huohou.language import Text

__all__ = ["READING_VERSION", "TEXT_FIELDS", "Counts", "Documents", "Field", "FileFacts", "document_of", "visible"]

TEXT_FIELDS = ("text", "content", "内容", "正文", "文本", "raw_content", "body", "article", "document", "passage",
               "paragraph", "sentence")  # fmt: skip
"""Names of the field that holds the text, tried in this order where none is given."""

READING_VERSION = 1
"""Changes whenever the same files would give other documents."""


class Documents(Reader[str]):
    """The documents of files. Every pass over it reads the files anew and counts afresh.

    ``text`` names the field (or column) that holds the text; without it the first of :data:`TEXT_FIELDS` that a
    file's first fitting record has is used for that file. ``split`` says how documents are apart in txt files.
    ``on_bad`` and ``rejects`` are those of :class:`huohou.data.reading.Reader`.
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
        super().__init__(sources, on_bad=on_bad, rejects=rejects)
        self.text, self.encoding = text, encoding
        self.split: Split = split
        self._field = Field(text)

    def open(self, path: Path, field: Field) -> RecordFile:
        """One of the files, to be read in the way of this corpus."""
        return RecordFile(path, encoding=self.encoding, split=self.split, field=field)

    def begin(self, path: Path) -> tuple[RecordFile, Callable[[Record], tuple[str | None, Text | None]]]:
        field = self._field = Field(self.text)
        return self.open(path, field), lambda record: document_of(record, field)

    def field_of(self, file: RecordFile) -> str | None:
        return self._field.name if file.format != "txt" else None

    def quick_key(self) -> str:
        """Changes when a file's path, size or time of change does, or the way of reading."""
        return key_of(READING_VERSION, self.state_of_files(), self.text, self.split, self.encoding, self.on_bad)


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
        kind = kind_of(value)
        return None, Text(f"{place.en} {kind.en}, not text", f"{place.zh}{kind.zh}，不是文本")
    if value.isascii() or not (surrogate := SURROGATE.search(value)):
        return (value if value.strip() else None), None
    code = f"U+{ord(surrogate.group()):04X}"
    at = surrogate.start() + 1
    return None, Text(
        f"half a character ({code}) at character {at} of the text", f"文本第 {at} 个字符是半个字符（{code}）"
    )
