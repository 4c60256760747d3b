"""What came of the harm: how often it was done, how often it ended well, and every single case."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One promise: how many cases there were and in how many it was kept."""

    promise: str
    kept: int
    cases: int

    def plain(self) -> dict[str, Any]:
        """For the JSON."""
        return asdict(self)


@dataclass(slots=True)
class Outcome:
    """All promises of one kind of harm."""

    rows: list[Row] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    """One entry a case."""
    skipped: str | None = None
    """Why nothing was done, where nothing was."""

    @property
    def passed(self) -> bool:
        """Whether every promise was kept in every case."""
        return all(row.kept == row.cases for row in self.rows)

    def count(self, promise: str, kept: list[bool]) -> None:
        """Add a row."""
        self.rows.append(Row(promise, sum(kept), len(kept)))

    def table(self, title: str) -> str:
        """For a person."""
        if self.skipped is not None:
            return f"{title}\n  skipped: {self.skipped}"
        widest = max(len(row.promise) for row in self.rows)
        lines = [f"  {row.promise:<{widest}}  {row.kept} of {row.cases}" for row in self.rows]
        return "\n".join([title, *lines])
