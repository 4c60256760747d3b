"""Mechanical repairs as edits of a line: a key renamed, a value replaced, an entry taken out or added beside another.

Each is found in the text of the line by the key itself, in the way in which the file's language writes one. Where that
is not plain (the key stands on another line, or twice) there is no edit, and the finding says in words what to write.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from huohou.audit.document import Document
from huohou.audit.reading import Edit, Reading
from huohou.audit.source import read_source
from huohou.audit.values import Value
from huohou.errors import UserError

_SEPARATORS = {
    ".yaml": r"[ \t]*:[ \t]+",
    ".yml": r"[ \t]*:[ \t]+",
    ".json": r"[ \t]*:[ \t]*",
    ".jsonc": r"[ \t]*:[ \t]*",
    ".toml": r"[ \t]*=[ \t]*",
    ".py": r"(?:(?<=[\"'])[ \t]*:|(?<![\"'])[ \t]*=(?!=))[ \t]*",
    ".sh": r"(?:=|[ \t]+)",
    ".bash": r"(?:=|[ \t]+)",
    ".slurm": r"(?:=|[ \t]+)",
    ".sbatch": r"(?:=|[ \t]+)",
}
SHELL = (".sh", ".bash", ".slurm", ".sbatch")
_VALUE = r"\"[^\"\n]*\"|'[^'\n]*'|[^\s,#}\])\\;&|]+"
_BEHIND = re.compile(r"\s*(?:$|[}\])\\#;&|]|,(?![\d.]))")
"""What may stand behind a value that is whole: the end, a bracket, a comment, or a comma that is none of a number."""


class _Entry:
    """One ``key = value`` of a line, as its file's language writes it."""

    def __init__(self, place: Value, line: str, suffix: str, match: re.Match[str]) -> None:
        self.place, self.line, self.suffix = place, line, suffix
        self.text, self.before, self.value = match.group(), match.group("before"), match.group("value")
        self.start, self.end = match.span()

    @property
    def whole(self) -> bool:
        """Whether the value is all that the key is given, and not the beginning of an expression."""
        rest = self.line[self.end :]
        if self.suffix in SHELL:
            return "$" not in self.value and (not rest or rest[0] in " \t\\;&|")
        return not any(sign in self.value for sign in "([{$") and _BEHIND.match(rest) is not None

    def edit(self, old: str, new: str) -> tuple[Edit, ...]:
        """The edit, where the old text stands in the line once."""
        if self.line.count(old) != 1 or old == new:
            return ()
        return (Edit(self.place.file, self.place.line, old, new),)


def _entry(reading: Reading, key: str, place: Value | None) -> _Entry | None:
    """The entry of a key on the line of its value; ``None`` where it is not plainly there, once."""
    if place is None or not place.line:
        return None
    suffix = PurePath(place.file).suffix.lower()
    separator = _SEPARATORS.get(suffix)
    line = line_of(reading, place)
    if separator is None or line is None:
        return None
    name = re.escape(key.rsplit(".", 1)[-1]).replace("_", "[-_]" if suffix in SHELL else "_")
    dashes = r"--?" if suffix in SHELL else ""
    pattern = rf"(?<![\w.\-])(?P<before>{dashes}[\"']?{name}[\"']?{separator})(?P<value>{_VALUE})"
    found = list(re.finditer(pattern, line))
    return _Entry(place, line, suffix, found[0]) if len(found) == 1 else None


def line_of(reading: Reading, place: Value) -> str | None:
    """The text of the line on which a value stands, where it is a line of a file."""
    document: Document | None = reading.facts.get("document")
    if document is None:
        return None
    source = document.source
    if place.file != source.name:
        try:
            source = read_source(place.file)
        except UserError:
            return None
    if source.path is None or source.suffix == ".ipynb":
        # What was pasted or piped in is no file, and a notebook's lines are not those of its cells.
        return None
    lines = source.text.split("\n")
    return lines[place.line - 1] if place.line <= len(lines) else None


def renamed(reading: Reading, key: str, place: Value | None, new: str, value: str | None = None) -> tuple[Edit, ...]:
    """Another key in the place of this one; with another value, where one is given."""
    entry = _entry(reading, key, place)
    if entry is None or (value is not None and not entry.whole):
        return ()
    written = re.search(re.escape(key.rsplit(".", 1)[-1]).replace("_", "[-_]"), entry.before)
    if written is None:
        return ()
    word = new.replace("_", "-") if "-" in written.group() else new
    before = entry.before[: written.start()] + word + entry.before[written.end() :]
    return entry.edit(entry.text, before + (entry.value if value is None else value))


def replaced(reading: Reading, key: str, place: Value | None, value: str) -> tuple[Edit, ...]:
    """Another value for a key; one that is written in quotes stays in them."""
    entry = _entry(reading, key, place)
    if entry is None or not entry.whole:
        return ()
    quote = entry.value[0] if entry.value[:1] in "\"'" and value[:1] not in "\"'" else ""
    return entry.edit(entry.text, f"{entry.before}{quote}{value}{quote}")


def removed(reading: Reading, key: str, place: Value | None) -> tuple[Edit, ...]:
    """The entry taken out, with the comma or the blank that belongs to it."""
    entry = _entry(reading, key, place)
    # A variable of the shell is one word too, so it goes with its flag.
    if entry is None or not (entry.whole or (entry.suffix in SHELL and re.fullmatch(r"\$\w+|\$\{\w+\}?", entry.value))):
        return ()
    head, rest = entry.line[: entry.start], entry.line[entry.end :]
    if entry.suffix in SHELL:
        blank = re.match(r"[ \t]*", rest)
        return entry.edit(entry.text + (blank.group() if blank else ""), "")
    comma = re.match(r"[ \t]*,[ \t]*", rest)
    if entry.suffix in (".yaml", ".yml", ".toml") and not comma:
        return entry.edit(entry.text, "") if not head.strip() else ()
    if comma:
        return entry.edit(entry.text + comma.group(), "")
    before = re.search(r",[ \t]*$", head)
    if before:
        return entry.edit(before.group() + entry.text, "")
    # The last entry of a JSON object would leave a comma on the line above.
    return entry.edit(entry.text, "") if entry.suffix == ".py" else ()


def added(reading: Reading, key: str, place: Value | None, new: str, value: str) -> tuple[Edit, ...]:
    """A new entry behind this one, on its line or, in a file of one entry a line, on a line of its own."""
    entry = _entry(reading, key, place)
    if entry is None or not entry.whole:
        return ()
    head = entry.line[: entry.start]
    alone = not head.strip()
    if entry.suffix in (".yaml", ".yml", ".toml") and alone:
        separator = ": " if entry.suffix != ".toml" else " = "
        return entry.edit(entry.line, f"{entry.line}\n{head}{new}{separator}{value}")
    if entry.suffix in (".json", ".jsonc"):
        between = f",\n{head}" if alone else ", "
        return entry.edit(entry.text, f'{entry.text}{between}"{new}": {value}')
    if entry.suffix == ".py":
        between = f",\n{head}" if alone else ", "
        return entry.edit(entry.text, f"{entry.text}{between}{new}={value}")
    if entry.suffix in SHELL:
        return entry.edit(entry.text, f"{entry.text} --{new} {value}")
    return ()
