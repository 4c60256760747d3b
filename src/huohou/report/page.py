"""One page that holds everything about some runs: it opens from disk and loads nothing.

Whatever comes from a run (names, texts, settings, events) passes through ``svg.safe``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from huohou.errors import UserError
from huohou.language import Text
from huohou.records import write_atomically
from huohou.report import frame, numbers, plan_section, sections
from huohou.report.figures import FEW, Figure, figures
from huohou.report.runs import Run
from huohou.report.svg import both, figure, safe, strips
from huohou.report.words import Findings, findings, of_difference, of_run, of_trust, progress, verdict

MOST_RUNS = 24
LARGEST = 300_000
"""Bytes of a page at most, whatever the runs wrote."""
_RESERVE = 3000
_LEAST_FIRST = ("environment", "events", "samples", "plans", "differing", "scores", "reproduce")


def write(runs: Sequence[Run], path: Path, command: str) -> Path:
    """Write the page and give its path. ``command`` is what the page says it was made by."""
    page = render(runs, command)
    try:
        write_atomically(path, page)
    except OSError as error:
        raise UserError(
            f"the page cannot be written to {path}: {error.strerror}.", f"页面无法写入 {path}：{error.strerror}。"
        ) from error
    return path


def render(runs: Sequence[Run], command: str) -> str:
    """The page as text."""
    if len(runs) > MOST_RUNS:
        raise UserError(
            f"{len(runs)} runs do not fit on one page: name at most {MOST_RUNS}.",
            f"{len(runs)} 个训练放不进一页：最多 {MOST_RUNS} 个。",
        )
    found = findings(runs)
    style = frame.colours(len(runs))
    drawn = "".join(figure(f, runs) if isinstance(f, Figure) else strips(f, runs) for f in figures(runs))
    few = len(runs) <= FEW
    top = "".join(
        (
            _bar(runs),
            f"<main>{_header(runs)}",
            _cards(found) if few else "",
            _summary(found, few),
            "" if few else sections.measures(found),
            sections.heading(Text("Curves", "曲线")) if drawn else "",
            f'<div class="figures">{drawn}</div>',
            sections.measures(found) if few else "",
        )
    )
    rest = _fitting(
        {
            "scores": sections.scores(runs),
            "samples": sections.samples(runs),
            "differing": sections.differing(found),
            "plans": plan_section.plans(runs),
            "events": sections.events(runs),
            "environment": sections.environment(runs),
            "reproduce": sections.reproduce(runs, command),
        },
        LARGEST - _RESERVE - frame.size(style) - len(top.encode("utf-8")),
    )
    names = " · ".join(run.name for run in runs[:3])
    return frame.page(names, f"{top}{rest}</main>{frame.footer()}", style)


def _summary(found: Findings, few: bool) -> str:
    """The summary in words. Of many runs only the best one is told: the table has the others."""
    by_loss = sorted(found.differences, key=lambda d: d.final_loss if math.isfinite(d.final_loss) else math.inf)
    said = [f"<p>{both(of_difference(found, d))}</p>" for d in (found.differences if few else by_loss[:1])]
    trust = of_trust(found)
    if trust:
        said.append(f'<p class="word">{both(trust)}</p>')
    if few:
        said += [f"<p>{both(of_run(found, i))}</p>" for i in range(len(found.runs))]
    return f'<div class="summary">{"".join(said)}</div>'


def _fitting(parts: dict[str, str], room: int) -> str:
    """The parts in their order; those that matter least are left out, and that is said, where there is no room."""
    sizes = {key: len(part.encode("utf-8")) for key, part in parts.items()}
    left_out = False
    for key in _LEAST_FIRST:
        if sum(sizes.values()) > room:
            left_out = left_out or bool(parts[key])
            parts[key], sizes[key] = "", 0
    note = Text(
        "Some parts are left out because the page would grow too large; the run folders hold everything.",
        "为控制页面大小，部分内容未列出；训练目录中有全部记录。",
    )
    return "".join(parts.values()) + (f'<p class="note">{both(note)}</p>' if left_out else "")


def _bar(runs: Sequence[Run]) -> str:
    chips = "".join(
        f'<input class="hidden" type="checkbox" id="show{i}" checked autocomplete="off">'
        f'<label for="show{i}" id="chip{i}" class="r{i}"><i></i><bdi>{safe(run.name)}</bdi></label>'
        for i, run in enumerate(runs)
    )
    named = both(Text("runs shown", "显示的训练"))
    return (
        f'<nav class="bar"><div class="runs" role="group"><span class="hidden">{named}</span>{chips}</div>'
        f"{frame.switches()}</nav>"
    )


def _header(runs: Sequence[Run]) -> str:
    versus = '<span class="versus">/</span>'
    shown = versus.join(f"<bdi>{safe(run.name)}</bdi>" for run in runs[:3])
    if len(runs) > 3:
        shown += versus + both(Text(f"{len(runs) - 3} more", f"另外 {len(runs) - 3} 个"))
    stages = sorted({str(run.plan["stage"]) for run in runs if isinstance(run.plan.get("stage"), str)})
    times = [
        str(run.environment[k])
        for run in runs
        for k in ("time", "started", "date")
        if isinstance(run.environment.get(k), str)
    ]
    about = " · ".join(safe(sections.clip(part, 40)) for part in [*stages, *times[:1]])
    what = both(Text("Training report", "训练报告"))
    line = f"{what} · {about}" if about else what
    return f'<header><div class="seal" aria-hidden="true">火候</div><h1>{shown}</h1><p>{line}</p></header>'


def _cards(found: Findings) -> str:
    """Each run in a card: the loss it ended with, and whether the rates were the planned ones."""
    cards: list[str] = []
    for i, run in enumerate(found.runs):
        final, evaluation = found.value(i, "final_loss"), found.value(i, "final_evaluation_loss")
        held = found.applied[i]
        has_evaluation = math.isfinite(evaluation)
        big, name = (
            (evaluation, Text("evaluation loss", "评估损失"))
            if has_evaluation
            else (final, Text("training loss", "训练损失"))
        )
        lines = [
            f'<li class="{"ok" if held.exact else "bad" if held.compared else "seen"}">{both(verdict(run, held))}</li>'
        ]
        lines.append(f"<li>{both(progress(run))}</li>")
        if has_evaluation:
            said = numbers.fixed(final, 3)
            lines.append(f"<li>{both(Text(f'training loss {said}', f'训练损失 {said}'))}</li>")
        seconds = float(run.seconds[~(run.seconds != run.seconds)].sum())
        tokens = float(run.tokens[~(run.tokens != run.tokens)].sum())
        if tokens:
            amount, span = numbers.short(tokens), numbers.duration(seconds)
            lines.append(
                f'<li class="seen">{both(Text(f"{amount} tokens in {span.en}", f"{amount} 词元，用时 {span.zh}"))}</li>'
            )
        cards.append(
            f'<section class="card r{i}"><h3><bdi>{safe(run.name)}</bdi></h3>'
            f'<span class="big">{numbers.fixed(big, 3)}</span><span class="of">{both(name)}</span>'
            f"<ul>{''.join(lines)}</ul></section>"
        )
    if len(found.differences) == 1:
        cards.append(_difference_card(found))
    if len(found.runs) == 1:
        cards += _cards_of_one(found)
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(name: Text, big: str, of: Text, lines: Sequence[Text]) -> str:
    said = "".join(f'<li class="seen">{both(line)}</li>' for line in lines)
    return (
        f'<section class="card"><h3>{both(name)}</h3><span class="big">{safe(big)}</span>'
        f'<span class="of">{both(of)}</span><ul>{said}</ul></section>'
    )


def _cards_of_one(found: Findings) -> list[str]:
    """A run that stands alone has room for its schedule and its speed."""
    run, cards = found.runs[0], list[str]()
    plan, length = run.plan, run.planned_updates
    peak, rising = plan.get("peak"), plan.get("warmup_updates")
    if isinstance(peak, int | float) and isinstance(rising, int) and length:
        said = f"{rising:,} ({numbers.share(rising / length)})"
        lines = [Text(f"warmup: {said} updates", f"预热：{said} 更新步") if rising else Text("no warmup", "没有预热")]
        for key, name in (("first_rate", Text("update 1", "第 1 步")), ("last_rate", Text("last update", "最后一步"))):
            if isinstance(plan.get(key), int | float):
                at = numbers.rate(float(plan[key]))
                lines.append(Text(f"{name.en}: {at}", f"{name.zh}：{at}"))
        cards.append(
            _card(Text("Schedule", "学习率计划"), numbers.rate(float(peak)), Text("peak rate", "峰值学习率"), lines)
        )
    speed = found.value(0, "tokens_per_second")
    if math.isfinite(speed):
        calm = [m for m in found.measures[0] if m.key in ("clipped", "spikes") and math.isfinite(m.value)]
        lines = [Text(f"{m.name.en}: {m}", f"{m.name.zh}：{m}") for m in calm]
        of = Text("tokens per second (median)", "词元/秒（中位数）")
        cards.append(_card(Text("Speed and calm", "速度与平稳"), numbers.count(speed), of, lines))
    return cards


def _difference_card(found: Findings) -> str:
    d = found.differences[0]
    measured = d.final_evaluation_loss if math.isfinite(d.final_evaluation_loss) else d.final_loss
    kind = (
        Text("evaluation loss", "评估损失")
        if math.isfinite(d.final_evaluation_loss)
        else Text("training loss", "训练损失")
    )
    first, other = (found.runs[i].name for i in (0, d.run))
    of = Text(f"nats of {kind.en}: “{other}” minus “{first}”", f"nat，{kind.zh}之差：“{other}” 减 “{first}”")
    lines: list[str] = []
    for update, name in ((d.lower, other), (d.higher, first)):
        if update is not None:
            text = Text(f"“{name}” stays lower from update {update:,} on", f"“{name}” 从第 {update:,} 步起始终更低")
            lines.append(f"<li>{both(text)}</li>")
    caution = Text("one pair of runs: an observation, no proof", "仅一对训练：是观察，不是证明")
    lines.append(f'<li class="seen">{both(caution)}</li>')
    return (
        f'<section class="card"><h3>{both(Text("Difference", "差异"))}</h3>'
        f'<span class="big">{numbers.signed(measured, 3)}</span>'
        f'<span class="of">{both(of)}</span><ul>{"".join(lines)}</ul></section>'
    )
