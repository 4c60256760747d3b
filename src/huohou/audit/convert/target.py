"""What a target of a conversion is: seeds for the search, and how its arguments are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.wanted import Wanted


class Target(Protocol):
    """One framework to write for; a module.

    Attributes:
        name: As ``--to`` writes it, and the dialect that reads it back.
        title: As people write it.
        suffix: The ending of a file that holds it.
        comment: What begins a comment in it; empty where there are none.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def suffix(self) -> str: ...
    @property
    def comment(self) -> str: ...

    def starts(self, wanted: Wanted) -> Iterator[Start]:
        """Seeds for the search, the plainest first."""
        ...

    def write(self, values: Values, wanted: Wanted) -> str:
        """The arguments in the target's own form."""
        ...


_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def remark(text: object) -> str:
    """A text that stays on the line of its comment, whatever a foreign file called its keys."""
    return _BREAKS.sub(" ", str(text)).rstrip()


def number(value: float | int) -> str:
    """A number as Python, JSON, TOML and every reader of YAML take it: ``3.0e-05``, not ``3e-05``."""
    if isinstance(value, int):
        return str(value)
    text = repr(float(value))
    mantissa, sign, exponent = text.partition("e")
    return text if not sign or "." in mantissa else f"{mantissa}.0e{exponent}"


def rate(share: float, peak: float) -> float:
    """A level as a rate, without the digits that only the multiplication made."""
    value = share * peak
    short = float(f"{value:.12g}")
    return short if abs(short - value) <= 1e-15 * peak else value


def quoted(value: Any) -> str:
    """A value in YAML or TOML: numbers plain, words in quotes where they need some."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number(value)
    text = str(value)
    return text if text.replace("_", "").replace("-", "").isalnum() and not text[0].isdigit() else json.dumps(text)


def yaml_lines(values: Mapping[str, Any], indent: str = "") -> str:
    """Lines of YAML; mappings within are indented."""
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:\n{yaml_lines(value, indent + '  ')}")  # pyright: ignore[reportUnknownArgumentType]
        else:
            lines.append(f"{indent}{key}: {quoted(value)}\n")
    return "".join(lines)


def command(program: str, flags: Mapping[str, Any]) -> str:
    """A command of the shell, one flag a line."""
    words = [program]
    for flag, value in flags.items():
        text = number(value) if isinstance(value, int | float) else str(value)
        words.append(f"{flag} '{text}'" if any(c in text for c in ' {}"') else f"{flag} {text}")
    return " \\\n  ".join(words) + "\n"
