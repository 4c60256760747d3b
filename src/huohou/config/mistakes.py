"""All mistakes of a run file in one sentence: the first is told, the others are counted and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from huohou.config.diagnose import UNUSUAL
from huohou.config.kinds import KEY, Wrong
from huohou.errors import UserError
from huohou.language import Text

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        key: The key as it was written.
        text: The sentence, without its place and its full stop.
        where: Its place, such as ``run.yaml:3:9``.
        line: For the order; 0 where there are no lines.
        absent: Whether something was not written at all, which may be only the shadow of another mistake.
    """

    key: str
    text: Text
    where: str
    line: int = 0
    absent: bool = False

    @classmethod
    def of(cls, wrong: Wrong, *, key: str, value: str, where: str, line: int) -> Mistake:
        """The mistake that one value is."""
        if wrong.whole:
            # The key is named with its section once; what is to be written is then the key alone.
            en, zh = (
                part.replace(KEY, key, 1).replace(KEY, key.rpartition(".")[2])
                for part in (wrong.text.en, wrong.text.zh)
            )
            text = Text(en.rstrip("."), zh.rstrip("。"))
        else:
            reason = _full_width(value) or wrong.text
            text = Text(f"{key} is {value}, but {reason.en}", f"{key} 的值是 {value}，{reason.zh}")
        return cls(key, text, where, line)


def _full_width(written: str) -> Text | None:
    """A full-width sign in a value that could not be read is probably why."""
    if written[:1] in ("'", '"'):
        return None
    return next((UNUSUAL[character] for character in written if character in UNUSUAL), None)


def shown(value: Any) -> str:
    """A value as it was written, on one line and not too long."""
    if isinstance(value, bool):
        value = str(value).lower()
    text = " ".join(str(value).split()) or '""'
    return text if len(text) <= 60 else text[:57] + "…"


def told(mistakes: Sequence[Mistake]) -> UserError:
    """The error that tells of all of them."""
    written = [mistake for mistake in mistakes if not mistake.absent]
    first, *others = sorted(written or mistakes, key=lambda mistake: mistake.line)
    en, zh = f"{first.where}: {first.text.en}", f"{first.where}: {first.text.zh}"
    if others:
        named = [one.key + (f" (line {one.line})" if one.line else "") for one in others[:_MOST_NAMED]]
        zh_named = [one.key + (f"（第 {one.line} 行）" if one.line else "") for one in others[:_MOST_NAMED]]
        more = len(others) > _MOST_NAMED
        en += f" (and {len(others)} more: {', '.join(named)}{', …' if more else ''})"
        zh += f"（另有 {len(others)} 处：{'、'.join(zh_named)}{'……' if more else ''}）"
    return UserError(_ended(en, "."), _ended(zh, "。"))


def _ended(sentence: str, stop: str) -> str:
    return sentence if sentence.endswith(("?", "？", "…")) else sentence + stop
