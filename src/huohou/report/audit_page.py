"""An audit as one page: what was written, what it becomes, what is applied, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path, PurePath

from huohou.audit import compare
from huohou.audit.convert.conversion import Converted
from huohou.audit.examine import Audit
from huohou.audit.folder import Several
from huohou.audit.plain import named_roles
from huohou.errors import UserError
from huohou.language import Text
from huohou.records import write_atomically
from huohou.report import audit_cards, frame, numbers
from huohou.report import audit_sections as sections
from huohou.report.audit_figures import Drawn, apart, figures
from huohou.report.svg import both, figure, safe

MOST_DRAWN = 60
"""Files of a folder whose curves are drawn; of more, the table and the findings tell."""


def write(page: str, path: str) -> None:
    """Write a page.

    Raises:
        UserError: It cannot be written.
    """
    try:
        write_atomically(Path(path), page)
    except OSError as error:
        raise UserError(
            f"the page cannot be written to {path}: {error.strerror}.", f"页面无法写入 {path}：{error.strerror}。"
        ) from error


def of_one(audit: Audit, converted: Sequence[Converted], command: str) -> str:
    """The page of one source; ``converted`` is the same run as a run file of ours, one for each role."""
    name = audit.document.source.name
    titles = dict.fromkeys(reading.title for reading in audit.readings)
    about = Text(f"Audit · {' · '.join(titles)}", f"审计 · {' · '.join(titles)}")
    parts = [
        _header(PurePath(name).name or name, about),
        *(f'<p class="refused">{both(r.refused)}</p>' for r in audit.readings if r.refused is not None),
        audit_cards.cards(audit),
        audit_cards.summary(audit),
        _curves(audit),
        sections.heading(Text("Findings", "发现")) + sections.listed(audit),
        sections.resolved(audit),
        sections.eras(audit),
        sections.assumed(audit),
        sections.conversion(converted),
        sections.made_by(command),
    ]
    return _page(name, "".join(parts), len(named_roles(audit)))


def of_pair(left: Audit, right: Audit, command: str) -> str:
    """The page of two sources, one against the other."""
    names = [audit.document.source.name for audit in (left, right)]
    parts = [_header(" / ".join(PurePath(name).name for name in names), Text("Audit of two", "两份配置的对比"))]
    for number, each in enumerate(compare.compare(left, right)):
        said = "".join(f"<p>{both(line)}</p>" for line in compare.said(each))
        drawn = [
            Drawn(name, role.applied, None, 0.0) for name, role in zip(names, (each.left, each.right), strict=True)
        ]
        away = apart(drawn[0], drawn[1], f"-{number}")
        made = [figure(f, drawn) for f in figures(drawn, f"-{number}")]
        parts += [
            sections.heading(Text(each.role, each.role)) if number else "",
            f'<div class="summary">{said}</div>',
            sections.heading(Text("Curves", "曲线")),
            f'<div class="figures">{"".join(made)}{"" if away is None else figure(away, drawn)}</div>',
            sections.heading(Text("Side by side", "并排")),
            sections.beside(names, [each.left, each.right]),
        ]
    for audit in (left, right):
        parts += [
            sections.heading(Text(f"Findings in {audit.document.source.name}", f"{audit.document.source.name} 的发现"))
        ]
        parts += [sections.listed(audit)]
    return _page(" / ".join(names), "".join([*parts, sections.made_by(command)]), 2)


def of_several(several: Several, paths: Sequence[str], command: str) -> str:
    """The page of a folder: a table, then each file."""
    found = [each for audit in several.audits for each in audit.findings]
    many = len(several.audits)
    about = Text(
        f"Audit · {many} files train something, {len(several.errors)} were not understood, {several.others} others",
        f"审计 · {many} 个文件配置了训练，{len(several.errors)} 个无法读懂，其他 {several.others} 个",
    )
    parts = [_header(" · ".join(paths[:3]), about), audit_cards.counts(found), sections.table(several)]
    if several.errors:
        rows = "".join(f'<li><span class="word">{safe(name)}</span> {both(text)}</li>' for name, text in several.errors)
        parts.append(sections.heading(Text("Not understood", "无法读懂")) + f'<ul class="said">{rows}</ul>')
    for number, audit in enumerate(several.audits):
        drawn = _curves(audit, f"-{number}", heading=False) if number < MOST_DRAWN else ""
        title = safe(audit.document.source.name)
        parts.append(
            f'<section class="file" id="file-{number}"><h2><bdi>{title}</bdi></h2>{sections.needed(audit)}{drawn}<h3>'
            f"{both(Text('Findings', '发现'))}</h3>{sections.listed(audit)}</section>"
        )
    if many > MOST_DRAWN:
        note = Text(
            f"The curves of the first {MOST_DRAWN} files are drawn; audit one of the others by itself to see its own.",
            f"只绘制前 {MOST_DRAWN} 个文件的曲线；其余请单独审计。",
        )
        parts.append(f'<p class="note">{both(note)}</p>')
    roles = max((len(named_roles(audit)) for audit in several.audits), default=1)
    return _page(" · ".join(paths[:3]), "".join([*parts, sections.made_by(command)]), roles)


def _page(title: str, body: str, colours: int) -> str:
    style = frame.colours(max(1, colours)) + files("huohou.report").joinpath("audit.css").read_text(encoding="utf-8")
    bar = f'<nav class="bar"><div class="here"><bdi>{safe(title)}</bdi></div>{frame.switches()}</nav>'
    return frame.page(title, f"{bar}<main>{body}</main>{frame.footer()}", style)


def _header(title: str, about: Text) -> str:
    seal = '<div class="seal" aria-hidden="true">火候</div>'
    return f"<header>{seal}<h1><bdi>{safe(title)}</bdi></h1><p>{both(about)}</p></header>"


def _curves(audit: Audit, key: str = "", *, heading: bool = True) -> str:
    curves = [Drawn.of(name, role) for name, role in named_roles(audit)]
    if not curves:
        return ""
    made = figures(curves, key)
    head = sections.heading(Text("Curves", "曲线")) if heading else ""
    if made:
        return f'{head}<div class="figures">{"".join(figure(each, curves) for each in made)}</div>'
    # A run of one update has no curve.
    rates = "".join(
        f'<p class="only">{both(Text("the one update uses", "唯一的更新步使用"))} '
        f"<b>{safe(numbers.rate(curve.applied.rate(1)))}</b></p>"
        for curve in curves
    )
    return head + rates
