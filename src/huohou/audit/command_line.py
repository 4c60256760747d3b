"""The flags of one command as settings: ``--key value``, ``--key=value``, ``--switch``, and ``key=value`` of Hydra."""

from __future__ import annotations

import re

from huohou.audit.shell import Command, Word
from huohou.audit.values import UNREADABLE, Settings, Value, as_number

_LAUNCHERS = (
    "deepspeed",
    "torchrun",
    "accelerate",
    "python",
    "python3",
    "srun",
    "mpirun",
    "nohup",
    "time",
    "sh",
    "bash",
    "uv",
    "env",
)
_KEY = re.compile(r"--?([A-Za-z][\w.\-]*)(?:=(.*))?", re.DOTALL)
_ASSIGNED = re.compile(r"([A-Za-z_+][\w./]*)=(.*)", re.DOTALL)


def is_flag(word: str) -> bool:
    """Whether a word is a flag, and not a negative number."""
    return _KEY.fullmatch(word) is not None and as_number(word) is None


def flags(command: Command, file: str) -> Settings:
    """Every flag of a command, dashes inside names as underscores; ``program`` is what is started.

    A flag followed by several words has them as a list; one followed by none is a switch, ``True``.
    """
    found = Settings(name=program(command), line=command.line)
    words = list(command.words)
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        match = _KEY.fullmatch(word.text) if is_flag(word.text) else None
        if match is None:
            assigned = _ASSIGNED.fullmatch(word.text)
            if assigned and index > 1:
                found.values[assigned.group(1).lstrip("+")] = _value(assigned.group(2), word, file)
            continue
        key, given = match.group(1).replace("-", "_"), match.group(2)
        if given is not None:
            found.values[key] = _value(given, word, file)
            continue
        values: list[Word] = []
        while index < len(words) and not is_flag(words[index].text):
            if values and key in ("m", "module"):
                # What stands behind the module is the program's own, such as Hydra's a.b=c.
                break
            values.append(words[index])
            index += 1
        if not values:
            found.values[key] = Value(True, word.line, "", file)
        elif len(values) == 1:
            found.values[key] = _value(values[0].text, values[0], file)
        else:
            members = [_plain(value.text) for value in values]
            found.values[key] = Value(members, values[0].line, " ".join(value.text for value in values), file)
    return found


def program(command: Command) -> str:
    """The script or module that a command starts behind launchers such as torchrun."""
    words = [word.text for word in command.words]
    for place, word in enumerate(words):
        if word in ("-m", "--module") and place + 1 < len(words):
            if words[place + 1] not in (
                "torch.distributed.launch",
                "torch.distributed.run",
                "accelerate.commands.launch",
            ):
                return words[place + 1]
        elif word.endswith((".py", ".sh")):
            return word
    return next(
        (w for w in words if not w.startswith("-") and w.rsplit("/", 1)[-1] not in _LAUNCHERS),
        words[0] if words else "",
    )


def _value(text: str, word: Word, file: str) -> Value:
    return Value(_plain(text), word.line, text, file)


def _plain(text: str) -> object:
    if "\ufffd" in text:
        return UNREADABLE
    number = as_number(text)
    if number is not None:
        return number
    return {"true": True, "false": False, "none": None, "null": None}.get(text.lower(), text)
