"""optax: huohou's curve as a schedule function, which maps the count of updates made so far to the next one's rate.

    from huohou.adapters import optax as huohou_optax
    schedule = huohou_optax.schedule("run.yaml")
    optimizer = optax.adamw(schedule)

Every rate is the plan's own, rounded once to the array's type: it is looked up, not computed again in lower precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from huohou.adapters.saying import Drift, Mode, check_mode, length_trouble, tell
from huohou.adapters.source import Source, length_differs, read
from huohou.errors import UserError, missing_extra
from huohou.language import Text
from huohou.schedule.curve import Curve

LONGEST = 50_000_000
"""Updates: the table that travels into a compiled function is then 200 MB."""


def schedule(source: Source, *, curve: str = "all", updates: int | None = None, guard: Mode = "warn",
             horizon: Mode = "raise") -> Schedule:  # fmt: skip
    """An optax schedule: ``schedule(count)`` is the rate of update ``count`` + 1, also under ``jax.jit``.

    Args:
        source: A run file, a plan.json, a run folder, a plan or a curve.
        curve: The name of one of the plan's curves.
        updates: How many updates the loop makes, where it knows: it must be the plan's T.
        guard: ``warn`` says it once when :meth:`Guard.check` finds another rate, ``raise`` stops, ``off`` does not
            look.
        horizon: The same for ``updates`` that are not the plan's.

    Raises:
        UserError: The source says no plan, it does not fit the loop, or it is longer than :data:`LONGEST`.
    """
    check_mode(guard, "guard")
    planned = read(source)
    if curve not in planned.curves:
        known = ", ".join(planned.curves)
        raise UserError(f"the plan has no curve {curve}; it has {known}.", f"计划中没有曲线 {curve}，只有 {known}。")
    length_trouble(length_differs(planned, updates, "the training loop"), horizon)
    return Schedule(planned.curves[curve], planned.updates, guard)


class Schedule:
    """A schedule function of optax's.

    Attributes:
        curve: The curve whose rates it gives.
        guard: Compares the optimizer's state with the plan.
    """

    def __init__(self, curve: Curve, updates: int | None, mode: Mode) -> None:
        last = max(1, curve.knots[-1].update)
        if last > LONGEST:
            raise UserError(
                f"the curve bends as late as update {last}, and a table for optax ends at {LONGEST}.",
                f"曲线在第 {last} 步仍有变化，而 optax 的表最多 {LONGEST} 步。",
            )
        self.curve = curve
        # After its last knot a curve is constant, so the table's last entry stands for all that follow.
        self._rates = curve.vector(1, last)
        self.guard = Guard(curve, updates, mode)

    def __call__(self, count: Any) -> Any:
        """The rate of update ``count`` + 1."""
        try:
            import jax  # pyright: ignore[reportMissingImports]
            import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise missing_extra("jax", "optax") from error
        kind = jnp.float64 if jax.config.jax_enable_x64 else jnp.float32
        table = jnp.asarray(self._rates, dtype=kind)
        return table[jnp.clip(jnp.asarray(count), 0, len(self._rates) - 1)]


class Guard:
    """Compares the state of an optax optimizer with the plan, outside of compiled code.

    Attributes:
        done: Calls of :meth:`check`, which are the updates.
        said: What it has said.
    """

    def __init__(self, curve: Curve, updates: int | None, mode: Mode) -> None:
        self.done = 0
        self.as_planned = 0
        self.updates, self.mode = updates, mode
        self.said: list[Text] = []
        self.applied: list[dict[str, Any]] = []
        self._curve = curve
        self._kinds: set[str] = set()

    def check(self, state: Any) -> None:
        """Look at the optimizer's state after an update: call it once for each.

        The counts of the schedules in it must be the number of updates, and a rate that ``optax.inject_hyperparams``
        shows must be the planned one.

        Raises:
            Drift: They are not, and the mode is ``raise``.
        """
        self.done += 1
        if self.mode == "off":
            return
        counts, rates = _found(state)
        if counts:
            self._compare(counts, rates)
        else:
            self._say(
                "none",
                Text(
                    "no schedule's count is in the optimizer's state: the schedule is not what this optimizer uses.",
                    "优化器状态中没有调度计数：这个优化器没有使用该调度。",
                ),
            )
        if self.done == self.updates:
            tell(self.proof, prefix="")

    def _compare(self, counts: list[int], rates: list[float]) -> None:
        if self.done == 1:
            # A state that was restored goes on where it was; the updates before it are taken as they are.
            self.done = max(1, counts[0])
            self.as_planned = self.done - 1
        used = float(rates[0]) if rates else float(np.float32(self._curve(counts[0])))
        self.applied.append({"update": self.done, "rate": used, "skipped": False})
        meant = self._curve(self.done)
        right = len(set(counts)) == 1 and counts[0] == self.done and (
            not rates or used in (meant, float(np.float32(meant)))
        )  # fmt: skip
        self.as_planned += right
        if len(counts) > 1:
            self._say(
                "owner",
                Text(
                    f"{len(counts)} schedules are in this optimizer, and each multiplies the update: leave one.",
                    f"这个优化器里有 {len(counts)} 个调度，每个都会乘到更新上：只留一个。",
                ),
            )
        elif counts[0] != self.done:
            self._say(
                "clock",
                Text(
                    f"the schedule has counted {counts[0]} updates, but {self.done} were made: it counts micro-batches "
                    "where optimizer.update is called for each of them outside of optax.MultiSteps.",
                    f"调度已计 {counts[0]} 步，实际更新 {self.done} 步：若每个微批都调用 optimizer.update 而没有用 "
                    "optax.MultiSteps，它数的就是微批。",
                ),
            )
        elif not right:
            self._say(
                "owner",
                Text(
                    f"update {self.done} used the rate {used}, the plan says {meant}: something else wrote the "
                    "hyperparameter learning_rate.",
                    f"更新步 {self.done} 使用的学习率为 {used}，计划为 {meant}：另有一处写了超参数 learning_rate。",
                ),
            )

    @property
    def proof(self) -> Text:
        """The line that a run ends with."""
        of = f"{self.done} of {self.updates}" if self.updates is not None else f"{self.done}"
        same = self.as_planned == self.done and self.updates in (None, self.done)
        line = f"planned {'==' if same else '!='} applied: {of} updates"
        return Text(line, line)

    def _say(self, kind: str, text: Text) -> None:
        if kind in self._kinds:
            return
        self._kinds.add(kind)
        self.said.append(text)
        if self.mode == "raise":
            raise Drift(text.en, text.zh)
        tell(text)


def _found(state: Any) -> tuple[list[int], list[float]]:
    """The counts of the schedules in a state, and the rates that ``inject_hyperparams`` keeps."""
    counts: list[int] = []
    rates: list[float] = []

    def walk(node: Any) -> None:
        kind = type(node).__name__
        if kind == "ScaleByScheduleState":
            counts.append(int(node.count))
        elif kind in ("InjectHyperparamsState", "InjectStatefulHyperparamsState"):
            if "learning_rate" in node.hyperparams:
                counts.append(int(node.count))
                rates.append(float(node.hyperparams["learning_rate"]))
            walk(node.inner_state)
        elif isinstance(node, tuple):
            for part in node:
                walk(part)
        elif isinstance(node, dict):
            for part in node.values():
                walk(part)

    walk(state)
    return counts, rates
