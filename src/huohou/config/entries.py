"""What was written where: a file and the overrides become one entry for each key, under the key's canonical name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from huohou.config.aliases import ALIASES
from huohou.config.data import Embedded
from huohou.config.hints import hint
from huohou.config.kinds import Kind, Wrong
from huohou.config.load import Document, Key, Place
from huohou.config.mistakes import Mistake, shown
from huohou.config.section import kind_of
from huohou.config.sections import SECTIONS, TOP
from huohou.config.training import Optimizer
from huohou.language import Text

_EITHER: tuple[frozenset[Key], ...] = (
    frozenset({("train", "updates"), ("train", "epochs"), ("train", "tokens")}),
    frozenset({("data", "train"), ("data", "embedded")}),
    frozenset({("tokenizer", "path"), ("tokenizer", "vocab_size")}),
)
"""Keys of which a run has one: an override of one takes the place of another that the file has."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where values come from: a file, a text or an override.

    Attributes:
        name: What messages call it.
        keys: The places of its keys; empty where it has no lines.
        values: The places of its values.
    """

    name: str
    keys: Mapping[Key, Place] = field(default_factory=dict[Key, Place])
    values: Mapping[Key, Place] = field(default_factory=dict[Key, Place])

    @classmethod
    def of(cls, document: Document) -> Source:
        """The source that a document is."""
        return cls(document.name, document.keys, document.values)

    def at(self, place: Place | None) -> str:
        """The place in words."""
        return f"{self.name}:{place.line}:{place.column}" if place else self.name


@dataclass(frozen=True, slots=True)
class Entry:
    """One value, where it belongs and where it was written.

    Attributes:
        path: The canonical key.
        value: The value, converted where the key was an alias; ``None`` is as if it were absent.
        source: What it was written in.
        written: The key as it was written there, from the top.
        raw: The value before any conversion.
    """

    path: Key
    value: Any
    source: Source
    written: Key
    raw: Any

    @property
    def key(self) -> str:
        """The key as it was written, with dots."""
        return ".".join(map(str, self.written))

    @property
    def line(self) -> int:
        """The line, or 0 where there are none."""
        place = self.source.values.get(self.written) or self.source.keys.get(self.written)
        return place.line if place else 0

    def where(self, index: int | None = None) -> str:
        """The place of the value, or of a member of it, as ``run.yaml:3:9``."""
        inner = self.source.values.get((*self.written, index)) if index is not None else None
        return self.source.at(inner or self.source.values.get(self.written) or self.source.keys.get(self.written))

    def text(self, index: int | None = None) -> str:
        """The value as it was written."""
        inner = self.source.values.get((*self.written, index)) if index is not None else None
        place = inner or self.source.values.get(self.written)
        return shown(place.written if place else self.raw)

    def mistake(self, wrong: Wrong) -> Mistake:
        """The mistake that this value is."""
        return Mistake.of(
            wrong, key=self.key, value=self.text(wrong.index), where=self.where(wrong.index), line=self.line
        )


def collect(data: Mapping[str, Any], source: Source) -> tuple[list[Entry], list[Mistake]]:
    """The entries of plain data, and what in it is no key."""
    collector = _Collector(source)
    for name, value in data.items():
        collector.top(str(name), value)
    return collector.entries, collector.mistakes


class _Collector:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.entries: list[Entry] = []
        self.mistakes: list[Mistake] = []

    def add(self, path: Key, value: Any, written: Key) -> None:
        self.entries.append(Entry(path, value, self.source, written, value))

    def top(self, name: str, value: Any) -> None:
        if name in SECTIONS:
            self.section(name, value)
        elif name in TOP:
            self.add((name,), value, (name,))
        elif name in ALIASES:
            self.alias(name, value, (name,))
        elif name == "lr_scheduler_kwargs" and isinstance(value, dict):
            self.scheduler_arguments(value, (name,))  # pyright: ignore[reportUnknownArgumentType]
        else:
            self.unknown(name, None, (name,))

    def section(self, name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
                self.inside(name, str(key), inner, (name, str(key)))  # pyright: ignore[reportUnknownArgumentType]
        elif value is None:
            self.add((name,), None, (name,))
        elif (short := _SHORT.get(name)) and (key := short(value)) is not None:
            self.add((name, key), value, (name,))
        else:
            example = next(iter(SECTIONS[name].model_fields))
            self.mistakes.append(
                Entry((name,), value, self.source, (name,), value).mistake(
                    Wrong(
                        f"it must be a section: lines such as {example}: … below it, indented",
                        f"它应是一节：下面缩进写 {example}: … 这样的行",
                    )
                )
            )

    def inside(self, section: str, key: str, value: Any, written: Key) -> None:
        if key == "embedded" and section == "data":
            self.embedded(value, written)
        elif key in SECTIONS[section].model_fields:
            self.add((section, key), value, written)
        elif key in ALIASES and ALIASES[key].path[0] == section:
            self.alias(key, value, written)
        elif key == "lr_scheduler_kwargs" and section == "schedule" and isinstance(value, dict):
            self.scheduler_arguments(value, written)  # pyright: ignore[reportUnknownArgumentType]
        else:
            self.unknown(key, section, written)

    def embedded(self, value: Any, written: Key) -> None:
        path: Key = ("data", "embedded")
        if isinstance(value, dict) and value:
            for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
                if key in Embedded.model_fields:
                    self.add((*path, str(key)), inner, (*written, str(key)))  # pyright: ignore[reportUnknownArgumentType]
                else:
                    self.unknown(str(key), "data.embedded", (*written, str(key)))  # pyright: ignore[reportUnknownArgumentType]
        elif value is None or value is False or value == {}:
            self.add(path, None if value is False else value, written)
        elif value is True:
            self.add(path, {}, written)
        else:
            self.add((*path, "characters"), value, written)

    def scheduler_arguments(self, value: Mapping[str, Any], written: Key) -> None:
        for key, inner in value.items():
            name = f"lr_scheduler_kwargs.{key}"
            if name in ALIASES:
                self.alias(name, inner, (*written, key))
            else:
                self.unknown(name, "schedule", (*written, key))

    def alias(self, name: str, value: Any, written: Key) -> None:
        alias = ALIASES[name]
        entry = Entry(alias.path, value, self.source, written, value)
        if value is not None:
            try:
                entry = Entry(alias.path, alias.converts(value), self.source, written, value)
            except Wrong as wrong:
                self.mistakes.append(entry.mistake(wrong))
                return
        self.entries.append(entry)

    def unknown(self, key: str, section: str | None, written: Key) -> None:
        place = self.source.keys.get(written)
        dotted = ".".join(map(str, written))
        meant = hint(key, section)
        self.mistakes.append(
            Mistake(
                key=dotted,
                text=Text(f"there is no key {shown(dotted)}; {meant.en}", f"没有 {shown(dotted)} 这个键；{meant.zh}"),
                where=self.source.at(place),
                line=place.line if place else 0,
            )
        )


def _path_or_size(value: Any) -> str | None:
    if isinstance(value, str):
        return "path"
    return "vocab_size" if type(value) is int else None


_SHORT: Mapping[str, Callable[[Any], str | None]] = MappingProxyType(
    {
        "model": lambda value: "preset" if isinstance(value, str) else None,
        "tokenizer": _path_or_size,
        "data": lambda value: "train" if isinstance(value, str | list) else None,
    }
)
"""Sections that one value may stand for: ``model: 4m``, ``tokenizer: folder``, ``data: corpus.jsonl``."""


def combine(layers: Iterable[tuple[list[Entry], frozenset[Key]]]) -> tuple[dict[Key, Entry], list[Mistake]]:
    """One entry for each key: a later layer takes the place of an earlier one.

    Args:
        layers: The entries of each, and the sections that it replaces as a whole.
    """
    result: dict[Key, Entry] = {}
    mistakes: list[Mistake] = []
    for entries, replaced in layers:
        layer: dict[Key, Entry] = {}
        gone = set(replaced)
        for entry in entries:
            if entry.value is None:
                gone.add(entry.path)
                continue
            other = layer.get(entry.path)
            if other is None:
                layer[entry.path] = entry
            elif (mistake := _disagreement(other, entry)) is not None:
                mistakes.append(mistake)
        for path in layer:
            gone.add(path)
            for group in _EITHER:
                # data.embedded has keys of its own; the group knows it by its first two.
                if path[:2] in group:
                    gone |= group - {path[:2]}
        result = {path: entry for path, entry in result.items() if not any(_within(path, one) for one in gone)}
        # Something may stand inside data.embedded, or it may stand alone as {}; not both.
        result = {path: entry for path, entry in result.items() if not (path == ("data", "embedded") and _inner(layer))}
        result.update(layer)
    return result, mistakes


def _inner(layer: Mapping[Key, Entry]) -> bool:
    return any(path[:2] == ("data", "embedded") for path in layer)


def _within(path: Key, outer: Key) -> bool:
    return path[: len(outer)] == outer


def _disagreement(first: Entry, second: Entry) -> Mistake | None:
    """The mistake of two entries under one key that do not say the same."""
    kind = _kind_at(first.path)
    values: list[Any] = []
    for entry in (first, second):
        try:
            values.append(kind.read(entry.value) if kind else entry.value)
        except Wrong as wrong:
            return entry.mistake(wrong)
    if values[0] == values[1]:
        return None
    name = ".".join(map(str, first.path))
    return Mistake(
        key=second.key,
        text=Text(
            f"{second.key} is {second.text()}, but {first.key} is {first.text()} at {first.where()}, "
            f"and both mean {name}; keep one",
            f"{second.key} 是 {second.text()}，而 {first.where()} 的 {first.key} 是 {first.text()}，"
            f"两者都指 {name}；请只留一个",
        ),
        where=second.where(),
        line=second.line,
    )


def _kind_at(path: Key) -> Kind | None:
    section = SECTIONS.get(str(path[0]))
    if section is not None and len(path) == 2 and path[1] in section.model_fields:
        return kind_of(section, str(path[1]))
    return None


def nested(entries: Mapping[Key, Entry]) -> dict[str, Any]:
    """The entries as the mapping of mappings that the models read; every section is there."""
    result: dict[str, Any] = {name: {} for name in SECTIONS}
    for path, entry in sorted(entries.items(), key=lambda item: len(item[0])):
        if path[:2] == ("optimizer", "betas") and len(path) == 3:
            betas = list(result["optimizer"].get("betas", Optimizer.model_fields["betas"].default))
            if isinstance(path[2], int) and len(betas) == 2:
                betas[path[2]] = entry.value
            result["optimizer"]["betas"] = betas
            continue
        inner: dict[Any, Any] = result
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = entry.value
    return result
