"""``huohou eval``: perplexity, multiple choice, the embedded corpus's questions, and the lm-eval harness."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.cli.chat import opened_of, opening_arguments
from huohou.errors import UserError, missing_extra
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.data.chat_template import ChatTemplate
    from huohou.evaluate.bank import Bank
    from huohou.evaluate.choices import Choices
    from huohou.model.opening import Opened

HELP = Text(
    "Score a model. Without a seed of its own nothing is drawn: the same call gives the same result file.",
    "给模型打分。除指定种子外不做随机抽样：同样的命令得到同样的结果文件。",
)

_WINDOW = 2048
"""The longest window where none is named."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    opening_arguments(parser)
    add = parser.add_argument
    what = parser.add_argument_group(
        str(Text("what is measured (one or several)", "测什么（一项或多项）"))
    ).add_argument
    what(
        "--perplexity",
        nargs="+",
        metavar="FILES",
        help=str(Text("perplexity and bits per byte of these files", "这些文件的困惑度与每字节比特数")),
    )
    what("--ceval", type=Path, metavar="DIR", help=str(Text("C-Eval's folder (dev, val)", "C-Eval 文件夹（dev、val）")))
    what("--cmmlu", type=Path, metavar="DIR", help=str(Text("CMMLU's folder (dev, test)", "CMMLU 文件夹（dev、test）")))
    what(
        "--questions",
        type=int,
        metavar="N",
        help=str(Text("so many questions of the embedded corpus", "内置语料的 N 道题")),
    )
    what(
        "--lm-eval",
        metavar="TASKS",
        help=str(Text("tasks of the lm-eval harness, with commas", "lm-eval 评测框架的任务，用逗号分隔")),
    )
    add("--window", type=int, metavar="N", help=str(Text("tokens read at a time", "每次读取的词元数")))
    add("--stride", type=int, metavar="N", help=str(Text("tokens between windows (half)", "窗口间隔（默认为一半）")))
    add("--text", metavar="FIELD", help=str(Text("field that holds the text", "文本所在的字段")))
    add(
        "--split",
        choices=("line", "blank", "file"),
        default="line",
        help=str(Text("how documents of txt files are apart", "txt 文件中文档的分隔方式")),
    )
    add("--encoding", default="auto", help=str(Text("of the files", "文件编码")))
    add("--shots", default="0,5", help=str(Text("examples before a question (0,5)", "题目前的示例数（0,5）")))
    add(
        "--by",
        choices=("letter", "text"),
        default="letter",
        help=str(Text("compare letters, or the texts of options", "比较选项字母，或比较选项文本")),
    )
    add("--part", help=str(Text("the part that is asked (val, test)", "使用哪一部分题目（val、test）")))
    add("--limit", type=int, metavar="N", help=str(Text("only the first of each subject", "每个科目只用前 N 道")))
    add("--questions-seed", type=int, default=0, metavar="S", help=str(Text("the corpus's seed", "内置语料的种子")))
    add(
        "--chat",
        action="store_true",
        help=str(Text("ask through the model's chat template", "通过模型的对话模板提问")),
    )
    add(
        "--lm-eval-tasks",
        type=Path,
        metavar="DIR",
        help=str(Text("where tasks of your own are", "自己的任务所在的文件夹")),
    )
    add("--seed", type=int, default=0, help=str(Text("given to the harness, recorded", "传给评测框架并记录")))
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help=str(Text("write the results there (JSON)", "把结果写到这里（JSON）")),
    )
    add("--json", action="store_true", help=str(Text("print the results as JSON", "以 JSON 输出结果")))


def run(options: argparse.Namespace) -> int:
    """Read the questions, open the model, measure, and tell."""
    shots = _check(options)
    banks = _banks(options)
    opened = opened_of(options)
    from huohou.evaluate import results

    template = _template(options, opened)
    result = results.record(opened, str(options.model), template, options.seed)
    found: dict[str, Any] = result["results"]
    told = print if not options.json else _quiet
    if options.perplexity:
        found["perplexity"] = _perplexity(options, opened, told)
    for kind, bank in banks.items():
        from huohou.evaluate.choices import choose

        for count in shots:
            chosen = choose(
                opened,
                bank,
                shots=count,
                by=options.by,
                template=template,
                limit=options.limit,
                progress=_progress(f"{kind} {count}"),
            )
            found[f"{kind}_{count}"] = results.of_choices(chosen, bank, shots=count, by=options.by, limit=options.limit)
            _tell_choices(told, kind, count, chosen, bank)
    if options.questions:
        from huohou.evaluate.questions import ask

        asked = ask(opened, options.questions_seed, options.questions, template=template, progress=_progress(""))
        found["questions"] = results.of_questions(asked, seed=options.questions_seed)
        _tell_questions(told, found["questions"])
    if options.lm_eval:
        found["lm_eval"] = _harness(options, opened, template)
        told(json.dumps(found["lm_eval"]["results"], ensure_ascii=False, indent=2, default=str))
    if options.output is not None:
        results.write(options.output, result)
        told(Text(f"written to {options.output}", f"已写入 {options.output}"))
    if options.json:
        print(json.dumps(result, ensure_ascii=False, default=str))
    return 0


def _quiet(*_: object) -> None:
    """With ``--json`` nothing else is printed."""


def _check(options: argparse.Namespace) -> list[int]:
    """The numbers of examples; mistakes that need no model are told before one is opened."""
    for name in ("window", "stride", "limit", "questions"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} is {value}; it must be 1 or more.", f"--{name} 是 {value}；应不小于 1。")
    if not (options.perplexity or options.ceval or options.cmmlu or options.questions or options.lm_eval):
        raise UserError(
            "name what to measure: --perplexity FILES, --ceval DIR, --cmmlu DIR, --questions N or --lm-eval TASKS.",
            "请写明测什么：--perplexity 文件、--ceval 目录、--cmmlu 目录、--questions N 或 --lm-eval 任务。",
        )
    if options.window and options.stride and options.stride > options.window:
        raise UserError(
            f"--stride {options.stride} is longer than --window {options.window}, so tokens would be left out.",
            f"--stride {options.stride} 大于 --window {options.window}，会漏掉词元。",
        )
    parts = [part.strip() for part in str(options.shots).split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(
            f"--shots is {options.shots}; write numbers with commas, such as 0,5.",
            f"--shots 是 {options.shots}；请写数字，用逗号分隔，例如 0,5。",
        )
    if options.output is not None and options.output.is_dir():
        raise UserError(
            f"--output {options.output} is a folder; name a file.", f"--output {options.output} 是文件夹；请写文件名。"
        )
    return list(dict.fromkeys(map(int, parts)))


def _banks(options: argparse.Namespace) -> dict[str, Bank]:
    if options.ceval is None and options.cmmlu is None:
        return {}
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra("torch", "train") from None
    from huohou.evaluate.bank import read_bank

    found: dict[str, Bank] = {}
    if options.ceval is not None:
        found["ceval"] = read_bank(options.ceval, "ceval", split=options.part, encoding=options.encoding)
    if options.cmmlu is not None:
        found["cmmlu"] = read_bank(options.cmmlu, "cmmlu", split=options.part, encoding=options.encoding)
    return found


def _template(options: argparse.Namespace, opened: Opened) -> ChatTemplate | None:
    if not options.chat and options.template is None:
        return None
    from huohou.data.chat_template import open_template

    return open_template(options.template, opened.tokenizer)


def _perplexity(options: argparse.Namespace, opened: Opened, told: Any) -> dict[str, Any]:
    from huohou.data.documents import Documents
    from huohou.evaluate import results
    from huohou.evaluate.perplexity import measure

    room = opened.model.context
    window = options.window or min(room or _WINDOW, _WINDOW)
    if room is not None and window > room:
        raise UserError(
            f"--window {window}: the model reads {room} tokens at most (max_position_embeddings).",
            f"--window {window}：模型最多读 {room} 个词元（max_position_embeddings）。",
        )
    stride = options.stride or max(1, window // 2)
    if stride > window:
        raise UserError(
            f"--stride {stride} is longer than the window of {window}, so tokens would be left out.",
            f"--stride {stride} 大于窗口 {window}，会漏掉词元。",
        )
    digest = hashlib.sha256()
    documents = Documents(options.perplexity, text=options.text, split=options.split, encoding=options.encoding)

    def hashed(texts: Iterable[str]) -> Iterator[str]:
        for text in texts:
            digest.update(text.encode() + b"\0")
            yield text

    found = measure(
        opened.model,
        opened.tokenizer,
        hashed(documents),
        begin=opened.begin_id(),
        window=window,
        stride=stride,
        progress=_progress_tokens(),
    )
    files = [facts.path for facts in documents.files]
    if not found.tokens:
        raise UserError(f"--perplexity {files[0]}: no text in it.", f"--perplexity {files[0]}：里面没有文本。")
    plain = results.of_perplexity(found, window=window, stride=stride, files=files, content=digest.hexdigest())
    told(
        Text(
            f"perplexity {results.finite(found.perplexity)}, {found.nats_per_token:.4f} nats per token, "
            f"{found.bits_per_byte:.4f} bits per byte ({found.documents:,} documents, {found.tokens:,} tokens, "
            f"{found.bytes:,} bytes; window {window}, stride {stride})",
            f"困惑度 {results.finite(found.perplexity)}，每词元 {found.nats_per_token:.4f} nats，"
            f"每字节 {found.bits_per_byte:.4f} 比特（{found.documents:,} 篇文档，{found.tokens:,} 个词元，"
            f"{found.bytes:,} 字节；窗口 {window}，步长 {stride}）",
        )
    )
    return plain


def _harness(options: argparse.Namespace, opened: Opened, template: ChatTemplate | None) -> dict[str, Any]:
    try:
        from huohou.evaluate.harness import run as run_harness
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("lm_eval"):
            raise missing_extra("lm-eval", "harness") from None
        raise
    tasks = [task.strip() for task in options.lm_eval.split(",") if task.strip()]
    said = [int(part) for part in str(options.shots).split(",")]
    return run_harness(
        opened,
        tasks,
        folder=options.lm_eval_tasks,
        # A task has its own number of examples; one number given here takes its place.
        shots=said[0] if len(said) == 1 else None,
        limit=options.limit,
        seed=options.seed,
        template=template,
    )


def _tell_choices(told: Any, kind: str, shots: int, chosen: Choices, bank: Bank) -> None:
    from huohou.evaluate.results import percent
    from huohou.evaluate.subjects import GROUPS, subject_of

    mean, together = chosen.overall()
    name = {"ceval": "C-Eval", "cmmlu": "CMMLU"}[kind]
    told(
        Text(
            f"{name}, {shots}-shot: {percent(together)} of {together.total:,} questions; mean of "
            f"{len(chosen.subjects)} subjects {mean:.1%}",
            f"{name}，{shots}-shot：{together.total:,} 道题中答对 {percent(together)}；"
            f"{len(chosen.subjects)} 个科目平均 {mean:.1%}",
        )
    )
    for group, (share, tally) in chosen.groups(bank).items():
        told(
            Text(
                f"  {GROUPS[group].en}: mean of subjects {share:.1%}; together {percent(tally)} of {tally.total:,}",
                f"  {GROUPS[group].zh}：科目平均 {share:.1%}；合计 {percent(tally)}，共 {tally.total:,} 题",
            )
        )
    for key, tally in chosen.subjects.items():
        told(f"    {key} {subject_of(bank.table, key).name}: {tally.right}/{tally.total} {percent(tally)}")
    if chosen.shortened:
        told(
            Text(
                f"  {chosen.shortened} questions had fewer examples than {shots}: there were no more, or the model "
                f"reads no more tokens ({chosen.cut} of them were cut even so)",
                f"  有 {chosen.shortened} 道题的示例少于 {shots} 个：示例不够，或模型读不下"
                f"（其中 {chosen.cut} 道题本身也被截短）",
            )
        )


def _tell_questions(told: Any, found: dict[str, Any]) -> None:
    low, high = found["interval"]
    share = f"{found['share']:.1%} [{low:.1%}, {high:.1%}]"
    kinds = ", ".join(f"{kind} {one['right']}/{one['total']}" for kind, one in sorted(found["by_kind"].items()))
    told(
        Text(
            f"questions: {found['right']} of {found['total']} right, {share} ({kinds})",
            f"问答：{found['total']} 题答对 {found['right']} 题，{share}（{kinds}）",
        )
    )


def _progress(name: str) -> Any:
    """A line that is written over, on a terminal only."""

    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{name} {done:,}/{total:,}", end=end, file=sys.stderr, flush=True)

    return tell


def _progress_tokens() -> Any:
    def tell(tokens: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{tokens:,}", end="\r", file=sys.stderr, flush=True)

    return tell
