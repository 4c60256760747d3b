"""``huohou data``: look at data before anything is trained on them."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huohou.cli.show import show, show_arguments
from huohou.errors import UserError
from huohou.language import Text
from huohou.units import whole

HELP = Text("inspect data files, write the embedded corpus", "检查数据文件，写出内置语料")

_FILES = Text(
    "files, folders, patterns, or path#500 for the first 500 records", "文件、文件夹、模式，或用 path#500 取前 500 条"
)


def reading_arguments(parser: argparse.ArgumentParser, files: bool = True) -> None:
    """The files, unless the verb names them itself, and how they are read: shared by every verb that reads files."""
    if files:
        parser.add_argument("files", nargs="+", metavar="FILES", help=str(_FILES))
    parser.add_argument("--text", metavar="FIELD", help=str(Text("field that holds the text", "文本所在的字段")))
    parser.add_argument(
        "--split", choices=("line", "blank", "file"), default="line",
        help=str(Text("how documents are apart in txt files: one a line (default), a blank line between, one a file",
                      "txt 文件中文档的分隔方式：每行一篇（默认）、空行分隔、每个文件一篇")),
    )  # fmt: skip
    parser.add_argument(
        "--encoding", default="auto", help=str(Text("auto, utf-8, gb18030, …", "auto、utf-8、gb18030 等"))
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser(
        "check", help=str(Text("what is in the files, and what is wrong", "文件里有什么、有什么问题"))
    )
    reading_arguments(check)
    check.add_argument(
        "--rejects", type=Path, metavar="FILE", help=str(Text("write the bad records there", "把坏记录写到这里"))
    )
    check.add_argument("--json", action="store_true", help=str(Text("print one JSON object", "输出一个 JSON 对象")))
    show = verbs.add_parser("show", help=str(Text("print samples as a model sees them", "显示模型所见的样本")))
    reading_arguments(show)
    show_arguments(show)
    embedded = verbs.add_parser("embedded", help=str(Text("write the embedded corpus", "写出内置语料")))
    amount = embedded.add_mutually_exclusive_group(required=True)
    amount.add_argument(
        "--characters", metavar="N", help=str(Text("documents: about how many characters, such as 2M",
                                                   "写文档：约多少字，如 2M"))
    )  # fmt: skip
    amount.add_argument("--dialogues", metavar="N", help=str(Text("dialogues: how many", "写对话：多少段")))
    embedded.add_argument("--seed", type=int, default=0)
    embedded.add_argument("--output", type=Path, required=True, metavar="FILE", help="corpus.txt | corpus.jsonl")


def run(options: argparse.Namespace) -> int:
    return {"check": _check, "show": show, "embedded": _embedded}[options.verb](options)


def _check(options: argparse.Namespace) -> int:
    """Every file is read to its end; exit status 1 where a record is bad."""
    from huohou.data.documents import Documents

    documents = Documents(
        options.files, text=options.text, split=options.split, encoding=options.encoding, on_bad="skip",
        rejects=options.rejects,
    )  # fmt: skip
    problems: list[UserError] = []
    documents.on_problem = lambda error: problems.append(error) if len(problems) < 20 else None
    characters = size = 0
    try:
        for document in documents:
            characters += len(document)
            size += len(document.encode())
    except UserError:
        # That nothing can be used is what the table below says, with the reasons; other errors end the check.
        if not problems or documents.counts.used:
            raise
    counts = documents.counts
    if options.json:
        plain: dict[str, Any] = {
            "files": [facts.to_plain() for facts in documents.files],
            "ignored": [str(path) for source in documents.sources for path in source.ignored],
            "read": counts.read, "used": counts.used, "bad": counts.bad, "empty": counts.empty,
            "characters": characters, "bytes": size, "problems": [error.text.plain() for error in problems],
        }  # fmt: skip
        print(json.dumps(plain, ensure_ascii=False))
        return 1 if counts.bad else 0
    for facts in documents.files:
        parts = [facts.format, facts.encoding, *([facts.compression] if facts.compression else [])]
        if facts.text:
            parts.append(str(Text(f"text in {facts.text}", f"文本字段 {facts.text}")))
        elif facts.format == "txt":
            parts.append(str(_SPLITS[options.split]))
        print(f"{facts.path}: {', '.join(parts)}: {_counts(facts.counts)}")
    for path in (path for source in documents.sources for path in source.ignored):
        print(Text(f"{path}: left out, its name says no known format", f"{path}：已略过，文件名不是已知格式"))
    for error in problems:
        print(f"  {error}")
    if counts.bad > len(problems):
        print(
            Text(
                f"  … and {counts.bad - len(problems)} more bad records",
                f"  ……另有 {counts.bad - len(problems)} 条坏记录",
            )
        )
    print(Text(
        f"in all: {_counts(counts).en}; {characters:,} characters, {size:,} bytes",
        f"合计：{_counts(counts).zh}；{characters:,} 个字符，{size:,} 字节",
    ))  # fmt: skip
    return 1 if counts.bad else 0


_SPLITS = {
    "line": Text("one document a line", "每行一篇"),
    "blank": Text("documents with a blank line between", "空行分隔"),
    "file": Text("one document", "整个文件为一篇"),
}


def _counts(counts: Any) -> Text:
    return Text(
        f"{counts.read:,} records = {counts.used:,} used + {counts.bad:,} bad + {counts.empty:,} empty",
        f"{counts.read:,} 条记录 = {counts.used:,} 可用 + {counts.bad:,} 坏 + {counts.empty:,} 空",
    )


def _embedded(options: argparse.Namespace) -> int:
    as_lines = options.output.suffix == ".jsonl"
    if not as_lines and (options.output.suffix != ".txt" or options.dialogues is not None):
        wanted = ".jsonl" if options.dialogues is not None else ".txt or .jsonl"
        wanted_zh = ".jsonl" if options.dialogues is not None else ".txt 或 .jsonl"
        raise UserError(
            f"--output {options.output}: the name must end in {wanted}.",
            f"--output {options.output}：文件名须以 {wanted_zh} 结尾。",
        )
    total = count = 0
    temporary = options.output.with_name(f".{options.output.name}.{os.getpid()}.tmp")
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            for record, characters in _records(options):
                total += characters
                count += 1
                file.write(json.dumps(record, ensure_ascii=False) + "\n" if as_lines else record["text"] + "\n\n")
        os.replace(temporary, options.output)
    except OSError as error:
        raise UserError(
            f"{options.output}: cannot be written ({error.strerror}).",
            f"{options.output}：无法写入（{error.strerror}）。",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    kind = Text("documents", "篇文档") if options.dialogues is None else Text("dialogues", "段对话")
    print(
        Text(
            f"{options.output}: {count:,} {kind.en}, {total:,} characters",
            f"{options.output}：{count:,} {kind.zh}，{total:,} 个字符",
        )
    )
    return 0


def _records(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], int]]:
    """The documents or dialogues asked for, each with its number of characters."""
    from huohou.data.embedded import documents, embedded_dialogues

    if options.dialogues is None:
        for document in documents(options.seed, characters=whole(options.characters, key="--characters", least=1)):
            yield {"text": document}, len(document)
    else:
        for dialogue in embedded_dialogues(options.seed, whole(options.dialogues, key="--dialogues", least=1)):
            messages = list(dialogue.messages)
            yield {"messages": messages}, sum(len(message["content"]) for message in messages)
