"""The pages say the same in both languages, and what they say is true: links, commands, keys, tables and output."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import huohou
from huohou import records
from huohou.audit.dialects.all import DIALECTS
from huohou.audit.rules.all import RULES
from huohou.cli.arguments import Parser, dashes
from huohou.cli.main import VERBS, main
from huohou.config.sections import SECTIONS
from huohou.language import Language
from huohou.report import summary
from huohou.report.runs import load_runs
from huohou.report.words import findings
from huohou.train.manifest import FileEntry, Manifest, Position

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CHINESE = DOCS / "zh"
ENGLISH = [page for page in sorted(DOCS.rglob("*.md")) if not page.is_relative_to(CHINESE)]
PAIRS = [
    (ROOT / "README.md", ROOT / "README.zh-CN.md"),
    *((page, CHINESE / page.relative_to(DOCS)) for page in ENGLISH),
]
PAGES = [*(page for pair in PAIRS for page in pair), ROOT / "CONTRIBUTING.md"]
OURS = [page for page in PAGES if page.parent in (ROOT, DOCS, CHINESE)]
"""Those that speak of huohou's own flags and keys; what stands in folders of its own speaks of other frameworks' too."""
LANGUAGES: tuple[Language, Language] = ("en", "zh")


@dataclass(frozen=True)
class Block:
    """A heading, a table, a list, a block of code or a paragraph; ``tag`` is a heading's level or a code's language."""

    kind: str
    tag: str
    lines: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """The blocks of a page, in order."""
    found: list[Block] = []
    lines = iter(text.splitlines())
    part: list[str] = []

    def close() -> None:
        if part:
            first = part[0]
            if first.startswith("#"):
                found.append(Block("heading", first.split()[0], tuple(part)))
            elif first.startswith(("|", "<!-- table")):
                found.append(Block("table", str(len(part)), tuple(part)))
            elif re.match(r"[-*] |\d+\. ", first):
                items = [line for line in part if re.match(r"[-*] |\d+\. ", line)]
                found.append(Block("list", str(len(items)), tuple(part)))
            else:
                found.append(Block("paragraph", "", tuple(part)))
            part.clear()

    for line in lines:
        if line.startswith("```"):
            close()
            code: list[str] = []
            for inner in lines:
                if inner == "```":
                    break
                code.append(inner)
            found.append(Block("code", line[3:], tuple(code)))
        elif line.strip():
            part.append(line)
        else:
            close()
    close()
    return found


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line).rstrip()


def prose(page: Path) -> Iterator[str]:
    """The text of a page without its code blocks."""
    return ("\n".join(block.lines) for block in blocks(read(page)) if block.kind != "code")


def inline(page: Path) -> Iterator[str]:
    """What stands between backticks outside of code blocks."""
    for text in prose(page):
        yield from re.findall(r"`([^`]+)`", text)


def code(page: Path, tag: str) -> Iterator[Block]:
    return (block for block in blocks(read(page)) if block.kind == "code" and block.tag == tag)


def commands(page: Path) -> Iterator[list[str]]:
    """Every command of the shell blocks, as words."""
    for block in code(page, "sh"):
        for line in block.lines:
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if words:
                    yield words


def parser_of(verb: str) -> Parser:
    module = importlib.import_module(f"huohou.cli.{verb}")
    parser = Parser(prog=f"huohou {verb}")
    module.arguments(parser)
    return parser


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= flags_of(inner)
    return found


# Both languages.


def test_every_page_has_its_twin() -> None:
    english = {page.relative_to(DOCS) for page in ENGLISH}
    assert english and english == {page.relative_to(CHINESE) for page in CHINESE.rglob("*.md")}


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: named(page))
def test_twins_go_in_step(english: Path, chinese: Path) -> None:
    ours, theirs = blocks(read(english)), blocks(read(chinese))
    shapes = [[(block.kind, block.tag) for block in page] for page in (ours, theirs)]
    assert shapes[0] == shapes[1]
    for one, other in zip(ours, theirs, strict=True):
        if one.kind == "code" and one.tag == "text":
            # Output, which is printed in the reader's language.
            assert len(one.lines) == len(other.lines)
        elif one.kind == "code":
            kept = [[without_comment(line) for line in block.lines] for block in (one, other)]
            assert kept[0] == kept[1]
        if one.kind == "table":
            assert [line.count("|") for line in one.lines] == [line.count("|") for line in other.lines]


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: named(page))
def test_twins_have_the_same_links(english: Path, chinese: Path) -> None:
    ours, theirs = (sorted({target for _, target in links(page)}) for page in (english, chinese))
    twin = {f"docs/zh/{named(page)[5:]}": named(page) for page in ENGLISH}
    twin |= {"README.zh-CN.md": "README.md", "docs/images/report-zh.png": "docs/images/report.png"}
    assert {twin.get(target, target) for target in ours} == {twin.get(target, target) for target in theirs}


@pytest.mark.parametrize("page", [pair[1] for pair in PAIRS], ids=named)
def test_a_chinese_page_is_chinese(page: Path) -> None:
    for block in blocks(read(page)):
        names = all(re.match(r"- [\w.-]+(/| PR #)|- https://|`[^`]+`$", line) for line in block.lines)
        if block.kind in ("paragraph", "list") and not names:
            assert re.search("[一-鿿]", " ".join(block.lines)), block.lines[0]


# Links, commands, keys.


def links(page: Path) -> Iterator[tuple[str, str]]:
    for text in prose(page):
        yield from re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    heads = (" ".join(block.lines).lstrip("# ") for block in blocks(read(page)) if block.kind == "heading")
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere_inside_the_repository(page: Path) -> None:
    for _, target in links(page):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.is_relative_to(ROOT) and found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_can_be_typed(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    for words in commands(page):
        if words[0] == "make":
            assert words[1] in targets, words
        elif words[0] == "huohou":
            assert words[1] in VERBS, words
            parser_of(words[1]).parse_args(dashes(words[2:]))
        else:
            assert words[0] in ("git", "cd"), words


@pytest.mark.parametrize("page", OURS, ids=named)
def test_every_flag_and_verb_in_the_text_exists(page: Path) -> None:
    known = {"--lang", "--version", "--help", "--index-url"}.union(*(flags_of(parser_of(verb)) for verb in VERBS))
    for word in inline(page):
        if word.startswith("--"):
            assert re.split("[ =]", word)[0] in known, word
        if word.startswith("huohou "):
            assert word.split()[1] in VERBS, word
            assert {part for part in word.split() if part.startswith("--")} <= known, word


@pytest.mark.parametrize("page", OURS, ids=named)
def test_every_key_in_the_text_exists(page: Path) -> None:
    for word in inline(page):
        match = re.fullmatch(r"([a-z]+)\.([a-z_]+)(: .*)?", word)
        if match and match[1] in SECTIONS and match[2] not in ("json", "model", "safetensors", "trainer"):
            assert match[2] in SECTIONS[match[1]].model_fields, word


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_speaks_of_the_product_alone(page: Path) -> None:
    text = read(page)
    places = r"(?<![\w.])/(work|tmp|root|home|usr|mnt|data|opt)\b|[A-Z]:\\"
    for pattern in (places, r"\bTODO\b"):
        found = re.search(pattern, text)
        assert found is None, found
    assert "../.." not in text


# What the tables and the printed output say.


def numbers(line: str) -> list[str]:
    return [cell.strip().strip("*`") for cell in line.strip().strip("|").split("|")]


def schedule_tables(page: Path) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    for block in blocks(read(page)):
        if block.kind == "table" and block.lines[0].startswith("<!-- table: "):
            said = block.lines[0].removeprefix("<!-- table: ").removesuffix(" -->")
            yield dict(pair.split("=") for pair in said.split(", ")), block.lines[1:]


@pytest.mark.parametrize("page", [DOCS / "warmup.md", DOCS / "zh" / "warmup.md"], ids=named)
def test_worked_tables_are_what_the_code_gives(page: Path) -> None:
    checked = 0
    for words, lines in schedule_tables(page):
        columns = [int(cell) for cell in numbers(lines[0])[2:]]
        for line in lines[2:]:
            cells = numbers(line)
            own: dict[str, Any] = {}
            for pair in cells[0].split(", "):
                key, _, value = pair.partition(": ")
                own[key] = value
            plan = huohou.plan(**words | own)
            assert [f"{plan.curve(u):.4g}" for u in columns] == cells[2:], line
            checked += 1
    assert checked >= 20


@pytest.mark.parametrize("page", [DOCS / "warmup.md", DOCS / "zh" / "warmup.md"], ids=named)
def test_the_default_lengths_are_what_the_code_gives(page: Path) -> None:
    table = next(block for block in blocks(read(page)) if block.kind == "table" and block.lines[0].startswith("| T |"))
    lengths = [int(cell.replace(",", "")) for cell in numbers(table.lines[0])[1:]]
    said = [int(cell.replace(",", "")) for cell in numbers(table.lines[2])[1:]]
    assert [huohou.plan(updates=t, peak="3e-4").warmup_updates for t in lengths] == said


@pytest.mark.parametrize(("page", "language"), [*zip(PAIRS[0], LANGUAGES, strict=True)], ids=["en", "zh"])
def test_the_readme_shows_what_plan_prints(
    page: Path, language: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "78")
    words = next(words for words in commands(page) if words[:2] == ["huohou", "plan"])
    assert main(["--lang", language, *words[1:]]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = list(next(code(page, "text")).lines)
    start = printed.index(shown[0])
    assert printed[start : start + len(shown)] == shown


@pytest.mark.parametrize("page", [DOCS / "design.md", DOCS / "zh" / "design.md"], ids=named)
def test_the_design_names_every_room_and_every_field(page: Path) -> None:
    words = {word for code in inline(page) for word in (code, code.split(" ")[0].strip("/"))}
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "src" / "huohou").iterdir()}
    hidden = {"__init__", "__main__", "__pycache__", "py.typed", "templates"}
    plan = set(huohou.plan(updates=10, peak="1e-3").to_plain())
    manifest = Manifest(Position(1, 1, 1), {}, {"a": FileEntry(1, "")}).render()
    assert rooms - hidden <= words
    assert plan <= words
    assert set(json.loads(manifest)) <= words
    folder = records.RunFolder(Path("runs"))
    files = (folder.config, folder.plan, folder.metrics, folder.events, folder.environment, folder.report)
    assert {path.name for path in files} <= words


@pytest.mark.parametrize(("page", "language"), [(DOCS / "report.md", "en"), (DOCS / "zh" / "report.md", "zh")])
def test_the_report_page_defines_every_measure(page: Path, language: str, tmp_path: Path) -> None:
    folder = records.RunFolder(tmp_path / "run")
    records.write_json(folder.plan, huohou.plan(updates=2, peak="1e-3").to_plain())
    for update in (1, 2):
        records.append(
            folder.metrics,
            {"update": update, "rate": 1e-3, "loss": 1.0, "tokens": 8, "gradient_norm": 1.0, "clipped": False,
             "skipped": False, "seconds": 0.1},
        )  # fmt: skip
    found = findings(load_runs([folder.path]))
    text = read(page)
    for measure in found.measures[0]:
        row = f"| {getattr(measure.name, language)} | {getattr(measure.definition, language)} |"
        assert row in text, row
    assert set(summary.plain(found)["definitions"]) == {m.key for m in found.measures[0]} | {"lower_from"}


def test_notes_are_dated_and_the_newest_stands_first() -> None:
    for page in (DOCS / "lab-notes.md", DOCS / "zh" / "lab-notes.md"):
        dates = [block.lines[0][3:13] for block in blocks(read(page)) if block.kind == "heading" and block.tag == "##"]
        assert dates and all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates)
        assert all(newer >= older for newer, older in pairwise(dates))


@pytest.mark.parametrize("page", PAIRS[0], ids=named)
def test_the_readme_counts_the_rules_and_repairs(page: Path) -> None:
    said = [int(number) for number in re.findall(r"\b(\d+) (?:\[rules\]|条来自|of which|条可用)", read(page))]
    assert said == [len(RULES), sum(any(bad.fixed for bad in rule.bad) for rule in RULES)]


# Moving from another framework: what its configuration really does, and that the better one is better.

MOVES = sorted([*(DOCS / "migrate").glob("*.md"), *(CHINESE / "migrate").glob("*.md")])


def sources(page: Path) -> list[Block]:
    """What is written there, what should be, and huohou's own."""
    return [block for block in blocks(read(page)) if block.kind == "code" and block.tag != "sh"]


def cells(curve: dict[str, float], chinese: bool) -> list[str]:
    """The second column of a table, as a page must show it."""
    peak = f"{curve['peak']:.4g}"
    at = curve["peak_at"]
    if chinese:
        reached = "，从未用到" if at is None else f"，从第 {at} 步起"
    else:
        reached = ", never used" if at is None else f", from update {at}"
    return [
        f"T = {curve['updates']}, W = {curve['warmup_updates']:g}",
        f"{curve['first']:.4g}",
        peak + reached,
        f"{curve['last']:.4g}",
    ]


def test_every_dialect_has_its_page() -> None:
    text = "\n".join(read(page) for page in MOVES)
    known = {page.stem for page in MOVES}
    for dialect in DIALECTS:
        # These three are no framework: our own files, programs and scripts that lead to one, and files of nobody.
        own = dialect.name in ("huohou", "program", "launch", "unnamed")
        assert own or dialect.name in known or dialect.title in text, dialect.name


@pytest.mark.parametrize("page", MOVES, ids=named)
def test_the_figures_are_those_of_the_audit(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = next(words for words in commands(page) if words[:2] == ["huohou", "audit"])
    tables = [block for block in blocks(read(page)) if block.kind == "table"]
    written, better, _ = sources(page)
    found: list[set[str]] = []
    for source, table in zip((written, better), tables, strict=True):
        Path(words[2]).write_text("\n".join(source.lines) + "\n", encoding="utf-8")
        status = main(dashes(["audit", *words[2:], "--json"]))
        data = json.loads(capsys.readouterr().out)
        assert data["error"] is None
        expected = [cell for curve in data["curves"].values() for cell in cells(curve, "zh" in page.parts)]
        assert [line.split("|")[2].strip() for line in table.lines[2:]] == expected
        found.append({each["rule"] for each in data["findings"] if each["severity"] != "note"})
        if source is better:
            assert status == 0
    assert not found[1]


@pytest.mark.parametrize("page", MOVES, ids=named)
def test_our_own_words_are_planned(page: Path, tmp_path: Path) -> None:
    *_, ours = sources(page)
    file = tmp_path / "run.yaml"
    file.write_text(
        "\n".join([*ours.lines, "data: {embedded: true}", "train: {updates: 1000}"]) + "\n", encoding="utf-8"
    )
    plan = huohou.plan(huohou.load_run(file))
    peak = re.search(r"peak: (\S+)", "\n".join(ours.lines))
    assert peak is not None and plan.curve(plan.warmup_updates) == float(peak[1])
