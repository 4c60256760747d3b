"""How large a corpus is, in documents, characters and tokens: estimated from a small sample, or exactly from a cache.

The sample is 32 blocks at evenly spaced places of all the files' bytes put in a row, so that a file is met in
proportion to its size. Files that can only be read from their beginning (compressed, json, csv, parquet, texts of
more than a line) stand in with their first megabyte. The interval is two and a half standard errors of the blocks'
mean, or what the sample leaves open about a vocabulary that does not exist yet, whichever is wider.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from huohou.data.corpus import Generated, HeldOut
from huohou.data.documents import Documents, Field, document_of
from huohou.data.token_cache import TokenCache
from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError
from huohou.language import Text

BLOCKS = 32
_BEGINNING = 1 << 20
_ERRORS = 2.5


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """``tokens`` includes the end token of each document; ``low`` and ``high`` are the interval of ``tokens``.

    ``basis`` says what the numbers rest on. With ``exact`` they are counts, and low = tokens = high.
    """

    exact: bool
    documents: int
    characters: int
    bytes: int
    tokens: int
    low: int
    high: int
    basis: Text


@dataclass(slots=True)
class _Block:
    """Documents that stand for ``span`` bytes of the files (or characters of a generated corpus).

    ``texts``: those of them that are tokenised.
    """

    span: int = 0
    documents: int = 0
    characters: int = 0
    size: int = 0
    texts: list[str] = field(default_factory=list[str])

    def add(self, text: str, *, tokenise: bool) -> None:
        self.documents += 1
        self.characters += len(text)
        self.size += len(text.encode())
        if tokenise:
            self.texts.append(text)


def exact_corpus(cache: TokenCache) -> CorpusFacts:
    """The counts of a token cache."""
    tokens = len(cache)
    basis = Text("counted in the token cache", "由词元缓存精确统计")
    return CorpusFacts(True, cache.documents, cache.characters, cache.bytes, tokens, tokens, tokens, basis)


def measure_corpus(
    documents: Documents | HeldOut | Generated,
    tokenizer: Tokenizer | None = None,
    *,
    vocab_size: int | None = None,
    budget: int = 200_000,
) -> CorpusFacts:
    """Estimate, tokenising about ``budget`` characters; without a tokenizer, for one still to be trained."""
    share = 1.0
    while isinstance(documents, HeldOut):
        share *= documents.share if documents.side == "validation" else 1 - documents.share
        inner = documents.documents
        assert isinstance(inner, Documents | HeldOut | Generated)
        documents = inner
    sample = _Sample(budget)
    if isinstance(documents, Generated):
        sample.generated(documents)
    else:
        sample.files(documents)
    blocks = [block for block in sample.blocks if block.span]
    texts = [text for block in blocks for text in block.texts]
    if not texts:
        raise UserError(
            "no document was found in a sample of the data; see what huohou data check says of the files.",
            "在数据样本中没有找到文档；请用 huohou data check 检查文件。",
        )
    tokens, error = _tokens(blocks, texts, tokenizer, vocab_size)
    span = sum(block.span for block in blocks)
    complete = span >= sample.whole and len(texts) == sum(block.documents for block in blocks)
    error = max(error, 0.0 if complete else _spread(tokens, [block.span for block in blocks]), sample.doubt)
    scale = share * sample.whole / span
    count = sum(block.documents for block in blocks) * scale
    if share < 1:
        error = max(error, _ERRORS / math.sqrt(max(count, 1)))
    total = sum(tokens) * scale
    characters = sum(block.characters for block in blocks)
    return CorpusFacts(
        exact=False,
        documents=round(count),
        characters=round(characters * scale),
        bytes=round(sum(block.size for block in blocks) * scale),
        tokens=round(total),
        low=math.floor(total * max(1 - error, 0.0)),
        high=math.ceil(total * (1 + error)),
        basis=Text(
            f"estimated from {len(texts):,} documents with {sum(map(len, texts)):,} characters",
            f"由 {len(texts):,} 篇文档（{sum(map(len, texts)):,} 个字符）估计",
        ),
    )


def _tokens(
    blocks: list[_Block], texts: list[str], tokenizer: Tokenizer | None, vocab_size: int | None
) -> tuple[list[float], float]:
    """(tokens of each block, end tokens included; relative error of the tokens a character)."""
    if tokenizer is None:
        from huohou.data.tokenizer_training import sampled_rates

        low, high = sampled_rates(texts, vocab_size or 6400)
        rate = math.sqrt(low * high)
        return [rate * block.characters + block.documents for block in blocks], max(high / rate - 1, 0.05)
    lengths = iter([len(ids) for ids in tokenizer.encode_batch(texts)])
    found: list[float] = []
    for block in blocks:
        encoded = sum(islice(lengths, len(block.texts)))
        rate = encoded / max(sum(map(len, block.texts)), 1)
        found.append(rate * block.characters + block.documents)
    return found, 0.0


def _spread(values: list[float], spans: list[int]) -> float:
    """The half width of the interval of Σ values / Σ spans, as a share of it."""
    if len(values) < 2:
        return 0.25
    ratio = sum(values) / sum(spans)
    variance = sum((v - ratio * s) ** 2 for v, s in zip(values, spans, strict=True)) / (len(values) - 1)
    error = _ERRORS * math.sqrt(variance / len(values)) / (ratio * sum(spans) / len(spans))
    # A few blocks that happen to agree prove little.
    return max(error, 0.05 if len(values) < 8 else 0.01)


class _Sample:
    """Blocks, the ``whole`` that they stand for, and the ``doubt`` (a relative error) that beginnings leave."""

    def __init__(self, budget: int) -> None:
        self.blocks: list[_Block] = []
        self.whole = 0
        self.doubt = 0.0
        self._each = max(budget // BLOCKS, 1)

    def generated(self, documents: Generated) -> None:
        """The first documents: a generator makes the same mixture everywhere."""
        self.whole = documents.characters
        block = _Block()
        for text in documents:
            block.add(text, tokenise=True)
            block.span += len(text)
            if block.span >= self._each:
                self.blocks.append(block)
                block = _Block()
                if len(self.blocks) == BLOCKS:
                    return
        # The generator has ended: what has been seen is all there is.
        self.blocks.append(block)
        self.whole = sum(block.span for block in self.blocks)

    def files(self, documents: Documents) -> None:
        unlimited: list[tuple[Path, int]] = []
        for source in documents.sources:
            sized = [(path, path.stat().st_size) for path in source.files]
            if source.limit is None:
                unlimited += sized
            else:
                self._limited(documents, sized, source.limit)
        total = sum(size for _, size in unlimited)
        self.whole += total
        begin = 0
        for path, size in unlimited:
            places = [k for k in range(BLOCKS) if begin <= (k + 0.5) * total / BLOCKS < begin + size]
            begin += size
            if places:
                self._file(documents, path, size, len(places))

    def _limited(self, documents: Documents, sized: list[tuple[Path, int]], limit: int) -> None:
        """A source of at most ``limit`` records: its first ones."""
        left = limit
        for path, size in sized:
            read, span = self._beginning(documents, path, size, left, BLOCKS)
            if read < left and span < size:
                # The sample has ended before the limit: the rest is as what was seen, as far as the file goes.
                self.whole += min(size, span * left // max(read, 1))
                return
            self.whole += span
            left -= read
            if left == 0:
                return

    def _file(self, documents: Documents, path: Path, size: int, count: int) -> None:
        """``count`` blocks of one file, or its beginning."""
        file = documents.open(path, known := Field(documents.text))
        length = 3 * self._each
        if not file.seekable or size <= 2 * length * count:
            self._beginning(documents, path, size, None, count)
            return
        step = size // count
        for number in range(count):
            records, span = file.block(number * step + (step - length) // 2, length)
            block = _Block(span)
            found = (document_of(record, known)[0] for record in records)
            _fill(block, (text for text in found if text is not None), self._each)
            self.blocks.append(block)

    def _beginning(self, documents: Documents, path: Path, size: int, limit: int | None, count: int) -> tuple[int, int]:
        """A file's beginning as ``count`` blocks; (records, bytes of the file that they are)."""
        file = documents.open(path, known := Field(documents.text))
        texts: list[str] = []
        read, characters, span = 0, 0, size
        for record in file:
            read += 1
            text, _ = document_of(record, known)
            if text is not None:
                texts.append(text)
                characters += len(text)
            if read == limit or (file.position >= _BEGINNING and characters >= self._each * count):
                span = min(max(file.position, 1), size)
                break
        if span < size and limit is None:
            self.doubt = 0.1
        step = max(-(-len(texts) // count), 1)
        for first in range(0, len(texts), step):
            part = texts[first : first + step]
            block = _Block(span * sum(map(len, part)) // max(characters, 1))
            _fill(block, part, self._each)
            self.blocks.append(block)
        return read, span


def _fill(block: _Block, texts: Iterable[str], characters: int) -> None:
    tokenised = 0
    for text in texts:
        block.add(text, tokenise=tokenised < characters)
        tokenised += len(text)
