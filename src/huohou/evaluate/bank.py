"""Multiple-choice questions in the file formats of C-Eval and CMMLU.

C-Eval's folder has ``dev``, ``val`` and ``test`` with ``SUBJECT_dev.csv`` and so on; columns id, question, A to D,
answer, and in ``dev`` explanation; its ``test`` has no answers. CMMLU's has ``dev`` and ``test`` with ``SUBJECT.csv``;
columns (a number), Question, A to D, Answer. Files of both kinds are met in UTF-8 with and without a mark and in
GB18030, with columns in any order and case, and with columns missing that nothing depends on.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huohou.data.encoding import detect, named
from huohou.data.files import reading, shown_path
from huohou.errors import UserError
from huohou.evaluate.subjects import CEVAL, CMMLU, Subject

Kind = Literal["ceval", "cmmlu"]
LETTERS = "ABCD"

_SPLITS: dict[Kind, tuple[str, tuple[str, ...]]] = {"ceval": ("val", ("val", "test")), "cmmlu": ("test", ("test",))}
_LARGEST = 64 << 20
_ANSWER = re.compile(r"[^A-Z]*([ABCD])[^A-Z]*")


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its text, the texts of its four options, and which of them (0 to 3) is right."""

    text: str
    options: tuple[str, str, str, str]
    answer: int


@dataclass(frozen=True, slots=True)
class Bank:
    """The questions of one folder by subject: those that are asked, and those that are shown as examples."""

    kind: Kind
    split: str
    asked: Mapping[str, tuple[Question, ...]]
    examples: Mapping[str, tuple[Question, ...]]

    @property
    def table(self) -> dict[str, Subject]:
        """What is known of its subjects."""
        return CEVAL if self.kind == "ceval" else CMMLU


def read_bank(folder: Path, kind: Kind, *, split: str | None = None, encoding: str = "auto") -> Bank:
    """The questions of a folder; ``split`` is the part that is asked (default: C-Eval's val, CMMLU's test).

    Raises ``UserError`` for a folder of another layout, a row that is no question, and questions without answers.
    """
    usual, _ = _SPLITS[kind]
    part = split or usual
    if not folder.is_dir():
        raise UserError(f"--{kind} {folder}: there is no such folder.", f"--{kind} {folder}：没有这个文件夹。")
    if not (folder / part).is_dir():
        raise UserError(
            f"--{kind} {folder}: it has no folder {part!r}; the questions lie in {part}/*.csv and the examples in "
            "dev/*.csv.",
            f"--{kind} {folder}：里面没有文件夹 {part!r}；题目应在 {part}/*.csv，示例在 dev/*.csv。",
        )
    asked = _read_part(folder / part, part, encoding)
    if not asked:
        raise UserError(
            f"--{kind} {folder / part}: no .csv file in it holds a question.",
            f"--{kind} {folder / part}：其中没有含题目的 .csv 文件。",
        )
    examples = _read_part(folder / "dev", "dev", encoding) if (folder / "dev").is_dir() else {}
    return Bank(kind, part, asked, examples)


def _read_part(folder: Path, part: str, encoding: str) -> dict[str, tuple[Question, ...]]:
    found: dict[str, tuple[Question, ...]] = {}
    for path in sorted(folder.glob("*.csv")):
        questions = _read_file(path, encoding)
        if questions:
            found[path.stem.removesuffix(f"_{part}")] = questions
    return found


def _read_file(path: Path, encoding: str) -> tuple[Question, ...]:
    where = shown_path(path)
    with reading(path):
        if path.stat().st_size > _LARGEST:
            size = _LARGEST >> 20
            raise UserError(
                f"{where}: larger than {size} MiB; this is no file of questions.",
                f"{where}：大于 {size} MiB，不是题目文件。",
            )
        raw = path.read_bytes()
    codec = detect(io.BytesIO(raw), where) if encoding == "auto" else named(encoding, raw[:4])
    try:
        text = raw[len(codec.mark) :].decode(codec.name)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(
            f"{where}:{line}: the bytes here are not valid {codec.name.upper()}; name the encoding (--encoding).",
            f"{where}:{line}：这里的字节不是合法的 {codec.name.upper()}；请用 --encoding 写明文件编码。",
        ) from None
    rows = csv.reader(io.StringIO(text, newline=""))
    found: list[Question] = []
    columns: dict[str, int] | None = None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                columns = _columns(row, where)
            else:
                found.append(_question(row, columns, f"{where}:{rows.line_num}"))
    except csv.Error as error:
        raise UserError(
            f"{where}:{rows.line_num}: this is no row of a CSV file ({error}).",
            f"{where}:{rows.line_num}：不是合法的 CSV 行（{error}）。",
        ) from None
    return tuple(found)


def _columns(header: list[str], where: str) -> dict[str, int]:
    names = [unicodedata.normalize("NFKC", cell).strip().strip("\ufeff").lower() for cell in header]
    columns = {name: place for place, name in reversed(list(enumerate(names)))}
    missing = [name for name in ("question", "a", "b", "c", "d") if name not in columns]
    if missing:
        raise UserError(
            f"{where}:1: there is no column {missing[0]}; a file of questions has question, A, B, C, D and answer.",
            f"{where}:1：没有 {missing[0]} 列；题目文件应有 question、A、B、C、D 和 answer 列。",
        )
    return columns


def _question(row: list[str], columns: dict[str, int], place: str) -> Question:
    def cell(name: str) -> str:
        at = columns.get(name)
        return row[at].strip() if at is not None and at < len(row) else ""

    if not cell("question"):
        raise UserError(f"{place}: this row has no question.", f"{place}：这一行没有题目。")
    said = cell("answer")
    answer = _ANSWER.fullmatch(unicodedata.normalize("NFKC", said).upper())
    if answer is None:
        if not said:
            raise UserError(
                f"{place}: this question has no answer; ask a split whose answers are known (C-Eval: val).",
                f"{place}：这道题没有答案；请使用有答案的部分（C-Eval 用 val）。",
            )
        raise UserError(
            f"{place}: the answer is {said[:20]!r}; it must be A, B, C or D.",
            f"{place}：答案是 {said[:20]!r}；应为 A、B、C 或 D。",
        )
    a, b, c, d = (cell(letter.lower()) for letter in LETTERS)
    return Question(cell("question"), (a, b, c, d), LETTERS.index(answer[1]))
