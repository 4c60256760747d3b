"""One tokenizer class over the two libraries that Chinese models come with: ``tokenizers`` and ``sentencepiece``.

A SentencePiece model stays with its own library. Converted to ``tokenizers`` it would not give the same ids: where
several pieces have one score (all 23,000 pieces that Chinese-LLaMA-2 added do), SentencePiece merges the leftmost
pair first, which a list of ranked merges cannot say; 13 % of our test documents came out differently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from huohou import records
from huohou.data.files import shown_error
from huohou.errors import UserError, missing_extra

Ids = NDArray[np.int32]
Spans = tuple[Ids, Ids, Ids]
"""Ids, and for each the characters [start, end) of the text that it stands for; neither ever goes back."""

_ROLES = ("bos", "eos", "pad", "unk")
_USUAL = {
    "bos": ("<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>"),
    "eos": ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"),
    "pad": ("<pad>", "[PAD]", "<|endoftext|>"),
    "unk": ("<unk>", "[UNK]"),
}


class Backend(Protocol):
    """What the two libraries are asked for."""

    def encode_batch(self, texts: Sequence[str], special: bool) -> list[Ids]: ...

    def encode_spans(self, texts: Sequence[str]) -> list[Spans]: ...

    def decode(self, ids: list[int], special: bool) -> str: ...

    def id_of(self, token: str) -> int | None: ...

    def token_of(self, i: int) -> str | None: ...

    def size(self) -> int: ...

    def content(self) -> bytes:
        """What decides the ids, for the fingerprint."""
        ...

    def token_bytes(self, special_ids: set[int]) -> Ids: ...

    def covers(self, character: str) -> bool:
        """Whether the character has a token of its own."""
        ...

    def save(self, folder: Path) -> str:
        """Write the model; the name of the class of transformers that reads it back."""
        ...


class Tokenizer:
    """Text to token ids and back.

    Ids never include begin and end tokens: documents are ended by the token cache. With ``special=False`` (the
    default) a text that happens to contain ``</s>`` is ordinary text; with ``special=True`` it becomes that token,
    as a chat template needs and as transformers does.
    """

    def __init__(self, backend: Backend, names: dict[str, str | None], chat_template: str | None = None) -> None:
        """``names``: the special tokens by role (bos, eos, pad, unk, and any others by their own name)."""
        self._backend = backend
        self._names = {role: name for role, name in names.items() if name is not None}
        self.chat_template = chat_template
        self.template_variables = {f"{role}_token": self._names[role] for role in _ROLES if role in self._names}
        """The special tokens by the names that chat templates know them by: ``bos_token``, …"""
        self.vocab_size: int = backend.size()
        """Ids run from 0 to ``vocab_size - 1``."""
        self.bos_id, self.eos_id, self.pad_id, self.unk_id = (self._id(role) for role in _ROLES)
        self._fingerprint: str | None = None

    def _id(self, role: str) -> int | None:
        name = self._names.get(role)
        return None if name is None else self._backend.id_of(name)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Load a Hugging Face folder, a ``tokenizer.json``, or a SentencePiece ``.model``."""
        path = Path(path).expanduser()
        if path.is_dir():
            folder = path
            found = [folder / name for name in ("tokenizer.json", "tokenizer.model") if (folder / name).is_file()]
            if not found:
                raise UserError(
                    f"tokenizer: the folder {path} holds neither tokenizer.json nor tokenizer.model.",
                    f"tokenizer: 文件夹 {path} 里既没有 tokenizer.json 也没有 tokenizer.model。",
                )
            path = found[0]
        elif path.is_file():
            folder = path.parent if path.name in ("tokenizer.json", "tokenizer.model") else None
        else:
            raise UserError(
                f"tokenizer: {path} does not exist; give a Hugging Face folder, a tokenizer.json or a .model file.",
                f"tokenizer: {path} 不存在；请给出 Hugging Face 文件夹、tokenizer.json 或 .model 文件。",
            )
        names, template = _settings(folder) if folder else ({}, None)
        backend = _sentencepiece(path, folder) if path.suffix == ".model" else _fast(path)
        declared = {f"{role}_token": name for role in _ROLES if (name := names.get(role)) is not None}
        for role in _ROLES:
            if backend.id_of(names.get(role) or "") is None:
                names[role] = next((name for name in _USUAL[role] if backend.id_of(name) is not None), None)
        made = cls(backend, names, template)
        if declared:
            # A folder that declares some of them means that the others do not exist, as transformers does.
            made.template_variables = declared
        return made

    @classmethod
    def of_library(cls, model: Any, names: dict[str, str], chat_template: str | None = None) -> Tokenizer:
        """From a tokenizer of the ``tokenizers`` library; ``names`` as in the constructor."""
        from huohou.data.tokenizer_fast import FastBackend

        return cls(FastBackend(model), dict(names), chat_template)

    def names(self) -> dict[str, str]:
        """The special tokens by role; those without one by their own name."""
        return dict(self._names)

    def encode_batch(self, texts: Sequence[str], *, special: bool = False) -> list[Ids]:
        """The ids of each text."""
        return self._backend.encode_batch(texts, special)

    def encode(self, text: str, *, special: bool = False) -> Ids:
        """The ids of one text."""
        return self._backend.encode_batch([text], special)[0]

    def encode_spans(self, texts: Sequence[str]) -> list[Spans]:
        """The ids of each text as with ``special=True``, and which characters each id stands for."""
        return self._backend.encode_spans(texts)

    def decode(self, ids: Sequence[int] | Ids, *, special: bool = True) -> str:
        """The text of ids; ``special=False`` leaves the special tokens out."""
        return self._backend.decode([int(i) for i in ids], special)

    def id_of(self, token: str) -> int | None:
        """The id of a token as it stands in the vocabulary."""
        return self._backend.id_of(token)

    def token_of(self, i: int) -> str | None:
        """The token with this id as it stands in the vocabulary; None where no token has it."""
        return self._backend.token_of(i)

    def covers(self, character: str) -> bool:
        """Whether the character has a token of its own."""
        return self._backend.covers(character)

    @property
    def end_id(self) -> int:
        """The token that ends a document; a tokenizer without one is a UserError."""
        if self.eos_id is None:
            raise UserError(
                "tokenizer: it has no end-of-text token (eos_token), which must separate documents; name it in "
                "tokenizer_config.json.",
                "tokenizer: 没有结束符（eos_token），无法分隔文档；请在 tokenizer_config.json 中写明。",
            )
        return self.eos_id

    @property
    def special_ids(self) -> dict[str, int]:
        """The named special tokens and their ids."""
        found = {name: self._backend.id_of(name) for name in self._names.values()}
        return {name: i for name, i in found.items() if i is not None}

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides the ids of a document, its end token included."""
        if self._fingerprint is None:
            digest = hashlib.sha256(self._backend.content())
            digest.update(json.dumps([self.eos_id, self.vocab_size]).encode())
            self._fingerprint = digest.hexdigest()[:32]
        return self._fingerprint

    def token_bytes(self) -> Ids:
        """How many bytes of text each id stands for, int32[vocab_size]; special tokens stand for none.

        The loss of some targets in nats, divided by ln 2 and by the sum of this over them, is bits per byte. It is
        exact for tokenizers that change no text; one that normalises counts the bytes of the normalised text.
        """
        return self._backend.token_bytes(set(self.special_ids.values()))

    def save(self, folder: Path) -> None:
        """Write the folder that ``AutoTokenizer.from_pretrained`` reads and that gives the same ids there."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kind = self._backend.save(folder)
            named = {f"{role}_token": self._names[role] for role in _ROLES if self._id(role) is not None}
            others = [name for role, name in self._names.items() if role not in _ROLES]
            if others:
                named_all: dict[str, Any] = {**named, "additional_special_tokens": others}
            else:
                named_all = dict(named)
            config = {
                "tokenizer_class": kind,
                **named_all,
                "add_bos_token": False,
                "add_eos_token": False,
                "clean_up_tokenization_spaces": False,
                "model_max_length": 10**30,
            }
            if self.chat_template is not None:
                config["chat_template"] = self.chat_template
            records.write_json(folder / "tokenizer_config.json", config)
            records.write_json(folder / "special_tokens_map.json", named_all)
        except OSError as error:
            raise UserError(
                f"the tokenizer cannot be written to {folder} ({shown_error(error)}).",
                f"无法把分词器写入 {folder}（{shown_error(error)}）。",
            ) from error


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object; {} where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not a readable JSON file ({shown_error(error)}).",
            f"{path}：不是可读的 JSON 文件（{shown_error(error)}）。",
        ) from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: this should be a JSON object.", f"{path}：应为一个 JSON 对象。")
    return value  # pyright: ignore[reportUnknownVariableType]


def _settings(folder: Path) -> tuple[dict[str, str | None], str | None]:
    """(special tokens by role, chat template) as the folder's files say."""
    config = read_object(folder / "tokenizer_config.json")
    merged = {**read_object(folder / "special_tokens_map.json"), **{k: v for k, v in config.items() if v is not None}}
    names: dict[str, str | None] = {}
    for role in _ROLES:
        token: Any = merged.get(f"{role}_token")
        names[role] = token["content"] if isinstance(token, dict) else token if isinstance(token, str) else None
    extra: Any = merged.get("additional_special_tokens") or merged.get("extra_special_tokens") or []
    for token in extra.values() if isinstance(extra, dict) else extra:  # pyright: ignore[reportUnknownVariableType]
        name = str(token["content"] if isinstance(token, dict) else token)  # pyright: ignore[reportUnknownArgumentType]
        if name not in names.values():
            names[name] = name
    template: Any = config.get("chat_template")
    file = folder / "chat_template.jinja"
    if not isinstance(template, str) and file.is_file():
        template = file.read_text(encoding="utf-8")
    return names, template if isinstance(template, str) else None


def _fast(path: Path) -> Backend:
    try:
        from huohou.data.tokenizer_fast import FastBackend
    except ImportError:
        raise missing_extra("tokenizers", "data") from None
    return FastBackend.load(path)


def _sentencepiece(path: Path, folder: Path | None) -> Backend:
    try:
        from huohou.data.tokenizer_sentencepiece import SentencePieceBackend
    except ImportError:
        raise missing_extra("sentencepiece", "data") from None
    added = read_object(folder / "added_tokens.json") if folder else {}
    return SentencePieceBackend(path, {str(name): int(i) for name, i in added.items()})
