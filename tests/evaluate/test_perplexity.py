"""Perplexity is what a plain loop over tokens gives, for any window and stride."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from huohou.data.tokenizer import Tokenizer
from huohou.evaluate.likelihood import log_probabilities, next_log_probabilities
from huohou.evaluate.perplexity import measure, windows
from huohou.model.foreign import Foreign
from huohou.model.llama import Llama
from huohou.model.loss import IGNORED
from huohou.model.opening import Opened

TEXTS = ["小石最爱吃的是粽子。他常去画室上班。", "好", "", "问：今天星期几？\n答：星期三。", "龘😀 and English."]


def straightforward(
    model: Llama | Foreign, tokenizer: Tokenizer, begin: int, window: int, stride: int
) -> tuple[float, int]:
    """The definition, a token at a time: the window that counts it is the first one that reaches it."""
    total, count = 0.0, 0
    for text in TEXTS:
        ids = tokenizer.encode(text).tolist()
        line = [begin, *ids]
        for place in range(len(ids)):
            start = 0
            while place >= start + window:
                start += stride
            logits = model(torch.tensor([line[start : place + 1]]))[0, -1]
            total -= float(torch.log_softmax(logits.double(), -1)[ids[place]])
            count += 1
    return total, count


@pytest.mark.parametrize(("window", "stride"), [(8, 8), (8, 3), (5, 1), (128, 64)])
@torch.inference_mode()
def test_it_is_what_a_plain_loop_gives(opened: Opened, window: int, stride: int) -> None:
    found = measure(opened.model, opened.tokenizer, TEXTS, begin=opened.begin_id(), window=window, stride=stride)
    nats, tokens = straightforward(opened.model, opened.tokenizer, opened.begin_id(), window, stride)
    assert (found.tokens, found.documents, found.empty) == (tokens, 4, 1)
    assert found.nats == pytest.approx(nats, rel=1e-6)
    assert found.bytes == sum(len(text.encode()) for text in TEXTS)
    assert found.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / found.bytes, rel=1e-6)


def test_each_token_is_counted_once_and_has_its_context() -> None:
    for length in range(1, 40):
        ids = list(range(100, 100 + length))
        for window in (1, 5, 8):
            for stride in range(1, window + 1):
                counted: list[int] = []
                for number, one in enumerate(windows(ids, 7, window, stride)):
                    assert len(one.inputs) == len(one.targets) <= window
                    for place, target in enumerate(one.targets):
                        if target != IGNORED:
                            counted.append(target)
                            assert one.inputs[place] == (target - 1 if target > 100 else 7)
                            assert number == 0 or place >= window - stride
                assert counted == ids


@pytest.mark.heavy
@torch.inference_mode()
def test_a_foreign_model_is_measured_alike(opened: Opened) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=opened.tokenizer.vocab_size, n_positions=64, n_embd=16, n_layer=2, n_head=2, initializer_range=0.4
    )
    model = Foreign(GPT2LMHeadModel(shape)).eval()
    found = measure(model, opened.tokenizer, TEXTS, begin=2, window=16, stride=7)
    nats, tokens = straightforward(model, opened.tokenizer, 2, 16, 7)
    assert found.tokens == tokens and found.nats == pytest.approx(nats, rel=1e-5)
    rows = [[5, 6, 7, 8, 9], [10, 11, 12]]
    for row, (parts, _) in zip(rows, log_probabilities(model, rows, [2, 1]), strict=True):
        shares = torch.log_softmax(model(torch.tensor([row]))[0].double(), -1)
        first = len(row) - len(parts)
        assert parts == pytest.approx([float(shares[i - 1, row[i]]) for i in range(first, len(row))], rel=1e-5)


@torch.inference_mode()
def test_single_continuations(opened: Opened) -> None:
    rows, first = [[5, 6, 7, 8, 9], [10, 11, 12], [3, 4]], [2, 1, 1]
    found = log_probabilities(opened.model, rows, first)
    for row, start, (parts, best) in zip(rows, first, found, strict=True):
        shares = torch.log_softmax(opened.model(torch.tensor([row]))[0].double(), -1)
        assert parts == pytest.approx([float(shares[i - 1, row[i]]) for i in range(start, len(row))], rel=1e-5)
        assert best == all(int(shares[i - 1].argmax()) == row[i] for i in range(start, len(row)))
    top = int(opened.model(torch.tensor([[5, 6]]))[0, -1].argmax())
    assert log_probabilities(opened.model, [[5, 6, top]], [2])[0][1]
    following = next_log_probabilities(opened.model, [[5, 6], [10]], [[7, 8], [11, 12]])
    assert following[0][0] == pytest.approx(found[0][0][0], rel=1e-5)
    assert following[1][0] == pytest.approx(found[1][0][0], rel=1e-5)


def test_a_folder_says_which_token_a_text_begins_with(opened: Opened, tmp_path: Path) -> None:
    import json
    import shutil

    from huohou.model.opening import open_for_use

    assert opened.begin_id() == opened.tokenizer.end_id
    for name, config, post, begins in (
        ("says", {"add_bos_token": True}, None, True),
        ("old", {"tokenizer_class": "LlamaTokenizer"}, None, True),
        ("qwen", {"tokenizer_class": "Qwen2Tokenizer"}, None, False),
        (
            "llama3",
            {},
            {
                "type": "Sequence",
                "processors": [{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]}],
            },
            True,
        ),
    ):
        folder = tmp_path / name
        shutil.copytree(opened.folder, folder)
        path = folder / "tokenizer_config.json"
        said = json.loads(path.read_text("utf-8"))
        said = {key: value for key, value in said.items() if key not in ("add_bos_token", "tokenizer_class")}
        path.write_text(json.dumps(said | config), encoding="utf-8")
        if post is not None:
            file = folder / "tokenizer.json"
            file.write_text(
                json.dumps(json.loads(file.read_text("utf-8")) | {"post_processor": post}), encoding="utf-8"
            )
        made = Opened(opened.model, opened.tokenizer, folder, folder, ())
        assert (made.begin_id() == opened.tokenizer.bos_id) is begins, name
    assert open_for_use(tmp_path / "says", device="cpu").begin_id() == opened.tokenizer.bos_id
