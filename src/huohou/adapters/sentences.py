"""What a guard says, in both languages: its sentences about updates and rates, and the line that a run ends with."""

from __future__ import annotations

from collections.abc import Sequence

from huohou.language import Text

HARMLESS = Text(
    " The rates stay on the plan all the same: they follow the updates.",
    "学习率仍与计划一致：它跟随更新步数。",
)


def with_cause(head: Text, cause: Text) -> Text:
    """What happened, and why."""
    return Text(f"{head.en}: {cause.en}", f"{head.zh}：{cause.zh}")


def used(update: int, held: float, meant: float, group: str | None) -> Text:
    """An update used another rate than the plan's; ``group`` is named where there are several."""
    return Text(
        f"update {update} used the rate {held}{f' in the group {group}' if group else ''}, the plan says {meant}",
        f"更新步 {update} {f'在参数组 {group} 中' if group else ''}使用的学习率为 {held}，计划为 {meant}",
    )


def before(update: int) -> Text:
    """Something happened before an update."""
    return Text(f"before update {update}", f"更新步 {update} 之前")


def stood(update: int, stands: int) -> Text:
    """An update was made while the schedule stood at another one."""
    return Text(
        f"update {update} was made while the schedule stood at update {stands}",
        f"进行更新步 {update} 时，曲线停在第 {stands} 步",
    )


def past_the_end(update: int, updates: int) -> Text:
    """An update lies past the plan's end."""
    return Text(
        f"update {update} lies past the end of the plan, which is for {updates} updates; the curve stays where it "
        "ended.",
        f"更新步 {update} 超出了计划的 {updates} 步；曲线保持在终点。",
    )


def replaced(update: int, rate: float, owners: Sequence[str]) -> Text:
    """Somebody else wrote a rate that was never used."""
    named = ", ".join(owners)
    return Text(
        f"after update {update} something else wrote the rate {rate}{f' ({named})' if named else ''}; it was replaced "
        "by the planned one before it was used: let only one of them write it.",
        f"更新步 {update} 之后另有一处写了学习率 {rate}{f'（{named}）' if named else ''}；"
        "在使用之前已换回计划值：学习率只应由一处写。",
    )


def begins_again(before: int) -> Text:
    """The optimizer's state was loaded, the scheduler's was not."""
    return Text(
        f"the optimizer's state goes on after update {before}, but the scheduler's state was not loaded, so the curve "
        "begins again at update 1: load both.",
        f"优化器状态从更新步 {before} 之后继续，但没有加载调度器的状态，曲线又从第 1 步开始：两者都应加载。",
    )


def unseen(count: int) -> Text:
    """Updates that only the optimizer counted."""
    return Text(
        f"the optimizer has made {count} updates, but none of them can be watched (is its step compiled?): the rate "
        "follows the optimizer's own count.",
        f"优化器已完成 {count} 步更新，但都无法观察（step 是否被编译？）：学习率跟随优化器自己的计数。",
    )


def other_curve(theirs: object, ours: str, update: int) -> Text:
    """A state was written under another curve than the one that applies from an update on."""
    return Text(
        f"the state was written under another curve ({theirs}, now {ours}); from update {update} the present one "
        "applies.",
        f"状态是在另一条曲线下保存的（{theirs}，现在是 {ours}）；从更新步 {update} 起用现在的曲线。",
    )


def proof(
    done: int, updates: int | None, *, as_planned: int, skips: int, first_wrong: tuple[int, float, float] | None
) -> Text:
    """The line that a run ends with.

    Args:
        done: Updates that were made.
        updates: Updates that the plan is for, where it says so.
        as_planned: How many used the planned rates.
        skips: Skipped updates.
        first_wrong: The first update that did not, the rate that it used and the planned one.
    """
    skipped = f", {skips} skipped" if skips else ""
    of = f"{done} of {updates}" if updates is not None else f"{done}"
    if as_planned == done and updates in (None, done):
        line = f"planned == applied: {of} updates{skipped}"
        return Text(line, line)
    line = f"planned != applied: {of} updates{skipped}"
    wrong = done - as_planned
    if not wrong:
        return Text(f"{line}, all of them as planned", f"{line}，均与计划一致")
    where = Text("", "")
    if first_wrong is not None:
        update, held, meant = first_wrong
        where = Text(
            f", the first of them update {update} with {held} in place of {meant}",
            f"，最早是第 {update} 步：{held}，计划为 {meant}",
        )
    return Text(
        f"{line}, {wrong} of them at another rate than planned{where.en}",
        f"{line}，其中 {wrong} 步的学习率与计划不同{where.zh}",
    )
