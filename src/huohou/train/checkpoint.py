"""Checkpoints that survive a kill, a full disk and a flipped bit.

A checkpoint is written beside its place (``checkpoint-120.tmp-…``), every file flushed to the disk and hashed, the
manifest written last, and then the folder is renamed. Readers believe manifests only (:mod:`huohou.train.manifest`).
Tensors are safetensors, everything else is JSON: nothing here can execute anything when it is read.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from huohou.language import Text
from huohou.train.manifest import NAME, FileEntry, Manifest, Position, Unusable, read_manifest, sha256_of, verify

_STATE = "state.json"
_OURS = re.compile(r"checkpoint-\d+")
_DEBRIS = re.compile(r"checkpoint-\d+\.(tmp|old)-[0-9a-f]{8}")
_MARGIN = 1.2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a run needs to go on: named tensors by file, and plain data."""

    position: Position
    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    """For each file (``model``, ``optimizer``, …) its tensors by name."""
    plain: Mapping[str, Any]
    plan: Mapping[str, str]
    """The plan's fingerprints, for the manifest."""

    @property
    def bytes(self) -> int:
        """About how much room it takes on the disk."""
        return 65536 + sum(t.numel() * t.element_size() for file in self.tensors.values() for t in file.values())


class SaveFailed(Exception):
    """A checkpoint could not be written; what was there before is as it was."""

    def __init__(self, en: str, zh: str) -> None:
        self.text = Text(en, zh)
        super().__init__(en)

    def __str__(self) -> str:
        return str(self.text)


def space_needed(size: int) -> int:
    """The free bytes asked for before a checkpoint of this size is begun."""
    return int(size * _MARGIN)


def check_space(folder: Path, size: int) -> None:
    """Raise :class:`SaveFailed` where the disk has no room for a checkpoint of ``size`` bytes."""
    needed, free = space_needed(size), shutil.disk_usage(_existing(folder)).free
    if free < needed:
        raise SaveFailed(
            f"not enough space for a checkpoint in {folder}: {_size(needed)} needed, {_size(free)} free.",
            f"磁盘空间不足，无法在 {folder} 写检查点：需要 {_size(needed)}，剩余 {_size(free)}。",
        )


def _existing(folder: Path) -> Path:
    return next(p for p in (folder, *folder.parents, Path()) if p.exists())


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


@dataclass(slots=True)
class _Writing:
    """One checkpoint on its way to the disk, as a list of steps after any of which the machine may stop."""

    folder: Path
    snapshot: Snapshot
    keep: int
    files: dict[str, FileEntry] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def place(self) -> Path:
        return self.folder / f"checkpoint-{self.snapshot.position.update}"

    @property
    def beside(self) -> Path:
        return self.place.with_name(f"{self.place.name}.tmp-{self.token}")

    def steps(self) -> list[Callable[[], None]]:
        """What is done, in order."""
        files = [lambda name=name: self.write_tensors(name) for name in self.snapshot.tensors]
        return [
            self.make_folder,
            *files,
            self.write_plain,
            self.write_manifest,
            self.clear_place,
            self.rename,
            self.prune,
        ]

    def make_folder(self) -> None:
        self.beside.mkdir()

    def write_tensors(self, name: str) -> None:
        path = self.beside / f"{name}.safetensors"
        tensors = {key: t.detach().cpu().contiguous() for key, t in self.snapshot.tensors[name].items()}
        save_file(tensors, path)
        self.finish(path)

    def write_plain(self) -> None:
        path = self.beside / _STATE
        text = json.dumps(self.snapshot.plain, ensure_ascii=False, indent=1, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        self.finish(path)

    def finish(self, path: Path) -> None:
        _flush(path)
        self.files[path.name] = FileEntry(path.stat().st_size, sha256_of(path))

    def write_manifest(self) -> None:
        manifest = Manifest(self.snapshot.position, dict(self.snapshot.plan), self.files)
        path = self.beside / NAME
        path.write_text(manifest.render(), encoding="ascii", newline="\n")
        _flush(path)
        _flush_folder(self.beside)

    def clear_place(self) -> None:
        # A run goes on from the newest valid checkpoint, so what already lies here is one that was found damaged.
        if self.place.exists():
            _remove(self.place)

    def rename(self) -> None:
        os.replace(self.beside, self.place)
        _flush_folder(self.folder)

    def prune(self) -> None:
        # What somebody copied here under another name is theirs. A folder that cannot be removed now (open
        # elsewhere, on Windows) is tried again after the next save.
        ours = [checkpoint.folder for checkpoint in _sorted(self.folder)[0] if _OURS.fullmatch(checkpoint.folder.name)]
        for folder in ours[max(1, self.keep) :]:
            with suppress(OSError):
                _remove(folder)


def save(folder: Path, snapshot: Snapshot, *, keep: int) -> Path:
    """Write ``snapshot`` as a checkpoint inside ``folder`` and remove all but the ``keep`` newest; returns its path.

    Raises :class:`SaveFailed` where the disk refuses; then nothing of the attempt is left and older checkpoints are
    as they were.
    """
    writing = _Writing(folder, snapshot, keep)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_space(folder, snapshot.bytes)
        for step in writing.steps():
            step()
    except BaseException as error:
        shutil.rmtree(writing.beside, ignore_errors=True)
        if isinstance(error, OSError | SafetensorError):
            raise _save_failed(writing.place, error, snapshot.bytes) from error
        raise
    return writing.place


def _save_failed(place: Path, error: OSError | SafetensorError, size: int) -> SaveFailed:
    code = error.errno if isinstance(error, OSError) else None
    full = code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if full:
        free = shutil.disk_usage(_existing(place)).free
        return SaveFailed(
            f"the disk is full: {place} could not be written ({_size(space_needed(size))} needed, {_size(free)} free).",
            f"磁盘空间不足：无法写入 {place}（需要 {_size(space_needed(size))}，剩余 {_size(free)}）。",
        )
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return SaveFailed(f"{place} could not be written: {reason}.", f"无法写入 {place}：{reason}。")


def _remove(folder: Path) -> None:
    """Remove a checkpoint; it stops being one before its first file goes."""
    aside = folder.with_name(f"{folder.name}.old-{secrets.token_hex(4)}")
    os.replace(folder, aside)
    shutil.rmtree(aside)


def _flush(path: Path) -> None:
    # Windows flushes only what is open for writing.
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename durable; systems that cannot flush a folder are left alone."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


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


def _sorted(folder: Path) -> tuple[list[Checkpoint], list[Unusable]]:
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
    readable, unusable = _sorted(folder)
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
    """Read a checkpoint that :func:`find` returned. The tensors are copies in memory, on the CPU."""
    tensors = {
        Path(name).stem: {key: tensor.clone() for key, tensor in load_file(checkpoint.folder / name).items()}
        for name in checkpoint.manifest.files
        if name.endswith(".safetensors")
    }
    plain = json.loads((checkpoint.folder / _STATE).read_text(encoding="utf-8"))
    return Snapshot(checkpoint.manifest.position, tensors, plain, checkpoint.manifest.plan)
