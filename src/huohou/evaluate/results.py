"""What an evaluation writes down: everything that its numbers depend on, and nothing that changes between two calls."""

from __future__ import annotations

import math
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huohou import records
from huohou.data.chat_template import ChatTemplate
from huohou.evaluate.bank import Bank
from huohou.evaluate.choices import Choices, Tally
from huohou.evaluate.perplexity import Perplexity
from huohou.evaluate.questions import Asked
from huohou.evaluate.subjects import subject_of
from huohou.model.opening import Opened

FORMAT = 1
_PACKAGES = ("huohou", "torch", "transformers", "tokenizers", "sentencepiece", "lm-eval")


def record(opened: Opened, name: str, template: ChatTemplate | None, seed: int) -> dict[str, Any]:
    """The part that every result has: model, tokenizer, template, seed, device and versions."""
    return {
        "format": FORMAT,
        "model": {
            "name": name,
            "sha256": opened.content_hash(),
            "adapters": [str(path) for path in opened.adapters],
            "device": opened.device.type,
            "dtype": opened.dtype,
            "context": opened.model.context,
        },
        "tokenizer": opened.tokenizer.fingerprint,
        "template": None if template is None else template.label.en,
        "seed": seed,
        "versions": {"python": sys.version.split()[0], **_versions()},
        "results": {},
    }


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def of_perplexity(found: Perplexity, *, window: int, stride: int, files: list[str], content: str) -> dict[str, Any]:
    """A perplexity as plain data; ``content`` is the hash of the documents."""
    return {
        "files": files,
        "documents_sha256": content,
        "window": window,
        "stride": stride,
        "nats": found.nats,
        "tokens": found.tokens,
        "bytes": found.bytes,
        "characters": found.characters,
        "documents": found.documents,
        "empty": found.empty,
        "nats_per_token": found.nats_per_token,
        "perplexity": found.perplexity,
        "bits_per_byte": found.bits_per_byte,
    }


def of_choices(found: Choices, bank: Bank, *, shots: int, by: str, limit: int | None) -> dict[str, Any]:
    """Multiple-choice scores as plain data."""
    mean, together = found.overall()
    return {
        "split": bank.split,
        "shots": shots,
        "by": by,
        "limit": limit,
        "prompts_sha256": found.prompts_sha256,
        "shortened": found.shortened,
        "cut": found.cut,
        "mean_of_subjects": mean,
        "all": _tally(together),
        "groups": {
            group: {"mean_of_subjects": share, **_tally(tally)} for group, (share, tally) in found.groups(bank).items()
        },
        "subjects": {
            key: {"name": subject_of(bank.table, key).name, **_tally(tally), "chosen": found.chosen[key]}
            for key, tally in found.subjects.items()
        },
    }


def of_questions(found: Asked, *, seed: int) -> dict[str, Any]:
    """The score of the embedded corpus's questions as plain data."""
    return {
        "seed": seed,
        "prompts_sha256": found.prompts_sha256,
        **_tally(Tally(found.score.right, found.score.total)),
        "cut": found.cut,
        "by_kind": {kind: _tally(Tally(*pair)) for kind, pair in found.score.by_kind.items()},
        "replies": found.replies,
    }


def _tally(tally: Tally) -> dict[str, Any]:
    low, high = tally.interval
    return {"right": tally.right, "total": tally.total, "share": tally.share, "interval": [low, high]}


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON."""
    records.write_json(path, result)


def percent(tally: Tally) -> str:
    """A share with its interval, for people."""
    low, high = tally.interval
    return f"{tally.share:.1%} [{low:.1%}, {high:.1%}]"


def finite(value: float) -> str:
    """A number for people; a huge one as a power."""
    return f"{value:,.2f}" if math.isfinite(value) and value < 1e6 else f"{value:.3g}"
