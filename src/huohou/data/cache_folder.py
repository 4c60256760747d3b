"""What all caches of data do with the disk: written beside their place and renamed, hashed, found again, cleared.

A reader sees all of a cache or nothing, and two runs that make the same one at once end with one. ``index/`` remembers
which key the unchanged files (path, size, time) led to.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from numpy.typing import NDArray

from huohou import records
from huohou.data.files import shown_error
from huohou.errors import UserError

_DAY = 86_400.0
Opened = TypeVar("Opened")


class HashedFile:
    """A new file whose size and SHA-256 are known when it is closed."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = open(path, "xb")  # noqa: SIM115
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, values: NDArray[Any]) -> None:
        raw = values.tobytes()
        self._file.write(raw)
        self._hash.update(raw)
        self._size += len(raw)

    def close(self) -> dict[str, Any]:
        """Write everything out; what a manifest says of the file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {"bytes": self._size, "sha256": self._hash.hexdigest()}

    def abandon(self) -> None:
        self._file.close()


def begin(folder: Path) -> None:
    """Make the folder of caches, and remove from it what killed runs left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    _remove_left_over(folder)


def temporary_folder(folder: Path) -> Path:
    """Where a cache is made before it is put in its place; the folder does not exist yet."""
    return folder / f".making-{uuid.uuid4().hex}"


def intact(path: Path, open_one: Callable[[Path], Opened]) -> Opened | None:
    """The cache, or None where there is none that can be trusted."""
    try:
        return open_one(path) if path.is_dir() else None
    except UserError:
        return None


def put_in_place(temporary: Path, target: Path, open_one: Callable[[Path], Opened]) -> Opened | None:
    """Rename; where another run has been faster its cache is taken, where a damaged one stands it is replaced.

    None says that the cache that was made is in its place.
    """
    for _ in range(3):
        try:
            os.replace(temporary, target)
        except OSError:
            found = intact(target, open_one)
            if found is not None:
                return found
            if not target.exists():
                continue
            aside = target.with_name(f".damaged-{uuid.uuid4().hex}")
            os.replace(target, aside)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            return None
    os.replace(temporary, target)
    return None


def recall(entry: Path | None) -> str | None:
    """The key that an entry of the index remembers."""
    try:
        key = json.loads(entry.read_text(encoding="utf-8"))["key"] if entry else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key if isinstance(key, str) else None


def remember(entry: Path | None, folder: Path, key: str) -> None:
    """Let an entry of the index remember a key."""
    if entry is not None:
        try:
            records.write_json(entry, {"key": key})
        except OSError as error:
            raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> UserError:
    """The error for a cache that cannot be written."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return UserError(
            f"{folder}: the disk is full, the token cache could not be written; what was written of it is removed.",
            f"{folder}：磁盘空间不足，无法写入词元缓存；已写的部分已删除。",
        )
    return UserError(
        f"{folder}: the token cache cannot be written here ({shown_error(error)}); name another folder (data.cache).",
        f"{folder}：无法在此写入词元缓存（{shown_error(error)}）；请换一个文件夹（data.cache）。",
    )


def _remove_left_over(folder: Path) -> None:
    """Remove what killed runs left; a day is longer than any run that still writes leaves its folder untouched."""
    for path in folder.glob(".*-*"):
        if path.name.startswith((".making-", ".damaged-")):
            try:
                newest = max(p.stat().st_mtime for p in (path, *path.iterdir()))
            except OSError:
                continue
            if time.time() - newest > _DAY:
                shutil.rmtree(path, ignore_errors=True)
