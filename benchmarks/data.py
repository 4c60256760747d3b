"""Chinese text to token ids on the disk, and ids to batches: huohou beside its neighbours used plainly.

A file of documents becomes ids on the disk that a training can map into memory: with huohou's reader and token
cache; with ``json`` and ``tokenizers.encode_batch``, saved by numpy; with ``datasets.map`` over the same tokenizer.
All three use the same tokenizer file, and every core. Imports do not count.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Ran, in_turn, module, ratio, spread
from benchmarks.measure import run as run_process
from benchmarks.results import Found, Options, Table, megabytes

SONGCI = ROOT.parent / "shared" / "data" / "pretrain" / "songci.jsonl"
"""A corpus that some machines have beside the checkout; without it there is the generated one alone."""

TOKENISE = {"huohou": "reader and token cache", "tokenizers": "json and encode_batch", "datasets": "datasets.map"}
LOAD = {"huohou": "Packed, Order, to tensors", "datasets": "torch DataLoader over datasets"}


def run(options: Options) -> Found:
    """Tokenising each corpus, then loading batches of the generated one."""
    characters, batches = (20_000, 20) if options.smoke else (5_000_000, 2000)
    rounds = options.rounds or (1 if options.smoke else 5)
    _child("prepare", options.work, characters, 400 if options.smoke else 4096)
    corpora = {"generated": options.work / "corpus.jsonl"}
    if SONGCI.exists() and not options.smoke:
        corpora["songci"] = SONGCI
    runs: dict[str, list[Ran]] = {}
    figures: dict[str, Any] = {}
    rows: list[list[str]] = []
    for name, corpus in corpora.items():
        sides = {side: partial(_tokenise, options.work, corpus, side) for side in TOKENISE}
        title = f"tokenising, {name}"
        measured = in_turn(sides, rounds)
        runs |= {f"{title}, {side}": found for side, found in measured.items()}
        figures[title] = _figures(measured, "characters_per_second")
        rows += _rows(title, TOKENISE, figures[title], "characters/s")
    for attention in ("packed", "documents"):
        sides = {side: partial(_load, options.work, side, attention, batches) for side in LOAD}
        if attention == "documents":
            del sides["datasets"]
        title = f"loading, attention {attention}"
        measured = in_turn(sides, rounds)
        runs |= {f"{title}, {side}": found for side, found in measured.items()}
        figures[title] = _figures(measured, "sequences_per_second")
        rows += _rows(title, LOAD, figures[title], "sequences/s")
    table = Table("Data", ("what", "side", "speed", "range", "unit", "huohou is ×", "peak"), rows)
    settings = {"characters": characters, "batches": batches, "rounds": rounds, "sequence_length": 256, "batch": 16}
    return Found(table, settings, figures, runs)


def _child(*arguments: object) -> Ran:
    env = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    ran = run_process(module("data_sides", *arguments), cwd=ROOT, env=env)
    return Ran(**{**ran.plain(), "own": json.loads(ran.output) if ran.output else {}})


def _tokenise(work: Path, corpus: Path, side: str, number: int) -> Ran:
    return _child("tokenise", work, side, corpus, number)


def _load(work: Path, side: str, attention: str, batches: int, number: int) -> Ran:
    return _child("load", work, side, attention, batches)


def _figures(measured: dict[str, list[Ran]], unit: str) -> dict[str, Any]:
    speeds = {side: [ran.own[unit] for ran in found] for side, found in measured.items()}
    return {
        side: {
            unit: spread(speeds[side]),
            "huohou_is_times": ratio(speeds["huohou"], speeds[side]),
            "peak_bytes": spread([float(ran.peak_bytes or 0) for ran in found]),
        }
        for side, found in measured.items()
    }


def _rows(what: str, titles: dict[str, str], figures: dict[str, Any], unit: str) -> list[list[str]]:
    rows: list[list[str]] = []
    for side, found in figures.items():
        speed = found[unit.replace("/s", "_per_second")]
        times = found["huohou_is_times"]["of_medians"]
        rows.append(
            [
                what,
                f"{side}: {titles[side]}",
                f"{speed['median']:,.0f}",
                f"{speed['min']:,.0f}–{speed['max']:,.0f}",
                unit,
                "" if side == "huohou" else f"{times:.2f}",
                megabytes(found["peak_bytes"]["median"]),
            ]
        )
    return rows
