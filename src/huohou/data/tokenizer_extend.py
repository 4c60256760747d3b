"""Give a tokenizer more pieces, so that each can occur and whatever holds none of them keeps its ids.

The new pieces stand behind all old ones, in ids and in priority (:mod:`huohou.data.tokenizer_merges` says why this
leaves old texts alone and how every piece stays reachable). Where a SentencePiece model belongs to the base, it grows
too: its pieces get scores below the lowest old one in the same order, which gives the same merges.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from huohou import records
from huohou.data.files import shown_error, shown_path
from huohou.data.tokenizer import Tokenizer, read_object
from huohou.data.tokenizer_checked import write_model
from huohou.data.tokenizer_converted import CONTROL, NORMAL, UNUSED, USER_DEFINED, added_token
from huohou.data.tokenizer_merges import Arranged, Pair, arrange
from huohou.data.tokenizer_parts import CONTEXTS, Parts
from huohou.data.tokenizer_pieces import Wanted
from huohou.errors import UserError

PAD = "<pad>"


@dataclass
class Extended:
    """A grown tokenizer and what became of the wanted pieces (texts of them, and how many)."""

    base: Parts
    parts: Parts
    tokenizer: Tokenizer
    added: list[str]
    """The spellings of the new pieces in the order of their ids; a padding token is not among them."""
    completed: list[str]
    """Those of them that nobody asked for: pieces on the way to others."""
    unreachable: list[str]
    """Wanted, but left out: no order of merges behind the old ones leads to them."""
    cut: int = 0
    """Wanted and reachable, but beyond the size asked for."""
    pad: str | None = None
    """The padding token that was added, if one was."""
    wanted: Wanted = field(default_factory=Wanted)

    @property
    def partial(self) -> int:
        """New pieces that are a part of a character; other characters that share these bytes are split otherwise."""
        return sum(self.base.text(spelling) is None for spelling in self.added)


def extend_tokenizer(
    base: Parts,
    wanted: Wanted,
    *,
    complete: bool = False,
    vocab_size: int | None = None,
    multiple_of: int = 1,
    pad: str | None = PAD,
) -> Extended:
    """The base with the wanted pieces.

    ``complete``: see :func:`huohou.data.tokenizer_merges.arrange`. ``vocab_size``: at most so many tokens in all;
    ``multiple_of``: their number is rounded down to a multiple; the last pieces are left out for both. ``pad``: the
    padding token that a base without one gets (None: none).
    """
    own = _own(base)
    name = pad if pad and own.pad_id is None else None
    merges = base.merges()
    spellings = [base.spelling(piece) for piece in wanted.pieces if piece != name]
    weights = {base.spelling(piece): weight for piece, weight in wanted.weights.items()}
    arranged = arrange(merges, spellings, complete, lambda piece: weights.get(piece, 1e-9), not base.byte_level)
    order = _occurring(base, arranged)
    if not order:
        raise _nothing(base, spellings, complete)
    room = _room(base.size + (name is not None), len(order), vocab_size, multiple_of)
    kept = order[:room]
    spelled, lost = {piece for piece, _ in kept}, set(arranged.unreachable)
    proto = None if base.proto is None else _grown_model(base, kept, name)
    parts = Parts(base.path, _grown(base, kept, name), proto)
    names = own.names() | ({"pad": name} if name else {})
    return Extended(
        base=base,
        parts=parts,
        tokenizer=Tokenizer.of_library(parts.library, names, own.chat_template),
        added=[piece for piece, _ in kept],
        completed=[piece for piece in arranged.completed if piece in spelled],
        unreachable=[piece for piece in spellings if piece not in merges.vocab or piece in lost],
        cut=len(set(spellings) & {piece for piece, _ in order[room:]}),
        pad=name,
        wanted=wanted,
    )


def _own(base: Parts) -> Tokenizer:
    assert base.own is not None
    return base.own


def _nothing(base: Parts, spellings: list[str], complete: bool) -> UserError:
    en, zh = (
        ("", "") if complete else ("; --complete adds what is on the way to them", "；--complete 会补上途中所缺的词")
    )
    return UserError(
        f"tokenizer: the merges of {shown_path(base.path)} lead to none of the {len(spellings):,} pieces{en}.",
        f"tokenizer: {shown_path(base.path)} 的合并到不了这 {len(spellings):,} 个词中的任何一个{zh}。",
    )


def _room(size: int, pieces: int, vocab_size: int | None, multiple_of: int) -> int:
    """How many of so many pieces fit behind ``size`` tokens."""
    total = min(size + pieces, vocab_size or size + pieces) // multiple_of * multiple_of
    if total <= size:
        wished = f"--vocab-size {vocab_size}" if vocab_size else f"--multiple-of {multiple_of}"
        raise UserError(
            f"{wished}: the base has {size:,} tokens already (the padding token included) and {pieces:,} pieces can be "
            f"added, so that {max(total, 0):,} tokens in all leave no room for one; choose between {size + 1:,} and "
            f"{size + pieces:,}.",
            f"{wished}：原词表已有 {size:,} 个词元（含填充符），可增加 {pieces:,} 个词，总数 {max(total, 0):,} "
            f"容不下任何一个；请在 {size + 1:,} 与 {size + pieces:,} 之间选择。",
        )
    return total - size


def _occurring(base: Parts, arranged: Arranged) -> list[tuple[str, Pair | None]]:
    """The pieces that texts are really encoded as, and none that is made of another one."""
    order = arranged.pieces
    while True:
        library = Parts(base.path, _grown(base, order, None)).library
        first = base.size
        failed = {order[i][0] for i in range(len(order)) if not _occurs(library, base, order[i][0], first + i)}
        if not failed:
            return order
        for piece, pair in order:
            if pair and not failed.isdisjoint(pair):
                failed.add(piece)
        order = [(piece, pair) for piece, pair in order if piece not in failed]
        arranged.unreachable.extend(sorted(failed))


def _occurs(library: Any, base: Parts, spelling: str, i: int) -> bool:
    text = base.text(spelling)
    if text is None:
        # A part of a character occurs in no text by itself; pieces made of it are looked for instead.
        return True
    return any(i in library.encode(before + text, add_special_tokens=False).ids for before in CONTEXTS)


def _grown(base: Parts, order: Sequence[tuple[str, Pair | None]], pad: str | None) -> dict[str, Any]:
    """The tokenizer.json, as data, with the pieces behind all that is there."""
    added = list(base.added)
    vocab = dict(base.vocab)
    # An added token keeps its id only while the model knows it: the library numbers the others by the model's size.
    for token in added:
        vocab.setdefault(token["content"], token["id"])
    size = base.size
    if pad is not None:
        added.append(added_token(size, pad))
        vocab[pad] = size
        size += 1
    vocab |= {piece: size + place for place, (piece, _) in enumerate(order)}
    merges = [list(pair) for pair in base.pairs] + [list(pair) for _, pair in order if pair]
    return {**base.plain, "added_tokens": added, "model": {**base.plain["model"], "vocab": vocab, "merges": merges}}


def _grown_model(base: Parts, order: Sequence[tuple[str, Pair | None]], pad: str | None) -> Any:
    """The SentencePiece model with the same pieces at the same ids."""
    proto = copy.deepcopy(base.proto)
    names = {token["id"]: token for token in base.added}
    scores = _scores(min(piece.score for piece in proto.pieces), base.size - len(proto.pieces) + 1 + len(order))
    given = iter(scores)
    for i in range(len(proto.pieces), base.size):
        token = names.get(i)
        kind = UNUSED if token is None else CONTROL if token["special"] else USER_DEFINED
        proto.pieces.add(piece=token["content"] if token else f"<unused_{i}>", score=next(given), type=kind)
    if pad is not None:
        proto.trainer_spec.pad_id = len(proto.pieces)
        proto.trainer_spec.pad_piece = pad
        proto.pieces.add(piece=pad, score=0.0, type=CONTROL)
    for piece, _ in order:
        proto.pieces.add(piece=piece, score=next(given), type=NORMAL)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    # Sentences that the trainer may have stored with their pieces (a field unknown here) are checked on loading, and
    # Chinese ones have others now.
    proto.DiscardUnknownFields()
    return proto


def _scores(lowest: float, count: int) -> list[float]:
    """Falling scores below the lowest, each a float32 of its own."""
    step = max(1.0, float(2 * np.spacing(np.float32(abs(lowest)))))
    scores = np.float32(lowest) - np.float32(step) * np.arange(1, count + 1, dtype=np.float64)
    found = scores.astype(np.float32)
    if count > 1 and not bool((np.diff(found) < 0).all()):
        raise ValueError("scores of float32 do not tell so many pieces apart")
    return [float(score) for score in found]


def check_extended(extended: Extended, texts: Sequence[str] = ()) -> None:
    """That the forms agree: the SentencePiece model gives the ids of tokenizer.json, on these texts and all pieces."""
    proto = extended.parts.proto
    if proto is None:
        return
    import sentencepiece

    from huohou.data.tokenizer_report import HOSTILE

    model: Any = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    others = {token["content"] for token in extended.parts.added}
    pieces = [extended.base.text(piece) or "" for piece in extended.parts.vocab if piece not in others]
    every = [*texts, *HOSTILE.values(), *pieces, *("".join(pieces[i : i + 50]) for i in range(0, len(pieces), 50))]
    for text, ids, other in zip(every, extended.tokenizer.encode_batch(every), model.encode(every), strict=True):
        if ids.tolist() != other:
            raise UserError(
                f"tokenizer: {shown_path(extended.base.path)} cannot be written as tokenizer.json: sentencepiece "
                f"splits {text[:40]!r} otherwise than merges by rank do.",
                f"tokenizer: {shown_path(extended.base.path)} 无法写成 tokenizer.json：sentencepiece 对 {text[:40]!r} "
                "的切分与按序合并不同。",
            )


def save_extended(extended: Extended, folder: Path) -> None:
    """Write the Hugging Face folder: tokenizer.json, its settings, and tokenizer.model where the base has one."""
    extended.tokenizer.save(folder)
    try:
        if extended.parts.proto is not None:
            write_model(folder, extended.parts.proto.SerializeToString())
        _keep_ends(extended, folder)
    except OSError as error:
        raise UserError(
            f"the tokenizer cannot be written to {shown_path(folder)} ({shown_error(error)}).",
            f"无法把分词器写入 {shown_path(folder)}（{shown_error(error)}）。",
        ) from error


def _keep_ends(extended: Extended, folder: Path) -> None:
    """Whether transformers puts begin and end tokens around a text stays as the base has it."""
    path = extended.base.path
    before = read_object(path.parent / "tokenizer_config.json") if path.name.startswith("tokenizer.") else {}
    config = read_object(folder / "tokenizer_config.json")
    for key in ("add_bos_token", "add_eos_token"):
        if isinstance(before.get(key), bool):
            config[key] = before[key]
        elif extended.base.plain.get("post_processor") is not None:
            # The tokenizer.json says it by itself, and a setting would overrule it.
            config.pop(key, None)
    records.write_json(folder / "tokenizer_config.json", config)


def report_of(extended: Extended) -> dict[str, Any]:
    """What became of the pieces, as plain data."""
    wanted = extended.wanted
    return {
        "base_size": extended.base.size,
        "vocab_size": extended.tokenizer.vocab_size,
        "added": len(extended.added),
        "pad_added": extended.pad,
        "source_pieces": wanted.source,
        "left_out": dict(wanted.left_out),
        "rewritten": wanted.changed,
        "source_folds_width": wanted.folds,
        "unreachable": len(extended.unreachable),
        "unreachable_examples": [extended.base.text(piece) for piece in extended.unreachable[:10]],
        "completed": len(extended.completed),
        "partial": extended.partial,
        "cut": extended.cut,
        "fingerprint": extended.tokenizer.fingerprint,
        "tokenizer_model": extended.parts.proto is not None,
    }
