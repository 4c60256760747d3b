"""The parts of the page below the figures: measures, differing settings, events, samples, scores, environment."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, cast

from huohou.language import Text
from huohou.report import numbers
from huohou.report.figures import FEW
from huohou.report.measures import FOR_GOOD, Measure
from huohou.report.runs import Record, Run, mapping, number
from huohou.report.settings import flat
from huohou.report.svg import both, safe
from huohou.report.words import Findings

# What the page holds of each kind of text; a page has to stay small whatever the run wrote.
EVENTS, EVENT_TEXT = 40, 240
SAMPLES, SAMPLE_TEXT = 6, 600
VALUE_TEXT = 300

EVENT_NAMES: Mapping[str, Text] = {
    "start": Text("started", "开始"),
    "resume": Text("resumed", "恢复"),
    "replan": Text("plan changed", "计划改变"),
    "skip": Text("update skipped", "跳过更新步"),
    "checkpoint": Text("checkpoint", "检查点"),
    "checkpoint failed": Text("checkpoint failed", "检查点未写成"),
    "failed": Text("failed", "失败"),
    "stop": Text("stopped", "停止"),
    "end": Text("ended", "结束"),
}

SCORE_NAMES: Mapping[str, Text] = {
    "share": Text("share of questions answered right", "答对比例"),
    "right": Text("answered right", "答对"),
    "asked": Text("questions asked", "提问数"),
    "interval": Text("95 % interval of the share", "该比例的 95 % 区间"),
    "arithmetic": Text("arithmetic", "算术题"),
    "fact": Text("facts about the people of the stories", "故事人物的事实"),
    "knowledge": Text("common knowledge", "常识题"),
    "reading": Text("reading a short passage", "短文阅读"),
}


def clip(text: object, most: int) -> str:
    """The beginning of a text."""
    whole = str(text)
    return whole if len(whole) <= most else whole[:most] + "…"


def heading(text: Text) -> str:
    return f"<h2>{both(text)}</h2>"


def names(runs: Sequence[Run], corner: Text | None = None) -> str:
    """The head of a table with one column a run."""
    cells = "".join(
        f'<th class="number r{i}"><span class="runs-head">{safe(run.name)}</span></th>' for i, run in enumerate(runs)
    )
    return f"<thead><tr><th>{both(corner) if corner else ''}</th>{cells}</tr></thead>"


def _row_by_row(runs: Sequence[Run], columns: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table with one row a run, for more runs than fit side by side; the columns are already HTML."""
    head = "".join(f'<th class="number">{name}</th>' for name, _ in columns)
    rows = "".join(
        f'<tr><th scope="row" class="r{i}"><span class="runs-head">{safe(run.name)}</span></th>'
        + "".join(f'<td class="number">{cells[i]}</td>' for _, cells in columns)
        + "</tr>"
        for i, run in enumerate(runs)
    )
    return (
        f'<div class="scroll"><table class="many"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _best(column: Sequence[Measure]) -> float | None:
    """The better end of a row of values, where one way is better and not all are the same."""
    values = [m.value for m in column if math.isfinite(m.value)]
    return {"lower": min(values), "higher": max(values)}.get(column[0].better) if len(set(values)) > 1 else None


def _measures_of_many(found: Findings) -> str:
    columns: list[tuple[str, list[str]]] = []
    definitions: list[str] = []
    for k, first in enumerate(found.measures[0]):
        column = [run[k] for run in found.measures]
        if any(math.isfinite(m.value) for m in column):
            best = _best(column)
            columns.append(
                (
                    both(first.name),
                    [f'<span class="best">{safe(m)}</span>' if m.value == best else safe(m) for m in column],
                )
            )
            definitions.append(f"<dt>{both(first.name)}</dt><dd>{both(first.definition)}</dd>")
    head = heading(Text("In numbers", "数字"))
    return (
        f'{head}{_row_by_row(found.runs, columns)}<dl class="facts note">{"".join(definitions)}</dl>' if columns else ""
    )


def measures(found: Findings) -> str:
    """All measures, the differences to the first run in small, the definition under each name."""
    if len(found.runs) > FEW:
        return _measures_of_many(found)
    rows: list[str] = []
    for k, first in enumerate(found.measures[0]):
        column = [run[k] for run in found.measures]
        if not any(math.isfinite(m.value) for m in column):
            continue
        best = _best(column)
        cells: list[str] = []
        for i, m in enumerate(column):
            apart = ""
            if i and first.difference and math.isfinite(m.value) and math.isfinite(first.value):
                apart = f' <span class="apart">({safe(first.difference(m.value - first.value))})</span>'
            mark = ' class="best"' if best is not None and m.value == best else ""
            cells.append(f'<td class="number"><span{mark}>{safe(m)}</span>{apart}</td>')
        rows.append(
            f'<tr><th scope="row">{both(first.name)}<span class="why">{both(first.definition)}</span></th>'
            f"{''.join(cells)}</tr>"
        )
    if not rows:
        return ""
    notes = ""
    if len(found.runs) > 1:
        starts = "".join(f'<td class="number">{f"{d.lower:,}" if d.lower else "–"}</td>' for d in found.differences)
        name = Text("lower than the first run for good, from update", "始终低于第一个训练的起始步")
        rows.append(
            f'<tr><th scope="row">{both(name)}<span class="why">{both(FOR_GOOD)}</span></th>'
            f'<td class="number"></td>{starts}</tr>'
        )
        notes = (
            '<p class="note">'
            + both(
                Text(
                    "In brackets: the difference to the first run. Bold: the better value, where one way is better. "
                    "The early values follow from the loss of single batches and are noisy.",
                    "括号内为与第一个训练之差；粗体为较优值（仅在有优劣之分时标出）。早期各值由单个批的损失得出，噪声较大。",
                )
            )
            + "</p>"
        )
    return (
        f"{heading(Text('In numbers', '数字'))}"
        f'<div class="scroll"><table>{names(found.runs)}<tbody>{"".join(rows)}</tbody></table></div>{notes}'
    )


def differing(found: Findings) -> str:
    """The settings in which the runs differ."""
    if len(found.runs) < 2:
        return ""
    head = heading(Text("What differs between the runs", "各次训练的不同设置"))
    if not found.settings:
        return head + f'<p class="note">{both(Text("No recorded setting.", "没有记录到不同的设置。"))}</p>'
    if len(found.runs) > FEW:
        columns = [
            (f"<code>{safe(key)}</code>", [safe(clip(v, 60)) for v in values])
            for key, values in list(found.settings.items())[:8]
        ]
        return head + _row_by_row(found.runs, columns)
    rows = "".join(
        f'<tr><th scope="row"><code>{safe(key)}</code></th>'
        + "".join(f'<td class="number">{safe(clip(v, VALUE_TEXT))}</td>' for v in values)
        + "</tr>"
        for key, values in list(found.settings.items())[:40]
    )
    return f'{head}<div class="scroll"><table>{names(found.runs)}<tbody>{rows}</tbody></table></div>'


def run_heading(index: int, run: Run, of: int) -> str:
    """The name of a run over its part of a section; nothing where there is only one run."""
    return f'<h3 class="r{index}"><i class="key"></i><bdi>{safe(run.name)}</bdi></h3>' if of > 1 else ""


def events(runs: Sequence[Run]) -> str:
    """What happened, without the evaluations and samples, which stand elsewhere."""
    parts: list[str] = []
    limit = max(6, EVENTS * 2 // len(runs))
    for index, run in enumerate(runs):
        told = [e for e in run.events if e.get("event") not in ("evaluation", "sample", "score")]
        saved = [e for e in told if e.get("event") == "checkpoint"]
        if len(saved) > 3:  # A run saves often; the last ones are those that count.
            dropped = {id(e) for e in saved[:-2]}
            told = [e for e in told if id(e) not in dropped]
        shown = told if len(told) <= limit else [*told[: limit // 2], *told[-(limit - limit // 2) :]]
        rows = "".join(_event(event, EVENT_TEXT if len(runs) <= FEW else EVENT_TEXT // 4) for event in shown)
        if not rows:
            continue
        left = len(run.events_of("checkpoint")) - len([e for e in shown if e.get("event") == "checkpoint"])
        others = len(told) - len(shown)
        notes: list[Text] = []
        if left > 0:
            notes.append(Text(f"{left:,} earlier checkpoints", f"此前另有 {left:,} 个检查点"))
        if others > 0:
            notes.append(Text(f"{others:,} events in between", f"中间另有 {others:,} 个事件"))
        note = "".join(
            f'<p class="note">{both(Text("Not shown: " + n.en + ".", "未列出：" + n.zh + "。"))}</p>' for n in notes
        )
        columns = "".join(f"<th>{both(name)}</th>" for name in (Text("update", "更新步"), Text("event", "事件")))
        parts.append(
            f'<section class="r{index}">{run_heading(index, run, len(runs))}<div class="scroll"><table>'
            f"<thead><tr>{columns}<th></th></tr></thead><tbody>{rows}</tbody></table></div>{note}</section>"
        )
    return f'{heading(Text("What happened", "过程记录"))}<div class="plans">{"".join(parts)}</div>' if parts else ""


_NOT_TOLD = ("event", "update", "time", "curves")
"""What is said elsewhere of an event: in its first cells, and in the figures."""


def _event(event: Record, most: int) -> str:
    kind = str(event.get("event", ""))
    name = EVENT_NAMES.get(kind)
    rest = {k: v for k, v in event.items() if k not in _NOT_TOLD and v is not None}
    said = Text(*(clip(", ".join(_said(rest, tongue)), most) for tongue in ("en", "zh")))
    update = event.get("update")
    at = f"{update:,}" if isinstance(update, int) else ""
    return f"<tr><td>{at}</td><td>{both(name) if name else safe(clip(kind, 60))}</td><td>{both(said)}</td></tr>"


def _said(rest: Record, tongue: str) -> list[str]:
    """The details of an event; what it says in two languages is said in this one."""
    parts: list[str] = []
    for key, value in rest.items():
        inner = mapping(value)
        if "en" in inner and "zh" in inner:
            parts.append(str(inner[tongue]))
        else:
            parts += [f"{k}: {v}" for k, v in flat({key: value}).items()]
    return parts


def samples(runs: Sequence[Run]) -> str:
    """Texts that the models wrote: the last ones of each run."""
    parts: list[str] = []
    most = max(1, min(SAMPLES, 24 // len(runs)))
    length = SAMPLE_TEXT if len(runs) <= FEW else SAMPLE_TEXT // 4
    for index, run in enumerate(runs):
        written = [piece for event in run.events_of("sample") for piece in _pieces(event)]
        for update, prompt, text in written[-most:]:
            where = f"<bdi>{safe(run.name)}</bdi>" if len(runs) > 1 else ""
            at = both(Text(f"update {update:,}", f"第 {update:,} 步")) if update else ""
            parts.append(
                f'<div class="sample r{index}"><div class="where">{where}<span>{at}</span></div>'
                f'<p><span class="prompt">{safe(clip(prompt, 120))}</span>{safe(clip(text, length))}</p></div>'
            )
    return (
        f'{heading(Text("What the models wrote", "模型写出的文字"))}<div class="samples">{"".join(parts)}</div>'
        if parts
        else ""
    )


def _pieces(event: Record) -> list[tuple[int | None, str, str]]:
    """The texts of a sample event, which holds one, or several under ``samples``."""
    update = event.get("update") if isinstance(event.get("update"), int) else None
    inner = event.get("samples")
    found: list[tuple[int | None, str, str]] = []
    for piece in cast(Sequence[Any], inner) if isinstance(inner, list) else [event]:
        one = mapping(piece) or {"text": piece}
        text = next(
            (one[k] for k in ("text", "completion", "continuation", "output") if isinstance(one.get(k), str)), None
        )
        prompt = one.get("prompt") if isinstance(one.get("prompt"), str) else ""
        if isinstance(text, str):
            found.append((update, str(prompt), text.removeprefix(str(prompt))))
    return found


def scores(runs: Sequence[Run]) -> str:
    """The last score of each run."""
    last: list[Record] = [(run.events_of("score") or [{}])[-1] for run in runs]
    tables = [flat(_legible({k: v for k, v in event.items() if k not in ("event", "time")})) for event in last]
    keys = list(dict.fromkeys(key for table in tables for key in table if key != "update"))[:30]
    if not keys:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{both(SCORE_NAMES[key]) if key in SCORE_NAMES else safe(key)}</th>'
        + "".join(f'<td class="number">{safe(_scored(key, table.get(key)))}</td>' for table in tables)
        + "</tr>"
        for key in keys
    )
    return (
        f'{heading(Text("Scores", "得分"))}<div class="scroll"><table>{names(runs)}<tbody>{rows}</tbody></table></div>'
    )


def _legible(event: Record) -> Record:
    """A score with its interval and its kinds as a person writes them."""
    said = dict(event)
    interval = said.get("interval")
    if isinstance(interval, list) and len(cast(list[Any], interval)) == 2:
        said["interval"] = " – ".join(numbers.share(number(bound)) for bound in cast(list[Any], interval))
    kinds = mapping(said.pop("by_kind", None))
    for kind, counts in kinds.items():
        pair = cast(list[Any], counts) if isinstance(counts, list) else []
        said[kind] = f"{pair[0]} / {pair[1]}" if len(pair) == 2 else counts
    return said


def _scored(key: str, value: str | None) -> str:
    if value is None:
        return "–"
    size = number(value)
    return numbers.share(size) if "share" in key and 0 <= size <= 1 else clip(value, 120)


def environment(runs: Sequence[Run]) -> str:
    """Versions and hardware; one column where all runs had the same."""
    tables = [flat(run.environment) for run in runs]
    if not any(tables):
        return ""
    same = all(table == tables[0] for table in tables)
    shown = list(runs[:1]) if same else list(runs)
    keys = list(dict.fromkeys(key for table in tables for key in table))[: max(12, 120 // len(shown))]
    head = heading(Text("Environment", "环境"))
    if len(shown) == 1:
        rows = "".join(f"<dt>{safe(k)}</dt><dd>{safe(clip(tables[0].get(k, '–'), VALUE_TEXT))}</dd>" for k in keys)
        return f'{head}<dl class="facts">{rows}</dl>'
    rows = "".join(
        f'<tr><th scope="row">{safe(k)}</th>'
        + "".join(f'<td class="number">{safe(clip(t.get(k, "–"), 120))}</td>' for t in tables)
        + "</tr>"
        for k in keys
    )
    return f'{head}<div class="scroll"><table>{names(runs)}<tbody>{rows}</tbody></table></div>'


def reproduce(runs: Sequence[Run], command: str) -> str:
    """The commands that make these runs and this page again."""
    lines: list[str] = []
    for run in runs:
        if run.plan.get("config") or (run.path / "config.yaml").exists():
            target = json.dumps(f"{run.path.as_posix()}-again")
            lines.append(f"huohou train {shlex.quote((run.path / 'config.yaml').as_posix())} --set output={target}")
    lines.append(command)
    said = Text(
        "The same run file, seed and versions give the same plan, and on the same CPU the same weights, bit for bit.",
        "相同的训练配置、随机种子和版本得到相同的计划；在同一 CPU 上得到逐位相同的权重。",
    )
    head = heading(Text("To make this again", "如何重现"))
    return f'{head}<pre>{safe(chr(10).join(lines))}</pre><p class="note">{both(said)}</p>'
