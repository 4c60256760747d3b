"""The audit from a cold shell: one file of each kind, and a folder of a thousand, as whole processes."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import Ran, in_turn, spread
from benchmarks.measure import run as run_process
from benchmarks.results import Found, Options, Table

_YAML = (
    "model_name_or_path: m\nstage: sft\nfinetuning_type: lora\ndo_train: true\ndataset: d\ntemplate: t\n"
    "cutoff_len: 2048\n"
    "learning_rate: {rate}\nlr_scheduler_type: cosine\nwarmup_steps: {warmup}\nmax_steps: {updates}\nbf16: true\n"
    "per_device_train_batch_size: 4\ngradient_accumulation_steps: 8\noutput_dir: out\n"
)
_SHELL = (
    "#!/bin/bash\nLR=${{LR:-{rate}}}\nARGS=(\n  --lr_scheduler_type cosine # 余弦\n  --num_warmup_steps {warmup}\n)\n"
    'deepspeed --num_gpus 8 main.py --model_name_or_path m --learning_rate $LR \\\n  --zero_stage 2 "${{ARGS[@]}}" '
    "--num_train_epochs 2 --data_split 2,4,4\n"
)
_PYTHON = (
    "from transformers import TrainingArguments\n\nEPOCHS = 3\n\n\ndef main():\n    args = TrainingArguments(\n"
    "        'out', learning_rate={rate}, warmup_steps={warmup}, max_steps={updates}, num_train_epochs=EPOCHS,\n"
    "        lr_scheduler_type='cosine', per_device_train_batch_size=4,\n    )\n    return args\n"
)
_OTHER = "def helper(values):\n    return [value * 2 for value in values]\n\n\n" * 40
KINDS = {"yaml": _YAML, "sh": _SHELL, "py": _PYTHON, "ipynb": _PYTHON, "other.py": _OTHER}
"""What people have in a folder of experiments; the last kind trains nothing."""
FILES = 1000
TARGETS = {"one file": 0.5, "a folder": 30.0}


def run(options: Options) -> Found:
    """Every command in turn, 20 times; the folder 3 times."""
    beside = Path(sys.executable).with_name("huohou")
    huohou = str(beside) if beside.exists() else shutil.which("huohou") or "huohou"
    many = 50 if options.smoke else FILES
    folder = options.work / "files"
    _fill(folder, many)
    last = ["--fail-on", "never"]
    singles = {f"one file, .{kind}": [huohou, "audit", f"files/0.{kind}", *last] for kind in list(KINDS)[:4]}
    whole = {f"a folder of {many} files": [huohou, "audit", "files", *last]}

    def side(command: list[str], number: int) -> Ran:
        return run_process(command, cwd=options.work)

    for command in singles.values():
        # Once before anything counts: the files come into memory, the bytecode onto the disk.
        side(command, 0)
    rounds = options.rounds or (1 if options.smoke else 20)
    runs = in_turn({name: partial(side, command) for name, command in singles.items()}, rounds)
    runs |= in_turn({name: partial(side, command) for name, command in whole.items()}, min(rounds, 3))
    figures = {
        name: {
            "seconds": spread([ran.seconds for ran in found]),
            "target": next(target for start, target in TARGETS.items() if name.startswith(start)),
        }
        for name, found in runs.items()
    }
    rows = [
        [
            name,
            f"{figure['seconds']['median']:.3f}",
            f"{figure['seconds']['min']:.3f}–{figure['seconds']['max']:.3f}",
            f"≤ {figure['target']:g}",
        ]
        for name, figure in figures.items()
    ]
    table = Table("The audit, whole processes", ("command", "median s", "range", "target"), rows)
    about = {"rounds": rounds, "files": many, "kinds": list(KINDS)}
    return Found(table, about, figures, runs)


def _fill(folder: Path, many: int) -> None:
    """So many files, each kind in its turn, no two of them alike."""
    folder.mkdir()
    kinds = list(KINDS.items())
    for number in range(many + len(kinds)):
        kind, text = kinds[number % len(kinds)]
        name = folder / f"{number - number % len(kinds)}.{kind}"
        text = text.format(rate=f"{1 + number % 9}e-5", warmup=10 + number, updates=1000 + number)
        if kind == "ipynb":
            text = json.dumps({"cells": [{"cell_type": "code", "source": text.splitlines(keepends=True)}]})
        if number < many:
            name.write_text(text, encoding="utf-8")
