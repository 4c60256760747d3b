"""Files that are no tokenizer, or one that would harm, end in one sentence."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_checked import LARGEST
from huohou.data.tokenizer_parts import read_parts
from huohou.data.tokenizer_pieces import pieces_of
from huohou.data.tokenizer_shadowed import reach_of
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import UserError

TEXTS = ["春天夏天 hello world 12" * 3] * 50


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    train_tokenizer(TEXTS, 285).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import sentencepiece

    prefix = tmp_path_factory.mktemp("model") / "m"
    sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
        sentence_iterator=iter(TEXTS), model_prefix=str(prefix), minloglevel=9, num_threads=1, vocab_size=290,
        model_type="bpe", byte_fallback=True,
    )  # fmt: skip
    return prefix.with_suffix(".model")


def everything(path: Path) -> None:
    """Whatever is done with a tokenizer's file."""
    tokenizer = Tokenizer.load(path)
    tokenizer.decode(tokenizer.encode("春天 hello\n"))
    tokenizer.token_bytes()
    reach_of(path)
    pieces_of(path)
    read_parts(path)


def changed(good: Path, **changes: Any) -> dict[str, Any]:
    plain = json.loads((good / "tokenizer.json").read_text("utf-8"))
    plain["model"] |= changes
    return plain


MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "a vocabulary of the wrong type": ({"vocab": "abc"}, "model.vocab should be an object"),
    "ids that are words": ({"vocab": {"a": "b"}}, "an id of its own"),
    "two tokens with one id": ({"vocab": {"a": 1, "b": 1}}, "an id of its own"),
    "an id that fills the memory": ({"vocab": {"a": 0, "b": 4_000_000_000}}, "the id 4000000000 is impossible"),
    "an id below zero": ({"vocab": {"a": -1}}, "the id -1 is impossible"),
    "merges of the wrong type": ({"merges": [[1, 2]]}, "model.merges should be a list of pairs"),
    "a merge of nothing": ({"merges": [["春", "龘"]]}, "the merge of '春' and '龘' is not of its tokens"),
    "a prefix longer than a token": ({"continuing_subword_prefix": "###"}, "is not of its tokens"),
    "an unknown kind": ({"type": "Magic", "merges": []}, "is not a tokenizer.json"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_be(good: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    changes, says = MODELS[name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed(good, **changes)), "utf-8")
    with pytest.raises(UserError, match=says):
        everything(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "is not a tokenizer.json"),
        (b"[" * 200_000, "is not a tokenizer.json"),
        (b"[1]", "should be a JSON object"),
        (b'{"model": 3}', "has no model"),
        (b'{"model": {"vocab": {}}, "added_tokens": [{"id": "0"}]}', "added_tokens should be objects"),
        (b'{"model": {"vocab": {}}, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AA"}}', "damaged"),
    ],
    ids=["empty", "deep", "list", "no model", "added tokens", "table"],
)
def test_json_that_is_no_tokenizer(tmp_path: Path, raw: bytes, says: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(raw)
    with pytest.raises(UserError, match=says):
        everything(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_a_hundred_megabytes(tmp_path: Path, name: str) -> None:
    with open(tmp_path / name, "wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(UserError, match=r"has 95 MiB; no tokenizer needs more than 64"):
        everything(tmp_path)
    assert LARGEST == 64 * 2**20


@pytest.mark.parametrize("raw", [b"", b"\x00" * 50, b"version https://git-lfs\n", b"\x1f\x8b\x08"], ids=len)
def test_a_model_that_is_no_protobuf(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.model").write_bytes(raw)
    for use in (everything, pieces_of, read_parts, reach_of):
        with pytest.raises(UserError, match="is not a SentencePiece model"):
            use(tmp_path / "x.model")


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_never_do_more_than_be_refused(good: Path, model: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for path in (good / "tokenizer.json", model):
        raw = bytearray(path.read_bytes())
        for _ in range(chance.choice((1, 3))):
            place = chance.randrange(len(raw))
            raw[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        damaged = tmp_path / path.name
        damaged.write_bytes(raw)
        try:
            everything(damaged)
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("seed", range(60))
def test_values_of_the_wrong_kind_never_do_more_than_be_refused(
    good: Path, tmp_path: Path, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    plain = copy.deepcopy(json.loads((good / "tokenizer.json").read_text("utf-8")))
    place: Any = plain
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or chance.random() < 0.2:
            break
        place = place[key]
    place[key] = chance.choice([None, True, -1, 2**40, 1.5, "", "(((", [], {}, [None], {"type": "Replace"}])
    (tmp_path / "tokenizer.json").write_text(json.dumps(plain), "utf-8")
    try:
        everything(tmp_path)
    except UserError as error:
        assert "\n" not in str(error)
    assert capfd.readouterr().err == ""
