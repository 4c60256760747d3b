"""Findings that somebody takes back: by a comment in the file, or by configuration found above it; each with a reason.

Configuration is ``[tool.huohou.audit]`` of a ``pyproject.toml``, or ``[audit]`` of ``.huohou.toml`` or ``huohou.toml``:
the first one on the way up from the file, up to the repository's root.

```toml
[audit]
fail-on = "warning"

[audit.ignore]
updates-at-zero = "the library does so"

[audit.severity]
no-warmup = "warning"

[audit.paths."legacy/**"]
two-schedulers = "kept as they were run"
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from huohou.audit.reading import SEVERITIES, Severity
from huohou.audit.source import Source
from huohou.errors import UserError

COMMENT = re.compile(r"huohou:\s*ignore\[([\w\-, ]+)\][ \t]*(.*)")
NAMES = (".huohou.toml", "huohou.toml", "pyproject.toml")
"""The files of configuration, in the order in which one folder's are looked for."""

_LARGEST = 1024 * 1024
_KEYS = ("ignore", "paths", "severity", "fail-on")


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment that takes a rule back, on a line."""

    rule: str
    line: int
    reason: str


@lru_cache(maxsize=1)
def comments(text: str) -> tuple[Comment, ...]:
    """Every rule that a comment of the text names."""
    found: list[Comment] = []
    if "huohou:" not in text:
        return ()
    for number, line in enumerate(text.split("\n"), 1):
        match = COMMENT.search(line)
        if match is not None:
            # A comment of another language may close behind the reason.
            reason = match.group(2).strip().removesuffix("-->").removesuffix("*/").strip()
            found += [Comment(rule.strip(), number, reason) for rule in match.group(1).split(",") if rule.strip()]
    return tuple(found)


def taken_back(text: str) -> dict[tuple[str, int], str]:
    """(rule, line) for the line of each comment and the one below it; a comment that stands alone within the first
    three lines holds for the whole file, which is line 0."""
    found: dict[tuple[str, int], str] = {}
    named = comments(text)
    lines = text.split("\n") if named else []
    for comment in named:
        found[comment.rule, comment.line] = comment.reason
        if lines[comment.line - 1].strip().startswith(("#", "//")):
            found[comment.rule, comment.line + 1] = comment.reason
            if comment.line <= 3:
                found[comment.rule, 0] = comment.reason
    return found


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a project says of the audit.

    Attributes:
        file: Where it says so.
        ignore: From rules to the reason for which they are not wanted.
        paths: The same for files whose path, from the configuration's folder, fits a pattern.
        severity: From rules to the severity that they have here.
        fail_on: The severity from which the exit status is 1, where it says one.
        unreasoned: Rules that it ignores without a reason.
    """

    file: Path
    ignore: Mapping[str, str] = field(default_factory=dict[str, str])
    paths: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, "Mapping[str, str]"])
    severity: Mapping[str, Severity] = field(default_factory=dict[str, Severity])
    fail_on: str | None = None
    unreasoned: tuple[str, ...] = ()

    def reason(self, rule: str, file: Path | None) -> str | None:
        """Why a rule does not hold for a file; ``None`` where it does."""
        if rule in self.ignore:
            return self.ignore[rule]
        if file is None:
            return None
        try:
            below = file.resolve().relative_to(self.file.parent.resolve()).as_posix()
        except (ValueError, OSError):
            return None
        for pattern, rules in self.paths.items():
            if rule in rules and (fnmatch(below, pattern) or below.startswith(pattern.rstrip("/") + "/")):
                return rules[rule]
        return None


def configuration(source: Source, rules: Iterable[str]) -> Configuration | None:
    """The configuration that holds for a source: from its folder upwards; for one without a file, the working folder.

    Raises:
        UserError: It is no TOML, names a rule that does not exist, or says what nobody understands.
    """
    start = source.path.resolve().parent if source.path is not None else Path.cwd()
    for folder in (start, *start.parents):
        for name in NAMES:
            file = folder / name
            found = _table(file) if file.is_file() else None
            if found is not None:
                return _read(file, found, set(rules))
        if (folder / ".git").exists():
            break
    return None


def _table(file: Path) -> Mapping[str, Any] | None:
    """The audit's own table of a file; ``None`` where there is none."""
    try:
        if file.stat().st_size > _LARGEST:
            return None
        with open(file, "rb") as opened:
            data: Any = tomllib.load(opened)
    except OSError:
        return None
    except (ValueError, RecursionError) as error:
        # What is no TOML, and what is nested too deep to be read.
        if file.name == "pyproject.toml":
            return None
        raise UserError(f"{file} is no TOML: {error}.", f"{file} 不是合法的 TOML：{error}。") from None
    for key in ("tool", "huohou", "audit") if file.name == "pyproject.toml" else ("audit",):
        data = data.get(key) if isinstance(data, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    return cast("Mapping[str, Any]", data) if isinstance(data, dict) else None


def _read(file: Path, table: Mapping[str, Any], rules: set[str]) -> Configuration:
    for key in table:
        if key not in _KEYS:
            raise _wrong(file, key, table[key], ", ".join(_KEYS))
    ignore, unreasoned = _reasons(file, "ignore", table.get("ignore", {}), rules)
    paths: dict[str, Mapping[str, str]] = {}
    for pattern, inner in _mapping(file, "paths", table.get("paths", {})).items():
        paths[pattern], more = _reasons(file, f"paths.{pattern}", inner, rules)
        unreasoned += more
    severity = _mapping(file, "severity", table.get("severity", {}))
    for rule, level in severity.items():
        _known(file, rule, rules)
        if level not in SEVERITIES:
            raise _wrong(file, f"severity.{rule}", level, ", ".join(SEVERITIES))
    fail_on = table.get("fail-on")
    if fail_on is not None and fail_on not in (*SEVERITIES, "never"):
        raise _wrong(file, "fail-on", fail_on, ", ".join((*SEVERITIES, "never")))
    return Configuration(file, ignore, paths, cast("Mapping[str, Severity]", severity), fail_on, unreasoned)


def _mapping(file: Path, key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(file, key, value, "a table", "一个表")
    return cast("Mapping[str, Any]", value)


def _reasons(file: Path, key: str, value: Any, rules: set[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """From rules to reasons; a list of rules has none."""
    if isinstance(value, list):
        value = dict.fromkeys(map(str, cast("list[Any]", value)), "")
    found: dict[str, str] = {}
    for rule, reason in _mapping(file, key, value).items():
        _known(file, rule, rules)
        if not isinstance(reason, str):
            raise _wrong(file, f"{key}.{rule}", reason, "the reason, as text", "理由（文本）")
        found[rule] = reason.strip()
    return found, tuple(rule for rule, reason in found.items() if not reason)


def _known(file: Path, rule: str, rules: set[str]) -> None:
    if rule in rules:
        return
    import difflib

    near = difflib.get_close_matches(rule, sorted(rules), 1, 0)
    did, zh = (f"; did you mean {near[0]}?", f"；是不是 {near[0]}？") if near else (".", "。")
    raise UserError(f"{file} names the rule {rule}, which does not exist{did}", f"{file} 提到的规则 {rule} 不存在{zh}")


def _wrong(file: Path, key: str, value: Any, right: str, right_zh: str | None = None) -> UserError:
    return UserError(
        f"{file}: {key} is {value!r}, but the audit understands {right} there.",
        f"{file}：{key} 是 {value!r}，此处可写 {right_zh or right}。",
    )
