"""Which characters of a text each token stands for, for both libraries."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer

TEXT = ["你好，世界。今天的天气很好 hello world 123", "问：你好吗？答：很好。"]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 20), model_writer=model, vocab_size=300, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=9, num_threads=1,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("sp") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return {"fast": train_tokenizer(TEXT * 20, 305), "sentencepiece": Tokenizer.load(path)}


@pytest.mark.parametrize("kind", ["fast", "sentencepiece"])
@given(text=st.text("你好世 a龘😀<>/s\n1e\u0301", max_size=30))
@example(text="<s>你好 😀</s></s>hello")
@example(text="")
def test_spans_cover_the_text_and_ids_are_the_same(tokenizers: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = tokenizers[kind]
    ((ids, starts, ends),) = tokenizer.encode_spans([text])
    assert ids.tolist() == tokenizer.encode(text, special=True).tolist()
    assert len(ids) == len(starts) == len(ends)
    if not text.strip(" "):
        return
    assert (np.diff(starts) >= 0).all() and (np.diff(ends) >= 0).all() and (ends >= starts).all()
    assert starts[0] == 0 and ends[-1] == len(text)
    # No character lies between two tokens; one in several tokens (bytes) is in all of them.
    assert (starts[1:] <= ends[:-1]).all()
    special = tokenizer.special_ids
    for i, start, end in zip(ids.tolist(), starts, ends, strict=True):
        if i in special.values():
            assert special[text[start:end]] == i


def test_many_texts_at_once(tokenizers: dict[str, Tokenizer]) -> None:
    for tokenizer in tokenizers.values():
        texts = ["你好", "", "<s>世界</s>", "</s>", "😀"]
        many = tokenizer.encode_spans(texts)
        for text, found in zip(texts, many, strict=True):
            alone = tokenizer.encode_spans([text])[0]
            assert [row.tolist() for row in found] == [row.tolist() for row in alone]


@pytest.mark.external
def test_the_real_model(shared_data: Path) -> None:
    tokenizer = Tokenizer.load(shared_data / "tokenizer")
    text = "<s>[INST] 你好 hello 😀world 龘[/INST] 再见 ok</s>"
    ids, starts, ends = tokenizer.encode_spans([text])[0]
    pieces = [text[a:b] for a, b in zip(starts, ends, strict=True)]
    assert pieces[0] == "<s>" and pieces[-1] == "</s>" and pieces.count("😀") == 4 and "再见" in pieces
    assert ids.tolist() == tokenizer.encode(text, special=True).tolist()
