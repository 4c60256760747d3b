"""What a corpus is, those that are generated, and the share of one that is kept apart for validation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol, TypeVar, runtime_checkable

from huohou.errors import UserError


@runtime_checkable
class Corpus(Protocol):
    """Documents that can be gone through again, with a key that is cheap to have and changes when they may have."""

    def __iter__(self) -> Iterator[str]: ...

    def quick_key(self) -> str: ...


def key_of(*parts: object) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()[:32]


class Generated:
    """Documents that a function makes, the same ones each time; ``key`` says which, ``characters`` how many, about."""

    def __init__(self, make: Callable[[], Iterable[str]], key: str, characters: int) -> None:
        self._make, self._key, self.characters = make, key, characters

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    def quick_key(self) -> str:
        return key_of("generated", self._key)


def held_out_share(value: str) -> float | None:
    """``"1%"`` is the share 0.01; a text that is no percentage (a file's name) gives None."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*[%％]\s*", value)
    if not found:
        return None
    share = float(found.group(1)) / 100
    if not 0 < share < 1:
        raise UserError(
            f"validation: {value} keeps everything or nothing apart; write a share between 0% and 100%, such as 1%.",
            f"validation: {value} 会把全部数据或零数据留作验证；请写 0% 与 100% 之间的比例，例如 1%。",
        )
    return share


Item = TypeVar("Item")
Side = Literal["train", "validation"]


def kept_apart(items: Iterable[Item], text_of: Callable[[Item], str], share: float, side: Side) -> Iterator[Item]:
    """The items of one side, each put there by a hash of its text; a side that none is on is a UserError."""
    bound = int(share * 2**64)
    found = False
    for item in items:
        digest = hashlib.blake2b(text_of(item).encode(), digest_size=8, person=b"huohou held out").digest()
        if (int.from_bytes(digest, "big") < bound) == (side == "validation"):
            found = True
            yield item
    if not found:
        raise UserError(
            f"validation: a share of {share:.3%} leaves no document for {side}; these data have too few "
            "documents for it, choose a larger or smaller share or name a file.",
            f"validation: 按 {share:.3%} 划分后，{side} 一侧没有文档；文档太少，请调整比例或指定文件。",
        )


class HeldOut:
    """One side of a corpus of which a share is kept apart for validation.

    Which side a document is on depends on its text alone, so it stays there when files are split, joined or
    reordered, and copies of one document are never on both sides. The share is met on average, not exactly.
    """

    def __init__(self, documents: Corpus, share: float, side: Side = "train") -> None:
        self.documents, self.share = documents, share
        self.side: Side = side

    def __iter__(self) -> Iterator[str]:
        return kept_apart(self.documents, str, self.share, self.side)

    def quick_key(self) -> str:
        return key_of("held out", self.documents.quick_key(), self.share, self.side)


class Joined:
    """Several corpora, one behind the other."""

    def __init__(self, parts: Sequence[Corpus]) -> None:
        self.parts = tuple(parts)

    def __iter__(self) -> Iterator[str]:
        for part in self.parts:
            yield from part

    def quick_key(self) -> str:
        return key_of("joined", *(part.quick_key() for part in self.parts))
