"""What was written where: a file and the overrides become one entry for each key, under the key's canonical name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from huohou.config.aliases import ALIASES
from huohou.config.data import SOURCES
from huohou.config.hints import hint
from huohou.config.kinds import Kind, Wrong
from huohou.config.load import Document, Key, Place
from huohou.config.mistakes import Mistake, shown
from huohou.config.section import keys_of, kind_of
from huohou.config.sections import OPTIONAL, SECTIONS, TOP, place_of, section_at, short_form
from huohou.config.training import Optimizer
from huohou.language import Text

_EITHER: tuple[frozenset[Key], ...] = (
    frozenset({("train", "updates"), ("train", "epochs"), ("train", "tokens")}),
    frozenset(("data", source) for source in SOURCES),
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
            self.section((name,), value, (name,))
        elif name in TOP:
            self.add((name,), value, (name,))
        elif name in ALIASES:
            self.alias(name, value, (name,))
        elif name == "lr_scheduler_kwargs" and isinstance(value, dict):
            self.scheduler_arguments(value, (name,))  # pyright: ignore[reportUnknownArgumentType]
        else:
            self.unknown(name, None, (name,))

    def section(self, path: Key, value: Any, written: Key) -> None:
        """What stands in the place of a section: its keys, a single value that is short for one of them, or nothing."""
        section = section_at(path)
        assert section is not None
        optional = place_of(path) in OPTIONAL
        if isinstance(value, dict) and (value or not optional):
            for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
                self.inside(path, str(key), inner, (*written, str(key)))  # pyright: ignore[reportUnknownArgumentType]
        elif value is None or (optional and value == {}):
            self.add(path, value, written)
        elif (key := short_form(path, value)) is not None:
            self.add((*path, key), value, written)
        elif optional and isinstance(value, bool):
            self.add(path, {} if value else None, written)
        else:
            example = next(iter(keys_of(section)))
            self.mistakes.append(
                Entry(path, value, self.source, written, value).mistake(
                    Wrong(
                        f"it must be a section: lines such as {example}: … below it, indented",
                        f"它应是一节：下面缩进写 {example}: … 这样的行",
                    )
                )
            )

    def inside(self, section: Key, key: str, value: Any, written: Key) -> None:
        """A key of a section."""
        model = section_at(section)
        assert model is not None
        path = (*section, key)
        if section_at(path) is not None and section != ("data", "mix"):
            self.section(path, value, written)
        elif path == ("data", "mix"):
            self.mix(value, written)
        elif key in keys_of(model):
            self.add(path, value, written)
        elif len(section) == 1 and key in ALIASES and ALIASES[key].path[0] == section[0]:
            self.alias(key, value, written)
        elif key == "lr_scheduler_kwargs" and section == ("schedule",) and isinstance(value, dict):
            self.scheduler_arguments(value, written)  # pyright: ignore[reportUnknownArgumentType]
        else:
            self.unknown(key, ".".join(map(str, section)), written)

    def mix(self, value: Any, written: Key) -> None:
        """The corpora of a mixture, by the names that their author gave them."""
        if value is None:
            self.add(("data", "mix"), None, written)
        elif isinstance(value, dict) and value:
            for name, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
                self.section(("data", "mix", str(name)), inner, (*written, str(name)))  # pyright: ignore[reportUnknownArgumentType]
        else:
            self.mistakes.append(
                Entry(("data", "mix"), value, self.source, written, value).mistake(
                    Wrong(
                        "it must be names of corpora, each with train and weight: zh: {train: zh.jsonl, weight: 3}",
                        "它应是各语料的名字，各有 train 与 weight，例如 zh: {train: zh.jsonl, weight: 3}",
                    )
                )
            )

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
                # data.embedded and data.mix have keys of their own; the group knows them by their first two.
                if path[:2] in group:
                    gone |= group - {path[:2]}
        result = {path: entry for path, entry in result.items() if not any(_within(path, one) for one in gone)}
        # Something may stand inside such a section, or it may stand alone as {}; not both.
        result = {path: entry for path, entry in result.items() if not _opened(path, layer)}
        result.update(layer)
    return result, mistakes


def _opened(path: Key, layer: Mapping[Key, Entry]) -> bool:
    """Whether a section that stood alone has keys of its own now."""
    return place_of(path) in OPTIONAL and any(_within(other, path) for other in layer)


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
    *above, name = path
    section = section_at(tuple(above)) if above else None
    if section is not None and name in keys_of(section):
        return kind_of(section, str(name))
    return None


def nested(entries: Mapping[Key, Entry]) -> dict[str, Any]:
    """The entries as the mapping of mappings that the models read; every section is there."""
    result: dict[str, Any] = {name: {} for name in SECTIONS if (name,) not in OPTIONAL}
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
        inner[path[-1]] = {} if entry.value == {} else entry.value
    return result
