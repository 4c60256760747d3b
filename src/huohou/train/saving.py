"""Writing checkpoints that survive a kill, a full disk and a flipped bit.

A checkpoint is written beside its place (``checkpoint-120.tmp-…``), every file flushed to the disk and hashed, the
manifest written last, and then the folder is renamed. Where several processes train, each writes what it holds
(:mod:`huohou.train.shards`) and tells rank 0 the hashes; they go from step to step together, so that what fails on one
fails on all and leaves nothing behind.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from huohou.language import Text
from huohou.train import shards
from huohou.train.checkpoint import STATE, Checkpoint, Snapshot, in_order, validation_loss
from huohou.train.distributed import ALONE, World
from huohou.train.manifest import NAME, FileEntry, Manifest, sha256_of

_OURS = re.compile(r"checkpoint-\d+")
_MARGIN = 1.2


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
            f"not enough space for a checkpoint in {folder}: {_short(needed, free).en}.",
            f"磁盘空间不足，无法在 {folder} 写检查点：{_short(needed, free).zh}。",
        )


def _existing(folder: Path) -> Path:
    return next(p for p in (folder, *folder.parents, Path()) if p.exists())


def _short(needed: int, free: int) -> Text:
    """How much is asked for, how much there is, and what is missing."""
    asked, there, missing = _size(needed), _size(free), _size(max(0, needed - free))
    return Text(f"{asked} needed, {there} free, {missing} missing", f"需要 {asked}，剩余 {there}，还差 {missing}")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


@dataclass(slots=True)
class _Writing:
    """One checkpoint on its way to the disk, as a list of steps after any of which the machine may stop."""

    folder: Path
    snapshot: Snapshot
    keep: int
    keep_best: bool = False
    world: World = ALONE
    files: dict[str, FileEntry] = field(default_factory=dict)
    layout: shards.Layout = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def place(self) -> Path:
        return self.folder / f"checkpoint-{self.snapshot.position.update}"

    @property
    def beside(self) -> Path:
        return self.place.with_name(f"{self.place.name}.tmp-{self.token}")

    def steps(self) -> list[Callable[[], None]]:
        """What this process does, in order; as many steps on every rank."""
        files = [lambda name=name: self.write_tensors(name) for name in self.snapshot.tensors]
        rest = [self.write_plain, self.write_manifest, self.clear_place, self.rename, self.prune]
        return [self.by_rank_0(self.make_folder), self.see_folder, *files, self.report, *map(self.by_rank_0, rest)]

    def by_rank_0(self, step: Callable[[], None]) -> Callable[[], None]:
        return step if self.world.leads else lambda: None

    def together(self, step: Callable[[], None], size: int) -> None:
        """Do one step; where any rank fails, all raise the same :class:`SaveFailed`."""
        failed: SaveFailed | None = None
        cause: Exception | None = None
        try:
            step()
        except SaveFailed as error:
            failed = error
        except (OSError, SafetensorError) as error:
            failed, cause = _save_failed(self.place, error, size), error
        told = self.world.gather(failed.text.plain() if failed else None)
        first = next((text for text in told if text is not None), None)
        if first is not None:
            raise SaveFailed(first["en"], first["zh"]) from cause

    def make_folder(self) -> None:
        self.beside.mkdir()

    def see_folder(self) -> None:
        if not self.beside.is_dir():
            raise SaveFailed(
                f"rank {self.world.rank} does not see {self.beside}: the run folder must lie where all machines see "
                f"it.",
                f"进程 {self.world.rank} 看不到 {self.beside}：训练目录必须位于所有机器共享的位置。",
            )

    def write_tensors(self, part: str) -> None:
        tensors = self.snapshot.tensors[part]
        if not tensors:
            return
        name = shards.file_name(part, self.world.rank)
        if entries := shards.layout_of(tensors):
            self.layout[name] = entries
        save_file(shards.contents(tensors), self.beside / name)
        self.finish(self.beside / name)

    def report(self) -> None:
        """Rank 0 learns what the others wrote."""
        told = self.world.gather([self.layout, {name: [e.bytes, e.sha256] for name, e in self.files.items()}])
        for layout, files in told:
            self.layout |= layout
            self.files |= {name: FileEntry(*entry) for name, entry in files.items()}

    def write_plain(self) -> None:
        self.write_json(STATE, self.snapshot.plain)
        if self.layout:
            self.write_json(shards.LAYOUT, {"ranks": self.world.size, "files": self.layout})

    def write_json(self, name: str, content: Any) -> None:
        path = self.beside / name
        text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
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
        ours = [found for found in in_order(self.folder)[0] if _OURS.fullmatch(found.folder.name)]
        kept = {found.folder for found in ours[: max(1, self.keep)]}
        if self.keep_best and (best := _best(ours)) is not None:
            kept.add(best.folder)
        for found in ours:
            if found.folder not in kept:
                with suppress(OSError):
                    _remove(found.folder)


def save(folder: Path, snapshot: Snapshot, *, keep: int, keep_best: bool = False, world: World = ALONE) -> Path:
    """Write ``snapshot`` as a checkpoint inside ``folder`` and remove all but the ``keep`` newest; returns its path.

    With ``keep_best`` the one with the lowest validation loss stays too. Every process of ``world`` calls it with
    what it holds.

    Raises :class:`SaveFailed` where the disk refuses; then nothing of the attempt is left and older checkpoints are
    as they were.
    """
    writing = _Writing(folder, snapshot, keep, keep_best, world)
    writing.token = world.of_rank_0(writing.token)
    size = int(world.sums([snapshot.bytes])[0])

    def begin() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        check_space(folder, size)

    try:
        for step in (writing.by_rank_0(begin), *writing.steps()):
            writing.together(step, size)
    except BaseException:
        shutil.rmtree(writing.beside, ignore_errors=True)
        raise
    return writing.place


def _best(ours: list[Checkpoint]) -> Checkpoint | None:
    """The one with the lowest validation loss; of equal ones the newest, which comes first."""
    measured = [(loss, found) for found in ours if (loss := validation_loss(found)) is not None]
    return min(measured, key=lambda pair: pair[0])[1] if measured else None


def _save_failed(place: Path, error: OSError | SafetensorError, size: int) -> SaveFailed:
    code = error.errno if isinstance(error, OSError) else None
    full = code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if full:
        free = shutil.disk_usage(_existing(place)).free
        return SaveFailed(
            f"the disk is full: {place} could not be written ({_short(space_needed(size), free).en}).",
            f"磁盘空间不足：无法写入 {place}（{_short(space_needed(size), free).zh}）。",
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
