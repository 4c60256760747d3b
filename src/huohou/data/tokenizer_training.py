"""Training a vocabulary: byte-fallback BPE over whole characters that gives back exactly the text it was given.

Ids: 6 special tokens, the 256 byte pieces ``<0x00>`` … ``<0xFF>``, single characters, merges. Nothing is normalised.
Merges stay inside runs of one kind (汉字, other letters with at most one space before them, punctuation, line ends,
white space), digits stand alone, and so does ``<``, with which every special token and byte piece begins: so no
merge can ever spell one of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError, missing_extra

SPECIAL = {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>",
           "<|im_start|>": "<|im_start|>", "<|im_end|>": "<|im_end|>"}  # fmt: skip
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SMALLEST = len(SPECIAL) + len(BYTES)

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' "
    "+ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML, as Qwen, Yi, MiniCPM and minimind write conversations."""

RUNS = (
    r"\p{Han}+|[\r\n]+|[^\s\p{L}\p{M}\p{N}<]+|<|\p{N}"
    r"| ?(?:(?!\p{Han})[\p{L}\p{M}])+| [^\s\p{L}\p{M}\p{N}<]+|\s+"
)
COVERAGE = 0.9995
"""The share of a corpus whose characters get a token each; SentencePiece's value for Chinese."""
CHARACTER_SHARE = 0.6
"""At most so much of the places goes to single characters. On Song lyrics and technical prose with 1,000 to 16,000
places, this and the coverage came within 9 % (from 6,000 places on within 1 %) of the best number of characters."""
LONGEST = 16
"""Characters in a token, at most."""
LIMIT = 100_000_000


def train_tokenizer(
    documents: Iterable[str],
    vocab_size: int,
    *,
    characters: int = LIMIT,
    progress: Callable[[int], None] | None = None,
) -> Tokenizer:
    """Train on the first ``characters`` characters of the documents; the vocabulary is exactly as large as asked.

    The same documents, in whatever order, give the same tokenizer. ``progress`` is told the characters read.
    """
    if vocab_size < SMALLEST + 1:
        raise UserError(
            f"tokenizer: vocab_size {vocab_size} is too small; the smallest possible is {SMALLEST + 1} "
            f"({len(SPECIAL)} special tokens, {len(BYTES)} bytes, 1 character).",
            f"tokenizer: vocab_size {vocab_size} 太小；最小为 {SMALLEST + 1}"
            f"（{len(SPECIAL)} 个特殊词、{len(BYTES)} 个字节、1 个字）。",
        )
    try:
        import tokenizers as library
    except ImportError:
        raise missing_extra("tokenizers", "data") from None
    texts, counted = _collect(documents, characters, progress)
    if not counted:
        raise UserError(
            "tokenizer: there is no text to train it on.", "tokenizer: 没有可用来训练分词器的文本。"
        )  # fmt: skip
    places = vocab_size - SMALLEST
    model = _learned(library, texts, counted, places)
    if len(model["vocab"]) < places:
        reachable = SMALLEST + len(model["vocab"])
        raise UserError(
            f"tokenizer: vocab_size {vocab_size} is more than this text has pieces for; the largest reachable is "
            f"{reachable}. Take more text or a smaller vocabulary.",
            f"tokenizer: vocab_size {vocab_size} 超过这些文本能产生的词数，最多 {reachable}；请增加文本或减小词表。",
        )
    return _built(library, model)


def _collect(
    documents: Iterable[str], characters: int, progress: Callable[[int], None] | None
) -> tuple[list[str], Counter[str]]:
    texts: list[str] = []
    counted: Counter[str] = Counter()
    seen = 0
    for document in documents:
        text = document[: characters - seen]
        texts.append(text)
        counted.update(text)
        seen += len(text)
        if progress is not None:
            progress(seen)
        if seen >= characters:
            break
    return texts, counted


def _covering(order: list[str], counted: Counter[str]) -> int:
    """How many of the most frequent characters make up :data:`COVERAGE` of the text."""
    wanted, reached = COVERAGE * counted.total(), 0
    for number, character in enumerate(order, start=1):
        reached += counted[character]
        if reached >= wanted:
            return number
    return len(order)


def _runs(library: Any) -> Any:
    return library.pre_tokenizers.Split(library.Regex(RUNS), "isolated")


def _learned(library: Any, texts: list[str], counted: Counter[str], places: int) -> dict[str, Any]:
    """The characters and merges (vocab, merges) for so many places; fewer where the texts have no more."""
    order = sorted(counted, key=lambda c: (-counted[c], c))
    alphabet = order[: min(_covering(order, counted), max(1, int(places * CHARACTER_SHARE)))]
    model = _merged(library, texts, alphabet, places)
    missing = places - len(model["vocab"])
    if missing > 0 and len(alphabet) < len(order):
        # The merges are exhausted before the places are: rarer characters take them.
        model = _merged(library, texts, order[: len(alphabet) + missing], places)
    return model


def _merged(library: Any, texts: list[str], alphabet: list[str], places: int) -> dict[str, Any]:
    """The library's BPE model (vocab, merges) with this alphabet and at most so many tokens."""
    trained = library.Tokenizer(library.models.BPE())
    trained.pre_tokenizer = _runs(library)
    trainer = library.trainers.BpeTrainer(
        vocab_size=places,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        max_token_length=LONGEST,
    )
    trained.train_from_iterator(texts, trainer)
    return json.loads(trained.to_str())["model"]


def sampled_rates(texts: list[str], vocab_size: int) -> tuple[float, float]:
    """Tokens a character that a vocabulary trained on all of a corpus may be expected to need, from some texts of it.

    (low, high): on the half that a vocabulary was trained on, which flatters it, and on the other half.
    """
    import tokenizers as library

    halves = texts[::2], texts[1::2] or texts
    learned = _learned(library, halves[0], Counter("".join(halves[0])), max(vocab_size - SMALLEST, 1))
    tokenizer = _built(library, learned)
    own, other = (sum(map(len, tokenizer.encode_batch(half))) / max(sum(map(len, half)), 1) for half in halves)
    return min(own, other), max(own, other)


def _built(library: Any, model: dict[str, Any]) -> Tokenizer:
    from huohou.data.tokenizer_fast import FastBackend

    learned = sorted(model["vocab"], key=lambda token: (len(token) > 1, model["vocab"][token]))
    vocab = {token: i for i, token in enumerate((*SPECIAL.values(), *BYTES, *learned))}
    merges = [tuple(pair) for pair in model["merges"]]
    built = library.Tokenizer(
        library.models.BPE(vocab=vocab, merges=merges, unk_token=SPECIAL["unk"], fuse_unk=True, byte_fallback=True)
    )
    built.pre_tokenizer = _runs(library)
    built.decoder = library.decoders.Sequence([library.decoders.ByteFallback(), library.decoders.Fuse()])
    special = [library.AddedToken(name, special=True, normalized=False) for name in SPECIAL.values()]
    built.add_special_tokens(special)
    return Tokenizer(FastBackend(built), dict(SPECIAL), CHAT_TEMPLATE)
