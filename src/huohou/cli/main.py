"""The entry point: which verb, which language, and what a mistake looks like."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from huohou.errors import RunFailed, UserError
from huohou.language import Text, choose_language

VERBS = {
    "init": Text("write a commented run file to start from", "写出一个带注释的训练配置"),
    "plan": Text("say what a run will do, before anything is spent", "在花费任何资源之前，说明训练会做什么"),
    "train": Text("train, and apply exactly the planned rates", "训练，并严格使用计划中的学习率"),
    "report": Text("turn run folders into one page", "把训练目录变成一个页面"),
    "checkpoint": Text("list and verify a run's checkpoints", "列出并校验训练的检查点"),
    "tokenizer": Text("train or measure a Chinese tokenizer", "训练或测量中文分词器"),
    "data": Text("look at data as the training will read it", "按训练读取的方式查看数据"),
    "export": Text("merge adapters and write a Hugging Face folder", "合并适配器，写出 Hugging Face 文件夹"),
    "chat": Text("talk to a model", "与模型对话"),
    "eval": Text("score a model: perplexity, multiple choice, questions", "给模型打分：困惑度、选择题、问答"),
    "audit": Text("say which rates another framework's configuration applies", "说明其他框架的配置实际使用的学习率"),
    "doctor": Text("say what this machine can do, and why not the rest", "说明本机能做什么，不能做的又是为什么"),
    "demo": Text(
        "train a small model twice, with and without warmup, and compare", "训练两次小模型（有预热和无预热）并比较"
    ),
}

EXIT_FAILED, EXIT_MISTAKE, EXIT_INTERRUPTED = 1, 2, 130


def _help() -> str:
    usage = Text("usage: huohou VERB [ARGUMENTS] [--lang en|zh]", "用法：huohou 动词 [参数] [--lang en|zh]")
    about = Text(
        "huohou (火候): Chinese LLaMA training with the learning rate under control from the first update.",
        "火候（huohou）：从第一步起就管好学习率的中文 LLaMA 训练。",
    )
    more = Text(
        "huohou VERB --help tells more of a verb; huohou --version.", "huohou 动词 --help 查看详情；huohou --version。"
    )
    rows = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
    return f"{usage}\n\n{about}\n\n{rows}\n\n{more}"


def _language(arguments: list[str]) -> list[str]:
    """Take ``--lang`` out of the arguments, wherever it stands before a ``--``."""
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*rest, word, *words]
        name, equals, value = word.partition("=")
        if name != "--lang":
            rest.append(word)
            continue
        choice = value if equals else next(words, "")
        if choice not in ("en", "zh"):
            raise UserError(f"--lang is {choice!r}; write en or zh.", f"--lang 的值是 {choice!r}；请写 en 或 zh。")
        choose_language(choice)
    return rest


def _version() -> str:
    from importlib.metadata import version

    return f"huohou {version('huohou')}"


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; mistakes are raised."""
    words = _language(list(arguments))
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        print(_version())
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, 1)
        en = f"did you mean {near[0]}?" if near else f"the verbs are {', '.join(VERBS)}."
        zh = f"是不是 {near[0]}？" if near else f"可用的动词有 {'、'.join(VERBS)}。"
        raise UserError(f"there is no verb {verb!r}; {en}", f"没有动词 {verb!r}；{zh}")
    from huohou.cli.arguments import Parser, dashes

    module = importlib.import_module(f"huohou.cli.{verb}")
    parser = Parser(prog=f"huohou {verb}", description=str(module.HELP))
    module.arguments(parser)
    parse = getattr(module, "parse", None)
    return module.run(parser.parse(dashes(rest)) if parse is None else parse(parser, rest))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 (the run failed), 2 (a mistake), 130 or 143 (a signal)."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows its number: no message may end in a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        status = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except UserError as error:
        # A name with a line end in it must not make two sentences of one.
        print("huohou: " + str(error).replace("\n", "⏎"), file=sys.stderr)
        return EXIT_MISTAKE
    except RunFailed as error:
        print(f"huohou: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has seen enough; pointing stdout elsewhere keeps the interpreter's exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UnicodeEncodeError as error:
        if error.encoding != sys.getfilesystemencoding():
            raise
        character, encoding = error.object[error.start], error.encoding
        text = Text(
            f"{character} cannot be in the name of a file where names are {encoding}: set PYTHONUTF8=1, or a UTF-8 "
            f"locale such as LC_ALL=C.UTF-8.",
            f"文件名编码为 {encoding} 时，文件名中不能有 {character}：请设置 PYTHONUTF8=1，"
            f"或使用 UTF-8 语言环境，例如 LC_ALL=C.UTF-8。",
        )
        print(f"huohou: {text}", file=sys.stderr)
        return EXIT_MISTAKE
    except OSError as error:
        text = Text(
            f"{error.filename or ''}: {error.strerror or error}", f"{error.filename or ''}：{error.strerror or error}"
        )
        print(f"huohou: {text}", file=sys.stderr)
        return EXIT_MISTAKE
