"""What a token cache is on the disk, and how it is opened and checked.

A cache is a folder named by its key, a hash of the documents' text, of the tokenizer and of this format's version::

    manifest.json     counts, sizes and SHA-256 of the other files
    tokens.bin        uint16 or uint32, little-endian: every document's ids, each document ended by the end token
    ends.bin          int64: for each document, the place in tokens.bin just behind its end token
    token_bytes.bin   int32: for each id, how many bytes of text it stands for
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huohou.data.files import shown_error
from huohou.errors import UserError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class TokenCache:
    """A corpus as ids.

    ``tokens``: uint16 or uint32 [n]; ``ends``: int64 [documents], where each document ends, its end token included;
    ``token_bytes``: int32 [vocab_size]; ``counts`` and ``files``: what was found when the documents were read.
    """

    path: Path
    key: str
    tokens: NDArray[np.uint16] | NDArray[np.uint32]
    ends: NDArray[np.int64]
    token_bytes: NDArray[np.int32]
    documents: int
    characters: int
    bytes: int
    vocab_size: int
    counts: dict[str, int]
    files: list[dict[str, Any]]

    def __len__(self) -> int:
        """Tokens, end tokens included."""
        return len(self.tokens)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text (UTF-8) a token, end tokens counted as tokens without bytes."""
        return self.bytes / len(self.tokens)


def open_cache(path: Path, *, verify: bool = True) -> TokenCache:
    """Open a cache; sizes always have to agree with its manifest, with ``verify`` the hashes too."""
    try:
        manifest = checked_manifest(path, FORMAT, verify=verify)
        kind = np.dtype(manifest["dtype"]).newbyteorder("<")
        return TokenCache(
            path=path,
            key=manifest["key"],
            tokens=np.memmap(path / "tokens.bin", dtype=kind, mode="r"),
            ends=np.memmap(path / "ends.bin", dtype="<i8", mode="r"),
            token_bytes=np.fromfile(path / "token_bytes.bin", dtype="<i4"),
            documents=manifest["documents"],
            characters=manifest["characters"],
            bytes=manifest["bytes"],
            vocab_size=manifest["vocab_size"],
            counts=manifest["counts"],
            files=manifest["sources"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: this token cache is damaged ({shown_error(error)}); delete the folder, it is made again.",
            f"{path}：词元缓存已损坏（{shown_error(error)}）；请删除该文件夹，程序会重新生成。",
        ) from error


def checked_manifest(path: Path, format: int, *, verify: bool) -> dict[str, Any]:
    """The manifest of a cache's folder, after its files were compared with it.

    ``ValueError`` where a size differs, or with ``verify`` a hash; ``OSError`` or ``KeyError`` where something is
    absent.
    """
    manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    if manifest["format"] != format:
        raise ValueError(f"format {manifest['format']}, this version reads {format}")
    for name, facts in manifest["files"].items():
        size = (path / name).stat().st_size
        if size != facts["bytes"]:
            raise ValueError(f"{name} has {size} bytes, not {facts['bytes']}")
        if verify and hash_of(path / name) != facts["sha256"]:
            raise ValueError(f"{name} has been changed (its SHA-256 differs)")
    return manifest


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
