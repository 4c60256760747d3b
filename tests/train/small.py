"""A model of a few hundred parameters and a stage with made-up data: enough to be trained, killed and resumed.

Run as a script it trains in a folder, from the newest checkpoint there: ``python small.py FOLDER [pause]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from huohou.language import Text
from huohou.records import RunFolder
from huohou.train import checkpoint
from huohou.train.distributed import ALONE, World
from huohou.train.engines import make_engine
from huohou.train.lock import RunLock
from huohou.train.optim import OptimizerSettings, make_optimizer
from huohou.train.progress import Progress
from huohou.train.signals import Signals, Stopped
from huohou.train.task import Task
from huohou.train.trainer import Trainer

UPDATES = 40


def rate(update: int) -> float:
    """Rises to update 8, falls afterwards."""
    return 0.05 * min(update / 8, (UPDATES + 1 - update) / (UPDATES - 7))


class Model(torch.nn.Module):
    """An embedding, a norm and a head that shares the embedding's weights."""

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__()
        self.noise = noise
        self.embed_tokens = torch.nn.Embedding(16, 8)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)])
        self.norm = torch.nn.LayerNorm(8)
        self.lm_head = torch.nn.Linear(8, 16, bias=False)
        self.lm_head.weight = self.embed_tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embed_tokens(tokens)
        for layer in self.layers:
            hidden = hidden + torch.tanh(layer(hidden))
        # A little noise from the global generator: a run that does not restore it cannot be repeated.
        hidden = torch.nn.functional.dropout(self.norm(hidden), self.noise, self.training)
        return self.lm_head(hidden)


@dataclass(frozen=True)
class Batch:
    index: int
    inputs: np.ndarray
    labels: np.ndarray

    @property
    def tokens(self) -> int:
        return self.inputs.size

    @property
    def targets(self) -> int:
        return int((self.labels != -100).sum())


@dataclass
class SmallStage:
    """Batches drawn from their index. ``spoil(index, loss)`` may replace a loss; ``pause`` slows every batch."""

    micro_batch: int = 4
    spoil: Callable[[int, torch.Tensor], torch.Tensor] | None = None
    pause: float = 0.0
    before: Callable[[int], None] | None = None

    def batch(self, index: int) -> Batch:
        if self.before is not None:
            self.before(index)
        time.sleep(self.pause)
        draw = np.random.default_rng(index)
        labels = draw.integers(0, 16, (8, 6))
        labels[draw.random(labels.shape) < 0.3] = -100
        return Batch(index, draw.integers(0, 16, (8, 6)), labels)

    def micro_batches(self, batch: Batch) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        for first in range(0, len(batch.inputs), self.micro_batch):
            rows = slice(first, first + self.micro_batch)
            yield batch.index, torch.from_numpy(batch.inputs[rows]), torch.from_numpy(batch.labels[rows])

    def loss(self, model: Any, micro: tuple[int, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        index, inputs, labels = micro
        logits = model(inputs).float()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        return loss if self.spoil is None or not model.training else self.spoil(index, loss)

    def evaluate(self, model: Any) -> dict[str, Any] | None:
        with torch.no_grad():
            micro = next(self.micro_batches(self.batch(10**6)))
            return {"loss": float(self.loss(model, micro)) / 24, "bits_per_byte": None, "tokens": 24}

    def samples(self, model: Any, update: int) -> list[dict[str, str]]:
        return [{"prompt": "one", "text": f"two after {update}"}]


class Silent(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []

    def say(self, text: Text) -> None:
        self.said.append(text.en)


def small_trainer(
    folder: Path,
    stage: SmallStage | None = None,
    *,
    engine: str = "auto",
    world: World = ALONE,
    noise: float = 0.1,
    offload: bool = False,
    **task: Any,
) -> Any:
    """A trainer of :class:`Model` in ``folder``, at its beginning."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    progress = Silent()
    settings: dict[str, Any] = {
        "updates": UPDATES,
        "curves": {"all": rate},
        "fingerprints": {"fingerprint": "a", "plan_fingerprint": "b"},
        "checkpoint_every": 5,
        "evaluate_every": 10,
        "keep": 2,
        **task,
    }
    made = make_engine(
        engine,
        Model(noise),
        partial(make_optimizer, settings=OptimizerSettings()),
        device="cpu",
        dtype=settings.get("dtype", "float32"),
        world=world,
        offload=offload,
    )
    return Trainer(
        task=Task(**settings),
        stage=stage or SmallStage(),
        engine=made,
        folder=RunFolder(folder),
        progress=progress,
        signals=Signals(progress.say),
    )


def resume(trainer: Any) -> Any:
    """Put the trainer where the newest checkpoint of its folder stands, if there is one."""
    checkpoint.clean(trainer.folder.checkpoints)
    newest = checkpoint.find(trainer.folder.checkpoints).newest
    if newest is not None:
        trainer.restore(checkpoint.load(newest), newest.folder)
    return trainer


def weights(trainer: Any) -> bytes:
    """Every bit of the model."""
    return b"".join(parameter.detach().numpy().tobytes() for parameter in trainer.engine.model.parameters())


if __name__ == "__main__":
    torch.set_num_threads(1)
    runner = small_trainer(Path(sys.argv[1]), SmallStage(pause=float(sys.argv[2])), checkpoint_every=1)
    try:
        with RunLock(runner.folder.path), runner.signals:
            print("ready", flush=True)
            resume(runner).run()
    except Stopped as stopped:
        sys.exit(stopped.status)
    print(weights(runner).hex(), flush=True)
