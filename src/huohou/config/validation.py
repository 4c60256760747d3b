"""What pydantic found wrong, as mistakes at the places where the values were written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from huohou.config.entries import Entry
from huohou.config.kinds import Wrong
from huohou.config.load import Key
from huohou.config.mistakes import Mistake
from huohou.language import Text


def of_validation(error: ValidationError, entries: Mapping[Key, Entry], name: str) -> list[Mistake]:
    """The mistakes that the models found, at the places where the values were written."""
    return [_of_one(details, entries, name) for details in error.errors(include_url=False, include_input=False)]


def _of_one(details: Any, entries: Mapping[Key, Entry], name: str) -> Mistake:
    path: Key = details["loc"]
    dotted = ".".join(map(str, path))
    wrong = details.get("ctx", {}).get("error")
    if isinstance(wrong, Wrong) and wrong.keys:
        return _of_several(wrong, entries, name)
    entry = _entry(entries, path)
    if isinstance(wrong, Wrong) and entry is not None:
        return entry.mistake(wrong)
    if details["type"] == "missing":
        section, key = dotted.rpartition(".")[::2]
        example = "3e-4" if key == "peak" else "1"
        return Mistake(
            dotted,
            Text(
                f"{dotted} is missing; write for example {key}: {example} in the section {section}",
                f"缺少 {dotted}；请在 {section} 一节写上，例如 {key}: {example}",
            ),
            name,
            absent=True,
        )
    reason = str(details["msg"])
    where = entry.where() if entry else name
    return Mistake(dotted, Text(f"{dotted}: {reason}", f"{dotted}：{reason}"), where, entry.line if entry else 0)


def _of_several(wrong: Wrong, entries: Mapping[Key, Entry], name: str) -> Mistake:
    """A mistake between keys: it stands at the first that was written, and the sentence points to the second."""
    written = [entry for key in wrong.keys if (entry := _entry(entries, tuple(key.split(".")))) is not None]
    text = wrong.text
    if not written:
        return Mistake(wrong.keys[0], Text(text.en.rstrip("."), text.zh.rstrip("。")), name, absent=True)
    place = ""
    if len(written) > 1 and written[1].where() != written[0].where():
        place = written[1].where()
    return Mistake(
        written[0].key,
        Text(
            text.en.rstrip(".") + (f" (see also {place})" if place else ""),
            text.zh.rstrip("。") + (f"（另见 {place}）" if place else ""),
        ),
        written[0].where(),
        written[0].line,
    )


def _entry(entries: Mapping[Key, Entry], path: Key) -> Entry | None:
    """What was written under a key, or under the first key inside it."""
    if path in entries:
        return entries[path]
    return next((entry for key, entry in entries.items() if key[: len(path)] == path), None)
