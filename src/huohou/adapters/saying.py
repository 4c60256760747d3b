"""How loud a guard is, and where it speaks; needs no framework."""

from __future__ import annotations

import os
import sys
from typing import Literal, TypeAlias

from huohou.errors import RunFailed, UserError
from huohou.language import Text

Mode: TypeAlias = Literal["warn", "raise", "off"]
"""``warn`` says it once, ``raise`` stops the run with it, ``off`` does not look."""

_MODES = ("warn", "raise", "off")


class Drift(RunFailed):
    """A rate was used that is not the planned one, and the guard's mode is ``raise``."""


def check_mode(mode: str, word: str) -> None:
    """Refuse a mode that does not exist.

    Raises:
        UserError: It does not.
    """
    if mode not in _MODES:
        raise UserError(
            f"{word} is {mode!r}; write warn, raise or off.", f"{word} 的值是 {mode!r}；可写 warn、raise 或 off。"
        )


def tell(text: Text, prefix: str = "huohou: ") -> None:
    """One line on standard error, from one process of several."""
    if os.environ.get("RANK", "0") in ("", "0"):
        print(f"{prefix}{text}", file=sys.stderr, flush=True)


def length_trouble(differs: Text | None, mode: Mode) -> None:
    """What to do about a trainer that makes another number of updates than the plan.

    Raises:
        UserError: The mode is ``raise``, or does not exist.
    """
    check_mode(mode, "horizon")
    if differs is None or mode == "off":
        return
    if mode == "raise":
        raise UserError(differs.en, differs.zh)
    tell(differs)
