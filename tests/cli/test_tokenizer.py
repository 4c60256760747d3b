"""``huohou tokenizer extend`` and ``measure`` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from huohou.cli.main import main
from huohou.data.embedded import documents
from huohou.data.tokenizer_training import train_tokenizer
from huohou.language import choose_language

ENGLISH = ["the quick brown fox jumps over the lazy dog, and so do we; " * 3] * 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    lines = (json.dumps({"text": text}, ensure_ascii=False) for text in documents(1, characters=40_000))
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    train_tokenizer(ENGLISH, 300).save(folder)
    return folder


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["tokenizer", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def as_json(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    status, out, err = call(capsys, *words, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


@pytest.mark.heavy
def test_pieces_learned_from_a_text(
    base: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    report = as_json(capsys, "extend", base, "--train", corpus, "--vocab-size", 1000, "--output", new)
    assert (report["base_size"], report["vocab_size"], report["measured_on"]) == (300, 1000, "left_out")
    assert report["added"] == 700 and report["pad_added"] is None and report["changed"] == 0
    assert report["after"]["characters_per_token"] > 2.5 * report["before"]["characters_per_token"]
    assert (report["reach"]["of_added"], report["reach"]["of_base"]) == (0, 0)
    measured = as_json(capsys, "measure", new, corpus, "--base", base)
    assert measured["fingerprint"] == report["fingerprint"] and measured["base"]["changed"] == 0
    assert measured["reach"]["pathless"] == measured["reach"]["shadowed"] == 0 and not measured["disagree"]
    assert "base" not in as_json(capsys, "measure", new, corpus)


@pytest.mark.heavy
def test_pieces_of_another_tokenizer(
    base: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tokenizer(documents(0, characters=40_000), 800).save(tmp_path / "source")
    given = ("extend", base, "--add", tmp_path / "source", "--multiple-of", 8)
    status, out, _ = call(capsys, *given, "--output", tmp_path / "a", "--held-out", corpus)
    assert status == 0
    for said in ("tokens = 300 old + ", "unreachable, left out: 0", "measured on: held-out texts: ",
                 "0 have other ids", "(0 unreachable, 0 shadowed by others)", "written: tokenizer.json"):  # fmt: skip
        assert said in out, said
    choose_language("zh")
    status, out, _ = call(capsys, *given, "--complete", "--output", tmp_path / "b")
    assert status == 0 and "测量文本: 内置语料" in out and "无法到达而舍去：0" in out and "其中编号改变的 0" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--train", "{corpus}"), "--train needs --vocab-size"),
        (("--train", "{corpus}", "--vocab-size", "300"), "the base has 300 tokens already"),
        (("--train", "{corpus}", "--vocab-size", "900000"), "the largest reachable is"),
        (("--add", "{base}"), "none of the 38 pieces can be added"),
        (("--add", "{base}", "--multiple-of", "0"), "must be a whole number from 1"),
        (("--add", "nowhere.model"), "nowhere.model does not exist"),
        (("--add", "{corpus}"), "is not a tokenizer.json"),
    ],
    ids=["no size", "too small", "too large", "nothing new", "multiple of 0", "no file", "no tokenizer"],
)
def test_mistakes_are_one_sentence(
    base: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    given = [word.format(corpus=corpus, base=base) for word in words]
    status, out, err = call(capsys, "extend", base, *given, "--output", tmp_path / "new")
    assert (status, out) == (2, "") and says in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_what_is_there_is_not_written_over(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = call(capsys, "extend", base, "--add", base, "--output", base)
    assert status == 2 and "it exists and is not an empty folder" in err


def test_pieces_that_never_occur_are_named(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Score 0 for every added piece, as phase one's merge had it; and settings that disagree about padding."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
        sentence_iterator=iter([*ENGLISH, "春天花"]), model_prefix=str(tmp_path / "m"), minloglevel=9, num_threads=1,
        vocab_size=330, model_type="bpe", byte_fallback=True, character_coverage=1.0,
    )  # fmt: skip
    library: Any = sentencepiece_model_pb2
    proto = library.ModelProto.FromString((tmp_path / "m.model").read_bytes())
    for piece in ("春天", "天花", "春天花天", "花春天花"):
        proto.pieces.add(piece=piece, score=0.0, type=1)
    folder = tmp_path / "zero"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(proto.SerializeToString())
    (folder / "tokenizer_config.json").write_text('{"pad_token": null}', "utf-8")
    (folder / "special_tokens_map.json").write_text('{"pad_token": "<pad>"}', "utf-8")
    status, out, _ = call(capsys, "measure", folder, corpus, "--base", tmp_path / "m.model")
    assert status == 0
    assert "pieces that no text is encoded as: 2 of 75 (2 unreachable, 0 shadowed by others; 2 of them added" in out
    assert "春天花天、花春天花" in out
    assert "pad_token: tokenizer_config.json says None, special_tokens_map.json '<pad>'" in out
