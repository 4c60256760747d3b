"""CSV and TSV: a column that counts updates, one or several with rates, perhaps one of skipped updates.

Rates may be called after their roles (``update,actor,critic``). Exports of Weights & Biases are read as well.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from huohou.audit.logs.formats.columns import RATE, ROLES, is_rate, is_skips, is_update
from huohou.audit.logs.log import Lines, Log, Rows
from huohou.errors import UserError
from huohou.language import Text

name = "csv"
title = Text("a table (CSV)", "表格（CSV）")


def _delimiter(line: str) -> str:
    return max(",\t;", key=line.count)


def _header(log: Lines) -> list[str]:
    line = log.lines[0].strip("\ufeff ")[:20_000]
    for cells in _cells([line], _delimiter(line)):
        return cells
    return []


def _cells(lines: list[str], delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=delimiter)
    except csv.Error:
        # A field of 128 kB or a stray quotation mark: this is no table, or ends here.
        return


def _rates(header: list[str]) -> list[int]:
    found = [place for place, column in enumerate(header) if is_rate(column) and not is_skips(column)]
    return found or [place for place, column in enumerate(header) if column.strip().lower() in ROLES]


def sees(log: Lines) -> int:
    """Its header."""
    header = _header(log)
    if len(header) < 2 or len(header) > 2000 or "{" in header[0]:
        return 0
    counts = any(map(is_update, header)) or header[0] in ("", "Step")
    return 80 if _rates(header) and counts else 0


def read(log: Lines) -> Log:
    """Each column of rates as a track."""
    header = _header(log)
    updates = [place for place, column in enumerate(header) if is_update(column)] or [0]
    rates = _rates(header)
    if not rates:
        raise UserError(
            f"{log.name}: no column is a learning rate; the header is {', '.join(header[:8])}.",
            f"{log.name}：没有学习率列；表头为 {', '.join(header[:8])}。",
        )
    skips = [place for place, column in enumerate(header) if is_skips(column)]
    logged = None
    rows = Rows()
    for number, cells in enumerate(_cells(log.lines, _delimiter(log.lines[0])), 1):
        if number == 1 or len(cells) < len(header):
            continue
        try:
            update = float(cells[updates[0]])
        except ValueError:
            continue
        for place in rates:
            if cells[place].strip():
                role = "model" if len(rates) == 1 else _role(header[place])
                skipped = _skipped(cells, skips, header, role)
                rows.add(role, update, cells[place], number, skipped)
    for place in rates:
        words = header[place].lower()
        logged = "next" if "after" in words else "used" if "used" in words or "applied" in words else logged
    return Log(log.name, name, rows.tracks(), logged=logged)


def _role(column: str) -> str:
    for role in ROLES:
        if role in column.lower():
            return role
    return RATE.sub("", column).strip("_/-. ") or column


def _skipped(cells: list[str], skips: list[int], header: list[str], role: str) -> int | None:
    own = [place for place in skips if role in header[place].lower()] or (skips if len(skips) == 1 else [])
    if not own:
        return None
    try:
        return int(float(cells[own[0]]))
    except ValueError:
        return None
