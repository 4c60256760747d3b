"""The example run files that come with the package."""

from __future__ import annotations

import json
import re
from importlib.resources import files

from huohou.config.presets import preset
from huohou.config.shapes import count_parameters
from huohou.language import Language

_PEAKS = ((50_000_000, "1e-3"), (300_000_000, "6e-4"))
"""The peak to begin with, by parameters below; larger models begin with 3e-4. These are usual published values."""


def template(name: str) -> str:
    """The text of an example: ``demo.yaml``, ``run.en.yaml`` or ``run.zh.yaml``."""
    return (files("huohou") / "templates" / name).read_text(encoding="utf-8")


def example(language: Language, *, name: str, model: str = "4m", data: str | None = None) -> str:
    """A commented run file to start from.

    Args:
        language: Of the comments.
        name: Of the run.
        model: A preset.
        data: What to train on; the generated corpus where it is ``None``.

    Raises:
        UserError: There is no such preset.
    """
    chosen = preset(model)
    total = count_parameters(chosen.dims, chosen.vocab_size).total
    peak = next((rate for most, rate in _PEAKS if total < most), "3e-4")
    text = template(f"run.{language}.yaml")
    text = _put(text, "name", _word(name))
    text = _put(text, "preset", chosen.name)
    text = _put(text, "vocab_size", str(chosen.vocab_size))
    text = _put(text, "peak", peak)
    if data is not None:
        text = re.sub(r"  embedded:.*\n    characters:.*\n", "", text)
        text = text.replace("  # train: corpus.jsonl  ", "  train: corpus.jsonl    ")
        text = _put(text, "train", _word(data))
    return text


def _put(text: str, key: str, value: str) -> str:
    """The text with another value under a key that holds one; the comment stays in its column where it can."""

    def line(match: re.Match[str]) -> str:
        return f"{match[1]}{value}".ljust(len(match[0])) + (" " if len(value) > len(match[0]) - len(match[1]) else "")

    return re.sub(rf"(?m)^( *{key}: )\S+ *", line, text, count=1)


def _word(value: str) -> str:
    """A value as YAML: in quotes where it could mean something else."""
    return value if re.fullmatch(r"[A-Za-z./_][\w./-]*", value) and not _MEANS_MORE.fullmatch(value) else _quoted(value)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


_MEANS_MORE = re.compile(r"(?i)y|n|yes|no|on|off|true|false|null|\.inf|\.nan|[.\d_]+(e[+-]?\d+)?")
