"""What a dialect is: it sees whether a file is in its language, and reads it."""

from __future__ import annotations

from typing import Protocol

from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading


class Dialect(Protocol):
    """One framework's way of writing and applying a schedule.

    Attributes:
        name: As ``--as`` and ``--to`` write it.
        title: As people write it.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...

    def sees(self, document: Document) -> int:
        """How surely the file is in this language: 0 not at all, 1 by words that others use too, up to 100 by a name
        that nobody else uses."""
        ...

    def read(self, document: Document, given: Given) -> list[Reading]:
        """What it configures: one reading for each run that it starts."""
        ...
