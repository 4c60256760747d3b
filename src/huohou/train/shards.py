"""The files of a checkpoint's tensors: which process writes what, and reading any part of a tensor from them.

A process that holds only a part of a tensor writes that part, flat ranges of numbers one after another, and
``layout.json`` says for each part the shape of the whole and where in it the part begins. What has no entry there is
whole. So a checkpoint can be read by another number of processes than wrote it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from huohou.train.manifest import Unusable
from huohou.train.state import Piece, Source

LAYOUT = "layout.json"
_SUFFIX = ".safetensors"

Layout = dict[str, dict[str, Any]]
"""For each file its parts by name: ``shape`` of the whole and ``start``, counted in numbers through its rows."""


def file_name(part: str, rank: int) -> str:
    """``model.safetensors`` is rank 0's, ``model.1.safetensors`` that of rank 1."""
    return part + (f".{rank}" if rank else "") + _SUFFIX


def part_of_file(name: str) -> tuple[str, int] | None:
    """The part and the rank of a file's name; ``None`` for a file of another kind."""
    if not name.endswith(_SUFFIX):
        return None
    part, dot, rank = name.removesuffix(_SUFFIX).partition(".")
    return (part, int(rank) if dot else 0) if not dot or rank.isdecimal() else None


def layout_of(tensors: Mapping[str, torch.Tensor | Piece]) -> dict[str, Any]:
    """What the layout says of one file: its parts of larger tensors."""
    return {
        name: {"shape": list(piece.shape), "start": piece.start}
        for name, piece in tensors.items()
        if isinstance(piece, Piece) and piece.sharded
    }


def contents(tensors: Mapping[str, torch.Tensor | Piece]) -> dict[str, torch.Tensor]:
    """The tensors of one file, on the CPU, each with its own memory laid out row by row."""
    plain = {name: t.tensor if isinstance(t, Piece) else t for name, t in tensors.items()}
    return {name: t.detach().cpu().contiguous() for name, t in plain.items()}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where some numbers of a tensor lie."""

    path: Path
    start: int
    count: int


class Stored(Source):
    """The tensors of one part of a checkpoint, read when they are asked for; copies that do not hang on the files."""

    def __init__(self, files: Mapping[Path, Mapping[str, Any]]) -> None:
        """``files``: each with its entry in the layout. Raises :class:`Unusable` where parts do not make a whole."""
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, list[_Place]] = {}
        for path, entries in files.items():
            with safe_open(path, framework="pt") as content:
                for name in content.keys():  # noqa: SIM118 (it is no mapping)
                    own = tuple(content.get_slice(name).get_shape())
                    entry = entries.get(name)
                    shape = own if entry is None else tuple(map(int, entry["shape"]))
                    start = 0 if entry is None else int(entry["start"])
                    self._places.setdefault(name, []).append(_Place(path, start, math.prod(own)))
                    if self._shapes.setdefault(name, shape) != shape:
                        raise _unfit(path, name)
        for name, places in self._places.items():
            places.sort(key=lambda place: (place.start, place.count))
            reached = 0
            for place in places:
                if place.start != reached and place.count:
                    raise _unfit(place.path, name)
                reached += place.count
            if reached != math.prod(self._shapes[name]):
                raise _unfit(places[-1].path, name)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def read(self, name: str, start: int, count: int) -> torch.Tensor:
        found = [p for p in self._places[name] if p.start < start + count and p.start + p.count > start]
        parts: list[torch.Tensor] = []
        for place in found or self._places[name][:1]:
            with safe_open(place.path, framework="pt") as content:
                flat = content.get_tensor(name).flatten()
            first = max(0, start - place.start)
            parts.append(flat[first : start + count - place.start])
        return parts[0].clone() if len(parts) == 1 else torch.cat(parts)

    def __getitem__(self, name: str) -> torch.Tensor:
        shape = self._shapes[name]
        return self.read(name, 0, math.prod(shape)).view(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def read_layout(folder: Path) -> Layout:
    """The layout of a checkpoint; empty where every file holds whole tensors."""
    path = folder / LAYOUT
    return json.loads(path.read_text(encoding="utf-8"))["files"] if path.is_file() else {}


def open_parts(folder: Path, names: Iterator[str]) -> dict[str, Stored]:
    """The parts of a checkpoint by name (``model``, ``optimizer``, …) from the names of its files.

    What each rank keeps for itself (``random``) is named ``random``, ``random.1`` and so on.
    """
    layout = read_layout(folder)
    files: dict[str, dict[Path, Mapping[str, Any]]] = {}
    for name in names:
        found = part_of_file(name)
        if found is not None:
            part, rank = found
            key = f"{part}.{rank}" if part == PRIVATE and rank else part
            files.setdefault(key, {})[folder / name] = layout.get(name, {})
    return {part: Stored(paths) for part, paths in files.items()}


PRIVATE = "random"
"""The part that every rank has for itself."""


def _unfit(path: Path, name: str) -> Unusable:
    return Unusable(
        "damaged",
        path.parent,
        f"the checkpoint {path.parent} is damaged: the parts of {name} do not make a whole ({path.name}).",
        f"检查点 {path.parent} 已损坏：{name} 的各部分拼不成整体（{path.name}）。",
    )
