"""A tokenizer of the ``tokenizers`` library, behind what :class:`huohou.data.tokenizer.Tokenizer` asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from huohou.data.files import shown_error
from huohou.data.tokenizer import Ids, Spans
from huohou.data.tokenizer_checked import parse_model, read_bytes, read_fast, write_model
from huohou.errors import UserError

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def library_tokenizer(text: str, path: Path) -> tokenizers.Tokenizer:
    """The library's tokenizer of the text of a tokenizer.json; ``path`` is for messages."""
    try:
        return tokenizers.Tokenizer.from_str(text)
    except BaseException as error:
        # The library raises plain Exception for whatever is wrong with the file, and its panics are no Exception.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise UserError(
            f"tokenizer: {path} is not a tokenizer.json that the tokenizers library {tokenizers.__version__} can "
            f"read ({shown_error(error)}).",
            f"tokenizer: {path} 不是 tokenizers 库 {tokenizers.__version__} 能读的 tokenizer.json"
            f"（{shown_error(error)}）。",
        ) from error


class FastBackend:
    """``model``: the library's tokenizer; truncation and padding are switched off in it."""

    def __init__(self, model: tokenizers.Tokenizer) -> None:
        model.no_truncation()
        model.no_padding()
        self._with_special = model
        # The library keeps this switch in the object, so that each meaning has an object of its own.
        self._plain = tokenizers.Tokenizer.from_str(model.to_str())
        self._plain.encode_special_tokens = True
        decoder = json.dumps(json.loads(model.to_str()).get("decoder"), ensure_ascii=False)
        # Whether the vocabulary is written in GPT-2's alphabet, one character for each byte.
        self._byte_level = '"ByteLevel"' in decoder
        # The SentencePiece model of the same folder, which other programs want.
        self._beside: tuple[Path, bytes] | None = None
        # Whether a space is written ▁.
        self._escaped = "▁" in decoder

    @classmethod
    def load(cls, path: Path) -> FastBackend:
        found = cls(library_tokenizer(read_fast(path)[0], path))
        beside = path.with_name("tokenizer.model")
        if path.name == "tokenizer.json" and beside.is_file():
            found._beside = beside, read_bytes(beside)
        return found

    def encode_batch(self, texts: Sequence[str], special: bool) -> list[Ids]:
        model = self._with_special if special else self._plain
        encoded = model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, dtype=np.int32) for one in encoded]

    def encode_spans(self, texts: Sequence[str]) -> list[Spans]:
        found: list[Spans] = []
        for one in self._with_special.encode_batch(list(texts), add_special_tokens=False):
            # Twice as fast as numpy's own way with a list of pairs.
            spans = np.fromiter(chain.from_iterable(one.offsets), np.int32, 2 * len(one)).reshape(-1, 2)
            # What a normalizer inserts has an empty span at 0, which must not make the row go back.
            starts, ends = np.maximum.accumulate(spans[:, 0]), np.maximum.accumulate(spans[:, 1])
            found.append((np.array(one.ids, dtype=np.int32), starts, ends))
        return found

    def decode(self, ids: list[int], special: bool) -> str:
        return self._with_special.decode(ids, skip_special_tokens=not special)

    def id_of(self, token: str) -> int | None:
        return self._with_special.token_to_id(token)

    def token_of(self, i: int) -> str | None:
        return self._with_special.id_to_token(i)

    def size(self) -> int:
        return max(self._with_special.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def content(self) -> bytes:
        return self._with_special.to_str().encode()

    def token_bytes(self, special_ids: set[int]) -> Ids:
        plain: dict[str, Any] = json.loads(self._with_special.to_str())
        added = {token["id"]: token for token in plain.get("added_tokens", [])}
        table = np.zeros(self.size(), dtype=np.int32)
        for token, i in self._with_special.get_vocab(with_added_tokens=True).items():
            if i in special_ids or (i in added and added[i]["special"]):
                continue
            if i in added:
                table[i] = len(token.encode())
            elif self._byte_level:
                table[i] = len(token)
            elif _BYTE.fullmatch(token):
                table[i] = 1
            else:
                table[i] = len((token.replace("▁", " ") if self._escaped else token).encode())
        return table

    def covers(self, character: str) -> bool:
        if self._byte_level:
            return len(self._plain.encode(character, add_special_tokens=False).ids) == 1
        escaped = "▁" if character == " " and self._escaped else character
        return self._plain.token_to_id(escaped) is not None

    def save(self, folder: Path) -> str:
        from huohou import records

        records.write_atomically(folder / "tokenizer.json", self._with_special.to_str(pretty=True))
        if self._beside is not None and self._agrees(*self._beside):
            write_model(folder, self._beside[1])
        return "PreTrainedTokenizerFast"

    def _agrees(self, path: Path, raw: bytes) -> bool:
        """Whether a SentencePiece model has the same pieces at the same ids."""
        pieces = parse_model(raw, path).pieces
        return all(self._with_special.token_to_id(piece.piece) == i for i, piece in enumerate(pieces))
