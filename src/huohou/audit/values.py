"""Values as they were written, with their places: what a dialect reads from, whatever language the file is in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a configuration.

    Attributes:
        value: Plain data: number, text, boolean, ``None``, or a list of such; :data:`UNREADABLE` where only running the
            file could tell.
        line: Where it stands in its file, from 1; 0 where it has no place (a flag of the audit, a default).
        written: As it was written.
        file: Its file's name.
    """

    value: Any
    line: int = 0
    written: str = ""
    file: str = ""

    @property
    def known(self) -> bool:
        """Whether it could be read."""
        return self.value is not UNREADABLE


class _Unreadable:
    """A value that only running the file could tell."""

    def __repr__(self) -> str:
        return "?"


UNREADABLE: Any = _Unreadable()


@dataclass(slots=True)
class Settings:
    """The keys of one thing that is configured (a file, a call, a command line), each with its value.

    Keys of nested mappings are joined by dots. A dialect's reading notes which keys it looked at.
    """

    values: dict[str, Value] = field(default_factory=dict[str, Value])
    name: str = ""
    """What it is: the file's name, the called function, the script that is started."""
    line: int = 0
    asked: set[str] = field(default_factory=set[str])

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def find(self, *keys: str) -> Value | None:
        """The value of the first of these keys that is there."""
        for key in keys:
            self.asked.add(key)
            if key in self.values:
                return self.values[key]
        return None

    def get(self, *keys: str, default: Any = None) -> Any:
        """The plain value of the first of these keys that is there and could be read."""
        found = self.find(*keys)
        return found.value if found is not None and found.known and found.value is not None else default

    def number(self, *keys: str) -> float | int | None:
        """The number under the first of these keys; text that looks like one (``2e-5`` in YAML) is read."""
        found = self.find(*keys)
        return None if found is None else as_number(found.value)

    def whole(self, *keys: str) -> int | None:
        """A number as a whole one, where it is."""
        number = self.number(*keys)
        return int(number) if number is not None and number == int(number) else None

    def flag(self, *keys: str) -> bool | None:
        """A switch."""
        value = self.get(*keys)
        if isinstance(value, str):
            return {
                "true": True,
                "yes": True,
                "1": True,
                "on": True,
                "false": False,
                "no": False,
                "0": False,
                "off": False,
            }.get(value.strip().lower())
        return bool(value) if isinstance(value, bool | int) else None

    def text(self, *keys: str) -> str | None:
        """A word."""
        value = self.get(*keys)
        return None if value is None or isinstance(value, list | dict) else str(value)

    def under(self, prefix: str) -> Settings:
        """The keys below a section, without its name."""
        start = prefix + "."
        found = {key.removeprefix(start): value for key, value in self.values.items() if key.startswith(start)}
        return Settings(found, f"{self.name}:{prefix}", self.line)


_LONGEST_NUMBER = 80
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?")


def as_number(value: Any) -> float | int | None:
    """A number, also where it is written as text; not a boolean."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return value if value == value and abs(value) < 1e300 else None
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _NUMBER.fullmatch(value.strip()):
        text = value.strip().replace("_", "")
        number = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
        return number if abs(number) < 1e300 else None
    return None


def flattened(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings under keys joined by dots."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield f"{prefix}{key}", value
