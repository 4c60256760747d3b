"""Every sentence that huohou says to a person exists twice, and one setting chooses which is shown.

A :class:`Text` is written where it is meant, English and 简体中文 side by side, so that the two cannot drift
apart in some far catalogue; it becomes a string only when it is shown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "zh"]


def language_of_environment() -> Language:
    """The language that the environment asks for: ``HUOHOU_LANG``, else the locale's variables, else English."""
    for variable in ("HUOHOU_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


_chosen: Language | None = None


def language() -> Language:
    """The language in force: the chosen one, else the environment's."""
    return _chosen or language_of_environment()


def choose_language(choice: Language | None) -> None:
    """Use this language from now on; ``None`` goes back to the environment's."""
    global _chosen
    _chosen = choice


@dataclass(frozen=True, slots=True)
class Text:
    """One meaning in two languages; ``str()`` gives the language in force."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.zh if language() == "zh" else self.en

    def plain(self) -> dict[str, str]:
        """Both languages as plain data, for files that readers of either language open."""
        return {"en": self.en, "zh": self.zh}
