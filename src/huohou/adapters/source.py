"""Where an adapter's curve comes from: a run file, a plan or a curve, and which parameter group follows which curve."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from huohou.errors import UserError
from huohou.language import Text
from huohou.plan.result import Plan
from huohou.schedule.curve import Curve

Source: TypeAlias = str | os.PathLike[str] | Plan | Curve
"""A run file, a plan.json, a run folder, a plan or a curve."""

Follows: TypeAlias = Curve | str | int | float | Fraction
"""What a parameter group follows: a curve, the name of one of the plan's curves, or a multiple of the main curve."""

Groups: TypeAlias = Mapping[int, Follows] | Mapping[str, Follows] | Mapping[int | str, Follows] | Sequence[Follows]
"""What groups follow, by their index or by their ``name``; a list says it for each of them in order."""

MAIN = "all"
"""The plan's name for the curve that everything follows which has none of its own."""

_LARGEST_PLAN = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Planned:
    """The curves to apply.

    Attributes:
        curves: By name; the main one is called ``all``.
        updates: T; ``None`` where the end is open.
        groups: What was asked for parameter groups, by index or name.
    """

    curves: Mapping[str, Curve]
    updates: int | None
    groups: Mapping[int | str, Follows] = field(default_factory=dict[int | str, Follows])

    @property
    def main(self) -> Curve:
        """The main curve."""
        return self.curves[MAIN]

    @property
    def fingerprint(self) -> str:
        """Equal for sources that give every group the same rates."""
        if not self.groups and len(self.curves) == 1:
            return self.main.fingerprint
        rows = [f"{name} {curve.fingerprint}" for name, curve in sorted(self.curves.items())]
        for key, follows in self.groups.items():
            asked = follows.fingerprint if isinstance(follows, Curve) else str(follows)
            rows.append(f"group {key} {asked}")
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]

    def follow(self, index: int, group: Mapping[str, Any]) -> tuple[str, Curve]:
        """The name and the curve of a parameter group.

        What was asked for its index or its ``name`` counts first, then the plan's curve that the group names under
        ``curve`` or ``name``, then the main one.
        """
        name = group.get("name")
        asked = self.groups.get(index, self.groups.get(name, MAIN) if isinstance(name, str) else MAIN)
        if index not in self.groups and name not in self.groups:
            for key in ("curve", "name"):
                if isinstance(group.get(key), str) and group[key] in self.curves:
                    return group[key], self.curves[group[key]]
        if isinstance(asked, str):
            if asked not in self.curves:
                known = ", ".join(self.curves)
                raise UserError(
                    f"group {index} is to follow the curve {asked}, but the plan has these curves: {known}.",
                    f"参数组 {index} 指定的曲线是 {asked}，而计划中只有这些曲线：{known}。",
                )
            return asked, self.curves[asked]
        label = name if isinstance(name, str) else f"group {index}"
        return label, asked if isinstance(asked, Curve) else multiple(self.main, asked)


def multiple(curve: Curve, factor: int | float | Fraction) -> Curve:
    """The same knots under a peak that is so many times as high, in decimal arithmetic."""
    exact = Fraction(str(factor))
    if exact <= 0:
        raise UserError(
            f"a parameter group follows {factor} times the curve, but the factor must be above 0.",
            f"参数组的倍数是 {factor}，应大于 0。",
        )
    return replace(curve, peak=curve.peak * exact)


def read(source: Source, groups: Groups | None = None) -> Planned:
    """The curves of a run file, a plan.json, a run folder, a plan or a curve.

    Raises:
        UserError: The file is missing or says no plan.
    """
    asked: dict[int | str, Follows] = {}
    if isinstance(groups, Mapping):
        asked = dict(groups.items())
    elif groups is not None:
        asked = dict(enumerate(groups))
    if isinstance(source, Curve):
        return Planned({MAIN: source}, source.updates, asked)
    plan = source if isinstance(source, Plan) else _from_file(Path(source))
    if not plan.exact:
        raise UserError(
            f"the plan of {plan.name} rests on a sample (about {plan.updates} updates); write train.updates in the run "
            "file, or make it exact with: huohou plan --exact.",
            f"{plan.name} 的计划来自抽样（约 {plan.updates} 步）；请在配置中写 train.updates，"
            "或用 huohou plan --exact 得到准确计划。",
        )
    return Planned(plan.all_groups(), plan.updates, asked)


def _from_file(path: Path) -> Plan:
    if path.is_dir():
        path = path / "plan.json"
    if path.suffix != ".json":
        return _from_run_file(path)
    try:
        if path.stat().st_size > _LARGEST_PLAN:
            raise UserError(f"{path} is too large for a plan.json.", f"{path} 太大，不像 plan.json。")
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as a plan.json: {error}; huohou plan run.yaml --json writes one.",
            f"{path} 无法作为 plan.json 读取：{error}；可用 huohou plan run.yaml --json 写出。",
        ) from error
    if not isinstance(plain, dict):
        raise UserError(f"{path} is no plan.json.", f"{path} 不是 plan.json。")
    return Plan.from_plain(plain, where=str(path))


def _from_run_file(path: Path) -> Plan:
    """The plan of a run file; one for somebody else's trainer need not say which data there are."""
    from huohou.plan.facts import plan_of_file

    try:
        return plan_of_file(path, [])[0]
    except UserError as error:
        from huohou.config.load import read_file

        if "data" in read_file(path).data:
            raise
        try:
            plan = plan_of_file(path, ["data.embedded={}"])[0]
        except UserError:
            raise error from None
        if not plan.exact:
            raise
        return plan


def length_differs(planned: Planned, own: int | float | None, who: str) -> Text | None:
    """The sentence for a trainer whose own number of updates is not the plan's; ``None`` where they agree."""
    if own is None or planned.updates is None or own == planned.updates or own in (-1, float("inf")):
        return None
    return Text(
        f"{who} makes {int(own)} updates, but the plan is for {planned.updates}: set the trainer's number of updates "
        f"to {planned.updates}, or plan for {int(own)} (train.updates: {int(own)}).",
        f"{who} 将进行 {int(own)} 步更新，而计划是 {planned.updates} 步：请把训练器的步数设为 {planned.updates}，"
        f"或按 {int(own)} 步做计划（train.updates: {int(own)}）。",
    )


def refuse_lost_ratios(groups: list[dict[str, Any]], planned: Planned, first_group: int = 0) -> None:
    """Groups that were given different rates would silently get the same one.

    Raises:
        UserError: They would.
    """
    followed = {planned.follow(first_group + index, group)[0] for index, group in enumerate(groups)}
    rates = [float(group.get("initial_lr", group["lr"])) for group in groups]
    if planned.groups or len(followed) > 1 or len(set(rates)) < 2:
        return
    shown = ", ".join(map(repr, dict.fromkeys(rates)))
    raise UserError(
        f"the optimizer's groups have different rates ({shown}), but the plan has one curve: say what they follow, "
        "such as groups={0: 1, 1: 0.1} for multiples of the curve.",
        f"优化器各参数组的学习率不同（{shown}），而计划只有一条曲线：请写明各组遵循什么，"
        "例如 groups={0: 1, 1: 0.1} 表示曲线的倍数。",
    )
