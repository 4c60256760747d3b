"""Checkpoints that were written: which there are, which of them can be trusted, and what they hold.

Only what its manifest vouches for is believed (:mod:`huohou.train.manifest`); how a checkpoint comes to the disk is
:mod:`huohou.train.saving`'s matter. Tensors are safetensors, everything else is JSON: nothing here can execute anything
when it is read.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huohou.language import Text
from huohou.train import shards
from huohou.train.manifest import Manifest, Position, Unusable, read_manifest, verify
from huohou.train.state import Piece

STATE = "state.json"
"""The file of a checkpoint's plain data."""

_DEBRIS = re.compile(r"checkpoint-\d+\.(tmp|old)-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a run needs to go on: named tensors by file, and plain data."""

    position: Position
    tensors: Mapping[str, Mapping[str, Any]]
    """For each part (``model``, ``optimizer``, …) its tensors by name, or what this process holds of them."""
    plain: Mapping[str, Any]
    plan: Mapping[str, str]
    """The plan's fingerprints, for the manifest."""

    @property
    def bytes(self) -> int:
        """About how much room it takes on the disk."""
        held = (t.tensor if isinstance(t, Piece) else t for part in self.tensors.values() for t in part.values())
        return 65536 + sum(t.numel() * t.element_size() for t in held)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder with a manifest that can be trusted."""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder of checkpoints."""

    newest: Checkpoint | None
    """The valid one with the highest update."""
    unusable: tuple[Unusable, ...]
    """Those met on the way to it that cannot be used, and why."""


def in_order(folder: Path) -> tuple[list[Checkpoint], list[Unusable]]:
    """Those with a sound manifest, newest first, their files not looked at yet; and the others."""
    readable: list[Checkpoint] = []
    unusable: list[Unusable] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not _DEBRIS.fullmatch(path.name) and not path.name.startswith("."):
            try:
                readable.append(Checkpoint(path, read_manifest(path)))
            except Unusable as error:
                unusable.append(error)
    readable.sort(key=lambda checkpoint: checkpoint.manifest.position.update, reverse=True)
    return readable, unusable


def find(folder: Path) -> Found:
    """The newest valid checkpoint in ``folder``, every byte of it checked."""
    readable, unusable = in_order(folder)
    for checkpoint in readable:
        try:
            verify(checkpoint.folder, checkpoint.manifest)
        except Unusable as error:
            unusable.append(error)
        else:
            return Found(checkpoint, tuple(unusable))
    return Found(None, tuple(unusable))


def clean(folder: Path) -> list[str]:
    """Remove what a killed run left half written or half removed; returns the names."""
    debris = [p for p in sorted(folder.iterdir()) if _DEBRIS.fullmatch(p.name)] if folder.is_dir() else []
    for path in debris:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in debris]


def load(checkpoint: Checkpoint) -> Snapshot:
    """Open a checkpoint that :func:`find` returned. Its tensors are read when they are asked for, as copies."""
    plain = json.loads((checkpoint.folder / STATE).read_text(encoding="utf-8"))
    tensors = shards.open_parts(checkpoint.folder, iter(checkpoint.manifest.files))
    return Snapshot(checkpoint.manifest.position, tensors, plain, checkpoint.manifest.plan)


def validation_loss(found: Checkpoint) -> float | None:
    """The validation loss that was measured after the very update of a checkpoint, if one was."""
    try:
        plain = json.loads((found.folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    loss = plain.get("validation") if isinstance(plain, dict) else None
    return float(loss) if isinstance(loss, int | float) else None


@dataclass(frozen=True, slots=True)
class Listed:
    """One folder among the checkpoints, for people to look at."""

    folder: Path
    checkpoint: Checkpoint | None
    """With its manifest, where that can be trusted."""
    problem: Text | None
    """Why it cannot be used, if so."""
    loss: float | None
    """The validation loss measured after its update."""

    @property
    def bytes(self) -> int:
        """Its size on the disk, by its manifest."""
        return sum(e.bytes for e in self.checkpoint.manifest.files.values()) if self.checkpoint else 0


def listing(folder: Path, *, every_byte: bool = False) -> list[Listed]:
    """All checkpoints of a folder, oldest first, then what cannot be used; ``every_byte`` reads and hashes them."""
    readable, unusable = in_order(folder)
    found: list[Listed] = []
    for checkpoint in reversed(readable):
        problem = None
        if every_byte:
            try:
                verify(checkpoint.folder, checkpoint.manifest)
            except Unusable as error:
                problem = error.text
        found.append(Listed(checkpoint.folder, checkpoint, problem, validation_loss(checkpoint)))
    return [*found, *(Listed(error.folder, None, error.text, None) for error in unusable)]
