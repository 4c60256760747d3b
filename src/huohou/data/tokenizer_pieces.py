"""The pieces that a vocabulary is to be given: read from another model, and made to agree with the one they join."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huohou.data.tokenizer_checked import parse_model, read_bytes
from huohou.data.tokenizer_converted import BPE, NORMAL, SPACE
from huohou.data.tokenizer_parts import Parts, read_parts
from huohou.errors import UserError

LONGEST = 64
"""Characters in a piece, at most."""
_WIDE = str.maketrans({sign: chr(ord(sign) + 0xFEE0) for sign in ",:;!?()"})
"""What NFKC makes of full-width signs, and these signs again."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass
class Wanted:
    """``pieces``: texts, the first wanted most; ``weights``: how often each is used, relative to the others.

    ``left_out`` counts the source's pieces by why they are not among them: ``present`` (the base has them), ``ascii``
    (they hold ASCII letters, digits, signs or spaces, with which the ids of English and code would change),
    ``split`` (the base never reads such a stretch as one), ``unusable`` (empty, control characters, longer than
    :data:`LONGEST`).
    """

    pieces: list[str] = field(default_factory=list[str])
    weights: dict[str, float] = field(default_factory=dict[str, float])
    left_out: Counter[str] = field(default_factory=Counter[str])
    source: int = 0
    """Pieces that the source has."""
    folds: bool = False
    """Whether the source was made from text whose full-width signs had been folded into ASCII (NFKC)."""
    changed: int = 0
    """Pieces written otherwise than in the source: widened again, normalised as the base does, without a space."""


def pieces_of(path: str | Path) -> tuple[list[tuple[str, float]], bool]:
    """((text, weight) in the order of the source's training, whether it folds full-width signs)."""
    path = Path(path).expanduser()
    file = path / "tokenizer.model" if path.is_dir() and not (path / "tokenizer.json").is_file() else path
    if file.suffix != ".model" or not file.is_file():
        return _of_merges(read_parts(path)), False
    import sentencepiece

    proto = parse_model(read_bytes(file), file)
    model: Any = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    ranked = sorted((piece for piece in proto.pieces if piece.type == NORMAL), key=lambda piece: -piece.score)
    bpe = proto.trainer_spec.model_type == BPE
    found = [
        (piece.piece.replace(SPACE, " "), 1 / (rank + 1) if bpe else math.exp(max(piece.score, -100.0)))
        for rank, piece in enumerate(ranked)
    ]
    return found, model.normalize("中，") != "中，"


def _of_merges(parts: Parts) -> list[tuple[str, float]]:
    special = {token["content"] for token in parts.added}
    made = {left + right: rank for rank, (left, right) in enumerate(parts.pairs)}
    ranked = sorted(parts.vocab, key=lambda token: (made.get(token, -1), parts.vocab[token]))
    texts = (parts.text(token) for token in ranked if token not in special and not _BYTE.fullmatch(token))
    return [(text, 1 / (rank + 1)) for rank, text in enumerate(texts) if text]


def wanted(source: Iterable[tuple[str, float]], base: Parts, folds: bool = False, any_script: bool = False) -> Wanted:
    """The source's pieces as the base can have them.

    ``any_script``: also those with ASCII characters or a space at the front.
    """
    found = Wanted(folds=folds)
    present = {token["content"] for token in base.added} | base.vocab.keys()
    for text, weight in source:
        found.source += 1
        piece = text if any_script else text.lstrip(" ")
        if folds and not any(c.isascii() and c.isalnum() for c in piece):
            piece = piece.translate(_WIDE)
        piece = base.normalised(piece)
        why = _fault(piece, base, any_script)
        if why:
            found.left_out[why] += 1
            continue
        found.changed += piece != text
        if piece in found.weights or base.spelling(piece) in present:
            found.left_out["present"] += 1
        else:
            found.pieces.append(piece)
        found.weights[piece] = found.weights.get(piece, 0.0) + weight
    return found


def _fault(piece: str, base: Parts, any_script: bool) -> str | None:
    if not piece.strip() or len(piece) > LONGEST or any(unicodedata.category(c)[0] == "C" for c in piece):
        return "unusable"
    if not any_script and any(c.isascii() for c in piece):
        return "ascii"
    if base.escaped and SPACE in piece:
        return "unusable"
    return None if base.stays_whole(piece) else "split"


def check_wanted(found: Wanted, base: Parts) -> None:
    """Nothing to add is a mistake, which the counts explain."""
    if not found.pieces:
        counts = dict(found.left_out)
        raise UserError(
            f"tokenizer: none of the {found.source:,} pieces can be added to {base.path} "
            f"({', '.join(f'{reason}: {number:,}' for reason, number in counts.items()) or 'there is none'}).",
            f"tokenizer: {found.source:,} 个词中没有一个能加入 {base.path}"
            f"（{'，'.join(f'{reason}: {number:,}' for reason, number in counts.items()) or '没有词'}）。",
        )
