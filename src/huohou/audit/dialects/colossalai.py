"""ColossalAI: the schedulers with warmup of ``colossalai.nn.lr_scheduler`` in Python, read from the syntax tree.

All but the linear one rise as (i + 1) / W, so that the peak is used twice, in updates W and W + 1; the linear one
rises as (i + 1) / (W + 1) and goes below zero behind its end, and a cosine rises again.
"""

from __future__ import annotations

from huohou.audit.applied import Applied
from huohou.audit.dialects.calls import arguments, number
from huohou.audit.dialects.loader_length import lengths
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Call, Module
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "colossalai"
title = "ColossalAI"

_CALLS = {
    "CosineAnnealingWarmupLR": ("optimizer", "total_steps", "warmup_steps", "eta_min"),
    "FlatAnnealingWarmupLR": ("optimizer", "total_steps", "warmup_steps", "pct_start", "eta_min"),
    "LinearWarmupLR": ("optimizer", "total_steps", "warmup_steps"),
}


def _calls(document: Document) -> list[Call]:
    module = document.module
    if module is None or "colossalai" not in document.source.text:
        return []
    return [call for call in module.calls if call.last_name in _CALLS]


def sees(document: Document) -> int:
    """A call of one of its schedulers in a file that names it."""
    return 86 if _calls(document) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each call."""
    module = document.module
    assert module is not None
    return [_read(call, module, given) for call in _calls(document)]


def _peak(module: Module) -> float | None:
    for call in module.calls:
        if "Adam" in call.last_name or "SGD" in call.last_name or "Lamb" in call.last_name or "optim" in call.last_name:
            found = number(call.settings.values.get("lr"), module)
            if found:
                return found
    return None


def _read(call: Call, module: Module, given: Given) -> Reading:
    found = arguments(call, _CALLS[call.last_name])
    settings = Settings(found, call.name, call.line)
    reading = Reading(name, f"{title} {call.last_name}", settings)
    for key, value in found.items():
        call.settings.values.setdefault(key, value)
    reading.facts |= {"family": "colossalai", "framework": name, "scheduler": call.last_name}
    peak = _peak(module)
    loaders = lengths(call, module, given)
    known = {} if loaders is None else loaders.known
    updates = given.updates if given.updates is not None or loaders is None else loaders.updates
    total, warmup = number(found.get("total_steps"), module, known), number(found.get("warmup_steps"), module, known)
    if peak is None:
        reading.need("the optimizer's lr cannot be read from the file.", "无法从文件读出优化器的 lr。")
        return reading
    if total is None and updates is not None:
        total = float(updates)
        reading.assume(f"total_steps is the run's {updates} updates.", f"total_steps 取训练的 {updates} 个更新步。")
    if warmup is None and (value := found.get("warmup_steps")) is not None and value.value is not None:
        reading.need(
            f"warmup_steps = {value.written} in line {value.line} cannot be read without running the file.",
            f"第 {value.line} 行的 warmup_steps = {value.written} 不运行文件就无法得知。",
        )
        return reading
    if total is None or total < 1:
        reading.need("how many updates: give --updates, or --samples.", "更新步数未知：请给出 --updates 或 --samples。")
        return reading
    updates = int(total) if updates is None else updates
    warmup = float(int(warmup or 0.0))
    least = (number(found.get("eta_min"), module, known) or 0.0) / peak
    curve = Applied(
        peak, updates, _pieces(call.last_name, total, warmup, least, number(found.get("pct_start"), module))
    )
    reading.facts |= {"peak": peak, "warmup_steps": warmup, "horizon": total, "floor": least}
    reading.roles.append(Role("model", curve, warmup, None, None, total))
    return reading


def _pieces(kind: str, total: float, warmup: float, least: float, share: float | None) -> tuple[Piece, ...]:
    rest = max(total - warmup, 1e-300)
    if kind == "LinearWarmupLR":
        rise = (Piece(0, "linear", 0.0, 1.0, warmup + 1.0, origin=-1.0),) if warmup > 0 else ()
        return *rise, Piece(warmup, "linear", 1.0, 0.0, rest)
    rise = (Piece(0, "linear", 0.0, 1.0, warmup, origin=-1.0),) if warmup > 0 else ()
    if kind == "CosineAnnealingWarmupLR":
        return *rise, Piece(warmup, "cosine", 1.0, least, rest)
    flat = float(int((total - warmup) * (0.72 if share is None else share)))
    fall = Piece(warmup + flat, "cosine", 1.0, least, max(rest - flat, 1e-300))
    return *rise, Piece(warmup, "hold", 1.0), fall
