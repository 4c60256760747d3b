"""Several processes that train :mod:`small` together, with something that happens to one of them.

``python several.py FOLDER OPTIONS`` is one process, which a launcher gave its rank; with ``--launch N`` before the
folder it starts N of them. OPTIONS is JSON, a list of runs that they make one after another, each with its ``name``
and maybe ``engine``, ``updates``, ``every``, ``timeout``, ``pause``, ``resume``, ``offload``, ``micro`` and ``fault``:
[kind, rank, batch].
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from small import SmallStage, resume, small_trainer

from huohou.cli.main import EXIT_FAILED
from huohou.errors import RunFailed
from huohou.train import distributed, processes, saving
from huohou.train.distributed import rounds, share
from huohou.train.local import run_local
from huohou.train.signals import Stopped


class SharedStage(SmallStage):
    """Every process computes its share of each batch."""

    def micro_batches(self, batch: Any) -> Iterator[Any]:
        world, count = distributed.world(), len(batch.inputs)
        own = share(count, world.rank, world.size)
        for number in range(rounds(count, world.size, self.micro_batch)):
            first = own.start + number * self.micro_batch
            rows = slice(first, min(first + self.micro_batch, own.stop))
            yield batch.index, torch.from_numpy(batch.inputs[rows]), torch.from_numpy(batch.labels[rows])


def happen(kind: str) -> None:
    """What a fault does to the process in which it happens."""
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "stand":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "hang":
        time.sleep(600)
    elif kind == "exit":
        sys.exit(0)
    elif kind == "vanish":
        os._exit(0)
    elif kind == "fail":
        raise RunFailed("the disk of this rank is on fire.", "着火了。")
    elif kind == "full":
        refuse_once()
    elif kind in ("SIGTERM", "SIGINT", "SIGUSR1"):
        os.kill(os.getpid(), getattr(signal, kind))


def refuse_once() -> None:
    """The disk takes this process's next file for full."""
    write = saving.save_file

    def full(*_: Any, **__: Any) -> None:
        saving.save_file = write
        raise OSError(errno.ENOSPC, "No space left on device")

    saving.save_file = full


def stage_of(options: dict[str, Any], rank: int) -> SharedStage:
    kind, who, when = options.get("fault") or ("none", -1, -1)
    mine = rank == who

    def before(index: int) -> None:
        if mine and index == when and kind not in ("nan loss", "nan gradient"):
            happen(kind)

    def spoil(index: int, loss: torch.Tensor) -> torch.Tensor:
        if mine and index == when and kind == "nan loss":
            return loss * float("nan")
        if mine and index == when and kind == "nan gradient":
            loss.register_hook(lambda gradient: gradient * float("nan"))
        return loss

    return SharedStage(micro_batch=options.get("micro", 2), spoil=spoil, pause=options.get("pause", 0), before=before)


def train(folder: Path, options: dict[str, Any], world: distributed.World) -> None:
    trainer = small_trainer(
        folder,
        stage_of(options, world.rank),
        engine=options.get("engine", "auto"),
        world=world,
        noise=0.0,
        offload=options.get("offload", False),
        updates=options.get("updates", 40),
        # Gentle enough for differences of rounding to stay small.
        curves={"all": gentle},
        checkpoint_every=options.get("every", 10),
    )
    with trainer.signals:
        if options.get("resume"):
            resume(trainer)
        print("ready", flush=True)
        trainer.run()
    if world.leads:
        print(trainer.progress.said[-1], flush=True)


def gentle(update: int) -> float:
    return 1e-3 * min(1.0, update / 8)


def main(folder: Path, runs: list[dict[str, Any]]) -> int:
    torch.set_num_threads(1)
    try:
        with processes.joined(distributed.started(), device="cpu", timeout=runs[0].get("timeout", 60)) as world:
            for options in runs:
                train(folder / options["name"], options, world)
    except (Stopped, processes.Left) as stopped:
        return stopped.status
    except RunFailed as error:
        print(f"huohou: {error}", file=sys.stderr, flush=True)
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    # What FSDP2 remarks about a layer that is a plain Linear.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    if sys.argv[1] == "--launch":
        seconds = json.loads(sys.argv[4])[0].get("timeout", 60)
        sys.exit(run_local([sys.executable, __file__, *sys.argv[3:]], int(sys.argv[2]), seconds))
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
