"""Taking a run up again: whether there is one, whether its plan is still the same, and from which checkpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from huohou import records
from huohou.config import RunConfig
from huohou.errors import UserError
from huohou.language import Text
from huohou.plan.changes import CHOICES, At, Change, Choice, find_changes, replanned
from huohou.plan.facts import Prepared
from huohou.plan.result import Plan
from huohou.records import RunFolder
from huohou.report.curve_drawing import needs_ascii
from huohou.report.plan_changes import order_text, render_changes, value_text
from huohou.train import checkpoint
from huohou.train.checkpoint import Checkpoint
from huohou.units import Duration

Resume = Literal[False, True, "auto"]
"""Whether to go on with the run in the folder: no, yes, or yes if there is one."""

Say = Callable[[Text], None]


@dataclass(frozen=True, slots=True)
class Consent:
    """What was said about a changed plan.

    Attributes:
        choice: ``--on-change``; ``None`` where nothing was said.
        length: ``--rewarm``.
    """

    choice: Choice | None = None
    length: Duration | None = None

    @classmethod
    def read(cls, choice: str | None, length: str | None) -> Consent:
        """The flags' values.

        Raises:
            UserError: One of them is none, or they do not go together.
        """
        if choice is not None and choice not in CHOICES:
            raise UserError(
                f"--on-change is {choice}; write {', '.join(CHOICES)}.",
                f"--on-change 的值是 {choice}；请写 {'、'.join(CHOICES)}。",
            )
        if length is not None and choice != "rewarm":
            raise UserError(
                "--rewarm says for how long the rate rises again; it belongs to --on-change rewarm.",
                "--rewarm 是再次上升的长度；它属于 --on-change rewarm。",
            )
        if choice == "rewarm" and length is None:
            raise UserError(
                "--on-change rewarm: say for how long by --rewarm, such as --rewarm 1% or --rewarm 200 steps.",
                "--on-change rewarm：请用 --rewarm 写出长度，例如 --rewarm 1% 或 --rewarm 200 steps。",
            )
        return cls(choice, None if length is None else Duration.parse(length, key="--rewarm"))  # pyright: ignore[reportArgumentType]


NO_CONSENT = Consent()


@dataclass(frozen=True, slots=True)
class TakenUp:
    """A run that goes on.

    Attributes:
        plan: What it follows.
        newest: The checkpoint to go on from, if there is one.
        replan: What was changed just now, to be recorded by :func:`record`.
    """

    plan: Plan
    newest: Checkpoint | None
    replan: Mapping[str, Any] | None = None


def goes_on(folder: RunFolder, resume: Resume) -> bool:
    """Whether this is a run that goes on; refuses to touch one that should not, and to go on with none."""
    if folder.plan.is_file():
        if not resume:
            raise UserError(
                f"{folder.path} already holds a run: go on with it by --resume, or choose another name or output.",
                f"{folder.path} 中已有一次训练：用 --resume 继续，或另选 name 或 output。",
            )
        return True
    if resume is True:
        raise UserError(
            f"there is no run in {folder.path} to go on with: leave --resume out, or write --resume auto.",
            f"{folder.path} 中没有可继续的训练：去掉 --resume，或写 --resume auto。",
        )
    ours = (folder.config, folder.metrics, folder.events, folder.environment, folder.checkpoints, folder.model)
    for path in ours:
        if path.exists():
            raise UserError(
                f"{path} exists already, but {folder.path} holds no run: choose another name or output.",
                f"{path} 已存在，但 {folder.path} 不是训练目录：请另选 name 或 output。",
            )
    return False


def take_up(
    run: RunConfig, folder: RunFolder, prepared: Prepared, *, consent: Consent, strict: bool, say: Say
) -> TakenUp:
    """The plan and the checkpoint that a run goes on with.

    A plan that the run file changes is shown, and followed only with a consent; nothing is written here.

    Raises:
        UserError: The plan has changed and nobody said what to do, or it cannot be done; or no checkpoint is whole.
    """
    recorded = _read(folder)
    newest_ = newest(folder, recorded, strict, say)
    position = newest_.manifest.position if newest_ is not None else None
    at = At(position.update, position.batches) if position is not None else At(0, 0)
    changes = find_changes(recorded, prepared.plan)
    if not changes:
        if consent.choice is not None:
            say(Text("--on-change: the plan has not changed.", "--on-change：计划没有改变。"))
        return TakenUp(_machine(run, folder, recorded, prepared.plan, say), newest_)
    never = [change for change in changes if not change.possible]
    if never:
        # Other data may be why: they are named too.
        raise _impossible(folder, [c for c in changes if not c.possible or c.key == "data.content"])
    plans = _choices(recorded, prepared, at, consent)
    chosen = plans.get(consent.choice) if consent.choice is not None else None
    say(Text("", ""))
    say(_shown(changes, plans, at))
    if isinstance(chosen, Text):
        raise UserError(chosen.en, chosen.zh)
    if chosen is None:
        named = _both_values(changes)
        raise UserError(
            f"{folder.path} was planned otherwise: {named.en}. Go on by --on-change keep, --on-change retarget or "
            "--on-change rewarm --rewarm LENGTH (what each does is shown above), or undo the change.",
            f"{folder.path} 的计划不同：{named.zh}。请用 --on-change keep、--on-change retarget 或 "
            "--on-change rewarm --rewarm 长度 继续（各自的结果见上），或撤销改动。",
        )
    plan = _machine(run, folder, chosen, prepared.plan, say)
    return TakenUp(plan, newest_, plan.replans[-1])


def _shown(changes: tuple[Change, ...], plans: Mapping[str, Plan | Text], at: At) -> Text:
    shown = render_changes(changes, plans, at, ascii=needs_ascii(sys.stdout))
    return Text(shown, shown)


def _choices(recorded: Plan, prepared: Prepared, at: At, consent: Consent) -> dict[str, Plan | Text]:
    """What each choice leads to; re-warming only where its length is known."""
    made: dict[str, Plan | Text] = {}
    for choice in CHOICES:
        if choice == "rewarm" and consent.length is None:
            continue
        try:
            made[choice] = replanned(recorded, prepared.plan, prepared.request, at, choice, consent.length)
        except UserError as error:
            made[choice] = error.text
    return made


def record(folder: RunFolder, taken: TakenUp, now: str) -> None:
    """Write down a consent: the plan that is followed from here on, and the event; ``now`` is the time."""
    if taken.replan is None:
        return
    records.write_json(folder.plan, taken.plan.to_plain())
    entry = {key: value for key, value in taken.replan.items() if key not in ("asked", "was")}
    records.append(folder.events, {"event": "replan", "update": taken.replan["update"], "time": now, **entry})


def consent_text(replan: Mapping[str, Any]) -> Text:
    """What goes on after a consent, in one sentence."""
    before, after = replan["rates"]
    order = order_text(replan["order"])
    update = replan["update"] + 1
    return Text(
        f"--on-change {replan['choice']}: update {update} uses {after!r} instead of {before!r}, the run makes "
        f"{replan['updates'][1]} updates; {order.en}.",
        f"--on-change {replan['choice']}：第 {update} 步用 {after!r}（原为 {before!r}），共 {replan['updates'][1]} 步；"
        f"{order.zh}。",
    )


def _read(folder: RunFolder) -> Plan:
    try:
        plain = json.loads(folder.plan.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{folder.plan} is not whole.", f"{folder.plan} 不完整。") from None
    return Plan.from_plain(plain, where=str(folder.plan))


def _machine(run: RunConfig, folder: RunFolder, plan: Plan, now: Plan, say: Say) -> Plan:
    """The plan as this machine runs it: what decides bits stays, how a batch is cut up may change."""
    execution = plan.execution or {}
    for section, key in _EXECUTION_KEYS:
        wish = getattr(getattr(run, section), key)
        if run.is_set(f"{section}.{key}") and wish not in ("auto", None, execution[key]):
            was = execution[key]
            say(
                Text(
                    f"{section}.{key}: the run goes on with {was}, as {folder.plan} says, and not with {wish}.",
                    f"{section}.{key}：按 {folder.plan} 继续使用 {was}，而不是 {wish}。",
                )
            )
    micro = now.batch.micro_batch
    if now.batch.sequences == plan.batch.sequences and micro is not None and micro != plan.batch.micro_batch:
        say(
            Text(
                f"micro_batch is {micro} from here on, and was {plan.batch.micro_batch}: batches and rates stay, "
                f"the last bits of sums may differ.",
                f"从此处起 micro_batch 为 {micro}（原为 {plan.batch.micro_batch}）："
                f"批与学习率不变，求和的末位可能不同。",
            )
        )
    if now.batch.sequences == plan.batch.sequences:
        # How many processes share a batch, and in which pieces, is this machine's own matter.
        return replace(plan, batch=replace(now.batch, last=plan.batch.last))
    return plan


_EXECUTION_KEYS = (
    ("train", "device"),
    ("train", "dtype"),
    ("train", "compile"),
    ("train", "threads"),
    ("train", "deterministic"),
    ("optimizer", "fused"),
)


def _impossible(folder: RunFolder, changes: Sequence[Change]) -> UserError:
    """Changes that no run can go on with, each with both values."""
    named = _both_values(changes)
    trained = any(change.key == "tokenizer.content" for change in changes)
    why = (
        Text(" (a tokenizer that is trained on the data changes with them)", "（在数据上训练的分词器会随数据改变）")
        if trained
        else Text("", "")
    )
    return UserError(
        f"{folder.path} was planned otherwise: {named.en}. This cannot be changed on the way{why.en}: undo the "
        "change, or train into another output.",
        f"{folder.path} 的计划不同：{named.zh}。这不能中途改变{why.zh}：请撤销改动，或训练到另一个 output。",
    )


_MOST_NAMED = 4


def _both_values(changes: Sequence[Change]) -> Text:
    """What differs, each with both values; the last ones of many are counted."""
    named, more = changes[:_MOST_NAMED], len(changes) - _MOST_NAMED
    en = "; ".join(f"{c.key} was {value_text(c.before)} and is {value_text(c.after)}" for c in named)
    zh = "；".join(f"{c.key} 原为 {value_text(c.before)}，现为 {value_text(c.after)}" for c in named)
    return Text(f"{en}; and {more} more" if more > 0 else en, f"{zh}；另有 {more} 处" if more > 0 else zh)


def newest(folder: RunFolder, plan: Plan, strict: bool, say: Say) -> Checkpoint | None:
    """The checkpoint to go on from; what is wrong with others is said aloud."""
    debris = checkpoint.clean(folder.checkpoints)
    if debris:
        names = ", ".join(debris)
        say(Text(f"removed what a killed run left half written: {names}.", f"已清理被终止的训练留下的残余：{names}。"))
    found = checkpoint.find(folder.checkpoints)
    for unusable in found.unusable:
        if strict or found.newest is None:
            raise UserError(unusable.text.en, unusable.text.zh)
        update = found.newest.manifest.position.update
        say(
            Text(
                f"WARNING: {unusable.text.en} The run goes on from the one of update {update}.",
                f"警告：{unusable.text.zh}训练从更新步 {update} 的检查点继续。",
            )
        )
    if found.newest is not None:
        _belongs(folder, found.newest, plan)
    return found.newest


def _belongs(folder: RunFolder, found: Checkpoint, plan: Plan) -> None:
    """A checkpoint is of this plan, or of what the plan was before a consent, at or before the update of that."""
    update, told = found.manifest.position.update, dict(found.manifest.plan)
    later = [one for one in plan.replans if update <= one["update"]]
    if told != fingerprints(plan) and not any(told == dict(one["was"]) for one in later):
        raise UserError(
            f"{found.folder} belongs to another plan than {folder.plan}.",
            f"{found.folder} 与 {folder.plan} 不属于同一计划。",
        )
    begun = [one for one in later if one["order"] is not None and update < one["update"]]
    if begun:
        changed = begun[0]["update"]
        raise UserError(
            f"{found.folder} is of update {update}, but batch, seed or data were changed after update {changed}, and "
            "what was read before cannot be read again: train into another output.",
            f"{found.folder} 属于第 {update} 步，而批、种子或数据在第 {changed} 步之后改变，之前读的内容无法重读："
            "请训练到另一个 output。",
        )


def fingerprints(plan: Plan) -> dict[str, str]:
    """What a checkpoint says of its plan."""
    return {"fingerprint": plan.fingerprint, "plan_fingerprint": plan.plan_fingerprint}
