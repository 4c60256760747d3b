"""What share of the questions a model answers rightly, and how sure that share is."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from huohou.data.embedded.numerals import with_digits
from huohou.data.embedded.questions import Question

_NORMAL_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""
_INVISIBLE = "Cf"
_AFTER_NUMBER = re.compile(r"[.,:/'~\-][0-9]|%|‰|°")
"""After an answer that ends in a digit this goes on with the number: 8.5, 8:30, 8-10 and 8% are not 8."""
_JOINING = "、/-_~·"
"""After a word this goes on with it or lists further answers."""


@dataclass(frozen=True, slots=True)
class Score:
    """How many answers are right, in all and by kind of question (right, total), as a share from 0 to 1, and between
    which shares the true one lies with 95 % confidence (Wilson's interval)."""

    right: int
    total: int
    by_kind: dict[str, tuple[int, int]]
    share: float
    interval: tuple[float, float]


def score(answers: Sequence[str], questions: Sequence[Question]) -> Score:
    """The score of one answer for each question; a ValueError where their numbers differ or are nought."""
    if len(answers) != len(questions) or not questions:
        raise ValueError(f"{len(answers)} answers cannot be scored against {len(questions)} questions")
    by_kind: dict[str, tuple[int, int]] = {}
    for answer, question in zip(answers, questions, strict=True):
        right, total = by_kind.get(question.kind, (0, 0))
        by_kind[question.kind] = (right + is_right(answer, question.answer), total + 1)
    right = sum(count for count, _ in by_kind.values())
    return Score(right, len(questions), by_kind, right / len(questions), wilson(right, len(questions)))


def is_right(reply: str, answer: str) -> bool:
    """Whether a reply begins with the answer and the answer ends there.

    Full-width and half-width forms, capitals, spaces, and numbers in words or digits count as equal; what comes after
    the answer must be the end, a space, a line end or a punctuation mark that does not go on with a number or a list.
    """
    text, wanted = _normal(reply).lstrip(), _normal(answer).strip()
    end = _matched(text, wanted)
    return end > 0 and _ends(text, end)


def _normal(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text)
    visible = "".join(character for character in plain if unicodedata.category(character) != _INVISIBLE)
    return with_digits(visible.lower()).rstrip("。.!?！？ \t")


@lru_cache(maxsize=4096)
def _pattern(wanted: str) -> re.Pattern[str]:
    """The answer with spaces allowed where they do not part a number."""
    out = ""
    characters = [character for character in wanted if not character.isspace()]
    for place, character in enumerate(characters):
        if place and not (character.isascii() and characters[place - 1].isascii()):
            out += r"[ \t]*"
        out += re.escape(character)
    return re.compile(out)


def _matched(text: str, wanted: str) -> int:
    if not wanted:
        return 0
    match = _pattern(wanted).match(text)
    return match.end() if match else 0


def _ends(text: str, end: int) -> bool:
    if end == len(text):
        return True
    if text[end - 1].isdigit() and _AFTER_NUMBER.match(text, end):
        return False
    following = text[end]
    if following in _JOINING:
        return False
    return following.isspace() or unicodedata.category(following)[0] in "PZC"


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share of right out of total (Wilson 1927), which stays inside 0 and 1."""
    share, spread = right / total, _NORMAL_95**2 / total
    middle = share + spread / 2
    half = _NORMAL_95 * math.sqrt((share * (1 - share) + spread / 4) / total)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    # Rounding must not leave the interval short of a share of exactly 0 or 1.
    return (0.0 if right == 0 else low, 1.0 if right == total else high)
