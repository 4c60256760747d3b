"""An argument parser whose mistakes are one sentence, in the language in force."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from huohou.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse, with errors raised as :class:`UserError` and the nearest known flag named."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)  # pyright: ignore[reportArgumentType]

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Flags and other words in any order; a verb with verbs of its own takes them in theirs."""
        if self._subparsers is not None:
            return self.parse_args(arguments)
        return self.parse_intermixed_args(arguments)

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            raise self.unknown(unknown[0])
        raise UserError(
            f"{self.prog}: {message}; {self.prog} --help shows what can be written.",
            f"{self.prog}: 参数有误（{message}）；用 {self.prog} --help 查看可用的写法。",
        )

    def unknown(self, flag: str) -> UserError:
        """The error for a flag that does not exist."""
        import difflib

        known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        near = difflib.get_close_matches(flag.partition("=")[0], known, 1, 0.5)
        hint_en = f"did you mean {near[0]}?" if near else f"{self.prog} --help lists the flags."
        hint_zh = f"是不是 {near[0]}？" if near else f"用 {self.prog} --help 查看可用的参数。"
        return UserError(f"{self.prog} does not know {flag}; {hint_en}", f"{self.prog} 不认识 {flag}；{hint_zh}")


def dashes(arguments: Sequence[str]) -> list[str]:
    """``--warmup_rate`` and ``--warmup-rate`` are one flag: underscores in a flag's name become dashes."""
    made: list[str] = []
    for i, argument in enumerate(arguments):
        if argument == "--":
            return [*made, *arguments[i:]]
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            argument = name.replace("_", "-") + equals + value
        made.append(argument)
    return made
