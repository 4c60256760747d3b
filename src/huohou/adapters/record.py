"""What was applied: the rate of every update of this process, kept small and written as ``metrics.jsonl`` has it."""

from __future__ import annotations

import math
import os
from array import array
from pathlib import Path
from typing import Any

from huohou import records
from huohou.errors import UserError


class Record:
    """The rates of neighbouring updates, by curve."""

    def __init__(self) -> None:
        self._rates: dict[str, array[float]] = {}
        self._first = 1
        self._count = 0

    def begin(self, update: int) -> None:
        """An update begins."""
        if not self._count:
            self._first = update
        self._count += 1

    def add(self, name: str, rate: float, *, right: bool) -> None:
        """A group that follows this curve used this rate; of several the one that strays is kept."""
        column = self._rates.setdefault(name, array("d"))
        column.extend([math.nan] * (self._count - 1 - len(column)))
        if len(column) < self._count:
            column.append(rate)
        elif not right:
            column[-1] = rate

    def rows(self) -> list[dict[str, Any]]:
        """One row an update: ``update``, ``rate`` (by curve where there are several) and ``skipped``."""
        rows: list[dict[str, Any]] = []
        for i in range(self._count):
            rates = {name: held[i] for name, held in self._rates.items() if i < len(held) and not math.isnan(held[i])}
            rate = next(iter(rates.values())) if len(self._rates) == 1 and rates else rates
            rows.append({"update": self._first + i, "rate": rate, "skipped": False})
        return rows

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as lines of JSON.

        Raises:
            UserError: The file cannot be written.
        """
        try:
            with open(Path(path), "w", encoding="utf-8", newline="\n") as file:
                file.writelines(records.line_of(row) + "\n" for row in self.rows())
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror}.", f"{path} 无法写入：{error.strerror}。"
            ) from error
