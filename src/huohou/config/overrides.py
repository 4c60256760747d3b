"""``--set a.b=value``: one value of the run file, said on the command line instead."""

from __future__ import annotations

from typing import Any

from huohou.config.entries import Entry, Source, collect
from huohou.config.load import Key, read_value
from huohou.config.mistakes import Mistake, shown
from huohou.config.sections import section_at
from huohou.errors import UserError


def read_override(text: str) -> tuple[list[Entry], frozenset[Key], list[Mistake]]:
    """The entries of one override, the sections that it replaces as a whole, and its mistakes.

    The value is read as YAML; ``null`` removes what the file says, and a mapping, such as
    ``train={updates: 100, device: cpu}``, takes the place of the whole section.

    Raises:
        UserError: The text is not of the form ``key=value``, or its value is no YAML.
    """
    name = f"--set {shown(text)}"
    key, equals, right = text.partition("=")
    parts: Key = tuple(part.strip().replace("-", "_") for part in key.strip().removeprefix("--").split("."))
    if not equals or not all(parts):
        raise UserError(
            f"{name}: an override is of the form key=value, such as train.updates=100.",
            f"{name}: 覆盖项应写成 键=值，例如 train.updates=100。",
        )
    value = read_value(right, name=name)
    data: Any = value
    for part in reversed(parts):
        data = {part: data}
    entries, mistakes = collect(data, Source(name))
    whole = isinstance(value, dict) and (section_at(parts) is not None or parts == ("data", "mix"))
    return entries, frozenset({parts}) if whole else frozenset(), mistakes
