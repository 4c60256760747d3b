"""A configuration with a learning rate whose program nobody names: what it says, and the question whose it is."""

from __future__ import annotations

import re

from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading
from huohou.audit.values import Settings, as_number

name = "unnamed"
title = "configuration of a program that is not known"

_RATE = re.compile(r"(?:base_|max_|peak_|init_|actor_|critic_)?(?:lr|learning_rate)", re.IGNORECASE)
_LENGTH = re.compile(
    r"(?:.*warmup.*|(?:num_|max_|total_|train_)?(?:train_)?(?:epochs?|steps|iters|iterations)"
    r"|total_training_steps|lr_scheduler.*)",
    re.IGNORECASE,
)


def _rates(settings: Settings) -> list[str]:
    found: list[str] = []
    for key, value in settings.values.items():
        number = as_number(value.value)
        if _RATE.fullmatch(key.rsplit(".", 1)[-1]) and number is not None and 0 < number < 100:
            found.append(key)
    return found


def sees(document: Document) -> int:
    """A rate, and a word that says how long."""
    settings = document.settings
    if settings is None or not any(_LENGTH.fullmatch(key.rsplit(".", 1)[-1]) for key in settings):
        return 0
    return 3 if _rates(settings) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """The words that it uses, with the question."""
    settings = document.settings
    assert settings is not None
    reading = Reading(name, title, settings)
    reading.facts |= {"family": "unnamed", "framework": name}
    words = [key for key in settings if key in _rates(settings) or "warmup" in key.lower()][:6]
    said = ", ".join(f"{key} = {settings.values[key].written}" for key in words)
    reading.need(
        f"which program reads this file ({said}): name its framework by --as.",
        f"哪个程序读取本文件（{said}）：请用 --as 指明框架。",
    )
    return [reading]
