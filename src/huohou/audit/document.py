"""One source, parsed once in each of the ways that dialects ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from huohou.audit.command_line import flags
from huohou.audit.notebook import read_cells
from huohou.audit.python import Module, read_python
from huohou.audit.shell import UNKNOWN, Script, read_shell
from huohou.audit.source import COMMAND, Source, read_source
from huohou.audit.structured import NotThis, read_json, read_toml, read_yaml
from huohou.audit.values import Settings
from huohou.errors import UserError

_YAML, _JSON, _PYTHON, _SHELL = (
    (".yaml", ".yml"),
    (".json", ".jsonc"),
    (".py", ".ipynb"),
    (".sh", ".bash", ".slurm", ".sbatch", ".zsh", ".command"),
)
_SHEBANG = re.compile(r"#!.*\b(?:ba|z|da|k)?sh\b")


@dataclass
class Document:
    """A source as settings, as Python or as shell, whichever it is. Attributes are ``None`` where it is not."""

    source: Source
    opened: list[tuple[str, Path | None]] = field(default_factory=list[tuple[str, Path | None]])
    """Files that it names and that were looked for: as named, and where found."""
    kept: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a dialect found in it once and asks for again."""

    @cached_property
    def settings(self) -> Settings | None:
        """A YAML, JSON or TOML text as settings."""
        suffix = self.source.suffix
        if suffix in _PYTHON or suffix in _SHELL or self.source.name == COMMAND:
            return None
        readers = {".toml": (read_toml,)}.get(suffix, (read_json,) if suffix in _JSON else (read_yaml,))
        if suffix not in (*_YAML, *_JSON, ".toml"):
            readers = (read_json, read_toml, read_yaml)
        for reader in readers:
            try:
                return reader(self.source)
            except NotThis:
                continue
        return None

    @cached_property
    def module(self) -> Module | None:
        """A Python file or a notebook."""
        suffix = self.source.suffix
        if suffix in _PYTHON or (not suffix and self.source.name != COMMAND and self.settings is None):
            return read_python(self.source)
        return None

    @cached_property
    def script(self) -> Script | None:
        """A shell script, a pasted command, or the lines of a notebook that go to a shell."""
        suffix = self.source.suffix
        if suffix == ".ipynb":
            cells = read_cells(self.source.text)
            return None if cells is None or not cells.shell.strip() else read_shell(cells.shell)
        if suffix in _SHELL or self.source.name == COMMAND or _SHEBANG.match(self.source.text):
            return self._shell()
        if not suffix and self.settings is None and self.module is None:
            return self._shell()
        return None

    def _shell(self, variables: Mapping[str, str] | None = None) -> Script:
        return read_shell(self.source.text, variables, self._sourced)

    def _sourced(self, name: str) -> str | None:
        """The text of another script that this one takes in."""
        place = look_for(name.rpartition(f"{UNKNOWN}/")[2], self.source.path)
        if place is None:
            return None
        try:
            return read_source(str(place)).text
        except UserError:
            return None

    @cached_property
    def commands(self) -> list[Settings]:
        """The flags of every command of a script."""
        script = self.script
        return [] if script is None else [flags(command, self.source.name) for command in script.commands]

    def holding(self, settings: Settings) -> Document:
        """A configuration that stands inside this file, as if it were a file of its own."""
        copy = replace(self, opened=[], kept={})
        copy.__dict__ |= {"settings": settings, "module": None, "script": None}
        return copy

    def over(self, written: Settings, arguments: Sequence[str] = ()) -> Document:
        """The same file as a command starts it that writes some of its settings anew, or gives a script arguments."""
        copy = replace(self, opened=[], kept={})
        if self.source.suffix in _SHELL:
            places = {str(number): word for number, word in enumerate(arguments, 1)}
            copy.__dict__["script"] = self._shell({**places, "@": " ".join(arguments)})
        elif self.settings is not None:
            values = {**self.settings.values, **written.values}
            copy.__dict__["settings"] = Settings(values, self.settings.name, self.settings.line)
        else:
            known = {f"args.{key}": value for key, value in written.values.items()}
            module = read_python(self.source, known, None if self.module is None else self.module.tree)
            if module is not None:
                # Names at the top of the file that the command writes anew, as nanoGPT's configurator has it.
                module.names |= {key: value for key, value in written.values.items() if key in module.names}
            copy.__dict__["module"] = module
        return copy

    def other(self, name: str) -> Document | None:
        """A file that this one names: from the working folder, beside this one, then in each folder above it up to the
        repository's root or the working folder. The first hit is used, and noted."""
        script = self.script if not self.source.text.startswith("{") else None
        written = None if script is None else script.files.get(name)
        if written is not None:
            # The script itself writes the file that it then names.
            return Document(Source(name, written, Path(name)))
        # A folder that only running the script could tell ($(pwd), $1) is left away.
        name = name.rpartition(f"{UNKNOWN}/")[2]
        place = None if UNKNOWN in name or not name else look_for(name, self.source.path)
        self.opened.append((name, place))
        if place is None:
            return None
        return _opened(str(place))


_MOST_KEPT = 32
_KEPT: dict[tuple[str, int, int], Document] = {}
"""Files that others name, by name, size and time: many scripts of a folder start the same program."""


def _opened(path: str) -> Document | None:
    try:
        facts = Path(path).stat()
        key = (path, facts.st_size, facts.st_mtime_ns)
        if key not in _KEPT:
            if len(_KEPT) >= _MOST_KEPT:
                _KEPT.clear()
            _KEPT[key] = Document(read_source(path))
        kept = _KEPT[key]
    except (UserError, OSError):
        return None
    return kept


def look_for(name: str, beside: Path | None) -> Path | None:
    """Where a named file lies; ``None`` if nowhere."""
    wanted = Path(name)
    if wanted.is_absolute():
        return wanted if wanted.is_file() else None
    here = Path.cwd()
    folders = [here]
    if beside is not None:
        folder = beside.resolve().parent
        while True:
            folders.append(folder)
            if folder == here or (folder / ".git").exists() or folder.parent == folder:
                break
            folder = folder.parent
    for folder in folders:
        candidate = folder / wanted
        try:
            if candidate.is_file():
                return candidate
        except OSError:
            return None
    return None
