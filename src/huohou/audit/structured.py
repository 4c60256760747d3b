"""YAML, JSON and TOML of other people, as settings with their lines. Tags build nothing, and aliases are bounded."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any, cast

import yaml
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from huohou.audit.source import Source
from huohou.audit.values import Settings, Value, flattened
from huohou.errors import UserError

_REFERENCE = re.compile(r"\$\{(?:oc\.env:)?([.\w]+)(?:,\s*([^{}]*))?\}")
_MOST_STEPS = 8
_REMARK = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA = re.compile(r'"(?:\\.|[^"\\\n])*"|,(?=\s*[}\]])')
_DEEPEST = 40
_MOST = 200_000
"""Values in one file, those that aliases repeat included."""


class NotThis(Exception):
    """The text is not of this kind."""


def read_yaml(source: Source) -> Settings:
    """The settings of a YAML (or JSON) text whose top is a mapping.

    Raises:
        NotThis: It is no YAML, or its top is no mapping.
        UserError: It is a bomb.
    """
    try:
        _check_depth(source)
        nodes = _composed(source.text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise NotThis from None
    mappings = [node for node in nodes if isinstance(node, MappingNode)]
    if not mappings or (len(nodes) == 1 and len(mappings) != 1):
        raise NotThis
    walk = _Walk(source)
    # Of several documents the one that says most; the others are licences and headers.
    walk.mapping(max(mappings, key=lambda node: len(node.value)), "", 0)
    _interpolate(walk.settings)
    return walk.settings


def _interpolate(settings: Settings) -> None:
    """``${training.steps}`` of OmegaConf: the value of that key, as far as it is in the file."""
    for key, value in settings.values.items():
        text = value.value
        for _ in range(_MOST_STEPS):
            match = _REFERENCE.fullmatch(text) if isinstance(text, str) and len(text) < 200 else None
            if match is None:
                break
            name = match.group(1)
            found = settings.values.get(name, settings.values.get(f"{key.rpartition('.')[0]}{name}"))
            text = found.value if found is not None else match.group(2)
        if text is not value.value:
            settings.values[key] = Value(text, value.line, value.written, value.file)


def read_json(source: Source) -> Settings:
    """The settings of a JSON text whose top is an object. Lines are those of the YAML reader, where it reads it.

    Raises:
        NotThis: It is no such JSON.
    """
    try:
        data: Any = json.loads(source.text)
    except (ValueError, RecursionError):
        bare = _without_remarks(source.text)
        if bare == source.text:
            raise NotThis from None
        return read_json(Source(source.name, bare, source.path))
    if not isinstance(data, dict):
        raise NotThis
    try:
        # JSON is YAML, but for tabs between tokens.
        return read_yaml(Source(source.name, source.text.replace("\t", " "), source.path))
    except NotThis:
        pairs = flattened(cast("dict[str, Any]", data))
        return Settings({key: Value(value, 0, repr(value), source.name) for key, value in pairs}, source.name)


def _without_remarks(text: str) -> str:
    """JSON as people write it: comments and a comma behind the last member become blanks, lines stay where they are."""

    def blank(match: re.Match[str]) -> str:
        return match.group() if match.group().startswith('"') else re.sub(r"[^\n]", " ", match.group())

    return _LAST_COMMA.sub(blank, _REMARK.sub(blank, text))


def read_toml(source: Source) -> Settings:
    """The settings of a TOML text.

    Raises:
        NotThis: It is no TOML.
    """
    if any(line.partition("=")[0].count(".") > _DEEPEST for line in source.text.split("\n")):
        # Each part of a dotted key is a table of its own, and its name here holds all of them.
        raise NotThis
    try:
        data = tomllib.loads(source.text)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise NotThis from None
    if not data:
        raise NotThis
    places = _toml_lines(source.text)
    return Settings(
        {key: Value(value, places.get(key, 0), str(value), source.name) for key, value in flattened(data)}, source.name
    )


def _toml_lines(text: str) -> dict[str, int]:
    """The line of each ``key = value``, which tomllib does not tell."""
    places: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped.startswith("[") and "]" in stripped:
            table = stripped.strip("[]").split("]")[0].replace('"', "").strip() + "."
        elif "=" in stripped and not stripped.startswith("#"):
            places.setdefault(table + stripped.split("=")[0].strip().strip("\"'"), number)
    return places


def _check_depth(source: Source) -> None:
    """Stop before the composer, which goes down by recursion in C and would take the whole process with it, and which
    makes of every value a thing of hundreds of bytes."""
    depth = 0
    events = cast("Iterator[object]", yaml.parse(source.text, Loader=_loader()))  # pyright: ignore[reportUnknownMemberType]
    for count, event in enumerate(events):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST + 1 or count > 3 * _MOST:
            raise _bomb(source)


def _composed(text: str) -> list[Node]:
    every = yaml.compose_all(text, Loader=_loader())  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    return [node for node in cast("Iterator[Node | None]", every) if node is not None]


def _bomb(source: Source) -> UserError:
    return UserError(
        f"{source.name} grows to more than {_MOST} values or is nested more than {_DEEPEST} deep, so it is not read.",
        f"{source.name} 展开后超过 {_MOST} 个值或嵌套超过 {_DEEPEST} 层，因此不读取。",
    )


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Walk:
    """From YAML's nodes to settings; a node that is met again by an alias counts again."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.settings = Settings(name=source.name)
        self.count = 0

    def mapping(self, node: MappingNode, prefix: str, depth: int) -> None:
        for key, value in cast("list[tuple[Node, Node]]", node.value):
            if not isinstance(key, ScalarNode):
                continue
            if key.value == "<<":
                # A merged mapping gives what is not written beside it.
                for merged in value.value if isinstance(value, SequenceNode) else [value]:
                    if isinstance(merged, MappingNode):
                        self._bound(depth)
                        self.mapping(merged, prefix, depth + 1)
                continue
            self.entry(f"{prefix}{key.value}", value, depth + 1)

    def entry(self, key: str, node: Node, depth: int) -> None:
        self._bound(depth)
        line = node.start_mark.line + 1
        if isinstance(node, MappingNode) and node.value:
            self.mapping(node, f"{key}.", depth)
            return
        written = str(node.value) if isinstance(node, ScalarNode) else ""
        self.settings.values[key] = Value(self.plain(node, depth), line, written, self.source.name)

    def plain(self, node: Node, depth: int) -> Any:
        self._bound(depth)
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, SequenceNode):
            return [self.plain(member, depth + 1) for member in cast("list[Node]", node.value)]
        pairs = cast("list[tuple[Node, Node]]", node.value)
        return {str(key.value): self.plain(value, depth + 1) for key, value in pairs if isinstance(key, ScalarNode)}

    def _bound(self, depth: int) -> None:
        self.count += 1
        if depth > _DEEPEST or self.count > _MOST:
            raise _bomb(self.source)


def _scalar(node: ScalarNode) -> Any:
    """What PyYAML makes of it, so that ``2e-5`` stays the text that other programs get; tags make nothing."""
    text = node.value
    match node.tag.rsplit(":", 1)[-1]:
        case "int":
            try:
                return (
                    int(text.replace("_", ""), 0) if not text.lstrip("+-").startswith("0") or text in "0" else int(text)
                )
            except ValueError:
                return text
        case "float":
            try:
                return float(text.replace("_", ""))
            except ValueError:
                return text
        case "bool":
            return text.lower() in ("true", "yes", "on")
        case "null":
            return None
        case _:
            return text
