"""Runs of huohou made one after another by the same processes, for models of other families than the decoder alone.

``python families.py OPTIONS`` in a folder with run files is one process, ``--launch N`` before OPTIONS starts N.
OPTIONS is JSON, a list of [run file, overrides, batch]: with a batch the run is stopped by a signal when it reads that
one, and a run that was begun goes on.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from typing import Any

import torch

from huohou import launch
from huohou.config import load_run
from huohou.stages.lm import LanguageModelling
from huohou.train.local import run_local
from huohou.train.signals import Stopped

_read = LanguageModelling.batch
_stop_at: int | None = None


def _batch(self: LanguageModelling, index: int) -> Any:
    if index == _stop_at and os.environ.get("RANK", "0") == "0":
        os.kill(os.getpid(), signal.SIGTERM)
    return _read(self, index)


def main(runs: list[tuple[str, list[str], int | None]]) -> None:
    global _stop_at
    torch.set_num_threads(1)
    LanguageModelling.batch = _batch
    for number, (file, overrides, stop_at) in enumerate(runs):
        # Each run has its own place in the store that the launcher keeps.
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(number)
        _stop_at = stop_at
        several = [f"batch.gpus={os.environ['WORLD_SIZE']}"] if "WORLD_SIZE" in os.environ else []
        run = load_run(file, [*overrides, *several])
        try:
            launch.train(run, resume="auto", stream=io.StringIO())
        except Stopped:
            assert stop_at is not None
        else:
            assert stop_at is None


if __name__ == "__main__":
    if sys.argv[1] == "--launch":
        sys.exit(run_local([sys.executable, __file__, *sys.argv[3:]], int(sys.argv[2]), 60))
    main(json.loads(sys.argv[1]))
