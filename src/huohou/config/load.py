"""YAML text becomes plain data in which every value still knows where it was written.

The reading is ``yaml.safe_load``'s with four differences: ``1e-4`` is a number, a key written twice is an error, dates
and base-60 numbers stay text, and whatever could make a small file grow large is bounded, so that a hostile file costs
a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import yaml
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from huohou.config.diagnose import diagnose, found_at
from huohou.config.files import read_text
from huohou.config.scalars import plain_scalar
from huohou.errors import UserError
from huohou.language import Text

LARGEST_FILE = 128 * 1024
"""Bytes; a run file of a thousand data paths is half of it."""

_DEEPEST = 12
_MOST_ALIASES = 50
_MOST_VALUES = 5000

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file, both counted from 1, and the text that stands there."""

    line: int
    column: int
    written: str


@dataclass(frozen=True, slots=True)
class Document:
    """The plain data of one YAML text.

    Attributes:
        data: Mappings, lists, text, numbers, booleans and ``None``.
        keys: The place of each key, by its path from the top.
        values: The place of each value, likewise; for a list also of its members.
        text: The whole text as it was written.
        name: What messages call it: the file's path as it was given.
    """

    data: dict[str, Any]
    text: str
    name: str
    keys: dict[Key, Place] = field(default_factory=dict[Key, Place])
    values: dict[Key, Place] = field(default_factory=dict[Key, Place])


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner and parser with bounds; what the scalars mean is decided in this module."""

    depth = 0
    aliases = 0
    nodes = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        event = cast(Any, self.peek_event())  # pyright: ignore[reportUnknownMemberType]
        mark: Any = event.start_mark
        if isinstance(event, AliasEvent):
            self.aliases += 1
            if self.aliases > _MOST_ALIASES:
                raise _Refused(
                    Text(f"more than {_MOST_ALIASES} aliases (*name)", f"别名（*name）超过 {_MOST_ALIASES} 个"), mark
                )
        elif getattr(event, "tag", None) is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")[:40]
            raise _Refused(
                Text(
                    f"the tag {tag} asks for an object, which a run file cannot hold; write the plain value",
                    f"标签 {tag} 要求生成对象，配置文件不允许；请直接写值",
                ),
                mark,
            )
        self.nodes += 1
        if self.nodes > _MOST_VALUES:
            raise _Refused(_TOO_MANY, mark)
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Refused(Text(f"values are nested more than {_DEEPEST} deep", f"嵌套超过 {_DEEPEST} 层"), mark)
        node = super().compose_node(parent, index)  # pyright: ignore[reportArgumentType]
        self.depth -= 1
        return node


_TOO_MANY = Text(
    f"the file holds more than {_MOST_VALUES} values, those that aliases (*name) repeat included",
    f"文件中的值超过 {_MOST_VALUES} 个（含别名 *name 重复的值）",
)


class _Refused(Exception):
    """Something that YAML allows and a run file does not."""

    def __init__(self, text: Text, mark: Any) -> None:
        self.text = text
        self.mark = mark


def read_file(path: str | Path) -> Document:
    """Read a run file.

    Raises:
        UserError: It is missing, unreadable, not UTF-8, too large, or not the YAML that a run file is.
    """
    return read_text_as_yaml(read_text(Path(path), LARGEST_FILE), name=str(path))


def read_text_as_yaml(text: str, *, name: str) -> Document:
    """Read the text of a run file; ``name`` is what messages call it.

    Raises:
        UserError: The text is not one YAML mapping, or holds a key twice, a tag, or too much.
    """
    if len(text) > LARGEST_FILE:
        raise UserError(
            f"{name} has {len(text)} characters, but a run file has at most {LARGEST_FILE}.",
            f"{name} 有 {len(text)} 个字符，而配置文件最多 {LARGEST_FILE} 个。",
        )
    root = _compose(text, name)
    document = Document({}, text, name)
    if not isinstance(root, MappingNode):
        mark = root.start_mark
        known = diagnose(text, mark.line, mark.column, None)
        raise found_at(name, *(known or (mark.line, mark.column, _not_a_mapping(root))))
    document.data.update(_Reading(document).mapping(root, ()))
    return document


def read_value(text: str, *, name: str) -> Any:
    """One YAML value, such as the right side of ``--set a.b=value``; ``name`` is what messages call it.

    A text that YAML cannot read stays text, so that ``data.train=*.jsonl`` needs no second pair of quotes.
    """
    if not text.strip():
        return None
    try:
        root = _compose(text, name)
    except UserError:
        if text.lstrip()[0] in "[{\"'":
            raise
        return text
    return _Reading(Document({}, text, name)).value(root, (), 0)


def _not_a_mapping(root: Node) -> Text:
    kind = Text("a list", "列表") if isinstance(root, SequenceNode) else Text("a single value", "单个值")
    return Text(
        f"the file is {kind.en}, but a run file is made of lines like name: demo",
        f"文件内容是{kind.zh}，而配置文件应由 name: demo 这样的行组成",
    )


def _compose(text: str, name: str) -> Node:
    """The node of the only document in a text."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()  # pyright: ignore[reportUnknownMemberType]
    except _Refused as refused:
        raise found_at(name, refused.mark.line, refused.mark.column, refused.text) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        character = ord(text[error.position])
        raise found_at(
            name,
            before.count("\n"),
            len(before) - (before.rfind("\n") + 1),
            Text(
                f"the character U+{character:04X} is not allowed in YAML; delete it",
                f"YAML 中不允许字符 U+{character:04X}；请删去",
            ),
        ) from None
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        raise found_at(name, *_explain(text, mark, error)) from None
    if root is None:
        raise UserError(
            f"{name} is empty; huohou init {name} --force writes an example to start from.",
            f"{name} 是空文件；可用 huohou init {name} --force 写出一个示例。",
        )
    return root


def _explain(text: str, mark: Any, error: yaml.MarkedYAMLError) -> tuple[int, int, Text]:
    """Line, column (from 0) and meaning of a YAML error."""
    known = diagnose(text, mark.line, mark.column, error)
    if known is not None:
        return known
    problem = (error.problem or "unknown").strip()
    return (
        mark.line,
        mark.column,
        Text(
            f"this line does not fit what stands above it ({problem}); compare its indentation and punctuation",
            f"这一行与上文接不上（{problem}）；请检查缩进和标点",
        ),
    )


class _Reading:
    """Nodes become plain data; the places are noted on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def refuse(self, node: Node, text: Text) -> NoReturn:
        raise found_at(self.document.name, node.start_mark.line, node.start_mark.column, text)

    def value(self, node: Node, path: Key, depth: int) -> Any:
        """The plain value of any node."""
        self.count += 1
        if depth > _DEEPEST:
            self.refuse(
                node, Text("an alias (*name) stands inside what it names", "别名（*name）指向了包含它自己的内容")
            )
        if self.count > _MOST_VALUES:
            self.refuse(node, _TOO_MANY)
        self.document.values[path] = self.place(node)
        if isinstance(node, MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self.value(child, (*path, i), depth + 1) for i, child in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return plain_scalar(node.value) if node.style is None else str(node.value)

    def place(self, node: Node) -> Place:
        start, end = node.start_mark, node.end_mark
        written = self.document.text[start.index : end.index].strip()
        return Place(start.line + 1, start.column + 1, written)

    def mapping(self, node: MappingNode, path: Key, depth: int = 0) -> dict[str, Any]:
        """A mapping; ``<<`` merges another one in, below what is written here."""
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, Node] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.refuse(
                    key_node,
                    Text(
                        "a key must be a word, not a list or mapping; put quotes around a text that begins with [ or {",
                        "键应是一个词，不能是列表或映射；以 [ 或 { 开头的文字请加引号",
                    ),
                )
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                merged = {**self.merge(value_node, path, depth), **merged}
                continue
            if key in first:
                dotted = ".".join(map(str, (*path, key)))
                one, two = first[key].start_mark.line + 1, key_node.start_mark.line + 1
                self.refuse(
                    key_node,
                    Text(
                        f"the key {dotted} is written twice, on lines {one} and {two}; keep one",
                        f"键 {dotted} 写了两次，在第 {one} 行和第 {two} 行；请只留一个",
                    ),
                )
            first[key] = key_node
            self.document.keys[(*path, key)] = self.place(key_node)
            result[key] = self.value(value_node, (*path, key), depth + 1)
        return {**merged, **result}

    def merge(self, node: Node, path: Key, depth: int) -> dict[str, Any]:
        nodes: list[Any] = node.value if isinstance(node, SequenceNode) else [node]
        result: dict[str, Any] = {}
        for one in nodes:
            if not isinstance(one, MappingNode):
                self.refuse(node, Text("<< merges a mapping, such as <<: *name", "<< 只能合并映射，例如 <<: *name"))
            self.count += 1
            if depth > _DEEPEST or self.count > _MOST_VALUES:
                self.refuse(node, _TOO_MANY)
            inner = _Reading(Document({}, self.document.text, self.document.name))
            inner.count = self.count
            for key, value in inner.mapping(one, path, depth + 1).items():
                result.setdefault(key, value)
            self.count = inner.count
            for mine, theirs in (
                (self.document.keys, inner.document.keys),
                (self.document.values, inner.document.values),
            ):
                for where, place in theirs.items():
                    mine.setdefault(where, place)
        return result
