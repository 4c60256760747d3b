"""Which sections a run file has, what stands above them, and which sections stand inside others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from huohou.config.data import Batch, Data, Embedded, MixSource
from huohou.config.groups import PARTS, Group, Groups
from huohou.config.load import Key
from huohou.config.lora import Lora
from huohou.config.model import Model, Tokenizer
from huohou.config.schedule import Schedule
from huohou.config.section import Section
from huohou.config.training import Checkpoint, Optimizer, Train

SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {
        "model": Model,
        "tokenizer": Tokenizer,
        "data": Data,
        "batch": Batch,
        "schedule": Schedule,
        "groups": Groups,
        "lora": Lora,
        "optimizer": Optimizer,
        "train": Train,
        "checkpoint": Checkpoint,
    }
)
TOP = ("name", "output", "stage", "seed")
"""The keys that stand in no section."""

ANY = "*"
"""Stands in a place for a name that the author of a run file chooses."""

INNER: Mapping[Key, type[Section]] = MappingProxyType(
    {
        ("data", "embedded"): Embedded,
        ("data", "mix", ANY): MixSource,
        ("data", "mix", ANY, "embedded"): Embedded,
        **{("groups", part): Group for part in PARTS},
    }
)
"""The sections that stand inside others."""

OPTIONAL: frozenset[Key] = frozenset({("lora",), *INNER})
"""The sections that may be absent: ``{}`` is one with its defaults, nothing is none."""


def place_of(path: Key) -> Key:
    """The place of a path in :data:`INNER`, where names that an author chose are :data:`ANY`."""
    return (*path[:2], ANY, *path[3:]) if path[:2] == ("data", "mix") and len(path) > 2 else path


def section_at(path: Key) -> type[Section] | None:
    """The section that stands at a path, if one does."""
    if len(path) == 1:
        return SECTIONS.get(str(path[0]))
    return INNER.get(place_of(path))


def short_form(path: Key, value: Any) -> str | None:
    """The key of the section at ``path`` that a single value in its place stands for, if any."""
    if section_at(path) is Embedded:
        return "characters" if not isinstance(value, bool | list) else None
    if section_at(path) is Group:
        return "peak"
    if section_at(path) is MixSource:
        return None
    match path:
        case ("model",):
            return "preset" if isinstance(value, str) else None
        case ("tokenizer",):
            return "path" if isinstance(value, str) else "vocab_size" if type(value) is int else None
        case ("data",):
            return "train" if isinstance(value, str | list) else None
        case ("lora",):
            return "rank" if type(value) is int else None
        case _:
            return None
