"""Perplexity and bits per byte of documents, by a window that slides over each of them.

A document's tokens are predicted one after another. Before the first one stands a single begin token. The model reads
at most ``window`` tokens at a time: the first window reads the document's beginning and predicts all that it can; each
further one begins ``stride`` tokens later and only what no window has predicted yet is counted, so that every token is
counted once and, but for the first window's, has at least ``window − stride`` tokens before it. A stride as long as the
window is the cheapest and gives the highest loss, a stride of 1 gives every token all the context there is.

Documents do not see each other and the token that would end them is not predicted, so that what is measured is the
text: nats over tokens, e to that (perplexity), and bits over the text's bytes in UTF-8, which alone compares models
of different tokenizers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from huohou.data.tokenizer import Tokenizer
from huohou.evaluate.likelihood import nats
from huohou.model.foreign import Foreign
from huohou.model.llama import Llama
from huohou.model.loss import IGNORED

TOKENS_AT_ONCE = 8192
"""Windows are computed together up to so many tokens, filling up counted."""

_SORTED = 512
"""Windows that are put in order of length before they are put together."""


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What was measured: the sum of nats over so many tokens of so many documents and bytes."""

    nats: float
    tokens: int
    bytes: int
    characters: int
    documents: int
    empty: int
    """Documents without a token, of which nothing can be said."""

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.nats_per_token, 700))

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes


@dataclass(frozen=True, slots=True)
class Window:
    """What is read and what is counted of it: targets, with −100 for those that were counted before."""

    inputs: list[int]
    targets: list[int]


def windows(ids: list[int], begin: int, window: int, stride: int) -> Iterator[Window]:
    """The windows over one document's tokens."""
    inputs = [begin, *ids[:-1]]
    counted = start = 0
    while counted < len(ids):
        end = min(start + window, len(ids))
        targets = [IGNORED] * (counted - start) + ids[counted:end]
        yield Window(inputs[start:end], targets)
        counted, start = end, start + stride


def measure(
    model: Llama | Foreign,
    tokenizer: Tokenizer,
    documents: Iterable[str],
    *,
    begin: int,
    window: int,
    stride: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Perplexity:
    """The perplexity of documents. ``progress`` is told the number of tokens after each group of windows."""
    total: list[float] = []
    tokens = size = characters = count = empty = 0

    def all_windows() -> Iterator[Window]:
        nonlocal tokens, size, characters, count, empty
        for document in documents:
            ids = tokenizer.encode(document).tolist()
            if not ids:
                empty += 1
                continue
            count += 1
            tokens += len(ids)
            size += len(document.encode())
            characters += len(document)
            yield from windows(ids, begin, window, stride)

    for group in _groups(all_windows()):
        total.append(nats(model, [one.inputs for one in group], [one.targets for one in group]))
        progress(tokens)
    # An exact sum: the order in which the windows were put together does not matter.
    return Perplexity(math.fsum(total), tokens, size, characters, count, empty)


def _groups(all_windows: Iterator[Window]) -> Iterator[list[Window]]:
    """Windows of like length together."""
    waiting: list[Window] = []

    def cut() -> Iterator[list[Window]]:
        waiting.sort(key=lambda one: len(one.inputs))
        group: list[Window] = []
        for one in waiting:
            if group and (len(group) + 1) * len(one.inputs) > TOKENS_AT_ONCE:
                yield group
                group = []
            group.append(one)
        yield group
        waiting.clear()

    for one in all_windows:
        waiting.append(one)
        if len(waiting) == _SORTED:
            yield from cut()
    if waiting:
        yield from cut()
