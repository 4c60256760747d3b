"""The token cache: found again when nothing changed, made again when something did, never trusted when damaged."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from huohou.data import cache as cache_module
from huohou.data.cache import find_cache, token_cache
from huohou.data.corpus import Generated, HeldOut, held_out_share
from huohou.data.documents import Documents
from huohou.data.sampling import exact_corpus, measure_corpus
from huohou.data.token_cache import open_cache
from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import UserError

TEXTS = [f"第{i}篇：小明有{i}本书，小红有{i * i}支笔。\n他们说：“{'好' * (i % 7)}”" for i in range(400)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 300)


def write(path: Path, texts: Iterable[str] = TEXTS, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts).encode(encoding))
    return path


def test_a_cache_holds_the_documents(tokenizer: Tokenizer, tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    documents = Documents(write(tmp_path / "a.jsonl"))
    made = token_cache(documents, tokenizer, tmp_path / "cache", progress=lambda *done: calls.append(done))
    assert made.tokens.dtype == np.uint16 and made.documents == len(TEXTS) == len(made.ends)
    start = 0
    for text, end in zip(TEXTS, made.ends, strict=True):
        assert made.tokens[end - 1] == tokenizer.eos_id
        assert tokenizer.decode(made.tokens[start : end - 1].tolist()) == text
        start = int(end)
    assert start == len(made)
    assert made.characters == sum(map(len, TEXTS))
    assert made.bytes == sum(len(t.encode()) for t in TEXTS) == made.token_bytes[made.tokens].sum()
    assert made.bytes_per_token == made.bytes / len(made)
    assert made.counts == {"read": 400, "used": 400, "bad": 0, "empty": 0}
    assert calls[-1] == (documents.size, documents.size)


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    class Large:
        fingerprint, vocab_size, end_id = "x", 70_000, 69_999

        def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
            return [np.array([65_536, 1], np.int32) for _ in texts]

        def token_bytes(self) -> np.ndarray:
            return np.ones(70_000, np.int32)

    made = token_cache(["a"], Large(), tmp_path)  # pyright: ignore[reportArgumentType]
    assert made.tokens.tolist() == [65_536, 1, 69_999] and made.tokens.dtype == np.uint32


def test_unchanged_files_are_not_read_again(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = write(tmp_path / "a.jsonl"), tmp_path / "cache"
    assert find_cache(Documents(path), tokenizer, folder) is None
    made = token_cache(Documents(path), tokenizer, folder)
    monkeypatch.setattr(Documents, "__iter__", lambda self: pytest.fail("the files were read again"))
    assert token_cache(Documents(path), tokenizer, folder).key == made.key
    found = find_cache(Documents(path), tokenizer, folder)
    assert found is not None and found.key == made.key
    assert find_cache(Documents(path), train_tokenizer(TEXTS, 290), folder) is None


def test_the_same_documents_have_one_key(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    key = token_cache(Documents(write(tmp_path / "a.jsonl")), tokenizer, folder).key
    monkeypatch.setattr(cache_module, "_make", lambda *_: pytest.fail("the same documents were tokenised again"))
    packed = tmp_path / "c.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    for start in range(0, 400, 100):
        write(tmp_path / "parts" / f"{start:03}.jsonl", TEXTS[start : start + 100])
    (tmp_path / "f.json").write_text(json.dumps({"data": TEXTS}), "utf-8")
    os.utime(tmp_path / "a.jsonl")
    for documents in (
        Documents(write(tmp_path / "b.jsonl", encoding="utf-8-sig")),
        Documents(write(tmp_path / "d.jsonl", encoding="gb18030")),
        Documents(write(tmp_path / "e.jsonl", encoding="utf-16")),
        Documents(packed),
        Documents(tmp_path / "parts"),
        Documents(tmp_path / "f.json"),
        Documents(tmp_path / "a.jsonl"),
    ):
        assert token_cache(documents, tokenizer, folder).key == key


def test_what_changes_the_tokens_changes_the_key(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    keys = {token_cache(Documents(write(tmp_path / "a.jsonl")), tokenizer, folder).key}
    # Of the same size, and of the same time: the text decides.
    changed = write(tmp_path / "b.jsonl", [*TEXTS[:-1], TEXTS[-1].replace("小明", "小刚")])
    keys.add(token_cache(Documents(changed), tokenizer, folder).key)
    keys.add(token_cache(Documents(write(tmp_path / "c.jsonl", TEXTS[::-1])), tokenizer, folder).key)
    joined = [TEXTS[0] + TEXTS[1], *TEXTS[2:]]
    keys.add(token_cache(Documents(write(tmp_path / "d.jsonl", joined)), tokenizer, folder).key)
    keys.add(token_cache(Documents(tmp_path / "a.jsonl"), train_tokenizer(TEXTS, 290), folder).key)
    assert len(keys) == 5


@pytest.mark.parametrize("name", ["tokens.bin", "ends.bin", "token_bytes.bin", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_seen_and_mended(tokenizer: Tokenizer, tmp_path: Path, name: str, damage: str) -> None:
    documents = Documents(write(tmp_path / "a.jsonl"))
    folder = tmp_path / "cache"
    made = token_cache(documents, tokenizer, folder)
    before = made.tokens.tolist()
    file = made.path / name
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(raw if damage == "flip" else raw[:-2])
    if name != "manifest.json" or damage != "flip":
        with pytest.raises(UserError, match="damaged"):
            open_cache(made.path)
    assert find_cache(documents, tokenizer, folder) is None or (name, damage) == ("manifest.json", "flip")
    again = token_cache(documents, tokenizer, folder)
    assert again.key == made.key and again.tokens.tolist() == before
    assert sorted(path.name for path in folder.iterdir()) == sorted([made.key, "index"])


def test_two_runs_make_one_cache(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder, found = tmp_path / "cache", list[tuple[str, int]]()
    gate = threading.Barrier(4)

    def corpus() -> Iterator[str]:
        yield from TEXTS
        gate.wait(timeout=60)

    def one() -> None:
        made = token_cache(corpus(), tokenizer, folder)
        found.append((made.key, made.path.stat().st_ino))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert [path.name for path in folder.iterdir()] == [found[0][0]]


def test_a_failed_pass_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl")
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"text": 3}\n')
    with pytest.raises(UserError, match=r"a\.jsonl:401: field text holds a number"):
        token_cache(Documents(path), tokenizer, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    rejects = tmp_path / "rejects.jsonl"
    made = token_cache(Documents(path, on_bad="skip", rejects=rejects), tokenizer, tmp_path / "cache")
    assert made.counts == {"read": 401, "used": 400, "bad": 1, "empty": 0}
    assert len(rejects.read_text("utf-8").splitlines()) == 1


def test_no_space_and_no_permission(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = Documents(write(tmp_path / "a.jsonl"))
    folder = tmp_path / "cache"
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UserError, match="cannot be written here"):
        token_cache(documents, tokenizer, tmp_path / "file" / "cache")
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(UserError, match=r"needs about .* GB, and 1e-06 GB are free"):
            token_cache(documents, tokenizer, folder)
    with monkeypatch.context() as patched:

        def full(self: object, values: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(cache_module.HashedFile, "write", full)
        with pytest.raises(UserError, match="the disk is full"):
            token_cache(documents, tokenizer, folder)
    assert list(folder.iterdir()) == []


def test_old_left_overs_are_removed(tokenizer: Tokenizer, tmp_path: Path) -> None:
    old, new = tmp_path / ".making-old", tmp_path / ".making-new"
    for folder in (old, new):
        folder.mkdir()
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    token_cache(TEXTS, tokenizer, tmp_path)
    assert not old.exists() and new.exists()


@given(st.permutations(range(40)), st.floats(0.05, 0.95))
def test_a_document_keeps_its_side(order: list[int], share: float) -> None:
    texts = TEXTS[:40]
    sides: dict[str, list[str]] = {}
    both: tuple[Literal["train"], Literal["validation"]] = ("train", "validation")
    for side in both:
        try:
            sides[side] = list(HeldOut(Generated(lambda: texts, "a", 1), share, side))
        except UserError:
            sides[side] = []
        try:
            moved = list(HeldOut(Generated(lambda: [texts[i] for i in order], "b", 1), share, side))
        except UserError:
            moved = []
        assert sorted(moved) == sorted(sides[side])
    assert sorted(sides["train"] + sides["validation"]) == sorted(texts)


def test_held_out_shares() -> None:
    assert [held_out_share(text) for text in ("1%", " 2.5 ％", "val.jsonl", "0.01")] == [0.01, 0.025, None, None]
    for text in ("0%", "100%"):
        with pytest.raises(UserError, match="validation"):
            held_out_share(text)
    kept = list(HeldOut(Generated(lambda: TEXTS, "", 1), 0.1, "validation"))
    assert 20 <= len(kept) <= 60
    with pytest.raises(UserError, match="leaves no document for validation"):
        list(HeldOut(Generated(lambda: TEXTS[:1], "", 1), 1e-9, "validation"))
    whole = Generated(lambda: TEXTS, "", 1)
    kinds = HeldOut(whole, 0.1), HeldOut(whole, 0.1, "validation"), HeldOut(whole, 0.2)
    keys = {kind.quick_key() for kind in kinds}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("name", "known"),
    [(name, True) for name in ("a.jsonl", "a.jsonl.gz", "a.json", "a.txt", "folder", "limit", "generated", "held")]
    + [(name, False) for name in ("a.jsonl", "limit", "generated")],
)
def test_estimates_hold_the_truth(tokenizer: Tokenizer, tmp_path: Path, name: str, known: bool) -> None:
    chance = random.Random(1)
    words = ["".join(chance.choices("春夏秋冬风花雪月山水天地人心日夜东南西北，。", k=2 + i % 2)) for i in range(300)]
    weights = [1 / (i + 1) for i in range(300)]
    texts = ["".join(chance.choices(words, weights, k=chance.randrange(3, 30))) for _ in range(5000)]
    lines = "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts)
    source: Documents | HeldOut | Generated
    if name == "generated":
        source = Generated(lambda: texts, "", sum(map(len, texts)))
    elif name == "folder":
        for number in range(50):
            write(tmp_path / "f" / f"{number}.jsonl", texts[number * 100 : (number + 1) * 100])
        source = Documents(tmp_path / "f")
    else:
        path = tmp_path / (name if "." in name else "x.jsonl")
        raw = {
            "a.json": json.dumps([{"text": t} for t in texts]),
            "a.txt": "\n".join(t.replace("\n", " ") for t in texts),
        }
        data = raw.get(name, lines).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        source = Documents(f"{path}#2000" if name == "limit" else path)
        if name == "held":
            source = HeldOut(source, 0.25, "validation")
    if not known:
        tokenizer = train_tokenizer(source, 400)
    exact = exact_corpus(token_cache(source, tokenizer, tmp_path / "cache"))
    assert exact.exact and exact.low == exact.tokens == exact.high
    found = measure_corpus(source, tokenizer if known else None, vocab_size=400, budget=20_000)
    assert not found.exact
    assert found.low <= exact.tokens <= found.high
    assert found.high - found.low <= 0.5 * exact.tokens
    assert found.documents == pytest.approx(exact.documents, rel=0.1)
    assert found.characters == pytest.approx(exact.characters, rel=0.1)
    assert found.bytes == pytest.approx(exact.bytes, rel=0.1)
