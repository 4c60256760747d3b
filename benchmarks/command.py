"""From the command to a trained model, everything included: process start, imports, reading, training, saving."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Ran, in_turn, module, ratio, say, spread
from benchmarks.measure import run as run_process
from benchmarks.results import Found, Options, Table, megabytes
from benchmarks.same_run import SETTINGS, SameRun, prepare

TRAINER, HUOHOU, WARM = "Transformers Trainer", "huohou train", "huohou train, warm compile cache"


@dataclass(frozen=True, slots=True)
class Length:
    """A run of so many updates, and what the sides are measured against."""

    name: str
    updates: int
    rounds: int
    targets: dict[str, str]


LENGTHS = (
    Length("ten seconds", 17, 5, {HUOHOU: "≥ 1.4"}),
    Length("two minutes", 200, 3, {HUOHOU: "≥ 1.1", WARM: "≥ 1.3"}),
)
"""What the Trainer's loop takes for these updates of S on two idle cores (0.6 s each); a fixed number, so that the
run is the same wherever it is measured."""


def run(options: Options) -> Found:
    """Both lengths; in the longer one also with compiled code that an earlier run has left."""
    setting = SETTINGS["smoke" if options.smoke else "S"]
    lengths = [Length("smoke", 4, 1, {HUOHOU: "", WARM: ""})] if options.smoke else LENGTHS
    same = prepare(options.work / "same", setting, max(length.updates for length in lengths))
    runs: dict[str, list[Ran]] = {}
    figures: dict[str, Any] = {}
    rows: list[list[str]] = []
    for length in lengths:
        measured = _measure(SameRun(same.folder, setting, length.updates), length, options)
        runs |= {f"{length.name}, {side}": found for side, found in measured.items()}
        figures[length.name] = _figures(measured)
        rows += _rows(length, figures[length.name])
    columns = ("run", "side", "compiled", "s", "range", "×", "range", "peak", "validation loss", "target")
    table = Table(f"From the command to a trained model ({setting.name})", columns, rows)
    about = {length.name: length.updates for length in lengths}
    return Found(table, {"model": setting.name, "updates": about, "seeds": "the number of the round"}, figures, runs)


def _measure(same: SameRun, length: Length, options: Options) -> dict[str, list[Ran]]:
    warm = options.work / f"compiled-{length.updates}"
    sides = {TRAINER: partial(_trainer, same), HUOHOU: partial(_huohou, same, cache=None)}
    if WARM in length.targets:
        sides[WARM] = partial(_huohou, same, cache=warm)
        say(f"{length.name}: filling the compile cache")
        filling = SameRun(same.folder, same.setting, 2)
        _huohou(filling, -1, cache=warm)
    return in_turn(sides, options.rounds or length.rounds)


def _huohou(same: SameRun, number: int, *, cache: Path | None) -> Ran:
    """Without a ``cache`` the rule of ``compile: auto`` decides, and there is no compiled code from before."""
    kind = "auto" if cache is None else "warm"
    output = same.folder / f"huohou-{kind}-{same.updates}-{number}"
    env = {"TORCHINDUCTOR_CACHE_DIR": str(cache or output.with_suffix(".compiled"))}
    arguments = same.huohou(output, *([] if cache is None else ["train.compile=true"]), seed=max(number, 0))
    ran = run_process([sys.executable, "-m", "huohou", *arguments], cwd=ROOT, env=env)
    compiled = json.loads((output / "plan.json").read_text(encoding="utf-8"))["execution"]["compile"]
    return _judged(ran, same, output / "model", compiled)


def _trainer(same: SameRun, number: int) -> Ran:
    output = same.folder / f"trainer-{same.updates}-{number}"
    settings = same.trainer(output, seed=number)
    return _judged(run_process(module("transformers_trainer", settings), cwd=ROOT), same, output / "model", False)


def _judged(ran: Ran, same: SameRun, model: Path, compiled: bool) -> Ran:
    return Ran(**{**ran.plain(), "own": {"validation_loss": same.evaluate(model), "compiled": compiled}})


def _figures(measured: dict[str, list[Ran]]) -> dict[str, Any]:
    seconds = {side: [ran.seconds for ran in found] for side, found in measured.items()}
    return {
        side: {
            "compiled": found[0].own["compiled"],
            "seconds": spread(seconds[side]),
            "times_faster": ratio(seconds[TRAINER], seconds[side]),
            "peak_bytes": spread([float(ran.peak_bytes or 0) for ran in found]),
            "validation_loss": spread([ran.own["validation_loss"] for ran in found]),
        }
        for side, found in measured.items()
    }


def _rows(length: Length, figures: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{length.name} ({length.updates} updates)",
            side,
            "yes" if found["compiled"] else "no",
            f"{found['seconds']['median']:.1f}",
            f"{found['seconds']['min']:.1f}–{found['seconds']['max']:.1f}",
            f"{found['times_faster']['of_medians']:.2f}",
            f"{found['times_faster']['min']:.2f}–{found['times_faster']['max']:.2f}",
            megabytes(found["peak_bytes"]["median"]),
            f"{found['validation_loss']['median']:.3f}",
            length.targets.get(side, ""),
        ]
        for side, found in figures.items()
    ]
