"""From what a person wrote (paths, folders, globs, ``path#500``) to the files it means, and their bytes.

Order is part of the meaning: sources in the order they were written, files of a folder or glob sorted by their path
written with ``/``, so that a corpus is the same on every system.
"""

from __future__ import annotations

import glob
import gzip
import os
import re
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any, cast

from huohou.errors import UserError, missing_extra

FORMATS = {
    ".txt": "txt", ".text": "txt", ".md": "txt",
    ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv", ".tsv": "tsv",
    ".parquet": "parquet",
}  # fmt: skip
"""A file's format is told by its name; a compressed file's by the name without ``.gz`` or ``.zst``."""

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_KNOWN = "txt, md, jsonl, json, csv, tsv, parquet (+ .gz, .zst)"


@dataclass(frozen=True, slots=True)
class Source:
    """One thing that a person named as data.

    ``limit`` is the largest number of records taken from it, the first ones (None: all); ``named`` says that it is
    one file written by name, not found in a folder or by a pattern; ``ignored`` are files of a folder whose names
    say no known format.
    """

    spec: str
    files: tuple[Path, ...]
    limit: int | None = None
    named: bool = False
    ignored: tuple[Path, ...] = ()


def format_of(path: Path) -> tuple[str | None, str | None]:
    """(format, compression) as the name tells them; None where it does not."""
    suffix = path.suffix.lower()
    compression = COMPRESSIONS.get(suffix)
    if compression:
        suffix = Path(path.stem).suffix.lower()
    return FORMATS.get(suffix), compression


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files under a folder with a known format, and the others; hidden ones are neither."""
    known: list[Path] = []
    others: list[Path] = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                path = Path(where, name)
                (known if format_of(path)[0] else others).append(path)
    return sorted(known, key=Path.as_posix), sorted(others, key=Path.as_posix)


def _one(spec: str) -> Source:
    path, limit = Path(spec).expanduser(), None
    counted = re.fullmatch(r"(.+)#(\d+)", spec, re.DOTALL)
    # A file whose own name ends in #500 is meant before 500 records of another one.
    if counted and not _exists(path):
        spec, limit = counted.group(1), int(counted.group(2))
        path = Path(spec).expanduser()
        if limit == 0:
            raise UserError(
                f"{spec}#0 asks for no record at all; write a number from 1 after #, or leave it out.",
                f"{spec}#0 表示一条记录也不取；请在 # 后写 1 或更大的数，或去掉它。",
            )
    if _exists(path):
        if not path.is_dir():
            return Source(spec, (path,), limit, named=True)
        files, others = _folder(path)
        if not files:
            raise UserError(
                f"{spec}: this folder holds no data file; known are {_KNOWN}.",
                f"{spec}：这个文件夹里没有数据文件；可用的格式有 {_KNOWN}。",
            )
        return Source(spec, tuple(files), limit, ignored=tuple(others))
    if glob.has_magic(spec):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        files = sorted((p for p in found if p.is_file()), key=Path.as_posix)
        if files:
            return Source(spec, tuple(files), limit)
        raise UserError(f"{spec}: no file matches this pattern.", f"{spec}：没有文件符合这个模式。")
    raise UserError(f"{spec}: there is no such file or folder.", f"{spec}：没有这个文件或文件夹。")


def find_sources(sources: str | Path | Sequence[str | Path]) -> tuple[Source, ...]:
    """The files behind paths, folders (searched in depth), globs and ``path#500``; finding none is a UserError."""
    written = [sources] if isinstance(sources, str | Path) else list(sources)
    if not written or any(not str(spec).strip() for spec in written):
        raise UserError(
            "no data file is named; give at least one file, folder or pattern.",
            "没有写数据文件；请至少给出一个文件、文件夹或模式。",
        )
    return tuple(_one(str(spec)) for spec in written)


def shown_path(path: Path) -> str:
    """A path for messages and files: under LANG=C Python holds the bytes of 汉字 as half characters."""
    return os.fsencode(path).decode("utf-8", "replace")


def shown_error(error: BaseException) -> str:
    """What an exception of the system or of a library says, on one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Turn what can go wrong with a file's bytes into one sentence that names the file."""
    broken: tuple[type[BaseException], ...] = (EOFError, zlib.error, gzip.BadGzipFile)
    try:
        yield
    except UserError:
        raise
    except broken as error:
        raise UserError(
            f"{shown_path(path)}: the compressed file is damaged or cut off ({shown_error(error)}); copy it again.",
            f"{shown_path(path)}：压缩文件已损坏或不完整（{shown_error(error)}）；请重新复制该文件。",
        ) from error
    except OSError as error:
        raise UserError(
            f"{shown_path(path)}: the file cannot be read ({shown_error(error)}).",
            f"{shown_path(path)}：无法读取文件（{shown_error(error)}）。",
        ) from error
    except Exception as error:
        # The exceptions of zstandard and pyarrow cannot be named before those packages are imported.
        if type(error).__module__.partition(".")[0] in ("zstandard", "zstd", "pyarrow"):
            raise UserError(
                f"{shown_path(path)}: the file is damaged or not what its name says ({shown_error(error)}).",
                f"{shown_path(path)}：文件已损坏，或不是文件名所说的格式（{shown_error(error)}）。",
            ) from error
        raise


class Bytes:
    """A file's bytes, decompressed while they are read; ``position`` counts the bytes taken from the disk."""

    def __init__(self, path: Path) -> None:
        self.raw: IO[bytes] = open(path, "rb")  # noqa: SIM115
        try:
            head = self.raw.read(4)
            self.raw.seek(0)
            self.compression = "gzip" if head[:2] == b"\x1f\x8b" else "zstd" if head == b"\x28\xb5\x2f\xfd" else None
            promised = format_of(path)[1]
            if promised and head and promised != self.compression:
                raise UserError(
                    f"{shown_path(path)}: the name says {promised}, but the content is not; rename it.",
                    f"{shown_path(path)}：文件名说是 {promised} 压缩，但内容不是；请改名。",
                )
            self.stream: IO[bytes] = self.raw
            if self.compression == "gzip":
                self.stream = cast("IO[bytes]", gzip.GzipFile(fileobj=self.raw))
            elif self.compression == "zstd":
                self.stream = _zstd(self.raw)
        except BaseException:
            self.raw.close()
            raise

    @property
    def position(self) -> int:
        return self.raw.tell()

    def __enter__(self) -> IO[bytes]:
        return self.stream

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.raw.close()


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard
    except ImportError:
        raise missing_extra("zstandard", "data") from None
    return BufferedReader(_Zstd(raw, zstandard.ZstdDecompressor()), 1 << 17)


class _Zstd(RawIOBase):
    """Decompressed zstd frames. The package's own reader takes a file that breaks off for one that ends."""

    def __init__(self, raw: IO[bytes], decompressor: Any) -> None:
        self._raw, self._decompressor = raw, decompressor
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            rest = self._frame.unused_data if self._frame is not None and self._frame.eof else b""
            packed = rest or self._raw.read(1 << 16)
            if self._frame is None or self._frame.eof:
                if not packed:
                    return 0
                self._frame = self._decompressor.decompressobj()
            elif not packed:
                raise EOFError("the file ends inside a compressed frame")
            self._ready = memoryview(self._frame.decompress(packed))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
