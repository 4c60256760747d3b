"""The same text in every format and encoding gives the same documents; hostile files give one clear sentence."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from huohou.data.documents import Documents
from huohou.data.files import find_sources
from huohou.data.formats import RecordFile
from huohou.data.lines import lines
from huohou.errors import UserError

POEMS = [
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "白日依山尽，黄河入海流。Yellow River, 1200 years ago.",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少？",
]


def jsonl(texts: list[str], field: str = "text") -> str:
    return "".join(json.dumps({"id": i, field: t}, ensure_ascii=False) + "\n" for i, t in enumerate(texts))


def table(delimiter: str) -> str:
    out = io.StringIO()
    rows = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    rows.writerows([["id", "text"], *([str(i), t] for i, t in enumerate(POEMS))])
    return out.getvalue()


FORMATS: dict[str, str] = {
    "a.txt": "\n".join(POEMS) + "\n",
    "no_end.txt": "\n".join(POEMS),
    "gaps.txt": "\n\n  \n".join(POEMS) + "\n\n",
    "crlf.txt": "\r\n".join(POEMS) + "\r\n",
    "a.jsonl": jsonl(POEMS),
    "gaps.jsonl": jsonl(POEMS).replace("\n", "\n\n"),
    "content.jsonl": jsonl(POEMS, "content"),
    "strings.jsonl": "".join(json.dumps(t) + "\n" for t in POEMS),
    "list_in.jsonl": json.dumps([{"text": t} for t in POEMS], ensure_ascii=False, indent=1),
    "a.json": json.dumps([{"text": t} for t in POEMS], ensure_ascii=False),
    "data.json": json.dumps({"version": 1, "data": [{"text": t} for t in POEMS], "end": {}}, ensure_ascii=False),
    "lines.json": jsonl(POEMS),
    "strings.json": json.dumps(POEMS, ensure_ascii=False),
    "a.csv": table(","),
    "a.tsv": table("\t"),
    "unnamed": "\n".join(POEMS),
    "unnamed_records": jsonl(POEMS),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_format_in_every_encoding_gives_the_same_documents(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_bytes(FORMATS[name].encode(encoding))
    documents = Documents(path)
    assert list(documents) == POEMS
    assert (documents.counts.read, documents.counts.used) == (3, 3)
    named = {"utf-8-sig": "UTF-8 with BOM", "utf-16": "UTF-16-LE with BOM"}.get(encoding, encoding.upper())
    if name != "strings.jsonl" or "16" in encoding or "sig" in encoding:
        assert documents.files[0].encoding == named
    explicit = Documents(path, encoding=encoding)
    assert list(explicit) == POEMS


def zstd(raw: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(raw)


@pytest.mark.parametrize(("end", "pack"), [(".gz", gzip.compress), (".zst", zstd)])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.csv"])
def test_compressed_files(tmp_path: Path, name: str, end: str, pack: Callable[[bytes], bytes]) -> None:
    raw = FORMATS[name].encode("gb18030")
    # Two members, as gzip and zstd files may have.
    path = tmp_path / (name + end)
    path.write_bytes(pack(raw[:40]) + pack(raw[40:]))
    documents = Documents(path)
    assert list(documents) == POEMS
    assert documents.files[0].compression == {".gz": "gzip", ".zst": "zstd"}[end]


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"n": [1, 2, 3, 4, 5], "content": [*POEMS, None, " "]}), path)
    documents = Documents(path, on_bad="skip", rejects=tmp_path / "rejects.jsonl")
    assert list(documents) == POEMS
    counts = documents.counts
    assert (counts.read, counts.used, counts.bad, counts.empty) == (5, 3, 1, 1)
    assert json.loads((tmp_path / "rejects.jsonl").read_text("utf-8"))["line"] == 4
    with pytest.raises(UserError, match=r"a\.parquet:4: field content holds null"):
        list(Documents(path))


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("line", ["甲", "乙", "丙\u2028丁\x0b戊"]),
        ("blank", ["甲\n乙", "丙\u2028丁\x0b戊"]),
        ("file", ["甲\n乙\n\n丙\u2028丁\x0b戊"]),
    ],
)
def test_split_of_text_files(tmp_path: Path, split: Any, expected: list[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("甲\r\n乙\r\n\r\n丙\u2028丁\x0b戊\r\n".encode())
    assert list(Documents(path, split=split)) == expected


@pytest.mark.parametrize(("split", "kept"), [("blank", ["丁"]), ("file", [])])
def test_a_bad_line_makes_its_whole_document_bad(tmp_path: Path, split: Any, kept: list[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("甲\n乙".encode() + b"\xff\n" + "丙\n\n丁\n".encode())
    with pytest.raises(UserError, match=r"a\.txt:2:2: byte 0xff is not valid UTF-8"):
        list(Documents(path, split=split))
    skipping = Documents(path, split=split, on_bad="skip")
    if kept:
        assert list(skipping) == kept
        assert (skipping.counts.read, skipping.counts.bad) == (2, 1)
    else:
        with pytest.raises(UserError, match="none of the 1 records"):
            list(skipping)


def test_folders_globs_and_counts(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.txt").write_text("hidden", "utf-8")
    (tmp_path / "readme.pdf").write_text("not data", "utf-8")
    (tmp_path / "a 中文 🙂.txt").write_text(POEMS[0], "utf-8")
    (tmp_path / "b" / "deep" / "z.jsonl").write_text(jsonl(POEMS[1:2]), "utf-8")
    (tmp_path / "c.txt").write_text(POEMS[2] + "\n", "utf-8")
    assert list(Documents(tmp_path)) == POEMS
    assert list(Documents(f"{tmp_path}#2")) == POEMS[:2]
    assert list(Documents(str(tmp_path / "*.txt"))) == [POEMS[0], POEMS[2]]
    assert list(Documents(str(tmp_path / "**" / "*.jsonl"))) == [POEMS[1]]
    assert [path.name for path in find_sources(tmp_path)[0].ignored] == ["readme.pdf"]
    (tmp_path / "c.txt#1").write_text("name with a sign", "utf-8")
    assert list(Documents(str(tmp_path / "c.txt#1"))) == ["name with a sign"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [("none.txt", "no such file"), ("*.nothing", "no file matches"), ("empty", "holds no data file"), ("c#0", "no record"),
     ("x" * 300, "no such file"), ("", "no data file is named")],
)  # fmt: skip
def test_sources_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(UserError, match=says):
        Documents(spec)


LINE = '{"text": "好"}\n'
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "broken json": ("a.jsonl", (LINE + '{"text": "坏\n' + LINE).encode(), r"a\.jsonl:2:10: not valid JSON"),
    "cut last line": ("a.jsonl", (LINE + '{"text": "好').encode(), r"a\.jsonl:2:\d+: not valid JSON"),
    "lone bracket": ("a.jsonl", (LINE + "]\n").encode(), r"a\.jsonl:2:1: not valid JSON"),
    "null": ("a.jsonl", (LINE + '{"text": null}').encode(), r"a\.jsonl:2: field text holds null"),
    "list": ("a.jsonl", (LINE + '{"text": ["a"]}').encode(), r"a\.jsonl:2: field text holds a list"),
    "number": ("a.jsonl", (LINE + "3").encode(), r"a\.jsonl:2: the record is a number"),
    "no field": ("a.jsonl", (LINE + '{"id": 3}').encode(), r"a\.jsonl:2: no field text \(fields: id\)"),
    "surrogate": ("a.jsonl", (LINE + '{"text": "ab\\ud800"}').encode(), r"a\.jsonl:2: half a character \(U\+D800\)"),
    "bad byte": (
        "a.jsonl",
        LINE.encode() * 5 + b'{"text": "a\xb5b"}\n',
        r"a\.jsonl:6:12: byte 0xb5 is not valid UTF-8",
    ),
    "deep": ("a.jsonl", (LINE + "[" * 100_000).encode(), r"a\.jsonl:2.*JSON"),
    "long integer": ("a.jsonl", (LINE + "9" * 5000).encode(), r"a\.jsonl:2: not usable JSON"),
    "columns": ("a.csv", b"text,n\na,1\nb\n", r"a\.csv:3: 1 columns where the header has 2"),
    "open quote": ("a.csv", b'text\na\n"b\n', r"a\.csv:3: not a valid row"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_bad_record_is_named_and_counted(tmp_path: Path, case: str) -> None:
    name, raw, says = HOSTILE[case]
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(UserError, match=says) as caught:
        list(Documents(path))
    assert "\n" not in str(caught.value)
    rejects = tmp_path / "rejects" / "bad.jsonl"
    skipping = Documents(path, on_bad="skip", rejects=rejects)
    used = list(skipping)
    counts = skipping.counts
    assert (counts.used, counts.bad) == (len(used), 1)
    assert counts.read == counts.used + counts.skipped == len(used) + 1
    written = [json.loads(line) for line in rejects.read_text("utf-8").splitlines()]
    assert [set(entry) for entry in written] == [{"file", "line", "column", "reason", "text"}]
    assert f"{name}:{written[0]['line']}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("a.txt", b"", "is empty"),
        ("a.jsonl", b"\n\n", "is empty"),
        ("a.json", b"[]", "is empty"),
        ("a.json", b"", "is empty"),
        ("a.txt.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.csv", b"text\n", "is empty"),
        ("a.jsonl", b'{"text": " "}', "no document in it"),
        ("a.json", '[{"text": "好"}, {"text"'.encode(), r"a\.json:1:\d+: not valid JSON"),
        ("a.json", '[{"text": "好"}\n{"text": "好"}]'.encode(), r"a\.json:2:1: not valid JSON"),
        ("a.json", b'["a"] 2', "Extra data"),
        ("a.json", b"3", "not valid JSON"),
        ("a.txt.gz", gzip.compress(b"some text" * 9, mtime=0)[:-12], "damaged or cut off"),
        ("a.txt.gz", b"plain", "but the content is not"),
        ("a.txt.zst", b"\x28\xb5\x2f\xfd\x00", "damaged"),
        ("a.txt.zst", zstd(b"some text\n" * 99)[:-6], "damaged or cut off"),
        ("a.parquet", b"PAR1 not parquet", "damaged"),
        ("a.txt", b"PK\x03\x04 ...", "not text"),
        ("a.txt", bytes(range(128, 256)) * 9 + b"\0\0\0\0\0", "not text in UTF-8"),
    ],
)
def test_files_that_cannot_be_used_at_all(tmp_path: Path, name: str, raw: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    for on_bad in ("stop", "skip"):
        with pytest.raises(UserError, match=says) as caught:
            list(Documents(path, on_bad=on_bad))  # pyright: ignore[reportArgumentType]
        assert name in str(caught.value)


def test_unknown_encodings_and_wrong_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("好\n日子\n".encode("gb18030"))
    for name in ("utf-9", "hex"):
        with pytest.raises(UserError, match=f"encoding: {name} is not known"):
            list(Documents(path, encoding=name))
    with pytest.raises(UserError, match=r"a\.txt:1:1: byte 0xba is not valid UTF-8"):
        list(Documents(path, encoding="utf-8"))
    path.write_bytes("好\n日".encode("utf-16-le") + b"\x00\xd8x")
    with pytest.raises(UserError, match=r"a\.txt:2: the bytes here are not valid UTF-16"):
        list(Documents(path, encoding="utf-16"))


def test_utf8_with_a_broken_byte_is_not_taken_for_gb18030(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes((POEMS[0] + "\n").encode() + POEMS[2].encode()[:-1] + b"\n")
    skipping = Documents(path, on_bad="skip")
    assert list(skipping) == POEMS[:1]
    assert skipping.files[0].encoding == "UTF-8"
    # And Big5, which GB18030 would also decode in part, is told from it.
    traditional = "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。"
    for codec in ("big5", "gb18030", "utf-8"):
        path.write_bytes(traditional.encode(codec))
        assert list(Documents(path)) == [traditional]


def test_the_violation_after_the_sample_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    good = POEMS[0] + "\n"
    count = (3 << 20) // len(good.encode())
    path.write_bytes(good.encode() * count + b"\xff\n")
    with pytest.raises(UserError, match=rf"a\.txt:{count + 1}:1: byte 0xff"):
        list(Documents(path))
    # A first non-ASCII character far behind the first block still decides.
    path.write_bytes(b"ascii only\n" * 250_000 + "汉字在后面\n".encode("gb18030"))
    assert list(Documents(path))[-1] == "汉字在后面"


def test_lines_over_the_limit_are_read_past() -> None:
    from huohou.data.encoding import Encoding

    raw = b"ab\n" + b"x" * 5000 + b"\ncd\r\n" + b"e" * 100 + b"\n" + b"f" * 101
    for name in ("utf-8", "utf-16-le"):
        found = list(lines(io.BytesIO(raw.decode().encode(name)), Encoding(name), "here", limit=100))
        assert [line.number for line in found] == [1, 2, 3, 4, 5]
        assert [line.text for line in found if line.problem is None] == ["ab", "cd", "e" * 100]
        assert [line.number for line in found if line.problem is not None] == [2, 5]


def test_json_values_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    texts = ["字" * size for size in (1, 70_000, 5, 200_000, 65_530, 3)] + [f"n{i}" for i in range(9000)]
    path.write_text(json.dumps([{"text": t, "n": 123456789} for t in texts], ensure_ascii=False, indent=1), "utf-8")
    found = list(RecordFile(path))
    assert [record.value["text"] for record in found] == texts
    whole = path.read_text("utf-8").split("\n")
    assert all(whole[record.line - 1].strip() == "{" for record in found)
    assert {record.value["n"] for record in found} == {123456789}
    path.write_text("[" + ",".join(["12345"] * 40_000) + "]", "utf-8")
    assert {record.value for record in RecordFile(path)} == {12345}
    path.write_text(json.dumps([{"text": "x" * 200_000}]), "utf-8")
    with pytest.raises(UserError, match="longer than"):
        list(RecordFile(path, limit=1000))


def test_a_pass_can_be_repeated_and_keys_follow_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("甲\n乙\n", "utf-8")
    documents = Documents(path)
    assert list(documents) == list(documents) == ["甲", "乙"]
    assert documents.counts.read == 2
    before = documents.quick_key()
    assert before == Documents(path).quick_key() != Documents(path, split="file").quick_key()
    path.write_text("甲\n丙\n丁", "utf-8")
    assert documents.quick_key() != before


def test_names_in_a_locale_without_characters(tmp_path: Path) -> None:
    folder = tmp_path / "目录 🙂"
    folder.mkdir()
    (folder / "数据.jsonl").write_bytes((jsonl(POEMS) + '{"id": 3}\n').encode())
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from huohou.data.documents import Documents\n"
        "documents = Documents(sys.argv[1], on_bad='skip', rejects=Path(sys.argv[1], 'rejects'))\n"
        "assert len(list(documents)) == 3\n"
        "facts = json.dumps([one.to_plain() for one in documents.files], ensure_ascii=False)\n"
        "sys.stdout.buffer.write(facts.encode())\n"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout.decode())[0]["path"].endswith("目录 🙂/数据.jsonl")
    assert json.loads((folder / "rejects").read_text("utf-8"))["file"].endswith("目录 🙂/数据.jsonl")
