"""``huohou tokenizer``: train a Chinese vocabulary, and measure one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.cli.data import reading_arguments
from huohou.errors import UserError
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.data.documents import Documents

HELP = Text("train and measure vocabularies", "训练与测量词表")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    train = verbs.add_parser(
        "train", help=str(Text("train a byte-fallback BPE vocabulary", "训练带字节回退的 BPE 词表"))
    )
    reading_arguments(train)
    train.add_argument("--vocab-size", type=int, required=True, metavar="N")
    train.add_argument("--output", type=Path, required=True, metavar="DIR")
    _common(train)
    measure = verbs.add_parser("measure", help=str(Text("how well a tokenizer fits a text", "分词器与文本的匹配程度")))
    measure.add_argument(
        "tokenizer",
        metavar="TOKENIZER",
        help=str(Text("folder, tokenizer.json or .model", "文件夹、tokenizer.json 或 .model")),
    )
    reading_arguments(measure)
    _common(measure)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--on-bad", choices=("stop", "skip"), default="stop",
                        help=str(Text("what to do at a bad record", "遇到坏记录时怎么办")))  # fmt: skip
    parser.add_argument("--json", action="store_true", help=str(Text("print one JSON object", "输出一个 JSON 对象")))


def run(options: argparse.Namespace) -> int:
    return {"train": _train, "measure": _measure}[options.verb](options)


def _documents(options: argparse.Namespace) -> Documents:
    from huohou.data.documents import Documents

    return Documents(
        options.files, text=options.text, split=options.split, encoding=options.encoding, on_bad=options.on_bad
    )  # fmt: skip


def _train(options: argparse.Namespace) -> int:
    from huohou.data.tokenizer_report import measure_tokenizer
    from huohou.data.tokenizer_training import train_tokenizer

    if options.output.exists() and (not options.output.is_dir() or any(options.output.iterdir())):
        raise UserError(
            f"--output {options.output}: it exists and is not an empty folder; name another one.",
            f"--output {options.output}：已存在且不是空文件夹；请换一个名字。",
        )
    documents = _documents(options)
    tokenizer = train_tokenizer(documents, options.vocab_size)
    tokenizer.save(options.output)
    report = measure_tokenizer(tokenizer, _first(documents)).to_plain()
    if options.json:
        print(
            json.dumps(
                {"output": str(options.output), "fingerprint": tokenizer.fingerprint, **report}, ensure_ascii=False
            )
        )
        return 0
    print(
        Text(f"{options.output}: {tokenizer.vocab_size:,} tokens", f"{options.output}：{tokenizer.vocab_size:,} 个词元")
    )
    _print(report)
    return 0


def _measure(options: argparse.Namespace) -> int:
    from huohou.data.tokenizer import Tokenizer
    from huohou.data.tokenizer_report import measure_tokenizer

    tokenizer = Tokenizer.load(options.tokenizer)
    report = measure_tokenizer(tokenizer, _first(_documents(options))).to_plain()
    if options.json:
        print(
            json.dumps(
                {"tokenizer": options.tokenizer, "fingerprint": tokenizer.fingerprint, **report}, ensure_ascii=False
            )
        )
        return 0
    _print(report)
    return 0


def _first(documents: Documents, characters: int = 5_000_000) -> list[str]:
    """The first documents, enough of them to measure on."""
    texts: list[str] = []
    total = 0
    for document in documents:
        texts.append(document)
        total += len(document)
        if total >= characters:
            break
    return texts


def _print(report: dict[str, Any]) -> None:
    through = report["through_bytes"]
    rows = [
        (Text("measured on", "测量文本"), Text(
            f"{report['texts']:,} documents, {report['characters']:,} characters, {report['tokens']:,} tokens",
            f"{report['texts']:,} 篇文档，{report['characters']:,} 个字符，{report['tokens']:,} 个词元")),
        (Text("characters per token", "每词元字符数"), f"{report['characters_per_token']:.3f}"),
        (Text("bytes per token", "每词元字节数"), f"{report['bytes_per_token']:.3f}"),
        (Text("characters with a token of their own", "有独立词元的字符"), f"{report['own_token']:.3%}"),
        (Text("characters written in bytes", "以字节表示的字符"), "–" if through is None else f"{through:.3%}"),
        (Text("unknown tokens", "未知词元"), f"{report['unknown']:,}"),
        (Text("texts that come back exactly", "能完全还原的文本"), f"{report['round_trip']:.3%}"),
    ]  # fmt: skip
    back = report["hostile"] - len(report["lost"])
    rows.append((Text("hostile texts that come back exactly", "能完全还原的刁难文本"), f"{back}/{report['hostile']}"))
    for name, value in rows:
        print(f"{name}: {value}")
    for name in report["lost"]:
        print(Text(f"  changed: {name}", f"  有变化：{name}"))
