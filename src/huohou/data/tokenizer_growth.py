"""What an extended tokenizer has beyond the one it grew from, in the old one's ids: how new rows can begin."""

from __future__ import annotations

from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError

_BEFORE = "\n"
"""Stands before a piece while the old tokenizer encodes it, so that a space put before texts is not part of it."""


def added_pieces(old: Tokenizer, new: Tokenizer) -> dict[int, tuple[int, ...]]:
    """For every id of ``new`` that ``old`` has not, the old ids that spelled its text, in order.

    Empty where nothing spelled it: special tokens, and ids without a token. The old tokenizer's ids must all mean the
    same in the new one (:func:`check_grown`).
    """
    ids = range(old.vocab_size, new.vocab_size)
    special = set(new.special_ids.values())
    named = {i: new.token_of(i) for i in ids if i not in special}
    # Some decoders drop a space at the front of a text, which here would be the piece's own.
    front = new.encode(_BEFORE).tolist()
    start = len(new.decode(front))
    texts = {i: new.decode([*front, i])[start:] for i, token in named.items() if token}
    found: dict[int, tuple[int, ...]] = dict.fromkeys(ids, ())
    whole = {i: text for i, text in texts.items() if text and "\ufffd" not in text}
    before = old.encode(_BEFORE).tolist()
    encoded = old.encode_batch([_BEFORE + text for text in whole.values()])
    for (i, text), row in zip(whole.items(), encoded, strict=True):
        spelled = row.tolist()
        # A tokenizer that joins the line end with what follows it encodes the piece alone.
        kept = spelled[: len(before)] == before
        found[i] = tuple(spelled[len(before) :] if kept else old.encode(text).tolist())
    for i in texts.keys() - whole.keys():
        # A part of a character, which only vocabularies of bytes have: each byte is a symbol of its own there.
        symbols = [old.id_of(symbol) for symbol in named[i] or ""]
        found[i] = tuple(symbol for symbol in symbols if symbol is not None) if None not in symbols else ()
    return found


def check_grown(old: Tokenizer, new: Tokenizer) -> None:
    """Refuse a new tokenizer in which an id of the old one means another token."""
    if new.vocab_size < old.vocab_size:
        raise UserError(
            f"tokenizer: the new one has {new.vocab_size:,} ids, fewer than the old one's {old.vocab_size:,}; it must "
            "be the old one with tokens added (huohou tokenizer extend).",
            f"tokenizer: 新分词器只有 {new.vocab_size:,} 个编号，少于原来的 {old.vocab_size:,} 个；它必须由原分词器"
            "增加词元得到（huohou tokenizer extend）。",
        )
    other = [i for i in range(old.vocab_size) if old.token_of(i) != new.token_of(i)]
    if other:
        shown = ", ".join(f"{i}: {old.token_of(i)!r} → {new.token_of(i)!r}" for i in other[:5])
        raise UserError(
            f"tokenizer: {len(other):,} ids of the old tokenizer mean other tokens in the new one ({shown}); it must "
            "be the old one with tokens added (huohou tokenizer extend).",
            f"tokenizer: 原分词器有 {len(other):,} 个编号在新分词器中是别的词元（{shown}）；新分词器必须由原分词器"
            "增加词元得到（huohou tokenizer extend）。",
        )
