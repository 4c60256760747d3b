"""What a cache of samples is on the disk, and how it is opened and checked.

A cache is a folder named by its key, a hash of the dialogues, the tokenizer, the template and the settings::

    manifest.json     counts, sizes and SHA-256 of the other files
    tokens.bin        uint16 or uint32, little-endian: the ids of every sample
    learned.bin       uint8: for each of them whether it is learned (1) or not (0)
    ends.bin          int64: for each sample, the place in tokens.bin just behind its last id
    token_bytes.bin   int32: for each id of the vocabulary, how many bytes of text it stands for
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huohou.data.files import shown_error
from huohou.data.token_cache import checked_manifest
from huohou.errors import UserError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SampleCache:
    """Samples as ids.

    ``tokens``: uint16 or uint32 [n]; ``learned``: uint8 [n]; ``ends``: int64 [samples]; ``token_bytes``: int32
    [vocab_size]; ``characters`` and ``bytes``: of the rendered texts. ``counts``: read = used + bad + empty + refused +
    nothing_to_learn + too_long, and ``cut`` among the used ones; ``examples``: places and reasons of the first ones
    that were left out; ``files``: what was found in the files.
    """

    path: Path
    key: str
    tokens: NDArray[np.uint16] | NDArray[np.uint32]
    learned: NDArray[np.uint8]
    ends: NDArray[np.int64]
    token_bytes: NDArray[np.int32]
    characters: int
    bytes: int
    vocab_size: int
    counts: dict[str, int]
    examples: list[dict[str, str]]
    files: list[dict[str, Any]]

    @property
    def samples(self) -> int:
        return len(self.ends)

    def __len__(self) -> int:
        """Ids of all samples."""
        return len(self.tokens)


def open_sample_cache(path: Path, *, verify: bool = True) -> SampleCache:
    """Open a cache; sizes always have to agree with its manifest, with ``verify`` the hashes too."""
    try:
        manifest = checked_manifest(path, FORMAT, verify=verify)
        kind = np.dtype(manifest["dtype"]).newbyteorder("<")
        return SampleCache(
            path=path,
            key=manifest["key"],
            tokens=np.memmap(path / "tokens.bin", dtype=kind, mode="r"),
            learned=np.memmap(path / "learned.bin", dtype=np.uint8, mode="r"),
            ends=np.memmap(path / "ends.bin", dtype="<i8", mode="r"),
            token_bytes=np.fromfile(path / "token_bytes.bin", dtype="<i4"),
            characters=manifest["characters"],
            bytes=manifest["bytes"],
            vocab_size=manifest["vocab_size"],
            counts=manifest["counts"],
            examples=manifest["examples"],
            files=manifest["sources"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: this sample cache is damaged ({shown_error(error)}); delete the folder, it is made again.",
            f"{path}：样本缓存已损坏（{shown_error(error)}）；请删除该文件夹，程序会重新生成。",
        ) from error
