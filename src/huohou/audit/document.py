"""One source, parsed once in each of the ways that dialects ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from huohou.audit.command_line import flags
from huohou.audit.python import Module, read_python
from huohou.audit.shell import Script, read_shell
from huohou.audit.source import COMMAND, Source, read_source
from huohou.audit.structured import NotThis, read_json, read_toml, read_yaml
from huohou.audit.values import Settings
from huohou.errors import UserError

_YAML, _JSON, _PYTHON, _SHELL = (
    (".yaml", ".yml"),
    (".json", ".jsonc"),
    (".py", ".ipynb"),
    (".sh", ".bash", ".slurm", ".sbatch"),
)


@dataclass
class Document:
    """A source as settings, as Python or as shell, whichever it is. Attributes are ``None`` where it is not."""

    source: Source
    opened: list[tuple[str, Path | None]] = field(default_factory=list[tuple[str, Path | None]])
    """Files that it names and that were looked for: as named, and where found."""

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
        """A shell script, or a pasted command."""
        suffix = self.source.suffix
        if suffix in _SHELL or self.source.name == COMMAND or self.source.text.startswith("#!"):
            return read_shell(self.source.text)
        if not suffix and self.settings is None and self.module is None:
            return read_shell(self.source.text)
        return None

    @cached_property
    def commands(self) -> list[Settings]:
        """The flags of every command of a script."""
        script = self.script
        return [] if script is None else [flags(command, self.source.name) for command in script.commands]

    def other(self, name: str) -> Document | None:
        """A file that this one names: from the working folder, beside this one, then in each folder above it up to the
        repository's root or the working folder. The first hit is used, and noted."""
        place = look_for(name, self.source.path)
        self.opened.append((name, place))
        if place is None:
            return None
        try:
            return Document(read_source(str(place)))
        except UserError:
            return None


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
