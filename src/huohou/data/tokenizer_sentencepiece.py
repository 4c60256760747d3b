"""A SentencePiece model, behind what :class:`huohou.data.tokenizer.Tokenizer` asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from huohou import records
from huohou.data.files import reading, shown_error
from huohou.data.tokenizer import Ids
from huohou.errors import UserError


class SentencePieceBackend:
    """``added``: tokens with ids above the model's own, as a Hugging Face folder's ``added_tokens.json`` lists them."""

    def __init__(self, path: Path, added: dict[str, int]) -> None:
        with reading(path):
            self._proto = path.read_bytes()
        try:
            self._model: Any = sentencepiece.SentencePieceProcessor(model_proto=self._proto)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"tokenizer: {path} is not a SentencePiece model ({shown_error(error)}).",
                f"tokenizer: {path} 不是 SentencePiece 模型（{shown_error(error)}）。",
            ) from error
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
        target = folder / "tokenizer.model"
        temporary = folder / f".tokenizer.model.{os.getpid()}.tmp"
        temporary.write_bytes(self._proto)
        os.replace(temporary, target)
        if self._added:
            records.write_json(folder / "added_tokens.json", self._added)
        # The class of transformers that keeps to sentencepiece itself; LlamaTokenizer would convert the model.
        return "SentencePieceBackend"
