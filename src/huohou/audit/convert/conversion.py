"""Convert what was found in a source: the closest arguments of a target, read back, and what still differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from huohou.audit.applied import Applied
from huohou.audit.convert.all import OURS, target
from huohou.audit.convert.search import Values, closest
from huohou.audit.convert.target import remark
from huohou.audit.convert.wanted import Apart, Wanted, apart
from huohou.audit.dialects.all import named
from huohou.audit.document import Document
from huohou.audit.examine import Audit
from huohou.audit.plain import named_roles
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.source import Source
from huohou.errors import UserError
from huohou.language import Text

_FAR = 0.25
"""From here on the closest is not close."""


@dataclass(frozen=True, slots=True)
class Converted:
    """One role of a source in another language.

    Attributes:
        role: The role's name.
        to: The target's name.
        suffix: The ending of a file that holds it.
        text: The whole text, comments included.
        curve: The rate of every update that the target applies, as the audit reads the text.
        apart: The largest remaining difference.
        notes: What differs and what was left out, in words.
    """

    role: str
    to: str
    suffix: str
    text: str
    curve: Callable[[int], float]
    apart: Apart
    notes: tuple[Text, ...] = ()

    def said(self) -> Text:
        """The remaining difference in words."""
        return said(self.apart, self.curve, self.to)

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "to": self.to,
            "text": self.text,
            "largest_difference": self.apart.share,
            "at": self.apart.update,
            "same": self.apart.same,
            "notes": [note.plain() for note in self.notes],
        }


def said(found: Apart, curve: Callable[[int], float], to: str) -> Text:
    """How far a conversion is from its source, in words."""
    if found.same:
        return Text(
            f"{to} applies the same rate in every update (to 1e-12 of the peak).",
            f"{to} 在每一步使用的学习率都相同（误差不超过峰值的 1e-12）。",
        )
    here = curve(found.update)
    far = Text("", "")
    if found.share > _FAR:
        far = Text(f" {to} has nothing that follows this curve.", f"{to} 没有能跟随这条曲线的写法。")
    return Text(
        f"largest remaining difference: {found.share:.3g} of the peak, in update {found.update} "
        f"({to} applies {here:.6g} there).{far.en}",
        f"剩余的最大差异：峰值的 {found.share:.3g}，在更新步 {found.update}（{to} 在该步用 {here:.6g}）。{far.zh}",
    )


def convert(audit: Audit, to: str, given: Given, *, intended: bool = False) -> list[Converted]:
    """Every role of a source for a target.

    Args:
        audit: The source.
        to: ``huohou``, or a framework's name.
        given: The flags; the conversion is read back with the versions among them.
        intended: Convert what was meant and not what is applied.

    Raises:
        UserError: There is no such target, no curve, or nothing that could be written.
    """
    chosen = None if to == OURS else target(to)
    roles = named_roles(audit)
    if not roles:
        missing = [text for reading in audit.readings for text in reading.missing]
        first = missing[0] if missing else Text("no curve is known", "没有已知的曲线")
        name = audit.document.source.name
        raise UserError(f"{name}: {first.en}", f"{name}：{first.zh}")
    found: list[Converted] = []
    for name, role in roles:
        curve = _curve(name, role, intended)
        reading = next(each for each in audit.readings if any(role is other for other in each.roles))
        wanted = Wanted.of(curve, given.versions)
        if chosen is None:
            from huohou.audit.convert.run_file import run_file

            found.append(run_file(name, role, reading, audit, wanted, given, intended=intended))
        else:
            found.append(_framework(name, chosen, wanted, audit, reading, intended))
    return found


def _curve(name: str, role: Role, intended: bool) -> Applied:
    if not intended:
        return role.applied
    if role.intended is None:
        raise UserError(
            f"--intended: what the words mean is not known for {name}; leave it out to convert what is applied.",
            f"--intended：无法得知 {name} 的本意；去掉它即按实际使用的曲线转换。",
        )
    return role.intended


def _framework(
    name: str, target: ModuleType, wanted: Wanted, audit: Audit, reading: Reading, intended: bool
) -> Converted:
    read = reader(target, wanted)

    def rates(values: Values) -> Callable[[int], float] | None:
        curve = read(target.write(values, wanted))
        return None if curve is None or curve.updates != wanted.updates else curve.rate

    values = closest(wanted, target.starts(wanted), rates)
    body = None if values is None else target.write(values, wanted)
    curve = None if body is None else read(body)
    if body is None or curve is None:
        raise UserError(
            f"{target.title} has no schedule that comes near the curve of {name}.",
            f"{target.title} 没有接近 {name} 曲线的调度。",
        )
    found = apart(wanted.curve, curve, wanted.peak)
    notes = [origin(audit, reading, name, intended), said(found, curve, target.title)]
    others = audit.readings
    if len(others) > 1 or len(reading.roles) > 1:
        notes.insert(1, Text(f"role: {name}", f"角色：{name}"))
    if str(wanted.updates) not in body:
        # Where the length is one of the data, the same arguments in a longer run are another curve.
        notes.append(Text(f"for a run of {wanted.updates} updates", f"适用于 {wanted.updates} 个更新步的训练"))
    head = "".join(f"{target.comment}{remark(note)}\n" for note in notes) if target.comment else ""
    return Converted(name, target.name, target.suffix, head + body, curve, found, tuple(notes))


def origin(audit: Audit, reading: Reading, name: str, intended: bool) -> Text:
    source = audit.document.source.name
    if intended:
        return Text(
            f"what {source} ({reading.title}) was meant to apply, converted by huohou audit --intended",
            f"由 huohou audit --intended 从 {source}（{reading.title}）的本意转换",
        )
    return Text(
        f"what {source} ({reading.title}) applies, converted by huohou audit",
        f"由 huohou audit 从 {source}（{reading.title}）实际使用的曲线转换",
    )


def reader(target: ModuleType, wanted: Wanted) -> Callable[[str], Applied | None]:
    """Read a target's text with the audit's own dialect, as the source's flags say; ``None`` where it is no curve."""
    given = Given(updates=wanted.updates, versions=wanted.versions)
    dialect = named(target.name)
    place = Path("converted" + target.suffix)

    def read(text: str) -> Applied | None:
        try:
            readings: list[Reading] = dialect.read(Document(Source(place.name, text, place)), given)
        except (UserError, ArithmeticError, ValueError):
            return None
        roles = readings[0].roles if len(readings) == 1 and readings[0].refused is None else []
        return roles[0].applied if len(roles) == 1 else None

    return read
