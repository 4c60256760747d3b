"""One training step: huohou eager and compiled beside the Transformers Trainer, in alternating processes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import ROOT, Ran, in_turn, module, ratio, spread
from benchmarks.measure import run as run_process
from benchmarks.results import Found, Options, Table, megabytes
from benchmarks.same_run import SETTINGS, SameRun, Setting, prepare

UPDATES = {"S": 25, "XS": 60, "smoke": 8}
SKIPPED = 5
"""First steps that do not count: memory is found, and a compiled side loads or makes its kernels."""

TRAINER, EAGER, COMPILED = "Transformers Trainer", "huohou eager", "huohou compiled, warm cache"
TARGETS = {EAGER: "≥ 0.95", COMPILED: "≥ 1.3, ≤ 0.8 of the memory"}


def run(options: Options) -> Found:
    """Every setting, every side, at least five processes each."""
    rounds = options.rounds or (1 if options.smoke else 5)
    settings = [SETTINGS["smoke"]] if options.smoke else [SETTINGS["S"], SETTINGS["XS"]]
    runs: dict[str, list[Ran]] = {}
    figures: dict[str, Any] = {}
    rows: list[list[str]] = []
    for setting in settings:
        measured = _measure(setting, options.work / setting.name, rounds)
        runs |= {f"{setting.name}, {side}": found for side, found in measured.items()}
        figures[setting.name] = _figures(measured)
        rows += _rows(setting, figures[setting.name])
    table = Table("Training step", ("model", "side", "tokens/s", "range", "×", "range", "peak", "×", "target"), rows)
    about = {
        s.name: {"updates": UPDATES[s.name], "tokens_per_update": s.tokens, "threads": s.threads} for s in settings
    }
    return Found(table, {"rounds": rounds, "skipped_steps": SKIPPED, "seed": 0, "models": about}, figures, runs)


def _measure(setting: Setting, folder: Path, rounds: int) -> dict[str, list[Ran]]:
    same = prepare(folder, setting, UPDATES[setting.name])
    sides = {
        TRAINER: partial(_trainer, same),
        EAGER: partial(_huohou, same, compiled=False),
        COMPILED: partial(_huohou, same, compiled=True),
    }
    # One process fills the cache of compiled code, and the files come into memory; none of it counts.
    for side in sides.values():
        side(-1)
    return in_turn(sides, rounds)


def _huohou(same: SameRun, number: int, *, compiled: bool) -> Ran:
    name = f"huohou-{'compiled' if compiled else 'eager'}-{number}"
    times = same.folder / f"{name}.times"
    arguments = same.huohou(same.folder / name, f"train.compile={str(compiled).lower()}")
    ran = run_process(module("huohou_timed", times, *arguments), cwd=ROOT)
    return _with_step(ran, times, same.setting)


def _trainer(same: SameRun, number: int) -> Ran:
    times = same.folder / f"trainer-{number}.times"
    settings = same.trainer(same.folder / f"trainer-{number}")
    ran = run_process(module("transformers_trainer", settings, times), cwd=ROOT)
    return _with_step(ran, times, same.setting)


def _with_step(ran: Ran, times: Path, setting: Setting) -> Ran:
    began: list[float] = json.loads(times.read_text(encoding="utf-8"))
    steps = [b - a for a, b in zip(began[SKIPPED:], began[SKIPPED + 1 :], strict=False)]
    own = {"median_step_seconds": median(steps), "steps": steps, "tokens_per_second": setting.tokens / median(steps)}
    return Ran(**{**ran.plain(), "own": own})


def _figures(measured: dict[str, list[Ran]]) -> dict[str, Any]:
    speeds = {side: [ran.own["tokens_per_second"] for ran in found] for side, found in measured.items()}
    peaks = {side: [float(ran.peak_bytes or 0) for ran in found] for side, found in measured.items()}
    return {
        side: {
            "tokens_per_second": spread(speeds[side]),
            "speed_ratio": ratio(speeds[side], speeds[TRAINER]),
            "peak_bytes": spread(peaks[side]),
            "peak_ratio": ratio(peaks[side], peaks[TRAINER]) if all(peaks[TRAINER]) else None,
        }
        for side in measured
    }


def _rows(setting: Setting, figures: dict[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = []
    for side, found in figures.items():
        speed, times, peak = found["tokens_per_second"], found["speed_ratio"], found["peak_ratio"]
        rows.append(
            [
                setting.name,
                side,
                f"{speed['median']:,.0f}",
                f"{speed['min']:,.0f}–{speed['max']:,.0f}",
                f"{times['of_medians']:.2f}",
                f"{times['min']:.2f}–{times['max']:.2f}",
                megabytes(found["peak_bytes"]["median"]),
                f"{peak['of_medians']:.2f}" if peak else "–",
                TARGETS.get(side, ""),
            ]
        )
    return rows
