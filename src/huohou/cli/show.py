"""``huohou data show``: samples as a model sees them, what is learned in colour."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.errors import UserError
from huohou.language import Text
from huohou.units import whole

if TYPE_CHECKING:
    from huohou.config import RunConfig
    from huohou.data.dialogue import Dialogue
    from huohou.data.dialogue_cache import DialogueSettings
    from huohou.data.tokenizer import Tokenizer

BEFORE, BEHIND = "{+", "+}"
"""What stands around the learned parts where there is no colour."""


def show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", type=int, default=3, metavar="N", help=str(Text("how many (3)", "条数（默认 3）")))
    parser.add_argument(
        "--characters", type=int, default=400, metavar="N",
        help=str(Text("of each document, or message of a dialogue without a tokenizer (400)",
                      "每篇文档显示的字数；没有分词器时也用于每条消息（默认 400）")),
    )  # fmt: skip
    parser.add_argument(
        "--tokenizer", metavar="PATH", help=str(Text("tokenise with this one, and show what is learned",
                                                     "用这个分词器，并显示学习哪些部分"))
    )  # fmt: skip
    parser.add_argument(
        "--template", metavar="NAME",
        help=str(Text("for dialogues: llama2, alpaca2, llama3, chatml, minimind, a .jinja file (the tokenizer's own)",
                      "对话模板：llama2、alpaca2、llama3、chatml、minimind 或 .jinja 文件（默认用分词器自带的）")),
    )  # fmt: skip
    parser.add_argument(
        "--format", default="auto", choices=("auto", "alpaca", "sharegpt", "messages"),
        help=str(Text("what dialogues look like (auto)", "对话数据的格式（默认 auto）")),
    )  # fmt: skip
    parser.add_argument(
        "--learn", choices=("all", "last"), default="all",
        help=str(Text("which answers are learned (all)", "学习哪些回答（默认 all）")),
    )  # fmt: skip
    parser.add_argument(
        "--length", default="1M", metavar="L", help=str(Text("cut samples to so many tokens", "把样本截到这么多词元"))
    )
    parser.add_argument("--ids", action="store_true", help=str(Text("print the ids too", "同时显示 id")))


def show(options: argparse.Namespace) -> int:
    """Print the first samples of files, or of a run file."""
    screen = _Screen(options.ids)
    if len(options.files) == 1 and Path(options.files[0]).suffix.lower() in (".yaml", ".yml"):
        _show_run(options, screen)
        return 0
    tokenizer = _tokenizer(options.tokenizer)
    if not _are_dialogues(options):
        from huohou.data.documents import Documents

        documents = Documents(options.files, text=options.text, split=options.split, encoding=options.encoding)
        _show_documents(documents, tokenizer, options, screen)
        return 0
    from huohou.data.dialogue_cache import DialogueSettings
    from huohou.data.dialogues import dialogues_of_files

    dialogues = dialogues_of_files(options.files, format=options.format, encoding=options.encoding)
    length = whole(options.length, key="--length", least=2)
    settings = DialogueSettings(sequence_length=length, template=options.template, learn=options.learn)
    _show_dialogues(dialogues, tokenizer, settings, options, screen)
    if dialogues.files:
        facts = dialogues.files[0]
        screen.line(Text(f"read as {facts.text}, {facts.encoding}", f"格式 {facts.text}，编码 {facts.encoding}"))
    return 0


def _of_the_model(run: RunConfig) -> str | None:
    """The folder of the model that the run goes on from, which holds its tokenizer; none for a new model."""
    if run.model.path is None:
        return None
    path = Path(run.model.path).expanduser()
    if path.is_dir():
        # A run folder keeps its model, with the tokenizer, in a folder of that name.
        return str(path / "model" if (path / "model" / "config.json").is_file() else path)
    from huohou.plan.base import base_of

    base = base_of(run)
    return run.model.path if base is None else str(base.folder)


def _tokenizer(path: str | None) -> Tokenizer | None:
    from huohou.data.tokenizer import Tokenizer

    return None if path is None else Tokenizer.load(path)


def _are_dialogues(options: argparse.Namespace) -> bool:
    """Whether the files are asked for as dialogues, or their first record is one."""
    if options.template is not None or options.format != "auto":
        return True
    if options.text is not None:
        return False
    from huohou.data.dialogue import Unusable
    from huohou.data.dialogue_forms import Layout, form_of
    from huohou.data.files import find_sources
    from huohou.data.formats import RecordFile

    path = find_sources(options.files)[0].files[0]
    first = next((record for record in RecordFile(path, encoding=options.encoding) if record.problem is None), None)
    try:
        return first is not None and bool(form_of(first.value, Layout()))
    except Unusable:
        return False


def _show_run(options: argparse.Namespace, screen: _Screen) -> None:
    from huohou.config import load_run
    from huohou.plan.corpora import readings
    from huohou.plan.dialogues import dialogue_settings

    run = load_run(options.files[0], [])
    tokenizer = _tokenizer(options.tokenizer or run.tokenizer.path or _of_the_model(run))
    for reading in readings(run):
        if reading.name:
            screen.line(Text(f"{reading.name}:", f"{reading.name}："))
        if run.stage == "sft":
            _show_dialogues(reading.train, tokenizer, dialogue_settings(run), options, screen)
        else:
            _show_documents(reading.train, tokenizer, options, screen)


def _show_documents(
    documents: Iterable[str], tokenizer: Tokenizer | None, options: argparse.Namespace, screen: _Screen
) -> None:
    for number, document in enumerate(islice(documents, options.n), start=1):
        shown = document[: options.characters]
        if tokenizer is None:
            screen.head(number, Text(f"{len(document):,} characters", f"{len(document):,} 个字符"))
            screen.body([(shown, None)])
            continue
        ids = tokenizer.encode(document).tolist()
        screen.head(number, Text(
            f"{len(document):,} characters, {len(ids) + 1:,} tokens with the end token",
            f"{len(document):,} 个字符，连同结束符 {len(ids) + 1:,} 个词元",
        ))  # fmt: skip
        end = tokenizer.decode([tokenizer.end_id])
        whole_document = len(shown) == len(document)
        screen.body([(shown + (end if whole_document else ""), True)])
        screen.numbers([*ids, tokenizer.end_id], None)


def _show_dialogues(
    dialogues: Iterable[Dialogue],
    tokenizer: Tokenizer | None,
    settings: DialogueSettings,
    options: argparse.Namespace,
    screen: _Screen,
) -> None:
    first = (dialogue.with_system(settings.system) for dialogue in islice(dialogues, options.n))
    if tokenizer is None:
        if options.template is not None:
            raise UserError(
                "--template needs a tokenizer, whose special tokens it writes: --tokenizer PATH.",
                "--template 需要分词器（模板要写它的特殊词元）：--tokenizer 路径。",
            )
        for number, dialogue in enumerate(first, start=1):
            answers = dialogue.answers if settings.learn == "all" else dialogue.answers[-1:]
            screen.head(number, Text(dialogue.place, dialogue.place))
            if dialogue.tools:
                names = ", ".join(str(tool["function"].get("name")) for tool in dialogue.tools)
                screen.body([(f"tools: {names}", None)])
            for place, message in enumerate(dialogue.messages):
                said = str(message.get("content") or message.get("tool_calls") or "")[: options.characters]
                screen.body([(f"{message['role']}: ", None), (said, place in answers)])
        return
    from huohou.data.chat_template import open_template
    from huohou.data.dialogue_cache import TODAY
    from huohou.data.dialogue_samples import Sample, Sampler, learned_runs

    template = open_template(settings.template, tokenizer, today=TODAY)
    sampler = Sampler(template, tokenizer, settings.sequence_length + 1, learn=settings.learn,
                      cut=settings.too_long == "cut")  # fmt: skip
    try:
        for number, one in enumerate(sampler.samples(first), start=1):
            place = f"{one.place}: " if one.place else ""
            if isinstance(one, Sample):
                learned = int(one.learned.sum())
                cut = Text(", cut", "，已截断") if one.cut else Text("", "")
                screen.head(number, Text(
                    f"{place}{len(one.ids):,} tokens, {learned:,} learned{cut.en}",
                    f"{place}{len(one.ids):,} 个词元，其中学习 {learned:,} 个{cut.zh}",
                ))  # fmt: skip
                screen.body(list(learned_runs(one)))
                screen.numbers(one.ids.tolist(), one.learned.tolist())
            else:
                screen.head(number, Text(f"{place}left out: {_WHY[one.why].en}", f"{place}略过：{_WHY[one.why].zh}"))
                if one.reason:
                    screen.body([(one.reason, None)])
    finally:
        template.close()


_WHY = {
    "refused": Text("the template cannot say it", "模板无法表示"),
    "nothing_to_learn": Text("there is nothing to learn in it", "没有可学的内容"),
    "too_long": Text("it is too long", "过长"),
}


class _Screen:
    """Where samples are printed: with colour on a terminal, else with marks around what is learned."""

    def __init__(self, ids: bool) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
        self._colour = self._console.is_terminal and not self._console.no_color
        self._ids = ids

    def line(self, text: Text) -> None:
        print(text)

    def head(self, number: int, what: Text) -> None:
        """The line above a sample."""
        from huohou.data.reading import visible

        print(f"—— {number} ({visible(str(what), 400)})")

    def body(self, pieces: list[tuple[str, bool | None]]) -> None:
        """A text in pieces that are learned, or not, or (None) neither."""
        from rich.text import Text as Styled

        line = Styled()
        plain = ""
        for text, learned in pieces:
            clean = "\n".join(_clean(part) for part in text.split("\n"))
            line.append(clean, "green" if learned else "bright_black" if learned is False else "")
            plain += f"{BEFORE}{clean}{BEHIND}" if learned else clean
        if self._colour:
            self._console.print(line)
        else:
            print(plain)

    def numbers(self, ids: list[Any], learned: list[bool] | None) -> None:
        """The ids of a sample."""
        if self._ids:
            pieces = [(f"{number} ", None if learned is None else flag)
                      for number, flag in zip(ids, learned or [False] * len(ids), strict=True)]  # fmt: skip
            self.body(list(_joined(pieces)))


def _joined(pieces: Iterable[tuple[str, bool | None]]) -> Iterator[tuple[str, bool | None]]:
    """Neighbours of one kind as one piece."""
    kept, kind = "", None
    for text, flag in pieces:
        if flag != kind and kept:
            yield kept, kind
            kept = ""
        kept, kind = kept + text, flag
    if kept:
        yield kept, kind


def _clean(text: str) -> str:
    from huohou.data.reading import visible

    return visible(text, len(text))
