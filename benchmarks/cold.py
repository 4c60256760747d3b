"""From a cold shell: how long the commands that need no torch take, as whole processes."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import ROOT, Ran, in_turn, spread
from benchmarks.measure import run as run_process
from benchmarks.results import Found, Options, Table

FLAGS = ["--updates", "10000", "--peak", "3e-4", "--warmup-rate", "0.1", "--decay", "cosine", "--floor", "10%"]
TARGETS = {"huohou --help": 0.15, "huohou plan, from flags": 0.2, "huohou plan, from a run file": 0.4}


def run(options: Options) -> Found:
    """Every command in turn, 20 times."""
    beside = Path(sys.executable).with_name("huohou")
    huohou = [str(beside)] if beside.exists() else [shutil.which("huohou") or "huohou"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import pydantic, yaml, numpy": [sys.executable, "-c", "import pydantic, yaml, numpy"],
        "huohou --help": [*huohou, "--help"],
        "huohou plan, from flags": [*huohou, "plan", *FLAGS],
        "huohou plan, from a run file": [*huohou, "plan", str(ROOT / "configs" / "demo.yaml")],
    }

    def side(command: list[str], number: int) -> Ran:
        return run_process(command, cwd=options.work)

    rounds = options.rounds or (1 if options.smoke else 20)
    for command in commands.values():
        # Once before anything counts: the files come into memory, the bytecode onto the disk.
        side(command, 0)
    runs = in_turn({name: partial(side, command) for name, command in commands.items()}, rounds)
    figures = {
        name: {"seconds": spread([r.seconds for r in ran]), "target": TARGETS.get(name)} for name, ran in runs.items()
    }
    rows = [
        [
            name,
            f"{figure['seconds']['median']:.3f}",
            f"{figure['seconds']['min']:.3f}–{figure['seconds']['max']:.3f}",
            f"≤ {figure['target']}" if figure["target"] else "",
        ]
        for name, figure in figures.items()
    ]
    table = Table("Cold start, whole processes", ("command", "median s", "range", "target"), rows)
    # Where this checkout lies is nobody else's matter.
    shown = {name: [word.removeprefix(f"{ROOT}{os.sep}") for word in command] for name, command in commands.items()}
    return Found(table, {"rounds": rounds, "commands": shown}, figures, runs)
