"""``--fix`` makes the edits that findings carry, and leaves every other byte of the file as it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from huohou.audit.document import Document
from huohou.audit.edits import added, removed, renamed, replaced
from huohou.audit.examine import examine
from huohou.audit.reading import Edit, Finding, Reading
from huohou.audit.repair import changes, repairs, write
from huohou.audit.rules.all import RULES
from huohou.audit.rules.base import Example, Rule
from huohou.audit.source import Source, read_source
from huohou.audit.values import Settings, Value
from huohou.cli.main import main
from huohou.language import Text

FIXED = [
    pytest.param(rule, example, id=f"{rule.id}-{n}")
    for rule in RULES
    for n, example in enumerate(rule.bad)
    if example.fixed is not None
]
RULE = next(rule for rule in RULES if rule.id == "warmup-ratio-removed")
YAML = (
    "stage: sft\ndo_train: true\nmodel_name_or_path: m\nfinetuning_type: lora\n# 预热\nlearning_rate: 1.0e-4   # keep\n"
    "warmup_ratio: 0.1    # ten per cent\nlr_scheduler_type: cosine\nmax_steps: 1000\noutput_dir: out\n"
)


def laid_out(example: Example, folder: Path) -> None:
    for name, text in ((example.name, example.text), *example.beside):
        (folder / name).write_bytes(text.encode())


@pytest.mark.parametrize(("rule", "example"), FIXED)
def test_a_mechanical_fix_makes_its_rule_go_away(
    rule: Rule, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    laid_out(example, tmp_path)
    found = examine(Document(read_source(example.name)), example.given, dialect=example.dialect).findings
    assert any(finding.edits for finding in found)
    for repair in repairs(found):
        assert not repair.left
        write(repair)
    assert Path(example.name).read_bytes().decode() == example.fixed
    again = examine(Document(read_source(example.name)), example.given, dialect=example.dialect)
    assert rule.id not in {finding.rule for finding in again.findings}


def test_a_rule_with_a_fixed_example_has_an_edit_and_the_others_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for rule in RULES:
        for example in rule.bad:
            laid_out(example, tmp_path)
            found = examine(Document(read_source(example.name)), example.given, dialect=example.dialect).findings
            assert any(finding.edits for finding in found) == (example.fixed is not None), rule.id


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030"])
def test_line_ends_encoding_and_comments_stay(
    ends: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    before = mark + YAML.replace("\n", ends).encode(encoding)
    Path("run.yaml").write_bytes(before)
    assert main(["audit", "run.yaml", "--fix", "--fail-on", "never"]) == 0
    expected = mark + YAML.replace("warmup_ratio", "warmup_steps").replace("\n", ends).encode(encoding)
    assert Path("run.yaml").read_bytes() == expected
    assert "+warmup_steps: 0.1    # ten per cent" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(YAML, encoding="utf-8")
    main(["audit", "run.yaml", "--fix", "--dry-run"])
    assert Path("run.yaml").read_text(encoding="utf-8") == YAML
    assert "-warmup_ratio: 0.1" in capsys.readouterr().out


def test_under_json_standard_output_stays_one_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(YAML, encoding="utf-8")
    assert main(["audit", "run.yaml", "--fix", "--json"]) == 0
    out, err = capsys.readouterr()
    assert RULE.id not in {finding["rule"] for finding in json.loads(out)["findings"]}
    assert "1 edit made" in err


def test_a_folder_and_the_files_that_its_files_name_are_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ds").mkdir()
    inner = (
        '{"scheduler": {"type": "WarmupLR", "params": {\n  "warmup_max_lr": "auto",\n  "warmup_num_steps": "auto"}}}\n'
    )
    Path("ds/zero.json").write_text(inner, encoding="utf-8")
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(YAML + "deepspeed: ds/zero.json\n", encoding="utf-8")
    main(["audit", ".", "--fix"])
    assert Path("ds/zero.json").read_text(encoding="utf-8").count('"warmup_type": "linear"') == 1
    assert all("warmup_steps: 0.1" in Path(name).read_text(encoding="utf-8") for name in ("a.yaml", "b.yaml"))


@pytest.mark.parametrize("words", [["--dry-run", "run.yaml"], ["--fix", "-"], ["--fix"]])
def test_what_cannot_be_repaired_is_a_sentence(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(YAML, encoding="utf-8")
    assert main(["audit", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_no_file_is_not_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["audit", "--fix", "--", "python", "x.py", "--warmup_ratio", "0.1", "--max_steps", "100"]
    assert main(command) == 2
    assert list(tmp_path.iterdir()) == []


def test_permissions_stay_and_a_link_is_written_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        pytest.skip("permissions and links of POSIX")
    monkeypatch.chdir(tmp_path)
    Path("real.yaml").write_text(YAML, encoding="utf-8")
    Path("real.yaml").chmod(0o640)
    Path("run.yaml").symlink_to("real.yaml")
    main(["audit", "run.yaml", "--fix"])
    assert Path("run.yaml").is_symlink()
    assert "warmup_steps" in Path("real.yaml").read_text(encoding="utf-8")
    assert Path("real.yaml").stat().st_mode & 0o777 == 0o640


def finding(*edits: Edit) -> Finding:
    return Finding("some-rule", "note", "a.sh", 1, Text("a", "b"), Text("c", "d"), edits)


def test_of_two_edits_that_overlap_the_first_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.sh").write_bytes(b"run --lr 1 --steps 2\n")
    edits = (
        Edit("a.sh", 1, "--lr 1 ", "--lr 3 "),
        Edit("a.sh", 1, "1 --steps 2", "1 --steps 4"),
        Edit("a.sh", 1, "steps 2", "steps 5"),
        Edit("a.sh", 9, "x", "y"),
    )
    (repair,) = repairs([finding(*edits), finding(edits[0])])
    assert repair.after == "run --lr 3 --steps 5\n"
    assert [edit for edit, _ in repair.left] == [edits[1], edits[3]]
    assert "2 edits" in changes([repair], written=False)


def test_a_line_of_the_shell_that_is_emptied_does_not_join_two_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.sh").write_bytes(b"run \\\n  --a 1 \\\n  --b 2\nnext\n")
    (repair,) = repairs([finding(Edit("a.sh", 2, "--a 1 ", ""), Edit("a.sh", 3, "--b 2", ""))])
    assert repair.after == "run \\\n  \nnext\n"


def test_a_file_that_would_not_come_back_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.sh").write_bytes(b"run --lr 1 \xff\xff\n")
    with pytest.raises(Exception, match="not edited"):
        repairs([finding(Edit("a.sh", 1, "--lr 1", "--lr 2"))])


LINES = [
    # (file, line, replaced by 9, renamed, removed); None: no edit, since more than the value stands there.
    ("a.yaml", "key: 5  # why", "key: 9  # why", "other: 5  # why", "  # why"),
    ("a.yaml", "x: {key: 5, b: 2}", "x: {key: 9, b: 2}", "x: {other: 5, b: 2}", "x: {b: 2}"),
    ("a.yaml", "key: 1,5", None, "other: 1,5", None),
    ("a.yaml", "my_key: 5", None, None, None),
    ("a.json", '{"key": 5,"b": 2}', '{"key": 9,"b": 2}', '{"other": 5,"b": 2}', '{"b": 2}'),
    ("a.json", '  "key": "5"', '  "key": "9"', '  "other": "5"', None),
    ("a.py", "f(a=1, key=5)", "f(a=1, key=9)", "f(a=1, other=5)", "f(a=1)"),
    ("a.py", "f(key=5, b=2)", "f(key=9, b=2)", "f(other=5, b=2)", "f(b=2)"),
    ("a.py", 'd = {"key": 5, "b": 2}', 'd = {"key": 9, "b": 2}', 'd = {"other": 5, "b": 2}', 'd = {"b": 2}'),
    ("a.py", "f(key=max(5, x))", None, "f(other=max(5, x))", None),
    ("a.py", "f(key=5 * x)", None, "f(other=5 * x)", None),
    ("a.py", "f(key=5, key=6)", None, None, None),
    ("a.toml", "key = 5 # why", "key = 9 # why", "other = 5 # why", " # why"),
    ("a.sh", "run --key 5 \\", "run --key 9 \\", "run --other 5 \\", "run \\"),
    ("a.sh", "run --key=5; next", "run --key=9; next", "run --other=5; next", "run ; next"),
    ("a.sh", "run --key $K --b 2", None, "run --other $K --b 2", "run --b 2"),
    ("a.sh", 'run --key "$K"', None, 'run --other "$K"', None),
    ("a.ipynb", '"key=5"', None, None, None),
]


@pytest.mark.parametrize(("name", "line", "by_nine", "by_other", "without"), LINES)
def test_an_entry_is_edited_only_where_it_stands_plainly(
    name: str, line: str, by_nine: str | None, by_other: str | None, without: str | None
) -> None:
    reading = Reading("d", "t", Settings(), facts={"document": Document(Source(name, line + "\n", Path(name)))})
    place = Value(5, 1, "5", name)
    for edits, expected in (
        (replaced(reading, "key", place, "9"), by_nine),
        (renamed(reading, "key", place, "other"), by_other),
        (removed(reading, "key", place), without),
    ):
        assert [line.replace(edit.old, edit.new) for edit in edits] == ([] if expected is None else [expected])


def test_an_entry_is_added_in_the_way_of_its_file() -> None:
    for name, line, expected in (
        ("a.yaml", "  key: 5", "  key: 5\n  new: 7"),
        ("a.json", '  "key": 5,', '  "key": 5,\n  "new": 7,'),
        ("a.json", '{"key": 5}', '{"key": 5, "new": 7}'),
        ("a.py", "f(key=5)", "f(key=5, new=7)"),
        ("a.sh", "run --key 5 \\", "run --key 5 --new 7 \\"),
        ("a.toml", "key = 5", "key = 5\nnew = 7"),
    ):
        reading = Reading("d", "t", Settings(), facts={"document": Document(Source(name, line, Path(name)))})
        (edit,) = added(reading, "key", Value(5, 1, "5", name), "new", "7")
        assert line.replace(edit.old, edit.new) == expected


def test_what_was_pasted_has_no_edits() -> None:
    reading = Reading("d", "t", Settings(), facts={"document": Document(Source("<command>", "run --key 5"))})
    assert replaced(reading, "key", Value(5, 1, "5", "<command>"), "9") == ()
