"""A real corpus in every dress gives the same tokens."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from huohou.data.cache import token_cache
from huohou.data.documents import Documents
from huohou.data.tokenizer_training import train_tokenizer

pytestmark = [pytest.mark.external, pytest.mark.slow]


def folder_of_four(text: bytes, folder: Path) -> Path:
    lines = text.splitlines(keepends=True)
    (folder / "parts").mkdir()
    for part in range(4):
        (folder / "parts" / f"{part}.jsonl").write_bytes(
            b"".join(lines[part * len(lines) // 4 : (part + 1) * len(lines) // 4])
        )
    return folder / "parts"


def written(name: str, change: Callable[[bytes], bytes]) -> Callable[[bytes, Path], Path]:
    def make(text: bytes, folder: Path) -> Path:
        (folder / name).write_bytes(change(text))
        return folder / name

    return make


DRESSES: dict[str, Callable[[bytes, Path], Path]] = {
    "with a BOM": written("bom.jsonl", lambda text: b"\xef\xbb\xbf" + text),
    "as GB18030": written("gb.jsonl", lambda text: text.decode("utf-8").encode("gb18030")),
    "as UTF-16": written("utf16.jsonl", lambda text: text.decode("utf-8").encode("utf-16")),
    "as .gz": written("songci.jsonl.gz", gzip.compress),
    "with CRLF": written("crlf.jsonl", lambda text: text.replace(b"\n", b"\r\n")),
    "in a folder": folder_of_four,
}


@pytest.mark.parametrize("dress", DRESSES)
def test_the_same_text_gives_the_same_tokens(dress: str, shared_data: Path, tmp_path: Path) -> None:
    original = shared_data / "pretrain" / "songci.jsonl"
    text = original.read_bytes()
    tokenizer = train_tokenizer(Documents([f"{original}#2000"]), 3000)
    plain = token_cache(Documents([original]), tokenizer, tmp_path / "cache")
    other = token_cache(Documents([DRESSES[dress](text, tmp_path)]), tokenizer, tmp_path / "other")
    assert plain.documents == other.documents == 21_050
    assert np.array_equal(plain.tokens, other.tokens)
    assert np.array_equal(plain.ends, other.ends)
    assert plain.key == other.key
