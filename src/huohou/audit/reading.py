"""What the audit finds in a file: the curve that will be applied, how it came about, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from huohou.audit.applied import Applied
from huohou.audit.values import Settings, Value
from huohou.language import Text

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Given:
    """What the file does not hold and flags say; each of them goes before the file.

    Attributes:
        updates: The updates that the run makes.
        samples: Training samples of an epoch.
        tokens: Training tokens of an epoch.
        gpus: Processes.
        accumulation: Micro-batches of an update.
        versions: Of frameworks, such as ``{"transformers": "4.57"}``.
    """

    updates: int | None = None
    samples: int | None = None
    tokens: int | None = None
    gpus: int | None = None
    accumulation: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    def version(self, package: str) -> tuple[int, ...] | None:
        """The version of a package as numbers, where one was given."""
        text = self.versions.get(package)
        if text is None:
            return None
        return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in text.split(".")[:3])


@dataclass(frozen=True, slots=True)
class Resolved:
    """One step from what was written to what is applied."""

    what: Text
    written: Value | None
    result: Text


@dataclass(frozen=True, slots=True)
class Role:
    """One optimizer of the run and its curve.

    Attributes:
        name: ``model``, or ``actor``, ``critic``, ``generator`` …
        applied: What is used in each update.
        warmup: Updates below the peak at the beginning, as the framework resolves what was written; may be a fraction.
        intended: What the words mean to people: from peak/W in update 1, the peak in update W, the floor in update T.
        model: The model that it trains, where the file says one.
        horizon: The number of updates that the scheduler was made for, where it is not that of the run.
    """

    name: str
    applied: Applied
    warmup: float
    intended: Applied | None = None
    model: str | None = None
    horizon: float | None = None


@dataclass(slots=True)
class Reading:
    """One configuration as a dialect understands it.

    Attributes:
        dialect: The dialect's name.
        settings: Everything that was written, from which rules read too.
        roles: The curves; empty where too little is known, see ``missing``.
        steps: From what was written to what is applied.
        assumptions: What was taken to be so because nobody said otherwise.
        missing: What has to be told, and by which flag, before more can be said.
        facts: What rules look at, under names of the field: ``scheduler``, ``warmup_steps``, ``floor`` …
        parts: Configurations that this one names and that were read too (a DeepSpeed JSON).
        refused: Why the newest version of the framework would refuse the file, where it would.
        other: The same under another era of the framework, where that decides T.
    """

    dialect: str
    title: str
    settings: Settings
    roles: list[Role] = field(default_factory=list[Role])
    steps: list[Resolved] = field(default_factory=list[Resolved])
    assumptions: list[Text] = field(default_factory=list[Text])
    missing: list[Text] = field(default_factory=list[Text])
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    parts: list[Reading] = field(default_factory=list["Reading"])
    refused: Text | None = None
    other: Sequence[tuple[str, Role]] = ()

    def assume(self, en: str, zh: str) -> None:
        """Note an assumption once."""
        text = Text(en, zh)
        if text not in self.assumptions:
            self.assumptions.append(text)

    def need(self, en: str, zh: str) -> None:
        """Note what has to be told."""
        text = Text(en, zh)
        if text not in self.missing:
            self.missing.append(text)


@dataclass(frozen=True, slots=True)
class Edit:
    """A mechanical repair: the text of one line of a file from ``old`` to ``new``."""

    file: str
    line: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where.

    Attributes:
        rule: The rule's id.
        file, line: The place; line 0 where it is the file as a whole.
        message: What is wrong, with the numbers.
        fix: What to write instead.
        edits: The same as edits of the file, where it is mechanical.
    """

    rule: str
    severity: Severity
    file: str
    line: int
    message: Text
    fix: Text
    edits: tuple[Edit, ...] = ()
