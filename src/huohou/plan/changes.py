"""A plan that is changed on the way: what differs, and the one curve that a run follows from then on.

A run that stands after update u was planned as *recorded*, and its run file now gives the plan *now*. Three things can
be meant, and none of them is done unasked:

- ``keep``: go on as recorded; the change is left aside;
- ``retarget``: update u + 1 and all later ones use the rates that *now* gives them;
- ``rewarm``: rise from the rate of update u to the new peak in so many updates, and decay from there as *now* says.

The result is one curve over 1 … T, the recorded one through u joined bit for bit to the new one from u + 1, so that the
proof of a run (planned == applied) holds over the whole of it.

Data. A run reads positions of an order. Where only the batch changes, the next batch begins at the position where the
last one ended: no sequence is read twice or left out. Where the seed or the data change, a new pass over the data
begins with the next batch; what was not read yet in the pass under way is not made up. A length in epochs or tokens
counts everything that the run's updates have read, before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, cast

from huohou.errors import UserError
from huohou.plan.groups import Own, parts_of, settle
from huohou.plan.planner import Request, make_plan, own_schedules, schedules
from huohou.plan.result import Plan
from huohou.plan.sizes import resolve
from huohou.schedule.curve import Curve
from huohou.schedule.operations import join
from huohou.schedule.recipes import Phase, rewarm
from huohou.units import Duration, round_up

Choice = Literal["keep", "retarget", "rewarm"]
CHOICES: tuple[Choice, ...] = ("keep", "retarget", "rewarm")

_KEYS = (
    *("stage", "seed", "model.", "tokenizer.", "data.", "batch.size", "schedule.", "groups.", "lora.", "optimizer."),
    *("train.updates", "train.epochs", "train.tokens"),
)
"""The keys of the run file that decide a plan, or what they begin with."""

_NEVER = ("stage", "model.", "tokenizer.", "lora.", "optimizer.name", "optimizer.state")
"""The keys that cannot be changed on the way, or what they begin with: they say what is trained, not how."""

_ORDER = ("data", "seed", "batch")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs: its key, and both values as plain data."""

    key: str
    before: Any
    after: Any

    @property
    def possible(self) -> bool:
        """Whether a run can go on with it."""
        return not self.key.startswith(_NEVER)


@dataclass(frozen=True, slots=True)
class At:
    """Where a run stands: updates applied, and batches read (those of skipped updates included)."""

    update: int
    batches: int


def asked(recorded: Plan) -> dict[str, Any]:
    """What the run file that a recorded plan was consented for decides."""
    return dict(recorded.replans[-1]["asked"]) if recorded.replans else recorded.deciding()


def find_changes(recorded: Plan, now: Plan) -> tuple[Change, ...]:
    """What differs between a recorded plan and the one that the run file gives now; empty where nothing decides."""
    was, then = _flat(asked(recorded)), _flat(now.deciding())
    facts = [key for key in {**was, **then} if was.get(key) != then.get(key)]
    if not facts:
        return ()
    before, after = _flat(recorded.config or {}), _flat(now.config or {})
    # Where a model or a tokenizer lies may change; what is in it may not.
    same = tuple(f"{name}." for name in ("model", "tokenizer") if not any(key.startswith(name) for key in facts))
    keys = [
        key
        for key in {**before, **after}
        if key.startswith(_KEYS) and not key.startswith((*same, "optimizer.from")) and before.get(key) != after.get(key)
    ]
    found = [Change(key, before.get(key), after.get(key)) for key in keys]
    # The run file does not say everything: files, a tokenizer or a model may have been changed in their place.
    contents = [key for key in ("data.content", "model.content", "tokenizer") if key in facts]
    for key in contents if found or contents else facts:
        found.append(Change("tokenizer.content" if key == "tokenizer" else key, was.get(key), then.get(key)))
    if set(recorded.applied_curves()) != set(now.applied_curves()) or recorded.parts != now.parts:
        found.append(Change("model.parts", dict(recorded.parts), dict(now.parts)))
    return tuple(found)


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def touches_order(recorded: Plan, now: Plan) -> frozenset[str]:
    """Which of ``data``, ``seed`` and ``batch`` the change touches: what is read from then on."""
    was, then = recorded.deciding(), now.deciding()
    touched = {name for name in ("data", "seed") if _without_counts(was[name]) != _without_counts(then[name])}
    if was["batch"]["sequences"] != then["batch"]["sequences"]:
        touched.add("batch")
    return frozenset(touched)


def _without_counts(value: Any) -> Any:
    """What is read, without how often."""
    if not isinstance(value, Mapping):
        return value
    return {key: one for key, one in cast("Mapping[str, Any]", value).items() if key != "epochs"}


def replanned(
    recorded: Plan, now: Plan, request: Request, at: At, choice: Choice, length: Duration | None = None
) -> Plan:
    """The plan that a run follows after a consent.

    Args:
        recorded: What it followed so far.
        now: What its run file gives.
        request: What ``now`` was made from.
        at: Where the run stands.
        choice: What was consented to.
        length: How long a re-warming rises.

    Raises:
        UserError: The choice is impossible here; the sentence says why.
    """
    touched = touches_order(recorded, now)
    if choice == "keep":
        if "data" in touched:
            raise UserError(
                "--on-change keep: the data are others than those of the recorded plan, which cannot be brought back; "
                "undo the change, or go on with the new data by --on-change retarget.",
                "--on-change keep：数据已与记录的计划不同，无法恢复；"
                "请撤销改动，或用 --on-change retarget 以新数据继续。",
            )
        return replace(recorded, replans=(*recorded.replans, _entry(recorded, now, recorded, at, choice, 0, None)))
    order = _order(recorded, at, touched)
    new, last = _new(recorded, now, request, at, order)
    if new.updates <= at.update:
        raise UserError(
            f"--on-change {choice}: the new plan has {new.updates} updates, but {at.update} are made; "
            "write a longer run, or --on-change keep.",
            f"--on-change {choice}：新计划共 {new.updates} 步，而已完成 {at.update} 步；"
            "请写更长的训练，或用 --on-change keep。",
        )
    rising = 0
    if choice == "rewarm":
        new, rising = _rewarmed(recorded, new, request, at, length)
    joined = _joined(recorded, new, at)
    plan = replace(
        joined,
        batch=replace(new.batch, last=last),
        execution={**(recorded.execution or {}), "seed": (now.execution or {}).get("seed")},
    )
    entry = _entry(recorded, now, plan, at, choice, rising, order)
    return replace(plan, replans=(*recorded.replans, entry))


def _order(recorded: Plan, at: At, touched: frozenset[str]) -> dict[str, int] | None:
    """Where the further order begins, where the change touches it."""
    if not touched or recorded.batch.sequences is None:
        return None
    begun = begin_of(recorded)
    read = begun["read"] + (at.update - begun["update"]) * recorded.batch.sequences
    position = begun["position"] + (at.batches - begun["batch"]) * recorded.batch.sequences
    return {
        "update": at.update,
        "batch": at.batches,
        "position": 0 if touched & {"data", "seed"} else position,
        "read": read,
    }


def begin_of(plan: Plan) -> dict[str, int]:
    """Where the order that a plan follows last begins: update, batch, position, and sequences read before."""
    begun = next((one["order"] for one in reversed(plan.replans) if one.get("order")), None)
    return dict(begun) if begun else {"update": 0, "batch": 0, "position": 0, "read": 0}


def _new(
    recorded: Plan, now: Plan, request: Request, at: At, order: Mapping[str, int] | None
) -> tuple[Plan, int | None]:
    """The new plan at its length from here, and the sequences of its last batch."""
    wanted = request.asked
    batch = now.batch.sequences
    begun = order or begin_of(recorded)
    if wanted.updates is not None or batch is None or not begun["update"]:
        return now, now.batch.last
    sizes = resolve(wanted)
    assert sizes.positions is not None
    # With the last short batch left out the sizes hold whole batches only; what was asked for is counted again here.
    whole = sizes.positions
    if wanted.drop_last and wanted.epochs is not None and wanted.sequences is not None:
        whole = round_up(wanted.epochs * wanted.sequences)
    remaining = whole - begun["read"]
    more = remaining // batch if wanted.drop_last else -(-remaining // batch)
    updates = begun["update"] + more
    if updates <= at.update:
        raise UserError(
            f"the new length is {whole} sequences, and the run has read {begun['read']} of them already: nothing is "
            "left; write a longer run, or --on-change keep.",
            f"新的长度是 {whole} 条序列，而训练已读了 {begun['read']} 条，没有剩余；"
            "请写更长的训练，或用 --on-change keep。",
        )
    last = batch if wanted.drop_last else remaining - (more - 1) * batch
    if updates == now.updates:
        return now, last
    return make_plan(replace(request, asked=replace(wanted, updates=updates, epochs=None, tokens=None))), last


def _rewarmed(recorded: Plan, new: Plan, request: Request, at: At, length: Duration | None) -> tuple[Plan, int]:
    """The new plan with curves that rise from where the recorded ones stand."""
    if length is None:
        raise UserError(
            "--on-change rewarm: say for how long by --rewarm, such as --rewarm 1% or --rewarm 200 steps.",
            "--on-change rewarm：请用 --rewarm 写出长度，例如 --rewarm 1% 或 --rewarm 200 steps。",
        )
    if not at.update:
        raise UserError(
            "--on-change rewarm: no update is made yet, so there is no rate to rise from; use --on-change retarget.",
            "--on-change rewarm：还没有完成任何更新步，没有可上升的起点；请用 --on-change retarget。",
        )
    request = replace(request, asked=replace(request.asked, updates=new.updates, epochs=None, tokens=None))
    run = schedules(request, resolve(request.asked))
    rising = run.length(length, "--rewarm", new.updates)
    main = rewarm(recorded.curve, at.update, rising, new.updates, settle(request.spec, new.updates, run))
    lora = (request.model or {}).get("lora")
    parts = parts_of(request.groups, lora=lora, grown=request.grown) if request.model is not None else None
    groups, phases = dict(new.groups), dict(new.group_phases)
    for part, own in own_schedules(request, run, parts).items():
        if _rises(recorded.groups.get(part), own, at):
            spec = settle(own.spec, new.updates, run)
            built = rewarm(recorded.groups[part], at.update, rising, new.updates, spec)
            groups[part], phases[part] = built.curve, built.phases
    return replace(
        new, curve=main.curve, phases=main.phases, decay_updates=main.decay, groups=groups, group_phases=phases
    ), rising


def _rises(curve: Curve | None, own: Own, at: At) -> bool:
    """Whether a part rises again: it has begun to move, and its new peak is above where it stands.

    A part that still waits keeps its own clock, and one whose schedule ends before the run follows its new curve.
    """
    if curve is None or own.start >= at.update or own.phases[-1].name == "off":
        return False
    return 0 < Fraction(repr(curve(at.update))) < own.spec.peak


def _joined(recorded: Plan, new: Plan, at: At) -> Plan:
    """One plan: the recorded one through ``at.update``, the new one after it."""
    u = at.update
    if not u:
        return new
    groups = {part: _curve(recorded.groups.get(part, recorded.curve), curve, u) for part, curve in new.groups.items()}
    phases = {part: _phases(recorded.group_phases.get(part, ()), rows, u) for part, rows in new.group_phases.items()}
    return replace(
        new,
        curve=_curve(recorded.curve, new.curve, u),
        groups=groups,
        phases=_phases(recorded.phases, new.phases, u),
        group_phases=phases,
        warmup_updates=recorded.warmup_updates if u >= recorded.warmup_updates else new.warmup_updates,
        exact=True,
        interval=None,
    )


def _curve(before: Curve, after: Curve, update: int) -> Curve:
    made = join(before, after, update + 1)
    return Curve(made.peak, made.knots, after.updates)


def _phases(before: tuple[Phase, ...], after: tuple[Phase, ...], update: int) -> tuple[Phase, ...]:
    head = [replace(phase, last=min(phase.last, update)) for phase in before if phase.first <= update]
    tail = [replace(phase, first=max(phase.first, update + 1)) for phase in after if phase.last > update]
    if head and tail and head[-1].name == tail[0].name and head[-1].last + 1 == tail[0].first:
        head[-1:], tail = [replace(head[-1], last=tail[0].last)], tail[1:]
    return (*head, *tail)


def _entry(
    recorded: Plan,
    now: Plan,
    plan: Plan,
    at: At,
    choice: Choice,
    rising: int,
    order: Mapping[str, int] | None,
) -> dict[str, Any]:
    """What is recorded of a consent, as plain data."""
    u = at.update
    return {
        "update": u,
        "batches": at.batches,
        "choice": choice,
        "rewarm": rising or None,
        "changes": [
            {"key": change.key, "before": change.before, "after": change.after}
            for change in find_changes(recorded, now)
        ],
        "updates": [recorded.updates, plan.updates],
        "rate": recorded.curve(u) if u else None,
        "rates": [recorded.curve(u + 1), plan.curve(u + 1)],
        "curves": {"before": recorded.curve.to_plain(), "after": plan.curve.to_plain()},
        "order": None if order is None else dict(order),
        "was": {"fingerprint": recorded.fingerprint, "plan_fingerprint": recorded.plan_fingerprint},
        "asked": now.deciding(),
    }
