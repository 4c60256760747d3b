"""Small tokenizers and models for the tests of growing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from huohou.data.tokenizer import Tokenizer
from huohou.model import Llama, ModelConfig, build

SPECIAL = ("<unk>", "<s>", "</s>")
LETTERS = ("天", "气", "好", "今", "很", "a", "b")
ADDED = ("天气", "今天", "天气好", "<pad>")
OLD = len(SPECIAL) + len(LETTERS)
NEW = OLD + len(ADDED)

CONFIG = ModelConfig(
    OLD, 32, 40, 2, 4, 2, max_position_embeddings=64, initializer_range=0.3, bos_token_id=1, eos_token_id=2
)
TIED = replace(CONFIG, tie_word_embeddings=True)


def tokenizer(folder: Path, *, grown: bool, eos: str | None = "</s>") -> Tokenizer:
    """Pieces are characters; the grown one merges some of them."""
    tokens = [*SPECIAL, *LETTERS, *(ADDED if grown else ())]
    merges = [["天", "气"], ["今", "天"], ["天气", "好"]] if grown else []
    special = [token for token in tokens if token.startswith("<")]
    file = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": tokens.index(t), "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for t in special
        ],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges,
        },
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False), encoding="utf-8")
    names = {"bos_token": "<s>", "unk_token": "<unk>"}
    if eos is not None:
        names["eos_token"] = eos
    if grown:
        names["pad_token"] = "<pad>"
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    return Tokenizer.load(folder)


def model(*, tied: bool = False, rows: int = OLD) -> Llama:
    return build(replace(TIED if tied else CONFIG, vocab_size=rows), seed=4)
