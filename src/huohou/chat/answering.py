"""Answers as they are written, one at a time or several together, with one set of settings."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from huohou.chat.streaming import TextStream
from huohou.errors import UserError
from huohou.model.generate import generate, stream
from huohou.model.opening import Opened
from huohou.model.sampling import Sampling

_CONTEXT = 8
"""Tokens before an answer that decide how its first token reads."""

_WHOLE = {"max_tokens": 1, "seed": 0, "top_k": 0}
"""The settings that are whole numbers, and the least of each."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are written: the sampling, how long they may be, and the seed of what is drawn."""

    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, top_p=0.9))
    max_tokens: int = 512
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self.sampling), "max_tokens": self.max_tokens, "seed": self.seed}

    def with_value(self, name: str, value: float) -> Settings:
        """With another value of one setting; ``UserError`` for a name that does not exist or a value out of range."""
        if name in _WHOLE and not (value == value // 1 and _WHOLE[name] <= value < 2**63):
            raise UserError(
                f"{name} is {value:g}; it must be a whole number from {_WHOLE[name]} on.",
                f"{name} 是 {value:g}；应为不小于 {_WHOLE[name]} 的整数。",
            )
        if name in ("max_tokens", "seed"):
            return replace(self, **{name: int(value)})
        if name not in asdict(self.sampling):
            names = ", ".join(self.plain())
            raise UserError(f"there is no setting {name}; there are {names}.", f"没有设置 {name}；可用的有 {names}。")
        kept = int(value) if name in _WHOLE else value
        return replace(self, sampling=replace(self.sampling, **{name: kept}))


def settings_of(folder: Path, given: Mapping[str, float]) -> Settings:
    """Settings as given, else as the model's ``generation_config.json`` says, else huohou's own."""
    settings = Settings()
    path = folder / "generation_config.json"
    said: Any = {}
    if path.is_file():
        try:
            said = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError):
            said = {}
    if isinstance(said, dict) and said.get("do_sample"):
        for name in asdict(settings.sampling):
            value: Any = said.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                settings = settings.with_value(name, value)
    for name, value in given.items():
        settings = settings.with_value(name, value)
    return settings


def answer(
    opened: Opened,
    prompt: Sequence[int],
    settings: Settings,
    *,
    stop_ids: Collection[int],
    generator: torch.Generator,
    continues: bool = False,
) -> Iterator[str]:
    """The answer to a prompt, piece by piece, each of whole characters.

    ``continues``: the answer goes on with the prompt's text, so a space between the two is kept.
    """
    text = TextStream(opened.tokenizer, prompt[-_CONTEXT:] if continues else ())
    tokens = stream(
        opened.model, [prompt], _length(opened, prompt, settings), settings.sampling, stop_ids=stop_ids,
        generator=generator,
    )  # fmt: skip
    for _, token in tokens:
        piece = text.add(token)
        if piece:
            yield piece
    piece = text.end()
    if piece:
        yield piece


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its text, how many tokens it has, and whether it came to its own end."""

    text: str
    tokens: int
    ended: bool


def answers(
    opened: Opened,
    prompts: Sequence[Sequence[int]],
    settings: Settings,
    *,
    stop_ids: Collection[int],
    seed: int,
    continues: bool = False,
) -> list[Answer]:
    """The answers to several prompts, written together; what is drawn depends on the seed and the prompts alone.

    A prompt behind which there is no room for all of ``max_tokens`` is answered by itself, so that it shortens no
    other answer.
    """
    room = opened.model.context
    full = [i for i, ids in enumerate(prompts) if room is None or len(ids) + settings.max_tokens <= room]
    groups = [full] if full else []
    groups += [[i] for i in range(len(prompts)) if i not in full]
    made: dict[int, Answer] = {}
    generator = torch.Generator().manual_seed(seed)
    for group in groups:
        rows = [prompts[i] for i in group]
        length = _length(opened, rows[0], settings)
        written = generate(
            opened.model, rows, length, **asdict(settings.sampling), stop_ids=stop_ids, generator=generator
        )
        for i, ids in zip(group, written, strict=True):
            text = TextStream(opened.tokenizer, prompts[i][-_CONTEXT:] if continues else ())
            pieces = [*map(text.add, ids), text.end()]
            made[i] = Answer("".join(pieces), len(ids), len(ids) < length)
    return [made[i] for i in range(len(prompts))]


def _length(opened: Opened, prompt: Sequence[int], settings: Settings) -> int:
    """New tokens that fit behind a prompt, ``max_tokens`` at most."""
    room = opened.model.context
    return settings.max_tokens if room is None else max(1, min(settings.max_tokens, room - len(prompt)))
