"""A SentencePiece BPE model as a tokenizer.json: the same ids, by ranked merges instead of scores.

SentencePiece joins the adjacent pair whose concatenation is the piece of the highest score; so every way to part a
piece into two pieces is a merge, ranked by the score of what it makes. Where several pieces share a score, the leftmost
pair goes first, which no ranks can say: such models are refused (pieces of white space alone, of which Llama-2 has
sixteen with one score, come out the same either way).
"""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path
from typing import Any

from huohou.data.files import shown_path
from huohou.errors import UserError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
BPE = 2
_NAMED = {"nmt_nfkc": ("Nmt", "NFKC"), "nfkc": ("NFKC",)}
"""SentencePiece's rules that the library has under a name; it reads their table otherwise than SentencePiece does."""
_KEPT = {"\u200d": "\U000ffffe", "～": "\U0010fffe"}
"""What SentencePiece's nmt_nfkc leaves alone and the library's rules do not, and what no text holds instead of it."""
SPACE = "▁"


def converted(proto: Any, path: Path) -> dict[str, Any]:
    """The tokenizer.json, as data, of a model (``path`` is for messages)."""
    if proto.trainer_spec.model_type != BPE:
        kind = {1: "unigram", 3: "word", 4: "char"}.get(proto.trainer_spec.model_type, "unknown")
        raise UserError(
            f"tokenizer: {shown_path(path)} is a {kind} model; only BPE models, such as Llama-2's, can be extended.",
            f"tokenizer: {shown_path(path)} 是 {kind} 模型；只有 BPE 模型（如 Llama-2 的）可以扩充。",
        )
    vocab = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    special = [(i, piece) for i, piece in enumerate(proto.pieces) if piece.type in (UNKNOWN, CONTROL, USER_DEFINED)]
    unknown = next((piece.piece for _, piece in special if piece.type == UNKNOWN), None)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(i, piece.piece, special=piece.type != USER_DEFINED) for i, piece in special
        ],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(proto.normalizer_spec)},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": _decoders(proto)},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unknown,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": any(piece.type == BYTE for piece in proto.pieces),
            "ignore_merges": False,
            "vocab": vocab,
            "merges": _merges(proto, vocab, path),
        },
    }  # fmt: skip


def added_token(i: int, content: str, special: bool = True) -> dict[str, Any]:
    """An entry of ``added_tokens`` that is matched as it stands."""
    return {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": special}  # fmt: skip


def _merges(proto: Any, vocab: dict[str, int], path: Path) -> list[list[str]]:
    pieces = [piece for piece in proto.pieces if piece.type == NORMAL and len(piece.piece) > 1]
    shared = Counter(piece.score for piece in pieces if piece.piece.strip(SPACE))
    equal = sum(number for number in shared.values() if number > 1)
    if equal:
        raise UserError(
            f"tokenizer: {equal:,} pieces of {shown_path(path)} share their scores with others, as a merge with equal "
            "scores leaves them; no list of ranked merges gives its ids, so extend the model that it was made from.",
            f"tokenizer: {shown_path(path)} 有 {equal:,} 个词与别的词分数相同（以相同分数合并词表的结果），"
            "任何有序合并列表都得不到它的编号；请扩充它所由来的原模型。",
        )
    ranked: list[tuple[float, int, int, list[str]]] = []
    for piece in pieces:
        for place in range(1, len(piece.piece)):
            left, right = piece.piece[:place], piece.piece[place:]
            if left in vocab and right in vocab:
                ranked.append((-piece.score, vocab[left], vocab[right], [left, right]))
    return [pair for *_, pair in sorted(ranked, key=lambda merge: merge[:3])]


def _normalizers(spec: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if spec.name in _NAMED:
        kept = list(_KEPT.items()) if "Nmt" in _NAMED[spec.name] else []
        found += [_replace({"String": sign}, stand_in) for sign, stand_in in kept]
        found += [{"type": kind} for kind in _NAMED[spec.name]]
        found += [_replace({"String": stand_in}, sign) for sign, stand_in in kept]
    elif spec.precompiled_charsmap:
        table = base64.b64encode(spec.precompiled_charsmap).decode("ascii")
        found.append({"type": "Precompiled", "precompiled_charsmap": table})
    if spec.remove_extra_whitespaces:
        # The library's ^ and $ also mean the ends of lines.
        found += [_replace({"Regex": r"\A +| +\z"}, ""), _replace({"Regex": " {2,}"}, " ")]
    if spec.add_dummy_prefix:
        found.append({"type": "Prepend", "prepend": SPACE})
    found.append(_replace({"String": " "}, SPACE))
    return found


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _decoders(proto: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        _replace({"String": SPACE}, " "),
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if proto.normalizer_spec.add_dummy_prefix:
        found.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return found
