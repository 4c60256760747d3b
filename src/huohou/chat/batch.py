"""Answers to all prompts of a file, several at once, in order, and going on where an earlier call stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from huohou import records
from huohou.chat.answering import Settings, answers
from huohou.chat.conversation import Conversation, Message
from huohou.data.files import reading
from huohou.data.formats import RecordFile
from huohou.data.reading import SURROGATE
from huohou.errors import UserError
from huohou.language import Text
from huohou.model.opening import Opened

_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: messages, and the place in the file that they come from."""

    messages: tuple[Message, ...]
    place: str


def read_prompts(path: Path, encoding: str = "auto") -> list[Prompt]:
    """The prompts of a file: a line each in txt, else a record with ``prompt``, ``messages`` or ``instruction``.

    Empty lines are left out. Raises ``UserError`` with the line of a record that is none of these.
    """
    if not path.is_file():
        raise UserError(f"--file {path}: there is no such file.", f"--file {path}：没有这个文件。")
    found: list[Prompt] = []
    with reading(path):
        for record in RecordFile(path, encoding=encoding):
            place = f"{path}:{record.line}"
            if record.problem is not None:
                raise UserError(f"{place}: {record.problem.en}.", f"{place}：{record.problem.zh}。")
            messages = _messages(record.value)
            if messages is None:
                raise UserError(
                    f"{place}: this record is no prompt; write a text, or an object with prompt (text), messages (the "
                    "last one the user's) or instruction.",
                    f"{place}：这条记录不是提示；请写一段文本，或带 prompt（文本）、messages（最后一条是用户的）"
                    "或 instruction 的对象。",
                )
            if messages:
                found.append(Prompt(messages, place))
    if not found:
        raise UserError(f"--file {path}: it holds no prompt.", f"--file {path}：里面没有提示。")
    return found


def _messages(value: Any) -> tuple[Message, ...] | None:
    """A record as messages; () for an empty line, None for what is no prompt."""
    if isinstance(value, str):
        said = value
    elif isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        if isinstance(fields.get("messages"), list):
            return _checked(fields["messages"])
        said = fields.get("prompt", fields.get("instruction"))
        more = fields.get("input")
        if isinstance(said, str) and isinstance(more, str) and more and "prompt" not in fields:
            said = f"{said}\n{more}"
        if not isinstance(said, str) or not said.strip():
            return None
        system = fields.get("system")
        if isinstance(system, str) and system:
            return _checked([{"role": "system", "content": system}, {"role": "user", "content": said}])
    else:
        return None
    return _checked([{"role": "user", "content": said}]) if said.strip() else ()


def _checked(messages: list[Any]) -> tuple[Message, ...] | None:
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            return None
        if not isinstance(message.get("content"), str) or SURROGATE.search(message["content"]):
            return None
    fine = bool(messages) and messages[-1]["role"] in ("user", "tool")
    return tuple(messages) if fine else None


def answer_file(
    opened: Opened,
    blank: Conversation,
    prompts: list[Prompt],
    settings: Settings,
    output: Path,
    *,
    at_once: int,
    overwrite: bool = False,
    say: Callable[[Text], None],
) -> int:
    """Answer every prompt into ``output`` (jsonl, in the order of the prompts); returns how many were answered now.

    An ``output`` that a call with the same model, prompts and settings left unfinished is gone on with, and ends as it
    would have in one go. Any other existing file is a ``UserError`` unless ``overwrite``.
    """
    key = _key(opened, blank, settings, at_once)
    done = 0 if overwrite else _done(output, prompts, key)
    # What is drawn for a prompt depends on which are answered with it, so a half-finished group begins anew.
    done -= done % at_once if done < len(prompts) else 0
    _keep(output, done)
    if done:
        say(Text(f"{done} of {len(prompts)} are answered already", f"{len(prompts)} 条中已有 {done} 条回答"))
    made = 0
    for first in range(done, len(prompts), at_once):
        group = prompts[first : first + at_once]
        asked = [_tokens(opened, blank, settings, prompt) for prompt in group]
        written = answers(
            opened,
            asked,
            settings,
            stop_ids=blank.stop_ids(),
            seed=settings.seed + first // at_once,
            continues=blank.template is None,
        )
        rows = "".join(
            records.line_of(
                {
                    "index": first + i,
                    "messages": list(prompt.messages),
                    "answer": one.text,
                    "tokens": one.tokens,
                    "ended": one.ended,
                    "key": key,
                }
            )
            + "\n"
            for i, (prompt, one) in enumerate(zip(group, written, strict=True))
        )
        with open(output, "a", encoding="utf-8", newline="\n") as file:
            file.write(rows)
        made += len(group)
        say(Text(f"{first + len(group)} of {len(prompts)}", f"{first + len(group)}/{len(prompts)}"))
    return made


def _tokens(opened: Opened, blank: Conversation, settings: Settings, prompt: Prompt) -> list[int]:
    conversation = Conversation(blank.tokenizer, blank.template, blank.begin, blank.system)
    conversation.messages = list(prompt.messages)
    if prompt.messages[0]["role"] == "system":
        conversation.system = None
    room = opened.model.context
    try:
        ids = conversation.prompt()
        if room is not None and len(ids) >= room:
            raise UserError(
                f"the prompt has {len(ids)} tokens, but the model has room for {room}; shorten it.",
                f"提示有 {len(ids)} 个词元，而模型只容得下 {room} 个；请缩短它。",
            )
        return ids
    except UserError as error:
        text = error.text
        raise UserError(f"{prompt.place}: {text.en}", f"{prompt.place}：{text.zh}") from None


def _key(opened: Opened, blank: Conversation, settings: Settings, at_once: int) -> str:
    """What decides the answers beside the prompts."""
    template = None if blank.template is None else blank.template.source
    grouped = at_once if settings.sampling.temperature else 0
    parts = [opened.content_hash(), opened.tokenizer.fingerprint, opened.dtype, template, blank.system]
    return hashlib.sha256(json.dumps([*parts, settings.plain(), grouped]).encode()).hexdigest()[:16]


def _done(output: Path, prompts: list[Prompt], key: str) -> int:
    """How many of the first prompts are answered there already."""
    if not output.exists():
        return 0
    refusal = UserError(
        f"--output {output}: it exists and was not made from these prompts with this model and these settings; name "
        "another file, or replace it with --overwrite.",
        f"--output {output}：已存在，且不是用这些提示、这个模型和这些设置生成的；"
        "请换一个文件名，或用 --overwrite 覆盖。",
    )
    if not output.is_file():
        raise refusal
    count = 0
    with open(output, encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            if not line.endswith("\n"):
                break
            try:
                row: Any = json.loads(line)
                same = row["key"] == key and row["index"] == count and count < len(prompts)
                same = same and row["messages"] == list(prompts[count].messages)
            except (ValueError, KeyError, TypeError):
                same = False
            if not same:
                raise refusal
            count += 1
    return count


def _keep(output: Path, lines: int) -> None:
    """Leave the first lines of a file; what a killed call wrote after them is cut off."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        return
    with open(output, "rb+") as file:
        for _ in range(lines):
            file.readline()
        file.truncate(file.tell())
        os.fsync(file.fileno())
