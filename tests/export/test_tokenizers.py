"""The second form of a tokenizer, which llama.cpp reads: the same ids, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import AutoTokenizer

from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.export.tokenizers import elsewhere

POEMS = ["春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", "the quick brown fox, the lazy dog; 3.14 foxes"] * 9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train_tokenizer(POEMS, 320).save(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def other(folder: Path) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_ours_gets_a_sentencepiece_model_with_the_same_ids(folder: Path) -> None:
    before = AutoTokenizer.from_pretrained(folder)
    said = elsewhere(folder)
    assert said is not None and "tokenizer.model was written" in said.en
    ours, theirs, after = Tokenizer.load(folder), other(folder), AutoTokenizer.from_pretrained(folder)
    for text in (*POEMS[:2], " a b\tc\n\nd", "夜😀", "the  fox"[:4] + "fox", ""):
        ids = ours.encode(text).tolist()
        assert theirs.encode(text) == ids
        assert theirs.decode(ids) == text
        for one in (before, after):
            assert one.encode(text, add_special_tokens=False) == ids
    assert theirs.vocab_size() == ours.vocab_size
    assert theirs.eos_id() == ours.eos_id
    # Asked again, there is nothing left to say.
    assert elsewhere(folder) is None


def test_where_the_two_are_not_the_same_is_what_is_said(folder: Path) -> None:
    said = elsewhere(folder)
    assert said is not None and "several spaces stand before a word" in said.en
    assert other(folder).encode("a   fox") != Tokenizer.load(folder).encode("a   fox").tolist()


def test_whole_books_have_the_same_ids(tmp_path: Path, shared_data: Path) -> None:
    for name in ("songci.jsonl", "tang_poems.jsonl"):
        lines = (shared_data / "pretrain" / name).read_text(encoding="utf-8").splitlines()[:800]
        folder = tmp_path / name
        train_tokenizer(lines, 1500).save(folder)
        elsewhere(folder)
        ours, theirs = Tokenizer.load(folder), other(folder)
        assert all(
            theirs.encode(line) == ids.tolist() for line, ids in zip(lines, ours.encode_batch(lines), strict=True)
        )


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda plain: plain.update(normalizer={"type": "NFKC"}), "cannot convert this tokenizer"),
        (lambda plain: plain.update(decoder={"type": "Fuse"}), "cannot convert this tokenizer"),
        (lambda plain: plain.update(decoder={"type": "ByteLevel"}), "only if it is a published model's own"),
    ],
    ids=["normalised", "decoder", "bytes"],
)
def test_others_are_told_to_be_unconvertible(folder: Path, spoil: Any, sentence: str) -> None:
    file = folder / "tokenizer.json"
    plain = json.loads(file.read_text(encoding="utf-8"))
    spoil(plain)
    file.write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")
    said = elsewhere(folder)
    assert said is not None and sentence in said.en
    assert not (folder / "tokenizer.model").exists()


def test_rules_that_scores_cannot_say_are_found_out(tmp_path: Path) -> None:
    # Without a piece for it a space is spelled in bytes, and SentencePiece spells another sign there.
    train_tokenizer(["春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"] * 5, 290).save(tmp_path / "tokenizer")
    said = elsewhere(tmp_path / "tokenizer")
    assert said is not None and "no piece for a space" in said.en
    assert not (tmp_path / "tokenizer" / "tokenizer.model").exists()


def test_a_folder_without_a_tokenizer_is_told(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    said = elsewhere(folder)
    assert said is not None and "no tokenizer" in said.en
