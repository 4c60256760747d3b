"""Many files at once: every configuration of a folder, and a table of what was found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from huohou.audit.dialects.all import recognise
from huohou.audit.document import Document
from huohou.audit.examine import Audit, examine
from huohou.audit.reading import Given
from huohou.audit.source import read_source
from huohou.errors import UserError
from huohou.language import Text

ENDINGS = (".yaml", ".yml", ".json", ".jsonc", ".toml", ".py", ".ipynb", ".sh", ".bash", ".slurm", ".sbatch")
"""Files that may hold a configuration."""
_PASSED_OVER = {"node_modules", "__pycache__", "site-packages", "venv"}


@dataclass(slots=True)
class Several:
    """What was found in several sources.

    Attributes:
        audits: Those that train something, in the order of their names.
        errors: Files that look like a training and could not be understood, with the sentence.
        skipped: Files that are no text within bounds (too large, binary, a pipe), with the sentence.
        others: How many files configure no training.
    """

    audits: list[Audit] = field(default_factory=list[Audit])
    errors: list[tuple[str, Text]] = field(default_factory=list[tuple[str, Text]])
    skipped: list[tuple[str, Text]] = field(default_factory=list[tuple[str, Text]])
    others: int = 0


def audit_all(paths: list[str], given: Given, dialect: str | None, *, each: bool = False) -> Several:
    """Audit every file and every file in every folder; one in a folder that configures no training is only counted.

    With ``each`` the files that are named are taken as those of a folder.
    """
    found = Several()
    for path in paths:
        folder = Path(path).is_dir()
        for name in files_below(path) if folder else [path]:
            _one(name, given, dialect, found, told=not folder and not each)
    return found


def _one(name: str, given: Given, dialect: str | None, found: Several, *, told: bool) -> None:
    try:
        document = Document(read_source(name))
    except UserError as error:
        # What a person names is to be read; what merely lies in a folder may be data.
        (found.errors if told else found.skipped).append((name, error.text))
        return
    try:
        if not told and dialect is None and recognise(document) is None:
            found.others += 1
            return
        audit = examine(document, given, dialect=dialect)
    except UserError as error:
        found.errors.append((name, error.text))
        return
    found.audits.append(audit)


def files_below(folder: str) -> Iterator[str]:
    """The files of a folder tree that may hold a configuration, in the order of their names; hidden ones are not."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _PASSED_OVER)
        for name in sorted(names):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield str(Path(here) / name)


def table(found: Several) -> str:
    """One line a file: its dialect, T, W, peak, and the number of findings of each severity."""
    head = [
        str(Text("file", "文件")), str(Text("dialect", "框架")), "T", "W", str(Text("peak", "峰值")),
        str(Text("errors", "错误")), str(Text("warnings", "警告")), str(Text("notes", "提示")),
    ]  # fmt: skip
    rows = [head, *(_row(audit) for audit in found.audits)] if found.audits else []
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{name}: {text}" for name, text in [*found.errors, *found.skipped]]
    left = len(found.skipped)
    skipped = Text(f", {left} were skipped", f"，跳过 {left} 个") if left else Text("", "")
    lines.append(
        str(
            Text(
                f"{len(found.audits)} files train something, {len(found.errors)} were not understood, "
                f"{found.others} others{skipped.en}.",
                f"{len(found.audits)} 个文件配置了训练，{len(found.errors)} 个无法读懂，"
                f"其他 {found.others} 个{skipped.zh}。",
            )
        )
    )
    return "\n".join(lines)


def counts(found: Several) -> dict[str, int]:
    """How often each rule fired, the most frequent first."""
    many = Counter(each.rule for audit in found.audits for each in audit.findings)
    return dict(sorted(many.items(), key=lambda pair: (-pair[1], pair[0])))


def rule_table(found: Several) -> str:
    """One line a rule that fired: how often, and in how many files."""
    files = Counter(rule for audit in found.audits for rule in {each.rule for each in audit.findings})
    rows = [(str(Text("rule", "规则")), str(Text("findings", "问题数")), str(Text("files", "文件数")))]
    rows += [(rule, str(many), str(files[rule])) for rule, many in counts(found).items()]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{rule.ljust(width)}  {many:>8}  {inside:>6}" for rule, many, inside in rows)


def _row(audit: Audit) -> list[str]:
    curves = [role for reading in audit.readings for role in reading.roles]
    several = f" +{len(curves) - 1}" if len(curves) > 1 else ""
    counts = [sum(each.severity == severity for each in audit.findings) for severity in ("error", "warning", "note")]
    first = curves[0] if curves else None
    return [
        audit.document.source.name,
        audit.dialect,
        "?" if first is None else f"{first.applied.updates}{several}",
        "?" if first is None else f"{first.warmup:g}",
        "?" if first is None else f"{first.applied.peak:g}",
        *map(str, counts),
    ]
