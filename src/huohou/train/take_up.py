"""Taking a run up again: whether there is one, whether its plan is still the same, and from which checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from huohou.config import RunConfig
from huohou.errors import UserError
from huohou.language import Text
from huohou.plan.result import Plan
from huohou.records import RunFolder
from huohou.train import checkpoint
from huohou.train.checkpoint import Checkpoint

Resume = Literal[False, True, "auto"]
"""Whether to go on with the run in the folder: no, yes, or yes if there is one."""


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


def recorded_plan(run: RunConfig, folder: RunFolder, plan: Plan, say: Callable[[Text], None]) -> Plan:
    """The plan in the run folder, which must be the one that the run file gives now."""
    try:
        plain = json.loads(folder.plan.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{folder.plan} is not whole.", f"{folder.plan} 不完整。") from None
    recorded = Plan.from_plain(plain, where=str(folder.plan))
    if recorded.plan_fingerprint != plan.plan_fingerprint:
        raise _changed(folder, recorded, plan)
    execution = recorded.execution or {}
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
    micro = plan.batch.micro_batch
    if micro is not None and micro != recorded.batch.micro_batch:
        say(
            Text(
                f"micro_batch is {micro} from here on, and was {recorded.batch.micro_batch}: batches and rates stay, "
                f"the last bits of sums may differ.",
                f"从此处起 micro_batch 为 {micro}（原为 {recorded.batch.micro_batch}）："
                f"批与学习率不变，求和的末位可能不同。",
            )
        )
        return replace(recorded, batch=plan.batch)
    return recorded


_EXECUTION_KEYS = (
    ("train", "device"),
    ("train", "dtype"),
    ("train", "compile"),
    ("train", "threads"),
    ("train", "deterministic"),
    ("optimizer", "fused"),
)


def _changed(folder: RunFolder, was: Plan, now: Plan) -> UserError:
    """Which keys make the plan another one, each with both values."""
    before, after = _flat(was.config or {}), _flat(now.config or {})
    keys = [key for key in {**before, **after} if key.startswith(_DECIDING) and before.get(key) != after.get(key)]
    facts, counted = _flat(was.deciding()), _flat(now.deciding())
    others = [key for key in {**facts, **counted} if facts.get(key) != counted.get(key)]
    shown = [(key, before.get(key), after.get(key)) for key in keys]
    if not keys or any(key.startswith("data.content") for key in others):
        shown += [(key, facts.get(key), counted.get(key)) for key in others]
    en = "; ".join(f"{key} was {_value(old)} and is {_value(new)}" for key, old, new in shown)
    zh = "；".join(f"{key} 原为 {_value(old)}，现为 {_value(new)}" for key, old, new in shown)
    return UserError(
        f"{folder.path} was planned otherwise: {en}. Undo the change, or train into another output.",
        f"{folder.path} 的计划不同：{zh}。请撤销改动，或训练到另一个 output。",
    )


_DECIDING = ("stage", "seed", "model.", "tokenizer.", "data.", "batch.size", "schedule.", "optimizer.", "train.")


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def newest(folder: RunFolder, plan: Plan, strict: bool, say: Callable[[Text], None]) -> Checkpoint | None:
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
    if found.newest is not None and dict(found.newest.manifest.plan) != fingerprints(plan):
        raise UserError(
            f"{found.newest.folder} belongs to another plan than {folder.plan}.",
            f"{found.newest.folder} 与 {folder.plan} 不属于同一计划。",
        )
    return found.newest


def fingerprints(plan: Plan) -> dict[str, str]:
    """What a checkpoint says of its plan."""
    return {"fingerprint": plan.fingerprint, "plan_fingerprint": plan.plan_fingerprint}
