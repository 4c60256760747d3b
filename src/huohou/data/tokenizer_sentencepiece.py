"""A SentencePiece model, behind what :class:`huohou.data.tokenizer.Tokenizer` asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_pb2

from huohou import records
from huohou.data.tokenizer import Ids, Spans
from huohou.data.tokenizer_checked import parse_model, read_bytes, write_model


class SentencePieceBackend:
    """``added``: tokens with ids above the model's own, as a Hugging Face folder's ``added_tokens.json`` lists them."""

    def __init__(self, path: Path, added: dict[str, int]) -> None:
        self._proto = read_bytes(path)
        parse_model(self._proto, path)
        self._model: Any = sentencepiece.SentencePieceProcessor(model_proto=self._proto)
        self._own = int(self._model.vocab_size())
        self._added = {name: i for name, i in added.items() if i >= self._own}
        self._added_names = {i: name for name, i in self._added.items()}
        control = [self._model.id_to_piece(i) for i in range(self._own) if self._model.is_control(i)]
        names = sorted([*control, *self._added], key=len, reverse=True)
        self._special = re.compile("(" + "|".join(re.escape(name) for name in names) + ")") if names else None

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self._model.encode(list(texts), out_type=int, num_threads=os.cpu_count() or 1)

    def encode_batch(self, texts: Sequence[str], special: bool) -> list[Ids]:
        if not special or self._special is None:
            return [np.array(ids, dtype=np.int32) for ids in self._encode(texts)]
        found: list[Ids] = []
        for text in texts:
            parts = self._special.split(text)
            ids: list[int] = []
            for place, part in enumerate(parts):
                # Every second part is what the pattern matched.
                ids += [self.id_of(part) or 0] if place % 2 else self._encode([part])[0] if part else []
            found.append(np.array(ids, dtype=np.int32))
        return found

    def encode_spans(self, texts: Sequence[str]) -> list[Spans]:
        parts = [self._special.split(text) if self._special else [text] for text in texts]
        plain = [part for split in parts for part in split[::2] if part]
        encoded = iter(self._model.encode(plain, out_type="serialized_proto", num_threads=os.cpu_count() or 1))
        found: list[Spans] = []
        for split in parts:
            rows: list[Spans] = []
            at = 0
            for place, part in enumerate(split):
                if place % 2:
                    rows.append(_row([self.id_of(part) or 0], [at], [at + len(part)]))
                elif part:
                    ids, starts, ends = _spans(next(encoded), part)
                    rows.append((ids, starts + at, ends + at))
                at += len(part)
            ids, starts, ends = (np.concatenate(column) for column in zip(_row([], [], []), *rows, strict=True))
            found.append((ids, starts, ends))
        return found

    def decode(self, ids: list[int], special: bool) -> str:
        if special:
            shown = {i for i in ids if i in self._added_names or (i < self._own and self._model.is_control(i))}
        else:
            shown = set[int]()
        text, kept = "", list[int]()
        for i in ids:
            if i in shown:
                text += self._model.decode(kept) + (self._added_names.get(i) or self._model.id_to_piece(i))
                kept = []
            elif i < self._own:
                kept.append(i)
        return text + self._model.decode(kept)

    def id_of(self, token: str) -> int | None:
        if token in self._added:
            return self._added[token]
        i = int(self._model.piece_to_id(token))
        return i if self._model.id_to_piece(i) == token else None

    def token_of(self, i: int) -> str | None:
        return self._model.id_to_piece(i) if i < self._own else self._added_names.get(i)

    def size(self) -> int:
        return max([self._own, *(i + 1 for i in self._added.values())])

    def content(self) -> bytes:
        return self._proto + repr(sorted(self._added.items())).encode()

    def token_bytes(self, special_ids: set[int]) -> Ids:
        table = np.zeros(self.size(), dtype=np.int32)
        for i in range(self._own):
            if self._model.is_byte(i):
                table[i] = 1
            elif not (i in special_ids or self._model.is_control(i) or self._model.is_unknown(i)):
                table[i] = len(self._model.id_to_piece(i).replace("▁", " ").encode())
        return table

    def covers(self, character: str) -> bool:
        return self.id_of("▁" if character == " " else character) is not None

    def save(self, folder: Path) -> str:
        write_model(folder, self._proto)
        if self._added:
            records.write_json(folder / "added_tokens.json", self._added)
        # The class of transformers that keeps to sentencepiece itself; LlamaTokenizer would convert the model.
        return "SentencePieceBackend"


def _row(ids: list[int], starts: list[int], ends: list[int]) -> Spans:
    return np.array(ids, np.int32), np.array(starts, np.int32), np.array(ends, np.int32)


def _spans(proto: bytes, text: str) -> Spans:
    """The library counts bytes, and gives a character that is written in bytes to the last of them alone."""
    library: Any = sentencepiece_pb2
    pieces: list[Any] = list(library.SentencePieceText.FromString(proto).pieces)
    ids, starts, ends = _row([p.id for p in pieces], [p.begin for p in pieces], [p.end for p in pieces])
    for place in range(len(ids) - 2, -1, -1):
        if starts[place] == ends[place] == starts[place + 1]:
            ends[place] = ends[place + 1]
    if not text.isascii():
        raw = np.frombuffer(text.encode(), np.uint8)
        # For each byte place, how many characters begin before it.
        before = np.concatenate(([0], np.cumsum((raw & 0xC0) != 0x80))).astype(np.int32)
        starts, ends = before[starts], before[ends]
    return ids, starts, ends
