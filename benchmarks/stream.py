"""Every rate of a very long plan, streamed; and a torch scheduler stepped through part of it."""

from __future__ import annotations

import json
import sys
import time
from functools import partial

from benchmarks.measure import ROOT, Ran, in_turn, module, ratio, spread
from benchmarks.measure import run as run_process
from benchmarks.results import Found, Options, Table, megabytes

UPDATES = 100_000_000
STEPPED = 1_000_000
WARMUP, PEAK, FLOOR = 1000, 3e-4, 0.1
SIDES = ("huohou", "nothing", "transformers")


def run(options: Options) -> Found:
    """Each side in a process of its own."""
    updates, stepped = (1000, 1000) if options.smoke else (UPDATES, STEPPED)
    rounds = options.rounds or (1 if options.smoke else 5)

    def side(name: str, number: int) -> Ran:
        ran = run_process(module("stream", name, updates, stepped), cwd=ROOT)
        return Ran(**{**ran.plain(), "own": json.loads(ran.output)})

    runs = in_turn({name: partial(side, name) for name in SIDES}, rounds)
    seconds = {name: [r.own["seconds"] for r in ran] for name, ran in runs.items()}
    peaks = {name: spread([r.peak_bytes or 0 for r in ran]) for name, ran in runs.items()}
    added = peaks["huohou"]["median"] - peaks["nothing"]["median"]
    figures = {
        "seconds": {name: spread(found) for name, found in seconds.items()},
        "peak_bytes": peaks,
        "added_bytes": added,
        "ratio": ratio(seconds["huohou"], seconds["transformers"]),
    }
    titles = {
        "huohou": f"Curve.stream, {updates:,} rates",
        "transformers": f"get_cosine_schedule_with_warmup, {stepped:,} steps, extrapolated to {updates:,}",
    }
    rows = [
        [
            titles[name],
            f"{figures['seconds'][name]['median']:.2f}",
            f"{figures['seconds'][name]['min']:.2f}–{figures['seconds'][name]['max']:.2f}",
            f"+{megabytes(added)}" if name == "huohou" else "",
        ]
        for name in titles
    ]
    table = Table("Every rate of a plan", ("", "s", "range", "memory beside the same process without it"), rows)
    settings = {"updates": updates, "stepped": stepped, "warmup": WARMUP, "rounds": rounds, "target_seconds": 4}
    return Found(table, settings, figures, runs)


def _stream(updates: int) -> float:
    from huohou.schedule import Schedule, build

    spec = Schedule(peak=PEAK, warmup=f"{min(WARMUP, updates // 10)} steps", decay="cosine", floor=f"{FLOOR:.0%}")
    curve = build(spec, updates).curve
    began = time.perf_counter()
    for rates in curve.stream(1, updates):
        last = rates[-1]
    assert abs(last - PEAK * FLOOR) < 1e-12
    return time.perf_counter() - began


def _step(updates: int, stepped: int) -> float:
    import torch
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = get_cosine_schedule_with_warmup(optimizer, min(WARMUP, updates // 10), updates)
    optimizer.step()
    began = time.perf_counter()
    for _ in range(stepped):
        schedule.step()
    return (time.perf_counter() - began) * updates / stepped


def _nothing() -> float:
    """The same process with the same imports and one rate."""
    return _stream(10)


if __name__ == "__main__":
    name, updates, stepped = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    measured = {
        "huohou": lambda: _stream(updates),
        "nothing": _nothing,
        "transformers": lambda: _step(updates, stepped),
    }
    print(json.dumps({"seconds": measured[name]()}))
