"""A conversation in a terminal or through a pipe: lines in, answers out, and commands that begin with a slash."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import torch

from huohou.chat.answering import Settings, answer
from huohou.chat.conversation import Conversation
from huohou.chat.streaming import harmless
from huohou.data.reading import SURROGATE
from huohou.errors import UserError
from huohou.language import Text
from huohou.model.opening import Opened
from huohou.records import write_atomically

COMMANDS = {
    "/help": Text("what can be written", "可用的命令"),
    "/reset": Text("forget everything said so far", "忘掉到目前为止的对话"),
    "/system [TEXT]": Text(
        "set the system message and begin anew; alone: show it", "设置系统提示并重新开始；不写内容则显示它"
    ),
    "/set [NAME=VALUE]": Text(
        "change a setting, such as temperature=0.5; alone: show all", "修改设置，例如 temperature=0.5；不写则全部显示"
    ),
    "/retry": Text("answer the last message again", "重新回答上一条消息"),
    "/undo": Text("take the last message and its answer back", "撤回上一条消息及其回答"),
    "/save FILE": Text("write the conversation as JSON", "把对话保存为 JSON"),
    "/exit": Text("leave (Ctrl-D too)", "退出（Ctrl-D 也可以）"),
}


def lines_of(source: TextIO) -> Iterator[str]:
    """What is typed, a message at a time; a backslash at a line's end goes on with the next line."""
    terminal = source.isatty()
    if terminal:
        # With it the line can be edited, and characters of two columns are deleted as one.
        with suppress(ImportError):
            import readline  # noqa: F401
    kept = ""
    warned = False
    while True:
        try:
            if terminal:
                line = input("… " if kept else "> ")
            else:
                line = source.readline()
                if not line:
                    break
                line = line.rstrip("\r\n")
        except EOFError:
            break
        except KeyboardInterrupt:
            if warned or not terminal:
                raise
            warned, kept = True, ""
            print(Text("\n(Ctrl-C again or /exit leaves)", "\n（再按一次 Ctrl-C 或输入 /exit 退出）"), file=sys.stderr)
            continue
        warned = False
        if line.endswith("\\"):
            kept += line[:-1] + "\n"
            continue
        yield kept + line
        kept = ""
    if kept:
        yield kept.rstrip("\n")


@dataclass(slots=True)
class Session:
    """One conversation with its settings; ``out`` gets the answers, ``note`` everything else."""

    opened: Opened
    conversation: Conversation
    settings: Settings
    out: TextIO
    note: Callable[[object], None]
    generator: torch.Generator = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        self.generator.manual_seed(self.settings.seed)

    def run(self, messages: Iterator[str]) -> None:
        """Until the messages end or one says so; a mistake is said and the session goes on."""
        for message in messages:
            try:
                if message.startswith("//"):
                    self.ask(message[1:])
                elif message.startswith("/"):
                    if not self._command(message):
                        return
                elif message.strip():
                    self.ask(message)
            except UserError as error:
                self.note(error)

    def ask(self, text: str) -> str:
        """Say something and write the answer as it comes. Ctrl-C ends the answer; what was written of it is kept."""
        if SURROGATE.search(text):
            raise UserError(
                "this line is not text in the terminal's encoding; set the terminal and its locale to UTF-8.",
                "这一行不是终端编码的文本；请把终端和 locale 设为 UTF-8。",
            )
        self.conversation.say(text)
        try:
            room = self.opened.model.context
            # A short answer must be possible even where the longest one leaves no room for what was said.
            spare = None if room is None else room - min(self.settings.max_tokens, max(room // 2, 1))
            prompt, left_out = self.conversation.fitted(spare)
            if left_out:
                self.note(
                    Text(
                        f"({left_out} earliest rounds no longer fit and are not read)",
                        f"（最早的 {left_out} 轮已放不下，本次不再读取）",
                    )
                )
            pieces = answer(
                self.opened,
                prompt,
                self.settings,
                stop_ids=self.conversation.stop_ids(),
                generator=self.generator,
                continues=self.conversation.template is None,
            )
        except UserError:
            self.conversation.take_back()
            raise
        written: list[str] = []
        stopped = False
        try:
            for piece in pieces:
                written.append(piece)
                self.out.write(harmless(piece))
                self.out.flush()
        except KeyboardInterrupt:
            stopped = True
        self.out.write("\n")
        self.out.flush()
        if stopped:
            self.note(Text("(stopped)", "（已停止）"))
        self.conversation.answered("".join(written))
        return "".join(written)

    def _command(self, line: str) -> bool:
        """Do what a command says; False where it says to leave."""
        name, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        conversation = self.conversation
        if name in ("/exit", "/quit", "/bye"):
            return False
        if name in ("/help", "/?"):
            width = max(map(len, COMMANDS))
            self.note("\n".join(f"{command:<{width}}  {text}" for command, text in COMMANDS.items()))
        elif name in ("/reset", "/clear"):
            conversation.messages.clear()
            self.note(Text("(a new conversation)", "（新的对话）"))
        elif name == "/system":
            if rest:
                conversation.system = rest
                conversation.messages.clear()
                self.note(Text("(system message set; a new conversation)", "（已设置系统提示，开始新的对话）"))
            else:
                self.note(conversation.system or Text("(no system message)", "（没有系统提示）"))
        elif name == "/set":
            self._set(rest)
        elif name == "/retry":
            said = conversation.take_back()
            if said is None:
                raise _nothing_said()
            self.ask(said)
        elif name == "/undo":
            if conversation.take_back() is None:
                raise _nothing_said()
            self.note(Text("(taken back)", "（已撤回）"))
        elif name == "/save":
            self._save(rest)
        else:
            raise UserError(
                f"there is no command {name}; /help lists them, and // begins a message with a slash.",
                f"没有命令 {name}；/help 列出所有命令；以斜杠开头的消息请写 //。",
            )
        return True

    def _set(self, rest: str) -> None:
        if rest:
            name, equals, value = rest.partition("=")
            try:
                number = float(value)
            except ValueError:
                equals = ""
                number = 0.0
            if not equals:
                raise UserError(
                    "write /set NAME=NUMBER, such as /set temperature=0.5.",
                    "请写 /set 名称=数值，例如 /set temperature=0.5。",
                )
            self.settings = self.settings.with_value(name.strip().replace("-", "_"), number)
            if name.strip() == "seed":
                self.generator.manual_seed(self.settings.seed)
        self.note("  ".join(f"{name}={value}" for name, value in self.settings.plain().items()))

    def _save(self, rest: str) -> None:
        path = Path(rest).expanduser()
        if not rest or path.exists():
            raise UserError(
                f"/save {rest}: write the name of a file that does not exist yet.",
                f"/save {rest}：请写一个还不存在的文件名。",
            )
        plain = json.dumps({"messages": self.conversation.all_messages()}, ensure_ascii=False)
        try:
            write_atomically(path, plain + "\n")
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({error.strerror}).", f"{path} 无法写入（{error.strerror}）。"
            ) from None
        self.note(Text(f"(saved to {path})", f"（已保存到 {path}）"))


def _nothing_said() -> UserError:
    return UserError("nothing has been said yet.", "还没有说过话。")
