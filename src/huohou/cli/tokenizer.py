"""``huohou tokenizer``: train a Chinese vocabulary, extend one with Chinese pieces, and measure one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from huohou.cli.data import reading_arguments
from huohou.cli.tokenizer_text import print_extended, print_measured
from huohou.errors import UserError
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.data.documents import Documents
    from huohou.data.tokenizer_extend import Extended
    from huohou.data.tokenizer_parts import Parts

HELP = Text("train, extend and measure vocabularies", "训练、扩充与测量词表")
_KINDS = Text("folder, tokenizer.json or .model", "文件夹、tokenizer.json 或 .model")
_HELD_OUT = 20
"""Every so many-th document is measured on instead of learned from."""


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    train = verbs.add_parser(
        "train", help=str(Text("train a byte-fallback BPE vocabulary", "训练带字节回退的 BPE 词表"))
    )
    reading_arguments(train)
    train.add_argument("--vocab-size", type=int, required=True, metavar="N")
    train.add_argument("--output", type=Path, required=True, metavar="DIR")
    _common(train)
    extend = verbs.add_parser(
        "extend", help=str(Text("add Chinese pieces to a tokenizer", "给已有分词器增加中文词"))
    )  # fmt: skip
    _extend_arguments(extend)
    measure = verbs.add_parser("measure", help=str(Text("how well a tokenizer fits a text", "分词器与文本的匹配程度")))
    measure.add_argument("tokenizer", metavar="TOKENIZER", help=str(_KINDS))
    reading_arguments(measure)
    measure.add_argument(
        "--base", type=Path, metavar="TOKENIZER",
        help=str(Text("compare with the tokenizer it grew from", "与它所由来的分词器比较")),
    )  # fmt: skip
    _common(measure)


def _extend_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="BASE", help=str(_KINDS))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--add", metavar="PIECES",
        help=str(Text("take the pieces of this tokenizer (SentencePiece .model, folder, tokenizer.json)",
                      "取这个分词器的词（SentencePiece .model、文件夹、tokenizer.json）")),
    )  # fmt: skip
    source.add_argument(
        "--train", nargs="+", metavar="FILES", help=str(Text("learn the pieces from these texts", "从这些文本学习新词"))
    )
    parser.add_argument(
        "--vocab-size", type=int, metavar="N",
        help=str(Text("tokens in all, old and new (with --add: at most)", "新旧词元总数（与 --add 同用时为上限）")),
    )  # fmt: skip
    parser.add_argument(
        "--multiple-of", type=int, default=1, metavar="K",
        help=str(Text("round the number of tokens down to a multiple", "词元总数向下取为 K 的倍数")),
    )  # fmt: skip
    parser.add_argument(
        "--complete", action="store_true",
        help=str(Text("also add the pieces on the way to one that could not be reached, instead of leaving it out",
                      "对无法到达的词，补上途中所缺的词，而不是舍去它")),
    )  # fmt: skip
    parser.add_argument(
        "--any-script", action="store_true",
        help=str(Text("also pieces with ASCII letters, digits, signs or spaces (English and code get other ids)",
                      "也要含 ASCII 字母、数字、符号或空格的词（英文与代码的编号会改变）")),
    )  # fmt: skip
    parser.add_argument(
        "--pad", default="<pad>", metavar="NAME",
        help=str(Text("the padding token that a base without one gets (<pad>), or none",
                      "原分词器没有填充符时增加的填充符（<pad>），none 为不加")),
    )  # fmt: skip
    parser.add_argument(
        "--held-out", nargs="+", metavar="FILES", help=str(Text("texts to measure on", "用来测量的文本"))
    )
    reading_arguments(parser, files=False)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--on-bad", choices=("stop", "skip"), default="stop",
                        help=str(Text("what to do at a bad record", "遇到坏记录时怎么办")))  # fmt: skip
    parser.add_argument("--json", action="store_true", help=str(Text("print one JSON object", "输出一个 JSON 对象")))


def run(options: argparse.Namespace) -> int:
    return {"train": _train, "extend": _extend, "measure": _measure}[options.verb](options)


def _documents(options: argparse.Namespace, files: list[str]) -> Documents:
    from huohou.data.documents import Documents

    return Documents(
        files, text=options.text, split=options.split, encoding=options.encoding, on_bad=options.on_bad
    )  # fmt: skip


def _check_output(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(
            f"--output {output}: it exists and is not an empty folder; name another one.",
            f"--output {output}：已存在且不是空文件夹；请换一个名字。",
        )


def _train(options: argparse.Namespace) -> int:
    from huohou.data.tokenizer_report import measure_tokenizer
    from huohou.data.tokenizer_training import train_tokenizer

    _check_output(options.output)
    documents = _documents(options, options.files)
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
    print_measured(report)
    return 0


def _measure(options: argparse.Namespace) -> int:
    from huohou.data.tokenizer import Tokenizer
    from huohou.data.tokenizer_compare import compare
    from huohou.data.tokenizer_report import measure_tokenizer
    from huohou.data.tokenizer_shadowed import reach_of, settings_disagree

    tokenizer = Tokenizer.load(options.tokenizer)
    old = Tokenizer.load(options.base) if options.base else None
    texts = _first(_documents(options, options.files))
    if old is None:
        report = measure_tokenizer(tokenizer, texts).to_plain()
    else:
        compared = compare(old, tokenizer, texts)
        report = compared.after.to_plain() | {"base": compared.to_plain()}
    reach = reach_of(options.tokenizer)
    report["reach"] = reach and reach.to_plain() | _new_and_old(reach.lost, old and old.vocab_size)
    report["disagree"] = {role: list(pair) for role, pair in settings_disagree(options.tokenizer).items()}
    if options.json:
        print(
            json.dumps(
                {"tokenizer": options.tokenizer, "fingerprint": tokenizer.fingerprint, **report}, ensure_ascii=False
            )
        )
        return 0
    print_measured(report)
    return 0


def _new_and_old(lost: frozenset[int], size: int | None) -> dict[str, int]:
    """How many of the pieces that do not occur the base had, and how many were added to it."""
    return {} if size is None else {"of_base": sum(i < size for i in lost), "of_added": sum(i >= size for i in lost)}


def _extend(options: argparse.Namespace) -> int:
    from huohou.data.tokenizer_compare import compare
    from huohou.data.tokenizer_extend import check_extended, report_of, save_extended
    from huohou.data.tokenizer_parts import read_parts
    from huohou.data.tokenizer_shadowed import reach_of

    _check_output(options.output)
    if options.multiple_of < 1:
        raise UserError(
            f"--multiple-of {options.multiple_of}: this must be a whole number from 1.",
            f"--multiple-of {options.multiple_of}：须为 1 或更大的整数。",
        )
    base = read_parts(options.base)
    assert base.own is not None
    extended, texts, measured_on = _extended(options, base)
    check_extended(extended, texts[:2000])
    save_extended(extended, options.output)
    compared = compare(base.own, extended.tokenizer, texts)
    reach = reach_of(options.output)
    report = {
        "output": str(options.output),
        **report_of(extended),
        "measured_on": measured_on,
        "after": compared.after.to_plain(),
        **compared.to_plain(),
        "reach": reach and reach.to_plain() | _new_and_old(reach.lost, base.size),
    }
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        print_extended(report)
    return 0


def _extended(options: argparse.Namespace, base: Parts) -> tuple[Extended, list[str], str]:
    """(the extended tokenizer, texts to measure on, what these are)."""
    from huohou.data.tokenizer_continued import continue_training
    from huohou.data.tokenizer_extend import extend_tokenizer
    from huohou.data.tokenizer_pieces import check_wanted, pieces_of, wanted

    pad = None if options.pad == "none" else options.pad
    given = {"complete": options.complete, "multiple_of": options.multiple_of, "pad": pad}
    held_out = _first(_documents(options, options.held_out)) if options.held_out else []
    if options.train is None:
        source, folds = pieces_of(options.add)
        found = wanted(source, base, folds, options.any_script)
        check_wanted(found, base)
        extended = extend_tokenizer(base, found, vocab_size=options.vocab_size, **given)
        return extended, held_out or _embedded(), "held_out" if held_out else "embedded"
    if options.vocab_size is None:
        raise UserError(
            f"--train needs --vocab-size, the number of tokens in all: more than the base's {base.size:,}.",
            f"--train 需要 --vocab-size（词元总数），且大于原词表的 {base.size:,}。",
        )
    documents = _documents(options, options.train)
    left_out: list[str] = []
    learned = documents if held_out else _without(documents, left_out)
    extended = continue_training(base, learned, options.vocab_size, any_script=options.any_script, **given)
    if held_out:
        return extended, held_out, "held_out"
    return extended, left_out or _first(documents), "left_out" if left_out else "training"


def _without(documents: Documents, left_out: list[str]) -> Iterator[str]:
    """All documents but every :data:`_HELD_OUT`-th, which are put into ``left_out``."""
    for number, document in enumerate(documents, start=1):
        if number % _HELD_OUT:
            yield document
        else:
            left_out.append(document)


def _embedded() -> list[str]:
    from huohou.data.embedded import documents

    return list(documents(0, characters=100_000))


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
