"""Making the token cache of a corpus, and finding it again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huohou import records
from huohou.data.cache_folder import (
    HashedFile,
    begin,
    intact,
    put_in_place,
    recall,
    remember,
    temporary_folder,
    unwritable,
)
from huohou.data.corpus import Corpus, HeldOut, key_of
from huohou.data.documents import Documents
from huohou.data.token_cache import FORMAT, TokenCache, open_cache
from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError

_BATCH = 1 << 20

Progress = Callable[[int, int | None], None]
"""Called with what has been read and the whole: bytes of files, or characters (and None) of a generated corpus."""


def token_cache(
    documents: Corpus | Iterable[str], tokenizer: Tokenizer, folder: Path, *, progress: Progress | None = None
) -> TokenCache:
    """The cache of these documents: found again where nothing has changed, else made.

    A corpus without ``quick_key`` is read every time, to see whether it is the one that a cache was made from.
    """
    found = find_cache(documents, tokenizer, folder)
    if found is not None:
        return found
    begin(folder)
    if any(folder.glob("*/manifest.json")):
        # Hashing is far cheaper than tokenising, and touched files are often the same files.
        digest = _Digest(tokenizer)
        for document in documents:
            digest.add(document)
        found = intact(folder / digest.key(), open_cache)
        if found is not None:
            remember(_index_entry(documents, tokenizer, folder), folder, found.key)
            return found
    made = _make(documents, tokenizer, folder, progress)
    remember(_index_entry(documents, tokenizer, folder), folder, made.key)
    return made


def find_cache(documents: Corpus | Iterable[str], tokenizer: Tokenizer, folder: Path) -> TokenCache | None:
    """The cache that these files led to before, if neither they nor it have changed; reads no document."""
    key = recall(_index_entry(documents, tokenizer, folder))
    return intact(folder / key, open_cache) if key is not None else None


class _Digest:
    """The key, from the documents' text, the tokenizer and the format."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._hash = hashlib.sha256(json.dumps([FORMAT, tokenizer.fingerprint]).encode())

    def add(self, document: str) -> int:
        """Add one document; its length in bytes."""
        raw = document.encode()
        self._hash.update(len(raw).to_bytes(8, "little"))
        self._hash.update(raw)
        return len(raw)

    def key(self) -> str:
        return self._hash.hexdigest()[:32]


def _make(documents: Iterable[str], tokenizer: Tokenizer, folder: Path, progress: Progress | None) -> TokenCache:
    end = tokenizer.end_id
    kind = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    _check_space(documents, folder, kind.itemsize)
    temporary = temporary_folder(folder)
    files: dict[str, HashedFile] = {}
    try:
        temporary.mkdir()
        files = {name: HashedFile(temporary / f"{name}.bin") for name in ("tokens", "ends", "token_bytes")}
        digest = _Digest(tokenizer)
        count = characters = size = tokens = 0
        for batch in _batches(documents):
            size += sum(digest.add(document) for document in batch)
            characters += sum(map(len, batch))
            count += len(batch)
            parts: list[NDArray[Any]] = []
            ends: list[int] = []
            for ids in tokenizer.encode_batch(batch):
                parts += [ids, np.array([end], dtype=np.int32)]
                tokens += len(ids) + 1
                ends.append(tokens)
            files["tokens"].write(np.concatenate(parts).astype(kind))
            files["ends"].write(np.array(ends, dtype="<i8"))
            if progress is not None:
                progress(*_done(documents, characters))
        if not count:
            raise UserError("the data hold no document at all.", "数据中没有任何文档。")
        files["token_bytes"].write(tokenizer.token_bytes().astype("<i4"))
        base = _base(documents)
        manifest = {
            "format": FORMAT,
            "key": digest.key(),
            "tokenizer": tokenizer.fingerprint,
            "vocab_size": tokenizer.vocab_size,
            "end_id": end,
            "dtype": f"uint{kind.itemsize * 8}",
            "tokens": tokens,
            "documents": count,
            "characters": characters,
            "bytes": size,
            "counts": asdict(base.counts) if base else {},
            "sources": [facts.to_plain() for facts in base.files] if base else [],
            "files": {f"{name}.bin": file.close() for name, file in files.items()},
        }
        records.write_json(temporary / "manifest.json", manifest)
        target = folder / digest.key()
        return put_in_place(temporary, target, open_cache) or open_cache(target, verify=False)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        for file in files.values():
            file.abandon()
        shutil.rmtree(temporary, ignore_errors=True)


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _base(documents: Iterable[str]) -> Documents | None:
    """The files behind a corpus, if it comes from files."""
    while isinstance(documents, HeldOut):
        documents = documents.documents
    return documents if isinstance(documents, Documents) else None


def _done(documents: Iterable[str], characters: int) -> tuple[int, int | None]:
    base = _base(documents)
    return (base.position, base.size) if base else (characters, None)


def _check_space(documents: Iterable[str], folder: Path, itemsize: int) -> None:
    """Refuse before reading for an hour what cannot be written. Most texts take less than a token for two bytes."""
    base = _base(documents)
    if base is None:
        return
    compressed = sum(path.stat().st_size for s in base.sources for path in s.files if path.suffix in (".gz", ".zst"))
    needed = (base.size + 3 * compressed) * itemsize // 2
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: the token cache needs about {needed / 1e9:.2g} GB, and {free / 1e9:.2g} GB are free; free "
            "some space or name another folder (data.cache).",
            f"{folder}：词元缓存约需 {needed / 1e9:.2g} GB，而剩余空间只有 {free / 1e9:.2g} GB；"
            "请清理空间或换一个文件夹（data.cache）。",
        )


def _index_entry(documents: Corpus | Iterable[str], tokenizer: Tokenizer, folder: Path) -> Path | None:
    if not isinstance(documents, Corpus):
        return None
    return folder / "index" / f"{key_of(FORMAT, documents.quick_key(), tokenizer.fingerprint)}.json"
