"""Two plans side by side: what they decide differently, and where their curves part."""

from __future__ import annotations

from typing import Any

from huohou.language import Text
from huohou.plan.result import Plan
from huohou.schedule.operations import diff


def differing(one: Plan, other: Plan) -> dict[str, tuple[Any, Any]]:
    """What decides the two runs and is not the same, by name."""
    left, right = _flat(one.deciding()), _flat(other.deciding())
    left |= {"warmup_updates": one.warmup_updates, "peak": float(one.curve.peak), "floor": one.floor}
    right |= {"warmup_updates": other.warmup_updates, "peak": float(other.curve.peak), "floor": other.floor}
    return {key: (left.get(key), right.get(key)) for key in sorted(left | right) if left.get(key) != right.get(key)}


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            found[prefix + key] = value
    return found


def comparison(one: Plan, other: Plan) -> dict[str, Any]:
    """The difference of two plans as plain data."""
    parted = diff(one.curve, other.curve, max(one.updates, other.updates))
    return {
        "name": other.name,
        "same": parted is None and one.updates == other.updates,
        "updates": [one.updates, other.updates],
        "first_difference": None
        if parted is None
        else {"update": parted.update, "rates": list(parted.rates), "differing_updates": parted.count},
        "largest_difference": None if parted is None else {"update": parted.largest_at, "rates": list(parted.largest)},
        "differing": {key: list(pair) for key, pair in differing(one, other).items()},
    }


def render_comparison(one: Plan, other: Plan) -> str:
    """The difference of two plans as text."""
    lines = [str(Text(f"compared with {other.name}", f"与 {other.name} 比较"))]
    parted = diff(one.curve, other.curve, max(one.updates, other.updates))
    if parted is None:
        lines.append(str(Text("  every update uses the same rate", "  每一步的学习率都相同")))
    else:
        a, b = parted.rates
        c, d = parted.largest
        lines += [
            str(
                Text(
                    f"  the curves part at update {parted.update:,}: {a!r} here, {b!r} there",
                    f"  曲线在第 {parted.update:,} 步分开：这里 {a!r}，那里 {b!r}",
                )
            ),
            str(
                Text(
                    f"  they are furthest apart at update {parted.largest_at:,}: {c!r} and {d!r}; "
                    f"{parted.count:,} updates differ",
                    f"  相差最大在第 {parted.largest_at:,} 步：{c!r} 与 {d!r}；共 {parted.count:,} 步不同",
                )
            ),
        ]
    lines += [f"  {key}: {here} → {there}" for key, (here, there) in differing(one, other).items()]
    return "\n".join(lines)
