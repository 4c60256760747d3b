"""The summary in words: what each run did, what set them apart, and how far that may be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from huohou.language import Text
from huohou.report import numbers
from huohou.report.measures import Applied, Difference, Measure, applied, compare, measure
from huohou.report.runs import Run
from huohou.report.settings import different, seed

_LEVEL = 0.0005
"""Differences of loss below this are written as none: they would read 0.000."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that is said about some runs, worked out once for the page, Markdown and JSON."""

    runs: tuple[Run, ...]
    measures: tuple[tuple[Measure, ...], ...]
    applied: tuple[Applied, ...]
    differences: tuple[Difference, ...]
    settings: dict[str, list[str]]

    def value(self, run: int, key: str) -> float:
        return next(m.value for m in self.measures[run] if m.key == key)


def findings(runs: Sequence[Run]) -> Findings:
    """Measure and compare."""
    measured = tuple(measure(run) for run in runs)
    return Findings(
        tuple(runs),
        measured,
        tuple(applied(run) for run in runs),
        compare(runs, measured),
        different(runs) if len(runs) > 1 else {},
    )


def progress(run: Run) -> Text:
    """How many of the planned updates were made."""
    made, planned, skipped = len(run.updates), run.planned_updates, len(run.skipped)
    en = f"{numbers.count(made)} of {numbers.count(planned)} updates" if planned else f"{numbers.count(made)} updates"
    zh = f"更新步 {numbers.count(made)} / {numbers.count(planned)}" if planned else f"更新步 {numbers.count(made)}"
    if skipped:
        return Text(f"{en}, {numbers.count(skipped)} skipped", f"{zh}，跳过 {numbers.count(skipped)} 步")
    return Text(en, zh)


def verdict(run: Run, held: Applied) -> Text:
    """Planned against applied in one line."""
    if not held.compared:
        return Text("planned and applied rate could not be compared", "无法比较计划与实际学习率")
    if not held.exact:
        return Text(
            f"planned ≠ applied in {held.compared - held.equal:,} of {held.compared:,}",
            f"{held.compared:,} 步中有 {held.compared - held.equal:,} 步计划 ≠ 实际",
        )
    if run.complete:
        return Text("planned = applied, every update", "每个更新步：计划 = 实际")
    return Text("planned = applied so far", "到目前为止：计划 = 实际")


def _schedule(run: Run) -> Text | None:
    """The shape of the planned rate in half a sentence."""
    plan = run.plan
    peak, last, length = plan.get("peak"), plan.get("last_rate"), run.planned_updates
    rising = plan.get("warmup_updates")
    if not isinstance(peak, int | float) or not isinstance(rising, int) or not length:
        return None
    at = numbers.rate(float(peak))
    if rising > 0:
        part = numbers.share(rising / length)
        en, zh = f"it rises to {at} over {rising:,} updates ({part})", f"用 {rising:,} 个更新步（{part}）升到 {at}"
    else:
        en, zh = f"it starts at its peak of {at} without warmup", f"没有预热，从峰值 {at} 开始"
    if isinstance(last, int | float) and last < peak:
        en, zh = f"{en} and ends at {numbers.rate(float(last))}", f"{zh}，最后为 {numbers.rate(float(last))}"
    return Text(en, zh)


def of_run(found: Findings, index: int) -> Text:
    """One paragraph on one run."""
    run, held = found.runs[index], found.applied[index]
    made = progress(run)
    done = (
        Text("all planned updates made", "计划的更新步已全部完成") if run.complete else Text("not finished", "尚未完成")
    )
    en, zh = [f"“{run.name}”: {made.en} ({done.en})."], [f"“{run.name}”：{made.zh}（{done.zh}）。"]
    if not len(run.updates):
        en.append("No update has been made yet.")
        zh.append("还没有完成任何更新步。")
        return Text(" ".join(en), "".join(zh))
    shape = _schedule(run)
    if held.exact:
        en.append("Every update used exactly the planned rate" + (f": {shape.en}." if shape else "."))
        zh.append("每个更新步使用的学习率都与计划完全一致" + (f"：{shape.zh}。" if shape else "。"))
    elif held.compared:
        apart, where = numbers.rate(held.largest), held.at or 0
        en.append(
            f"The rate differed from the plan in {held.compared - held.equal:,} of {held.compared:,} updates, most at "
            f"update {where:,}, by {apart}" + (f"; as planned, {shape.en}." if shape else ".")
        )
        zh.append(
            f"{held.compared:,} 个更新步中有 {held.compared - held.equal:,} 步的学习率与计划不同，"
            f"最大差异在第 {where:,} 步，为 {apart}" + (f"；按计划，{shape.zh}。" if shape else "。")
        )
    final, evaluation = found.value(index, "final_loss"), found.value(index, "final_evaluation_loss")
    first = next((v for v in run.loss.tolist() if math.isfinite(v)), math.nan)
    if math.isfinite(final):
        en.append(f"The training loss went from {numbers.fixed(first, 2)} to {numbers.fixed(final, 3)}")
        zh.append(
            f"训练损失从 {numbers.fixed(first, 2)} 降到 {numbers.fixed(final, 3)}"
            if final < first
            else f"训练损失从 {numbers.fixed(first, 2)} 变为 {numbers.fixed(final, 3)}"
        )
        if math.isfinite(evaluation):
            en[-1] += f", {numbers.fixed(evaluation, 3)} on evaluation"
            zh[-1] += f"，评估损失 {numbers.fixed(evaluation, 3)}"
        en[-1] += "."
        zh[-1] += "。"
    clipped, speed = found.value(index, "clipped"), found.value(index, "tokens_per_second")
    if math.isfinite(clipped):
        en.append(f"Gradients were clipped in {numbers.share(clipped)} of the updates.")
        zh.append(f"{numbers.share(clipped)} 的更新步发生了梯度裁剪。")
    if math.isfinite(speed):
        en.append(f"Median speed: {numbers.count(speed)} tokens per second.")
        zh.append(f"速度中位数：每秒 {numbers.count(speed)} 个词元。")
    if run.remade:
        en.append(f"After a resume, {run.remade:,} updates were made again; the later ones count.")
        zh.append(f"恢复训练后有 {run.remade:,} 个更新步重做，以后一次为准。")
    if run.unreadable:
        en.append(f"Lines that could not be read: {run.unreadable:,}.")
        zh.append(f"无法读取的行：{run.unreadable:,}。")
    return Text(" ".join(en), "".join(zh))


def of_difference(found: Findings, difference: Difference) -> Text:
    """One run beside the first."""
    first, other = found.runs[0].name, found.runs[difference.run].name
    apart = difference.final_loss
    if not math.isfinite(apart):
        return Text(
            f"“{other}” and “{first}” cannot be compared yet: one of them has no loss.",
            f"“{other}” 与 “{first}” 还不能比较：其中之一没有损失记录。",
        )
    if abs(apart) < _LEVEL:
        en, zh = f"“{other}” ended level with “{first}”", f"“{other}” 与 “{first}” 最终持平"
    else:
        size = numbers.fixed(abs(apart), 3)
        en = f"“{other}” ended {size} nats {'higher' if apart > 0 else 'lower'} than “{first}”"
        zh = f"“{other}” 的最终损失比 “{first}” {'高' if apart > 0 else '低'} {size} nat"
    evaluation = difference.final_evaluation_loss
    if math.isfinite(evaluation):
        size = numbers.fixed(abs(evaluation), 3)
        if abs(evaluation) < _LEVEL:
            en, zh = en + " in training and level on evaluation", zh + "（训练），评估损失持平"
        else:
            en += f" in training and {size} {'higher' if evaluation > 0 else 'lower'} on evaluation"
            zh += f"（训练），评估损失{'高' if evaluation > 0 else '低'} {size}"
    if difference.lower is not None:
        en += f"; from update {difference.lower:,} on its smoothed loss stayed lower"
        zh += f"；从第 {difference.lower:,} 步起，其平滑损失始终更低"
    elif difference.higher is not None:
        en += f"; from update {difference.higher:,} on the smoothed loss of “{first}” stayed lower"
        zh += f"；从第 {difference.higher:,} 步起，“{first}” 的平滑损失始终更低"
    pairs: list[Text] = []
    for key, digits in (("oscillation", 2), ("early_bump", 2), ("dispersion_early", 2)):
        a, b = found.value(0, key), found.value(difference.run, key)
        if math.isfinite(a) and math.isfinite(b):
            name = next(m.name for m in found.measures[0] if m.key == key)
            ours, theirs = numbers.fixed(b, digits), numbers.fixed(a, digits)
            pairs.append(Text(f"{name.en} {ours} against {theirs}", f"{name.zh} {ours}（后者 {theirs}）"))
    en, zh = en + ".", zh + "。"
    if pairs:
        en += f" Of the first updates: {'; '.join(p.en for p in pairs)}."
        zh += f"训练初期：{'；'.join(p.zh for p in pairs)}。"
    return Text(en, zh)


def of_trust(found: Findings) -> Text | None:
    """What the difference of these runs does and does not show."""
    runs = found.runs
    if len(runs) < 2:
        return None
    en: list[str] = []
    zh: list[str] = []
    changed = [key for key in found.settings if key != "seed"]
    if len(changed) == 1:
        values = "; ".join(dict.fromkeys(found.settings[changed[0]]))
        en.append(f"The runs differ in one setting, {_clip(changed[0], 60)} ({_clip(values, 200)}).")
        zh.append(f"这几次训练只有一项设置不同：{_clip(changed[0], 60)}（{_clip(values, 200)}）。")
    elif changed:
        keys = ", ".join(_clip(key, 60) for key in changed[:6]) + (", …" if len(changed) > 6 else "")
        en.append(
            f"The runs differ in {len(changed)} settings ({keys}), so no difference can be laid to one of them alone."
        )
        zh.append(f"这几次训练有 {len(changed)} 项设置不同（{keys}），因此差异不能只归因于其中一项。")
    seeds = [seed(run) for run in runs]
    known = {s for s in seeds if s is not None}
    if len(known) == 1 and None not in seeds:
        only = next(iter(known))
        en.append(
            f"All used the one seed {only}: this is one observation. Another seed may give another difference, so "
            "repeat with a few before building on it."
        )
        zh.append(
            f"全部使用同一个随机种子 {only}：这只是一次观察。换一个种子，差异可能不同；下结论之前请用几个种子重复。"
        )
    else:
        en.append(
            "The seeds are not known to be the same, so part of the difference is chance; repeat each side with "
            "several seeds before building on it."
        )
        zh.append(
            "各次训练的随机种子不全相同（或未记录），差异中有一部分是偶然；下结论之前请让每一方都用几个种子重复。"
        )
    if len({len(run.updates) for run in runs}) > 1:
        en.append("The runs did not make the same number of updates: their final losses stand at different places.")
        zh.append("各次训练完成的更新步数不同：最终损失取自不同的位置。")
    elif not all(run.complete for run in runs):
        en.append("Not all of them are finished: final means so far.")
        zh.append("有的训练尚未完成：“最终”指到目前为止。")
    return Text(" ".join(en), "".join(zh))


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
