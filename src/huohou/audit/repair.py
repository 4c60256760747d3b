"""``--fix``: the edits that findings carry, made in the files; every other byte stays as it is.

A file keeps its encoding, its byte order mark and its line ends, and is replaced at once or not at all. An edit is made
only where its old text stands exactly once in its line, and of two that overlap the first is made.
"""

from __future__ import annotations

import codecs
import difflib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huohou.audit.edits import SHELL
from huohou.audit.reading import Edit, Finding
from huohou.audit.source import LARGEST
from huohou.errors import UserError
from huohou.language import Text

_END = re.compile(r"\r\n|\r|\n")
_CODECS = (
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"", "utf-8"),
    (b"", "gb18030"),
)
"""The encodings that the audit reads; a byte order mark stays the first character of the text."""


@dataclass(slots=True)
class Repair:
    """One file and what becomes of it.

    Attributes:
        file: Its name, as findings say it.
        before, after: Its text.
        encoding: How the text is written.
        made: The edits that were made.
        left: Those that were not, with the reason.
    """

    file: str
    before: str
    after: str
    encoding: str
    made: list[Edit] = field(default_factory=list[Edit])
    left: list[tuple[Edit, Text]] = field(default_factory=list[tuple[Edit, Text]])

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return self.before != self.after


def repairs(findings: Iterable[Finding]) -> list[Repair]:
    """What the findings' edits make of their files; nothing is written.

    Raises:
        UserError: A file cannot be read, or is not what was audited.
    """
    by_file: dict[str, list[Edit]] = {}
    for finding in findings:
        for edit in finding.edits:
            edits = by_file.setdefault(edit.file, [])
            if edit not in edits:
                edits.append(edit)
    return [_repair(file, edits) for file, edits in by_file.items()]


def _repair(file: str, edits: list[Edit]) -> Repair:
    text, encoding = _read(Path(file))
    # Text and line ends take turns, so that each line keeps its own end.
    parts = re.split(f"({_END.pattern})", text)
    usual = next((part for part in parts[1::2]), "\n")
    repair = Repair(file, text, text, encoding)
    spans: dict[int, list[tuple[int, int, Edit]]] = {}
    for edit in edits:
        place = 2 * (edit.line - 1)
        line = parts[place] if place < len(parts) else ""
        if line.count(edit.old) != 1 or not edit.old:
            why = Text("its text is not in the line, or more than once", "该行没有这段文字，或不止一处")
            repair.left.append((edit, why))
            continue
        start = line.index(edit.old)
        end = start + len(edit.old)
        taken = spans.setdefault(place, [])
        if any(start < other_end and other_start < end for other_start, other_end, _ in taken):
            why = Text(
                "another edit changes the same text; run --fix again", "另一处修改涉及同一段文字；请再次运行 --fix"
            )
            repair.left.append((edit, why))
            continue
        taken.append((start, end, edit))
        repair.made.append(edit)
    for place, taken in spans.items():
        line = parts[place]
        for start, end, edit in sorted(taken, key=lambda span: span[0], reverse=True):
            line = line[:start] + edit.new.replace("\n", usual) + line[end:]
        parts[place] = line
        if _gone(line, file, all(not edit.new for _, _, edit in taken)) and place + 1 < len(parts):
            # A line that held nothing else goes with its end; a blank one would end a command of the shell.
            parts[place] = parts[place + 1] = ""
    repair.after = "".join(parts)
    return repair


def _gone(line: str, file: str, emptied: bool) -> bool:
    shell = file.lower().endswith(SHELL)
    return emptied and (line.strip() == "\\" if shell else not line.strip())


def _read(path: Path) -> tuple[str, str]:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"{path} cannot be read: {why}.", f"无法读取 {path}：{why}。") from error
    for mark, encoding in _CODECS:
        if mark and not data.startswith(mark):
            continue
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if text.encode(encoding) == data:
            return text, encoding
    raise UserError(
        f"{path} is in an encoding that would not come back byte for byte, so it is not edited.",
        f"{path} 的编码无法逐字节还原，因此不修改。",
    )


def write(repair: Repair) -> None:
    """Put the new text in the file's place, with the file's permissions; through a link into what it points to.

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(repair.file).resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(beside, "xb") as file:
                file.write(repair.after.encode(repair.encoding))
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(path, beside)
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"{repair.file} could not be written: {why}.", f"无法写入 {repair.file}：{why}。") from error


def changes(several: Sequence[Repair], *, written: bool) -> str:
    """What was changed, or would be, as lines taken out and put in."""
    blocks: list[str] = []
    for repair in several:
        old, new = (_END.split(text.lstrip("\ufeff")) for text in (repair.before, repair.after))
        lines = list(difflib.unified_diff(old, new, repair.file, repair.file, n=1, lineterm=""))
        lines += [
            str(Text(f"not changed: {repair.file}:{edit.line}: {why}", f"未修改：{repair.file}:{edit.line}：{why}"))
            for edit, why in repair.left
        ]
        blocks.append("\n".join(lines))
    many = sum(len(repair.made) for repair in several)
    edits = "1 edit" if many == 1 else f"{many} edits"
    if not many:
        blocks.append(str(Text("nothing that --fix can change", "没有 --fix 能修改的内容")))
    elif written:
        blocks.append(str(Text(f"{edits} made", f"已修改 {many} 处")))
    else:
        blocks.append(str(Text(f"{edits}, none written", f"{many} 处修改，未写入")))
    return "\n\n".join(block for block in blocks if block)
