"""Ranked merges: how byte-pair encoding splits a string, and in which order new pieces can join old ones.

Encoding joins, again and again, the adjacent pair whose merge has the lowest rank, the leftmost first. So

* a token that covers some stretch of a text was made of this stretch alone, by the very merges that make it when the
  stretch stands alone: **a piece occurs in texts if and only if its own spelling is encoded as this one piece**, and
  one merge for a piece, the last of those, is all that is ever used of it;
* a merge of the lowest priority never takes anything away from the merges above it: **what was reachable stays
  reachable**, and only texts that hold the new piece are split differently.

Pieces are therefore added one after the other, each behind all that were there before it, and each at a time when its
own spelling is split into just two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

Pair = tuple[str, str]
Symbols = Callable[[str], Sequence[str]]


class Merges:
    """``vocab``: the symbols that exist; ``pairs``: the merges, first the one of highest priority."""

    def __init__(self, vocab: Iterable[str], pairs: Iterable[Pair], symbols: Symbols = tuple) -> None:
        """``symbols``: the smallest parts of a spelling, by default its characters."""
        self.vocab = set(vocab)
        self.ranks: dict[Pair, int] = {}
        for pair in pairs:
            self.ranks.setdefault(pair, len(self.ranks))
        self._symbols = symbols

    def split(self, spelling: str) -> list[str]:
        """The pieces that this spelling is encoded as, standing alone; a symbol without a token stays by itself."""
        parts = list(self._symbols(spelling))
        never = len(self.ranks)
        while len(parts) > 1:
            ranks = [self.ranks.get((parts[i], parts[i + 1]), never) for i in range(len(parts) - 1)]
            lowest = min(ranks)
            if lowest == never:
                break
            place = ranks.index(lowest)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return parts

    def add(self, left: str, right: str) -> str:
        """A merge of the lowest priority, and the piece that it makes."""
        self.ranks.setdefault((left, right), len(self.ranks))
        self.vocab.add(left + right)
        return left + right


@dataclass(slots=True)
class Arranged:
    """New pieces in the order in which they must be added: each with the two it is made of, or None for a symbol."""

    pieces: list[tuple[str, Pair | None]] = field(default_factory=list[tuple[str, "Pair | None"]])
    unreachable: list[str] = field(default_factory=list[str])
    """Left out: no order of merges behind the old ones leads to them."""
    completed: list[str] = field(default_factory=list[str])
    """Among ``pieces``, those that nobody asked for: pieces on the way to others."""


def arrange(
    merges: Merges,
    wanted: Sequence[str],
    complete: bool,
    weight: Callable[[str], float] = lambda piece: 1.0,
    symbol_may_be_new: bool = True,
) -> Arranged:
    """Add the wanted pieces to ``merges``, in their order as far as each can be reached by then.

    ``complete``: also add what is missing on the way to a piece, the most useful first (``weight`` says how much a
    wanted piece counts), instead of leaving the piece out. ``symbol_may_be_new``: a single symbol can become a token
    (a character where characters are symbols; not a byte where bytes are).
    """
    done = Arranged()
    waiting: list[str] = []
    for piece in dict.fromkeys(wanted):
        if piece in merges.vocab:
            continue
        if len(merges.split(piece)) == 1 and symbol_may_be_new:
            merges.vocab.add(piece)
            done.pieces.append((piece, None))
        else:
            waiting.append(piece)
    if complete and symbol_may_be_new:
        for symbol in dict.fromkeys(symbol for piece in waiting for symbol in merges.split(piece)):
            if symbol not in merges.vocab:
                merges.vocab.add(symbol)
                done.pieces.append((symbol, None))
                done.completed.append(symbol)
    waiting = _reach(merges, waiting, done)
    joins = -1
    while complete and waiting and joins < len(done.completed):
        joins = len(done.completed)
        for left, right in _useful(merges, waiting, weight):
            # An old piece that no merge makes stands in the way for good: a merge of it would change old texts.
            known = left in merges.vocab and right in merges.vocab and left + right not in merges.vocab
            if known and len(merges.split(left + right)) == 2:
                _join(merges, left + right, (left, right), done)
                done.completed.append(left + right)
        waiting = _reach(merges, waiting, done)
    done.unreachable = waiting
    return done


def _join(merges: Merges, piece: str, pair: Pair, done: Arranged) -> None:
    merges.add(*pair)
    done.pieces.append((piece, pair))


def _reach(merges: Merges, waiting: list[str], done: Arranged) -> list[str]:
    """Add those that are two pieces away from nothing, until there are none; what still waits."""
    while True:
        left: list[str] = []
        for piece in waiting:
            if piece in merges.vocab:
                continue
            parts = merges.split(piece)
            if len(parts) == 2 and all(part in merges.vocab for part in parts):
                _join(merges, piece, (parts[0], parts[1]), done)
            else:
                left.append(piece)
        if len(left) == len(waiting):
            return left
        waiting = left


def _useful(merges: Merges, waiting: list[str], weight: Callable[[str], float]) -> list[Pair]:
    """The first join that each waiting piece lacks, those that help most of them first.

    Always the first, because pieces share beginnings: the bytes of 20,000 汉字 begin in some 330 ways.
    """
    counted: dict[Pair, float] = {}
    for piece in waiting:
        parts = merges.split(piece)
        if len(parts) > 1:
            pair = parts[0], parts[1]
            counted[pair] = counted.get(pair, 0.0) + weight(piece)
    return sorted(counted, key=lambda pair: (-counted[pair], pair))
