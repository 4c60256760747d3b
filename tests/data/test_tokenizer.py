"""Tokenizers: what is trained gives back every text, what is loaded gives the ids that its own library gives."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_report import HOSTILE, measure_tokenizer
from huohou.data.tokenizer_training import BYTES, SMALLEST, train_tokenizer
from huohou.errors import UserError

LINES = [
    "小明在公园里种了一棵树，",
    "树上有三只鸟。",
    "The birds sing</s> songs",
    "小红问：“12 加 30 是多少？”",
    "答案是 42。\n",
    "a <<<< b",
]
WORDS = [
    "".join(random.Random(seed).choices("春夏秋冬风花雪月山水天地人心日夜东南西北", k=2 + seed % 2))
    for seed in range(90)
]
TEXTS = ["".join(random.Random(seed).choices([*LINES, *WORDS], k=40)) for seed in range(120)]
SIZE = 420


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return train_tokenizer(TEXTS, SIZE)


def pieces(tokenizer: Tokenizer, folder: Path) -> dict[str, int]:
    tokenizer.save(folder)
    return json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]


def pieces_of(tokenizer: Tokenizer) -> list[str]:
    """The single characters that have a token."""
    return [c for c in map(chr, range(0x4E00, 0x4E00 + 90)) if tokenizer.covers(c)]


def test_the_vocabulary_is_what_was_asked(trained: Tokenizer, tmp_path: Path) -> None:
    vocab = pieces(trained, tmp_path)
    learned = [piece for piece, i in vocab.items() if i >= SMALLEST]
    assert trained.vocab_size == SIZE == len(vocab)
    assert sorted(vocab.values()) == list(range(SIZE))
    assert (trained.unk_id, trained.bos_id, trained.eos_id, trained.pad_id) == (0, 1, 2, 3)
    assert [vocab[name] for name in ("<|im_start|>", "<|im_end|>", *BYTES)] == list(range(4, 262))
    assert any(len(piece) > 1 for piece in learned)
    for piece in learned:
        digits = sum(c.isdigit() for c in piece)
        assert piece == "<" or "<" not in piece
        assert digits == 0 or len(piece) == 1
        han = {"\u4e00" <= c <= "\u9fff" for c in piece}
        assert len(han) == 1, piece


def test_training_does_not_depend_on_order_or_chance(trained: Tokenizer) -> None:
    assert train_tokenizer(TEXTS, SIZE).fingerprint == trained.fingerprint
    assert train_tokenizer(reversed(TEXTS), SIZE).fingerprint == trained.fingerprint
    # Where not every character finds a place, those that are equally frequent are chosen by what they are.
    rare = ["".join(random.Random(7).sample([chr(0x4E00 + i) for i in range(90)], k=90)) * 2, *TEXTS]
    other = [*TEXTS, rare[0][::-1]]
    assert set(pieces_of(train_tokenizer(rare, SIZE))) == set(pieces_of(train_tokenizer(other, SIZE)))
    assert train_tokenizer(TEXTS, SIZE - 1).fingerprint != trained.fingerprint
    assert train_tokenizer(TEXTS, 300, characters=400).fingerprint != train_tokenizer(TEXTS, 300).fingerprint


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(trained: Tokenizer, text: str) -> None:
    ids = trained.encode(text)
    assert trained.decode(ids) == text
    assert trained.token_bytes()[ids].sum() == len(text.encode())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_come_back(trained: Tokenizer, name: str) -> None:
    assert trained.decode(trained.encode(HOSTILE[name])) == HOSTILE[name]


def test_special_tokens_in_a_text_are_text_unless_they_are_meant(trained: Tokenizer) -> None:
    text = "树</s><|im_end|>"
    assert not set(trained.encode(text).tolist()) & {0, 1, 2, 3, 4, 5}
    assert trained.encode(text, special=True).tolist()[-2:] == [2, 5]
    assert trained.decode(trained.encode(text, special=True)) == text
    assert trained.decode(trained.encode(text, special=True), special=False) == "树"


def test_sizes_that_cannot_be(trained: Tokenizer) -> None:
    with pytest.raises(UserError, match="the smallest possible is 263"):
        train_tokenizer(TEXTS, 262)
    assert train_tokenizer(TEXTS, 263).vocab_size == 263
    with pytest.raises(UserError, match="the largest reachable is ") as caught:
        train_tokenizer(TEXTS, 5000)
    largest = int(str(caught.value).split("the largest reachable is ")[1].split(".")[0])
    assert train_tokenizer(TEXTS, largest).vocab_size == largest
    with pytest.raises(UserError, match=f"reachable is {largest}"):
        train_tokenizer(TEXTS, largest + 1)
    # A text without a pair that occurs twice still fills its places, with the rarer characters.
    singles = [chr(0x4E00 + i) for i in range(50)]
    assert train_tokenizer(singles, SMALLEST + 50).vocab_size == SMALLEST + 50
    with pytest.raises(UserError, match="no text"):
        train_tokenizer([], 500)


def test_saved_and_loaded_is_the_same(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path / "a")
    for path in (tmp_path / "a", tmp_path / "a" / "tokenizer.json"):
        loaded = Tokenizer.load(path)
        assert loaded.fingerprint == trained.fingerprint
        assert (loaded.special_ids, loaded.chat_template) == (trained.special_ids, trained.chat_template)
    (tmp_path / "bare.json").write_bytes((tmp_path / "a" / "tokenizer.json").read_bytes())
    assert Tokenizer.load(tmp_path / "bare.json").eos_id == trained.eos_id


@pytest.mark.slow
def test_transformers_gives_the_same_ids(trained: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    trained.save(tmp_path)
    for config in (None, {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}):
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
        other: Any = transformers.AutoTokenizer.from_pretrained(tmp_path)
        for text in (*TEXTS[:40], *HOSTILE.values()):
            assert other(text)["input_ids"] == trained.encode(text, special=True).tolist()
            assert other.decode(other(text)["input_ids"]) == text
            if "</s>" not in text:
                assert other(text)["input_ids"] == trained.encode(text).tolist()
        assert (other.eos_token_id, other.pad_token_id, len(other)) == (trained.eos_id, trained.pad_id, SIZE)
        chat = other.apply_chat_template(
            [{"role": "user", "content": "好"}], tokenize=False, add_generation_prompt=True
        )  # fmt: skip
        assert chat == "<|im_start|>user\n好<|im_end|>\n<|im_start|>assistant\n"


def test_the_end_token_is_part_of_the_fingerprint(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "<|im_end|>"}), "utf-8")
    changed = Tokenizer.load(tmp_path)
    assert changed.eos_id == 5 and changed.fingerprint != trained.fingerprint


def test_measure(trained: Tokenizer) -> None:
    report = measure_tokenizer(trained, [*TEXTS, "龘"])
    assert report.round_trip == 1 and not report.lost and report.unknown == 0
    assert report.through_bytes == pytest.approx(1 / report.characters)
    assert report.own_token == pytest.approx(1 - 1 / report.characters)
    assert report.characters_per_token == report.characters / report.tokens
    assert report.tokens == sum(len(ids) for ids in trained.encode_batch([*TEXTS, "龘"]))


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def sentencepiece_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import sentencepiece

    prefix = tmp_path_factory.mktemp("sp") / "tokenizer"
    sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
        sentence_iterator=iter(TEXTS), model_prefix=str(prefix), vocab_size=340, model_type=request.param,
        byte_fallback=True, minloglevel=9, num_threads=1,
    )  # fmt: skip
    return prefix.with_suffix(".model")


def test_sentencepiece_models(sentencepiece_model: Path, tmp_path: Path) -> None:
    import sentencepiece

    own: Any = sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_model))
    loaded = Tokenizer.load(sentencepiece_model)
    texts = [*TEXTS, *HOSTILE.values()]
    for text, ids in zip(texts, loaded.encode_batch(texts), strict=True):
        assert ids.tolist() == own.encode(text)
        assert loaded.decode(ids) == own.decode(own.encode(text))
    assert loaded.encode("</s>树", special=True).tolist() == [2, *own.encode("树")]
    assert loaded.decode([2, *own.encode("树")]) == "</s>树"
    assert (loaded.eos_id, loaded.vocab_size) == (2, 340)
    plain = "小明在公园"
    assert loaded.token_bytes()[loaded.encode(plain)].sum() == len(("▁" + plain).replace("▁", " ").encode())
    loaded.save(tmp_path)
    assert Tokenizer.load(tmp_path).fingerprint == loaded.fingerprint


@pytest.mark.slow
def test_transformers_reads_a_saved_sentencepiece_model(sentencepiece_model: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    loaded = Tokenizer.load(sentencepiece_model)
    loaded.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}), "utf-8")
    other: Any = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert other(text, add_special_tokens=False)["input_ids"] == loaded.encode(text, special=True).tolist()


def test_byte_level_tokenizers_count_bytes(tmp_path: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer

    other = ByteLevelBPETokenizer()
    other.train_from_iterator(TEXTS, vocab_size=300, show_progress=False, special_tokens=["<|endoftext|>"])
    other.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.eos_id == 0
    for text in (TEXTS[0], *HOSTILE.values()):
        assert loaded.token_bytes()[loaded.encode(text)].sum() == len(text.encode())


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("tokenizer.json", b"{}", "is not a tokenizer.json"),
        ("tokenizer.json", b"\xff", "is not a tokenizer.json"),
        ("tokenizer.model", b"nothing", "is not a SentencePiece model"),
        ("other.txt", b"", "holds neither"),
    ],
)
def test_files_that_are_no_tokenizer(tmp_path: Path, name: str, raw: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(UserError, match=says):
        Tokenizer.load(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        Tokenizer.load(tmp_path / "none")


def test_damaged_settings_and_missing_end(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{", "utf-8")
    with pytest.raises(UserError, match=r"tokenizer_config\.json: not a readable JSON"):
        Tokenizer.load(tmp_path)
    from tokenizers import Tokenizer as Library
    from tokenizers.models import BPE

    Library(BPE(vocab={"a": 0}, merges=[])).save(str(tmp_path / "x.json"))
    with pytest.raises(UserError, match="no end-of-text token"):
        _ = Tokenizer.load(tmp_path / "x.json").end_id


@pytest.mark.external
@pytest.mark.parametrize("name", ["tokenizer.model", "chinese_sp.model"])
def test_real_sentencepiece_models_on_real_text(shared_data: Path, name: str) -> None:
    import sentencepiece

    path = shared_data / "tokenizer" / name
    own: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
    loaded = Tokenizer.load(path)
    for corpus in ("songci", "d2l_zh"):
        with open(shared_data / "pretrain" / f"{corpus}.jsonl", encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file][:3000]
        for text, ids in zip(texts, loaded.encode_batch(texts), strict=True):
            assert np.array_equal(ids, own.encode(text))
