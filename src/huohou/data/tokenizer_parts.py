"""A byte-pair tokenizer taken apart: vocabulary, merges, spelling and special tokens, as data that can be added to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from huohou.data.files import shown_path
from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_checked import parse_model, read_bytes, read_fast
from huohou.data.tokenizer_converted import SPACE, converted
from huohou.data.tokenizer_merges import Merges, Pair
from huohou.errors import UserError


@dataclass
class Parts:
    """``plain``: the tokenizer.json as data. ``proto``: the SentencePiece model that gives the same ids, or None."""

    path: Path
    plain: dict[str, Any]
    proto: Any = None
    own: Tokenizer | None = field(default=None, repr=False)
    """The tokenizer as its own library reads it: what the parts must agree with."""

    @property
    def vocab(self) -> dict[str, int]:
        return self.plain["model"]["vocab"]

    @property
    def pairs(self) -> list[Pair]:
        rows: list[Any] = self.plain["model"].get("merges") or []
        found = [row.split(" ") if isinstance(row, str) else row for row in rows]
        return [(left, right) for left, right in found]

    @property
    def added(self) -> list[dict[str, Any]]:
        return self.plain.get("added_tokens") or []

    @property
    def size(self) -> int:
        """The largest id, and one."""
        return max([*self.vocab.values(), *(token["id"] for token in self.added)], default=-1) + 1

    @cached_property
    def byte_level(self) -> bool:
        """Whether the vocabulary is written in GPT-2's alphabet, one character for each byte."""
        return '"ByteLevel"' in json.dumps([self.plain.get("decoder"), self.plain.get("pre_tokenizer")])

    @cached_property
    def escaped(self) -> bool:
        """Whether a space is written ▁."""
        return SPACE in json.dumps(self.plain.get("decoder"), ensure_ascii=False)

    def spelling(self, text: str) -> str:
        """A text as the vocabulary writes it."""
        if self.byte_level:
            return "".join(_BYTES[byte] for byte in text.encode())
        return text.replace(" ", SPACE) if self.escaped else text

    def text(self, spelling: str) -> str | None:
        """What a spelling stands for; None for a part of a character."""
        if not self.byte_level:
            return spelling.replace(SPACE, " ") if self.escaped else spelling
        try:
            return bytes(_OF_CHARACTER[symbol] for symbol in spelling).decode()
        except (KeyError, UnicodeDecodeError):
            return None

    def merges(self) -> Merges:
        special = {token["content"] for token in self.added}
        return Merges((token for token in self.vocab if token not in special), self.pairs)

    @cached_property
    def library(self) -> Any:
        """The tokenizer as the tokenizers library builds it."""
        return build(self.plain, self.path)

    def normalised(self, text: str) -> str:
        """A piece as this tokenizer's normaliser leaves it, without the space that it may put before texts."""
        normalizer = self.library.normalizer
        if normalizer is None:
            return text
        found = normalizer.normalize_str(text)
        # A normalizer that escapes is part of the spelling, and the space at the front is not the piece's.
        found = found.replace(SPACE, " ") if self.escaped and SPACE not in text else found
        return found.removeprefix(" ") if not text.startswith(" ") else found

    def stays_whole(self, text: str) -> bool:
        """Whether, somewhere in a text, this piece lies within one of the stretches that merges stay inside."""
        cutter = self.library.pre_tokenizer
        if cutter is None:
            return True
        for before in CONTEXTS:
            whole = before + text
            for _, (start, end) in cutter.pre_tokenize_str(whole):
                if start <= len(before) and end >= len(whole):
                    return True
        return False


CONTEXTS = ("", "中", " ", "，", "a", "\n")
"""What may stand before a piece where it is looked for."""


def _alphabet() -> dict[int, str]:
    """GPT-2's characters for the 256 bytes: the printable ones of Latin-1 stand for themselves."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {byte: chr(256 + place) for place, byte in enumerate(others)}


_BYTES = _alphabet()
_OF_CHARACTER = {character: byte for byte, character in _BYTES.items()}


def build(plain: dict[str, Any], path: Path) -> Any:
    """The tokenizers library's tokenizer of this data; ``path`` is for messages."""
    from huohou.data.tokenizer_fast import library_tokenizer

    return library_tokenizer(json.dumps(plain, ensure_ascii=False), path)


def read_parts(path: str | Path) -> Parts:
    """The parts of a Hugging Face folder, a tokenizer.json or a SentencePiece BPE model."""
    own = Tokenizer.load(path)
    path = Path(path).expanduser()
    folder = path if path.is_dir() else path.parent if path.name in ("tokenizer.json", "tokenizer.model") else None
    fast = folder / "tokenizer.json" if path.is_dir() and folder else path
    if fast.suffix == ".model" or not fast.is_file():
        file = path / "tokenizer.model" if path.is_dir() else path
        proto = _proto(file)
        parts = Parts(file, converted(proto, file), proto, own)
        _named(parts)
        return parts
    plain = read_fast(fast)[1]
    parts = Parts(fast, plain, None, own)
    _refuse_others(parts)
    beside = folder / "tokenizer.model" if folder else None
    if beside is not None and beside.is_file():
        proto = _proto(beside)
        if all(parts.vocab.get(piece.piece) == i for i, piece in enumerate(proto.pieces)):
            parts.proto = proto
    return parts


def _proto(path: Path) -> Any:
    return parse_model(read_bytes(path), path)


def _named(parts: Parts) -> None:
    """Special tokens that a folder adds to its model (``added_tokens.json``) become added tokens."""
    from huohou.data.tokenizer_converted import added_token

    assert parts.own is not None
    for i in range(parts.size, parts.own.vocab_size):
        name = parts.own.token_of(i)
        if name is not None:
            parts.added.append(added_token(i, name))


def _refuse_others(parts: Parts) -> None:
    model = parts.plain["model"]
    kind = model.get("type") or ("BPE" if "merges" in model else "?")
    shown = shown_path(parts.path)
    if kind != "BPE" or not isinstance(model["vocab"], dict):
        raise UserError(
            f"tokenizer: {shown} is a {kind} model; only byte-pair encoding (BPE) can be extended.",
            f"tokenizer: {shown} 是 {kind} 模型；只有字节对编码（BPE）可以扩充。",
        )
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(key):
            raise UserError(
                f"tokenizer: {shown} sets model.{key} ({model[key]!r}), with which it cannot be extended.",
                f"tokenizer: {shown} 设置了 model.{key}（{model[key]!r}），这样的分词器不能扩充。",
            )
