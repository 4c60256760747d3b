"""What a person is told about a wrong run file: one sentence, with its place, in both languages."""

from __future__ import annotations

import codecs
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from huohou.config import RunConfig, load, load_run
from huohou.config.load import LARGEST_FILE
from huohou.errors import UserError

TABLE: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "wrong_files.yaml").read_text(encoding="utf-8"))
RIGHT = "data: {embedded: {}}\nschedule: {peak: 3e-4}\n"


def sentence(text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        RunConfig.from_text(text, name="run.yaml", overrides=overrides)
    return caught.value.text.en


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])
def test_each_wrong_file_has_its_sentence(row: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        RunConfig.from_text(row["file"], name="run.yaml")
    assert caught.value.text.plain() == {"en": row["en"], "zh": row["zh"]}


def test_the_table_is_long_and_each_sentence_is_one_line_in_its_language() -> None:
    assert len(TABLE) >= 40
    for row in TABLE:
        assert "\n" not in row["en"] + row["zh"]
        assert row["en"][-1] in ".?" and row["zh"][-1] in "。？", row["name"]
        assert any("一" <= character <= "鿿" for character in row["zh"]), row["name"]


def test_the_first_mistake_is_told_and_at_most_four_more_are_named() -> None:
    text = RIGHT + "".join(f"{key}: 1\n" for key in ("aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff"))
    said = sentence(text)
    assert said.startswith("run.yaml:3:1: there is no key aaaa;")
    assert said.endswith("(and 5 more: bbbb (line 4), cccc (line 5), dddd (line 6), eeee (line 7), …).")


def test_a_missing_value_is_not_told_beside_the_misspelt_one_that_caused_it() -> None:
    assert "missing" not in sentence("data: {embedded: {}}\nschedule: {peek: 3e-4}\n")


def test_a_key_that_was_merged_in_is_reported_where_it_was_written() -> None:
    said = sentence("data: {embedded: {}}\nschedule: &x\n  peak: 3e-4\ntrain: {<<: *x}\n")
    assert said == "run.yaml:3:3: there is no key train.peak; peak belongs in the section schedule."


def test_an_override_is_named_by_its_own_text() -> None:
    assert sentence(RIGHT, "train.updates=1.5").startswith("--set train.updates=1.5: train.updates is 1.5, but it must")
    assert sentence(RIGHT, "train.update=1") == (
        "--set train.update=1: there is no key train.update; did you mean updates?"
    )
    assert sentence(RIGHT, "train.updates") == (
        "--set train.updates: an override is of the form key=value, such as train.updates=100."
    )
    assert sentence(RIGHT, "optimizer.betas=[0.9").startswith("--set optimizer.betas=[0.9:1:1: the [ that opens here")


def test_an_override_that_disagrees_with_the_file_in_a_derived_number_names_both() -> None:
    said = sentence(RIGHT + "batch:\n  micro_batch: 4\n  accumulation: 2\n", "batch.size=32")
    assert said.startswith(
        "--set batch.size=32: batch.size is 32, but micro_batch × accumulation × gpus is 4 × 2 × 1 = 8"
    )
    assert said.endswith("(see also run.yaml:5:17).")


def test_plain_data_has_no_lines_but_names_the_key() -> None:
    with pytest.raises(UserError, match=r"^run: train\.updates is 0, but it must be a whole number from 1 up"):
        RunConfig.from_plain({"data": {"embedded": {}}, "schedule": {"peak": 1}, "train": {"updates": 0}})


# Files.


def write(folder: Path, data: bytes, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_byte_order_mark_is_fine(tmp_path: Path) -> None:
    path = write(tmp_path, codecs.BOM_UTF8 + RIGHT.encode())
    assert load_run(path).source == RIGHT


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("name: 火候演示\n".encode("gb18030"), "is encoded as GB18030 (GBK); save it as UTF-8."),
        (RIGHT.encode("utf-16"), "is encoded as UTF-16; save it as UTF-8."),
        (RIGHT.encode("utf-16-le"), "is encoded as UTF-16; save it as UTF-8."),
        (RIGHT.encode("utf-32"), "is encoded as UTF-32; save it as UTF-8."),
        (b"name: a\nseed: \xff\xff\xff\n", ":2: the byte 0xff is not UTF-8; save the file as UTF-8."),
        (b"x" * (LARGEST_FILE + 1), "is larger than 128 KiB, so it is no run file; give the YAML file of the run."),
    ],
)
def test_another_encoding_or_a_huge_file_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(UserError) as caught:
        load_run(path)
    assert caught.value.text.en in (f"{path} {said}", f"{path}{said}")


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, b"", "demo.yaml")
    write(tmp_path, b"", "songci.yaml")
    with pytest.raises(UserError) as caught:
        load_run(tmp_path / "songc.yaml")
    assert str(caught.value) == f"there is no file {tmp_path / 'songc.yaml'}; did you mean {tmp_path / 'songci.yaml'}?"


def test_a_missing_file_where_there_is_none_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"huohou init .* writes an example"):
        load_run(tmp_path / "run.yaml")
    with pytest.raises(UserError, match="there is no folder"):
        load_run(tmp_path / "nowhere" / "run.yaml")


def test_a_folder_is_no_run_file(tmp_path: Path) -> None:
    write(tmp_path, b"", "demo.yaml")
    with pytest.raises(UserError, match=r"is a folder, not a run file; did you mean .*demo\.yaml"):
        load_run(tmp_path)


# Texts that are made to hurt.


def bomb() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    names = "abcdefghij"
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in pairwise(names)]
    return "\n".join(lines)


def merges() -> str:
    names = "abcdefghijk"
    lines = ["a: &a {k: 1, l: 2, m: 3}"]
    lines += [f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 4)}]}}" for old, new in pairwise(names)]
    return "\n".join(lines)


def unfolding() -> str:
    names = "abcdefg"
    lines = ["a: &a 1"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]" for old, new in pairwise(names)]
    return "\n".join(lines)


HOSTILE = {
    "few aliases": (unfolding(), "more than 5000 values"),
    "aliases": (bomb(), "more than 50 aliases"),
    "merges": (merges(), "more than 5000 values"),
    "itself": ("a: &a [*a]", "stands inside what it names"),
    "brackets": ("a: " + "[" * (LARGEST_FILE - 10), "nested more than 12 deep"),
    "dashes": ("- " * (LARGEST_FILE // 2 - 10), "nested more than 12 deep"),
    "members": ("a: [" + "1," * (LARGEST_FILE // 2 - 10) + "]", "more than 5000 values"),
    "scalar": ("a: " + "x" * 10_000_000, "characters, but a run file has at most"),
    "tags": ("!" * (LARGEST_FILE - 5), "the tag"),
    "object": ("a: !!python/object/apply:os.system [ls]", "the tag !!python/object/apply:os.system asks for an object"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_before_it_grows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded work rather than seconds: how many nodes are made, and how deep."""
    made = 0
    real = load._Loader.compose_node  # pyright: ignore[reportPrivateUsage]

    def counted(self: Any, parent: Any, index: Any) -> Any:
        nonlocal made
        made += 1
        return real(self, parent, index)

    monkeypatch.setattr(load._Loader, "compose_node", counted)  # pyright: ignore[reportPrivateUsage]
    text, said = HOSTILE[name]
    with pytest.raises(UserError) as caught:
        load.read_text_as_yaml(text, name="x.yaml")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
    assert made <= 5001
