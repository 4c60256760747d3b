"""``huohou chat``: talk to a model, ask it one thing, or everything in a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from huohou.errors import UserError, missing_extra
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.chat.conversation import Conversation
    from huohou.model.opening import Opened

HELP = Text(
    "Talk to a model: a run folder, a Hugging Face folder, an adapter, or a hub's id.",
    "与模型对话：训练目录、Hugging Face 文件夹、适配器，或模型库编号。",
)

_TEMPLATE = Text(
    "chat template: llama2, alpaca2, llama3, chatml, minimind or a .jinja file (default: the model's own)",
    "对话模板：llama2、alpaca2、llama3、chatml、minimind 或 .jinja 文件（默认用模型自带的）",
)
_SAMPLING = (
    ("temperature", "T", Text("how freely tokens are drawn; 0: the most probable", "采样温度；0 表示取概率最大的词元")),
    ("top-p", "P", Text("draw from the smallest set with this probability", "只从累计概率达到此值的最小集合中抽取")),
    ("top-k", "K", Text("draw from so many most probable ones (0: all)", "只从概率最大的 K 个中抽取（0：全部）")),
    ("min-p", "P", Text("least probability, as a share of the highest", "最低概率，以最高概率的比例计")),
    ("repetition-penalty", "R", Text("above 1 it makes repeating less likely", "大于 1 则减少重复")),
)


def opening_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which model is used and how, shared by chat and eval."""
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL|RUN",
        help=str(Text("run folder, model folder, adapter or hub id", "训练目录、模型文件夹、适配器或模型库编号")),
    )
    add(
        "--adapter",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help=str(Text("merge this adapter first; may be repeated", "先并入这个适配器；可重复")),
    )
    add("--template", metavar="NAME|FILE", help=str(_TEMPLATE))
    add("--device", default="auto", help="auto | cpu | cuda | cuda:1")
    add("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    add("--revision", help=str(Text("branch, tag or commit of a hub's model", "模型库中的分支、标签或提交")))
    add("--hub", default="auto", choices=("auto", "huggingface", "modelscope"))
    add(
        "--remote-code",
        action="store_true",
        help=str(Text("run the model's own code: only if you trust it", "运行模型自带的代码：仅在信任它时使用")),
    )


def opened_of(options: argparse.Namespace) -> Opened:
    """The model that the options name."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra("torch", "train") from None
    from huohou.model.opening import open_for_use

    return open_for_use(
        options.model,
        adapters=options.adapter,
        device=options.device,
        dtype=options.dtype,
        revision=options.revision,
        hub=options.hub,
        remote_code=options.remote_code,
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    opening_arguments(parser)
    add = parser.add_argument
    add(
        "--plain",
        action="store_true",
        help=str(Text("no chat template: go on with the text", "不用对话模板：直接续写文本")),
    )
    add("--system", metavar="TEXT", help=str(Text("system message", "系统提示")))
    for name, metavar, text in _SAMPLING:
        kind = int if name == "top-k" else float
        add(f"--{name}", type=kind, metavar=metavar, help=str(text))
    add("--greedy", action="store_true", help=str(Text("the most probable token each time", "每次都取概率最大的词元")))
    add("--max-tokens", type=int, metavar="N", help=str(Text("longest answer (512)", "回答的最大词元数（512）")))
    add("--seed", type=int, help=str(Text("of what is drawn (0)", "采样的随机种子（0）")))
    add("--once", metavar="TEXT", help=str(Text("one message, its answer, and out", "只问一句，答完退出")))
    add(
        "--file",
        type=Path,
        metavar="FILE",
        help=str(Text("answer all prompts of a file (txt, jsonl, …)", "回答文件中的所有提示（txt、jsonl 等）")),
    )
    add("--output", type=Path, metavar="FILE", help=str(Text("where the answers go (jsonl)", "回答写到哪里（jsonl）")))
    add(
        "--at-once",
        type=int,
        default=8,
        metavar="N",
        help=str(Text("prompts answered together (8)", "同时回答的提示数（8）")),
    )
    add("--encoding", default="auto", help=str(Text("of --file", "--file 的编码")))
    add("--overwrite", action="store_true", help=str(Text("replace --output", "覆盖 --output")))


def _given(options: argparse.Namespace) -> dict[str, float]:
    names = [name.replace("-", "_") for name, _, _ in _SAMPLING] + ["max_tokens", "seed"]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.greedy:
        if given.get("temperature"):
            raise UserError(
                "--greedy and --temperature disagree; write one of them.",
                "--greedy 与 --temperature 矛盾；请只写一个。",
            )
        given["temperature"] = 0
    return given


def _check_settings(given: dict[str, float]) -> None:
    """A setting out of range is told before the time is spent that opening a model takes."""
    try:
        from huohou.chat.answering import Settings
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise missing_extra("torch", "train") from None
    settings = Settings()
    for name, value in given.items():
        settings = settings.with_value(name, value)


def _conversation(options: argparse.Namespace, opened: Opened) -> Conversation:
    from huohou.chat.conversation import Conversation
    from huohou.data.chat_template import open_template

    tokenizer = opened.tokenizer
    plain = options.plain or (options.template is None and tokenizer.chat_template is None)
    if options.plain and options.template is not None:
        raise UserError(
            "--plain and --template disagree; write one of them.", "--plain 与 --template 矛盾；请只写一个。"
        )
    template = None if plain else open_template(options.template, tokenizer)
    return Conversation(tokenizer, template, opened.begin_id(), options.system)


def run(options: argparse.Namespace) -> int:
    """Open the model and talk."""
    if options.file is not None and (options.output is None or options.once is not None):
        raise UserError(
            "--file needs --output (a .jsonl file), and goes without --once.",
            "--file 需要同时写 --output（.jsonl 文件），且不能与 --once 一起用。",
        )
    if options.file is None and options.output is not None:
        raise UserError(
            "--output belongs to --file; name the prompts.", "--output 需与 --file 一起用；请给出提示文件。"
        )
    if options.at_once < 1:
        raise UserError(
            f"--at-once is {options.at_once}; it must be 1 or more.", f"--at-once 是 {options.at_once}；应不小于 1。"
        )
    given = _given(options)
    _check_settings(given)
    prompts = None
    if options.file is not None:
        from huohou.chat.batch import read_prompts

        # Before the model is opened: a mistake in the file should not cost the time that takes.
        prompts = read_prompts(options.file, options.encoding)
    opened = opened_of(options)
    from huohou.chat.answering import settings_of

    settings = settings_of(opened.base, given)
    conversation = _conversation(options, opened)
    if prompts is not None and options.output is not None:
        from huohou.chat.batch import answer_file

        answer_file(
            opened,
            conversation,
            prompts,
            settings,
            options.output,
            at_once=options.at_once,
            overwrite=options.overwrite,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
        return 0
    return _talk(options, opened, conversation, settings)


def _talk(options: argparse.Namespace, opened: Opened, conversation: Conversation, settings: object) -> int:
    from huohou.chat.answering import Settings
    from huohou.chat.session import Session, lines_of

    assert isinstance(settings, Settings)

    def note(text: object) -> None:
        print(text, file=sys.stderr, flush=True)

    session = Session(opened, conversation, settings, sys.stdout, note)
    if options.once is not None:
        session.ask(options.once)
        return 0
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:
        # A byte that is not text is told to the person, not a traceback.
        reconfigure(errors="surrogateescape")
    if sys.stdin.isatty():
        kind = Text("a chat; /help lists commands", "对话模式；/help 列出命令")
        if conversation.template is None:
            kind = Text(
                "this model has no chat template, so it goes on with your text; /help lists commands",
                "这个模型没有对话模板，因此会续写你的文本；/help 列出命令",
            )
        note(f"{opened.base}: {kind}")
    session.run(lines_of(sys.stdin))
    return 0
