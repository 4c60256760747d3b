"""``huohou data`` and ``huohou tokenizer`` as a person types them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType

import pytest

from huohou.cli import data, tokenizer
from huohou.errors import UserError
from huohou.language import choose_language


def call(verb: ModuleType, *words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    verb.arguments(parser)
    return verb.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    assert call(data, "embedded", "--characters", "2万", "--seed", "3", "--output", path) == 0
    return path


def test_check(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call(data, "check", corpus) == 0
    assert "jsonl, UTF-8, text in text" in capsys.readouterr().out
    with open(corpus, "a", encoding="utf-8") as file:
        file.write('{"text": null}\n{"text": ""}\n')
    rejects = tmp_path / "bad.jsonl"
    assert call(data, "check", corpus, "--json", "--rejects", rejects) == 1
    plain = json.loads(capsys.readouterr().out)
    assert plain["read"] == plain["used"] + plain["bad"] + plain["empty"]
    assert (plain["bad"], plain["empty"], len(plain["problems"])) == (1, 1, 1)
    assert len(rejects.read_text("utf-8").splitlines()) == 1
    choose_language("zh")
    assert call(data, "check", corpus) == 1
    assert "1 坏 + 1 空" in capsys.readouterr().out


def test_check_shows_what_is_wrong_where_nothing_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n' * 50, "utf-8")
    assert call(data, "check", path) == 1
    out = capsys.readouterr().out
    assert "50 records = 0 used + 50 bad + 0 empty" in out and "(fields: id)" in out and "and 30 more" in out


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("红色\x1b[31m\n乙\n丙\n", "utf-8")
    assert call(data, "show", path, "-n", "2") == 0
    out = capsys.readouterr().out
    assert "红色\\x1b[31m" in out and "乙" in out and "丙" not in out


def test_embedded_as_text(tmp_path: Path, corpus: Path) -> None:
    path = tmp_path / "a.txt"
    assert call(data, "embedded", "--characters", "20k", "--seed", "3", "--output", path) == 0
    from huohou.data.documents import Documents

    assert list(Documents(path, split="blank")) == list(Documents(corpus))
    with pytest.raises(UserError, match=r"must end in \.txt or \.jsonl"):
        call(data, "embedded", "--characters", "2k", "--output", tmp_path / "a.doc")


def test_train_and_measure(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tokenizer"
    capsys.readouterr()
    assert call(tokenizer, "train", corpus, "--vocab-size", "600", "--output", folder, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["vocab_size"] == 600 and made["round_trip"] == 1 and made["lost"] == []
    assert call(tokenizer, "measure", folder, corpus, "--json") == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["fingerprint"] == made["fingerprint"] and measured["tokens"] == made["tokens"]
    assert call(tokenizer, "measure", folder, corpus) == 0
    assert "hostile texts that come back exactly: 13/13" in capsys.readouterr().out
    with pytest.raises(UserError, match="is not an empty folder"):
        call(tokenizer, "train", corpus, "--vocab-size", "600", "--output", folder)
