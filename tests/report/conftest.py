"""Synthetic run folders: the files that a run writes, without running one."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from huohou.records import line_of, write_json
from huohou.schedule.curve import Curve, knots

LAYERS = ("embed_tokens", "layers.0", "layers.1", "layers.2", "layers.3", "norm", "lm_head")


def curve_of(updates: int, warmup: int, peak: float) -> Curve:
    rising: list[Any] = [(0, 0, "linear"), (warmup, 1, "cosine")] if warmup else [(1, 1, "cosine")]
    points = [*rising, (updates, "0.1", "hold")] if updates > max(1, warmup) else [(1, 1, "hold")]
    return Curve(Fraction(repr(peak)), knots(points), updates)


def plan_of(name: str, updates: int, warmup: int, peak: float, seed: int) -> dict[str, Any]:
    curve = curve_of(updates, warmup, peak)
    phases = [{"name": "decay", "en": "decay", "zh": "衰减", "first": warmup + 1, "last": updates}]
    if warmup:
        phases.insert(0, {"name": "warmup", "en": "warmup", "zh": "预热", "first": 1, "last": warmup})
    return {
        "format": 1, "name": name, "stage": "pretrain", "updates": updates, "exact": True, "interval": None,
        "warmup_updates": warmup, "decay_updates": updates - warmup, "peak": peak, "floor": peak / 10,
        "first_rate": curve(1), "last_rate": curve(updates),
        "fingerprint": curve.fingerprint, "plan_fingerprint": "ab12cd34",
        "knots": curve.to_plain()["knots"], "groups": {"all": curve.to_plain()}, "phases": phases, "milestones": [],
        "sequence_length": 128,
        "data": {
            "documents": 4821, "characters": 2_000_000, "bytes": 5_900_000, "tokens": 1_228_800, "sequences": 9600,
            "padded": 37, "dropped": 0, "epochs": 1, "tokens_total": 1_228_800, "sequence_length": 128,
        },
        "batch": {"sequences": 16, "tokens": 2048, "micro_batch": 16, "accumulation": 1, "world_size": 1, "last": 16},
        "model": {"hidden_size": 128, "num_hidden_layers": 4, "parameters": 1_316_480},
        "optimizer": {"name": "adamw", "betas": [0.9, 0.95], "max_grad_norm": 1.0, "weight_decay": 0.1},
        "execution": {"device": "cpu", "dtype": "float32", "compile": False, "threads": 1, "seed": seed},
        "budget": {},
        "advice": [
            {"id": "small", "en": "A short run: published short runs warm up over hundreds of updates.",
             "zh": "短训练：公开的短训练会用几百步预热。", "source": "arXiv:2410.23922", "strength": "strong"},
        ],
        "config": {
            "name": name, "seed": seed, "tokenizer": {"vocab_size": 2048}, "train": {"updates": updates},
            "schedule": {"peak": peak, "warmup": f"{warmup} steps" if warmup else "off", "floor": "10%"},
        },
    }  # fmt: skip


def metrics_of(plan: Mapping[str, Any], seed: int = 1, harm: float = 0.0) -> list[dict[str, Any]]:
    """Lines that look like those of a small model; ``harm`` is what a missing warmup does to it."""
    dice = random.Random(seed)
    curve = Curve.from_plain(plan["groups"]["all"])
    total = plan["updates"]
    lines: list[dict[str, Any]] = []
    for u in range(1, total + 1):
        early = math.exp(-u / (0.06 * total))
        loss = 3.1 + 4.5 * math.exp(-((u / (0.12 * total)) ** 0.55)) + harm * (0.35 + 1.4 * early * (u > 2))
        norm = 0.6 + 2.2 * early + harm * 4 * early
        noise = dice.gauss(0, 0.05 + 0.12 * harm * early)
        line: dict[str, Any] = {
            "update": u, "rate": curve(u), "loss": loss + noise, "tokens": 2048,
            "gradient_norm": norm * math.exp(dice.gauss(0, 0.2)), "skipped": False,
            "seconds": 0.31 * math.exp(dice.gauss(0, 0.06)) + (4.0 if u == 1 else 0),
        }  # fmt: skip
        line["clipped"] = line["gradient_norm"] > 1
        if u % max(1, total // 120) == 0:
            spread = 0.35 + harm * 0.6 * early
            line["layers"] = {
                name: norm * math.exp(spread * (3 - i) / 2 + dice.gauss(0, 0.08)) / 3 for i, name in enumerate(LAYERS)
            }
        if u % max(1, total // 12) == 0:
            line["evaluation"] = {
                "loss": loss + 0.06,
                "bits_per_byte": (loss + 0.06) / math.log(2) / 3,
                "tokens": 65536,
            }
        lines.append(line)
    return lines


Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """``build(name, updates=…, warmup=…)`` writes a run folder below the test's own folder and gives its path."""

    def make(
        folder: str = "run",
        *,
        name: str | None = None,
        updates: int = 60,
        warmup: int = 6,
        peak: float = 3e-3,
        seed: int = 7,
        harm: float = 0.0,
        lines: list[dict[str, Any]] | None = None,
        events: list[dict[str, Any]] | None = None,
        plan: dict[str, Any] | None = None,
    ) -> Path:
        path = tmp_path / folder
        path.mkdir()
        plan = plan or plan_of(name or folder, updates, warmup, peak, seed)
        write_json(path / "plan.json", plan)
        lines = metrics_of(plan, harm=harm) if lines is None else lines
        (path / "metrics.jsonl").write_text(
            "".join(line_of(line) + "\n" for line in lines), encoding="utf-8", newline="\n"
        )
        events = default_events(updates) if events is None else events
        (path / "events.jsonl").write_text(
            "".join(json.dumps(e) + "\n" for e in events), encoding="utf-8", newline="\n"
        )
        write_json(
            path / "environment.json", {"python": "3.11.2", "torch": "2.13.0", "cpu": "2 cores", "platform": "Linux"}
        )
        return path

    return make


def default_events(updates: int) -> list[dict[str, Any]]:
    return [
        {"event": "start", "update": 0, "time": "2026-11-24T06:00:00Z"},
        {
            "event": "checkpoint",
            "update": updates // 2,
            "time": "2026-11-24T06:01:00Z",
            "path": f"checkpoints/{updates // 2}",
        },
        {"event": "skip", "update": updates // 3, "time": "2026-11-24T06:01:30Z", "reason": "non-finite gradients"},
        {
            "event": "sample",
            "update": updates,
            "prompt": "小红在公园里",
            "text": "小红在公园里看见一只猫。她说：“你好！”",
        },
        {
            "event": "score",
            "update": updates,
            "share": 0.42,
            "right": 42,
            "asked": 100,
            "interval": [0.33, 0.52],
            "by_kind": {"fact": [40, 50], "knowledge": [2, 50]},
        },
        {"event": "end", "update": updates, "time": "2026-11-24T06:02:00Z"},
    ]
