"""Pieces learned from text on top of a tokenizer: byte-pair encoding, continued from where the base's merges end.

The text is encoded by the base, and the most frequent adjacent pair becomes the next piece, again and again: so each
new piece is made of two that exist by then, and all of them are reachable. Characters that the base can only write in
bytes come first, as pieces of their own. Merges stay inside the runs of one kind that a vocabulary of ours is trained
on (:data:`huohou.data.tokenizer_training.RUNS`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from huohou.data.tokenizer_extend import PAD, Extended, extend_tokenizer
from huohou.data.tokenizer_merges import arrange
from huohou.data.tokenizer_parts import Parts, build
from huohou.data.tokenizer_pieces import Wanted, check_wanted, wanted
from huohou.data.tokenizer_training import CHARACTER_SHARE, COVERAGE, LONGEST, RUNS
from huohou.errors import UserError

LIMIT = 30_000_000
"""Characters that are learned from, at most."""
_FIRST = 0x10000
"""Characters from here on stand for tokens while the library learns merges of them."""


def continue_training(
    base: Parts,
    documents: Iterable[str],
    vocab_size: int,
    *,
    complete: bool = False,
    any_script: bool = False,
    multiple_of: int = 1,
    pad: str | None = PAD,
    characters: int = LIMIT,
) -> Extended:
    """The base with pieces learned from the first ``characters`` characters: ``vocab_size`` tokens in all.

    The other arguments are those of :func:`huohou.data.tokenizer_extend.extend_tokenizer` and ``wanted``.
    """
    total = vocab_size // multiple_of * multiple_of
    places = total - base.size - (pad is not None and base.own is not None and base.own.pad_id is None)
    if places < 1:
        raise UserError(
            f"--vocab-size {vocab_size}: the base has {base.size:,} tokens already; give the number of tokens in all, "
            "the new ones included.",
            f"--vocab-size {vocab_size}：原词表已有 {base.size:,} 个词元；请写包括新词在内的总数。",
        )
    runs = _runs(documents, any_script, characters)
    missing = _missing(base, runs, any_script)
    covered = _covering(missing, runs, places)
    alone = _with(base, missing[:covered], complete)
    # Some more than there is room for: a few of them may be pieces that the base has, or never reads as one.
    wished = [*missing[:covered], *_learned(alone, runs, (places - covered) * 21 // 20 + 100)]

    def with_pieces(pieces: list[str]) -> Extended:
        found = wanted(((piece, 1 / (rank + 1)) for rank, piece in enumerate(pieces)), base, any_script=any_script)
        check_wanted(found, base)
        return extend_tokenizer(base, found, complete=complete, vocab_size=total, pad=pad)

    found = with_pieces(wished)
    if found.tokenizer.vocab_size < total:
        # The merges are exhausted before the places are: rarer characters take them.
        more = missing[covered : covered + total - found.tokenizer.vocab_size]
        found = with_pieces([*wished, *more])
    # Learned merely in case they were needed.
    found.cut = 0
    reached = found.tokenizer.vocab_size
    if reached < total:
        lacking = len(found.unreachable)
        raise UserError(
            f"--vocab-size {vocab_size} is more than this text has pieces for; the largest reachable is {reached}. "
            + (f"{lacking:,} characters need pieces of their bytes first: add --complete."
               if lacking else "Take more text or a smaller vocabulary."),
            f"--vocab-size {vocab_size} 超过这些文本能产生的词数，最多 {reached}；"
            + (f"有 {lacking:,} 个字须先有其字节的词：请加 --complete。" if lacking else "请增加文本或减小词表。"),
        )  # fmt: skip
    return found


def _runs(documents: Iterable[str], any_script: bool, characters: int) -> Counter[str]:
    """The runs of the text that pieces may be made of, and how often each occurs."""
    import tokenizers as library

    cutter: Any = library.pre_tokenizers.Split(library.Regex(RUNS), "isolated")
    counted: Counter[str] = Counter()
    seen = 0
    for document in documents:
        text = document[: characters - seen]
        seen += len(text)
        if any_script or not text.isascii():
            counted.update(run for run, _ in cutter.pre_tokenize_str(text))
        if seen >= characters:
            break
    if not seen:
        raise UserError("tokenizer: there is no text to learn from.", "tokenizer: 没有可用来学习的文本。")
    if any_script:
        return counted
    return Counter({run: number for run, number in counted.items() if not any(c.isascii() for c in run)})


def _counted_characters(runs: Counter[str]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for run, number in runs.items():
        for character in run:
            counted[character] += number
    return counted


def _missing(base: Parts, runs: Counter[str], any_script: bool) -> list[str]:
    """The text's characters that the base has no token for, the most frequent first."""
    counted = _counted_characters(runs)
    order = sorted(counted, key=lambda c: (-counted[c], c))
    return wanted(((character, 1.0) for character in order), base, any_script=any_script).pieces


def _covering(missing: list[str], runs: Counter[str], places: int) -> int:
    """How many of them get a piece: as in training from nothing."""
    counted = _counted_characters(runs)
    left_over = (1 - COVERAGE) * counted.total()
    number = len(missing)
    while number and left_over >= counted[missing[number - 1]]:
        number -= 1
        left_over -= counted[missing[number]]
    return min(number, int(places * CHARACTER_SHARE))


def _with(base: Parts, characters: list[str], complete: bool) -> Parts:
    spellings = [base.spelling(character) for character in characters]
    if not arrange(base.merges(), spellings, complete, symbol_may_be_new=not base.byte_level).pieces:
        return base
    weights = dict.fromkeys(characters, 1.0)
    return extend_tokenizer(base, Wanted(characters, weights), complete=complete, pad=None).parts


def _learned(base: Parts, runs: Counter[str], places: int) -> list[str]:
    """The texts of so many merges, at most, in the order in which they are learned."""
    import tokenizers as library

    bare = build({**base.plain, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "decoder": None,
                  "post_processor": None}, base.path)  # fmt: skip
    texts = {i: base.text(token) for token, i in base.vocab.items()}
    for token in (*base.added, *({"id": base.vocab.get(f"<0x{byte:02X}>", -1)} for byte in range(256))):
        texts[token["id"]] = None
    unknown = base.plain["model"].get("unk_token")
    texts[base.vocab.get(unknown, -1)] = None
    signs: dict[int, str] = {}
    words: Counter[str] = Counter()
    for run, ids in _encoded(bare, base, sorted(runs)):
        word = ""
        for i in ids:
            # A part of a character ends a word: nothing is learned across it.
            word += signs.setdefault(i, chr(_FIRST + len(signs))) if texts.get(i) else "\0"
        for part in word.split("\0"):
            if len(part) > 1:
                words[part] += runs[run]
    trained = library.Tokenizer(library.models.BPE())
    trainer = library.trainers.BpeTrainer(
        vocab_size=len(signs) + places,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=list(signs.values()),
        max_token_length=LONGEST,
    )
    trained.train_from_iterator(_repeated(words), trainer)
    meant = {sign: texts[i] or "" for i, sign in signs.items()}
    merges = json.loads(trained.to_str())["model"]["merges"]
    return ["".join(meant[sign] for sign in left + right) for left, right in merges]


def _encoded(bare: Any, base: Parts, runs: list[str]) -> Iterator[tuple[str, list[int]]]:
    """Each run with its ids, a few thousand runs at a time."""
    for start in range(0, len(runs), 20_000):
        some = runs[start : start + 20_000]
        rows = bare.encode_batch_fast([base.spelling(run) for run in some], add_special_tokens=False)
        yield from ((run, row.ids) for run, row in zip(some, rows, strict=True))


def _repeated(words: Counter[str]) -> Iterator[str]:
    for word in sorted(words):
        for _ in range(words[word]):
            yield word
