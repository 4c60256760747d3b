"""Language modelling: sequences of a packed token stream, and the loss of predicting each next token.

A batch arrives as numpy arrays and becomes tensors here, one micro-batch at a time. The loss is a sum, never a mean,
and the number of targets of the whole batch is known beforehand, so how a batch is split changes nothing but memory.
Of several processes each computes its share of every batch, and all know the targets of the whole one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from huohou.data.mixing import Source
from huohou.data.order import Batches
from huohou.data.packing import Sequence as Arrays
from huohou.data.tokenizer import Tokenizer
from huohou.model import Foreign, Llama, generate
from huohou.train import processes
from huohou.train.distributed import World, rounds, share, world

NO_TARGET = -100


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward sees, as tensors of [sequences, positions] on the device."""

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor | None
    segments: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Batch:
    """All sequences of one update. ``tokens``: input positions without padding; ``targets``: what the loss counts.

    Both are of the whole batch, ``arrays`` are what this process computes, in ``rounds`` micro-batches.
    """

    index: int
    arrays: Arrays
    tokens: int
    targets: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """What text the model is asked for during the run."""

    prompts: tuple[str, ...] = ()
    new_tokens: int = 64
    temperature: float = 0.8
    top_p: float = 0.95
    seed: int = 0


class LossModel(Protocol):
    """A model that gives the sum of the losses and their count."""

    def loss(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        positions: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]: ...


class LanguageModelling:
    """The stage: batches from ``packed`` in ``order``, and their loss.

    ``whole``: a micro-batch that is short is filled up with rows without targets, so that a compiled model always
    meets one shape. ``evaluate_sequences`` limits the evaluation to the first ones of ``validation``.
    """

    def __init__(
        self,
        packed: Source,
        order: Batches,
        *,
        micro_batch: int,
        device: torch.device | str = "cpu",
        whole: bool = False,
        validation: Source | None = None,
        evaluate_sequences: int | None = None,
        tokenizer: Tokenizer | None = None,
        sampling: Sampling | None = None,
        among: World | None = None,
    ) -> None:
        self._packed = packed
        self._order = order
        self._micro_batch = micro_batch
        self._device = torch.device(device)
        self._whole = whole
        self._validation = validation
        self._evaluate_sequences = evaluate_sequences
        self._tokenizer = tokenizer
        self._sampling = sampling or Sampling()
        self._world = among or world()

    def batch(self, index: int) -> Batch:
        """Batch ``index`` (from 0) of the run; it depends on nothing but the order."""
        indices = self._order.batch(index)
        arrays = self._packed.batch(indices)
        targets = int(np.count_nonzero(arrays.targets != NO_TARGET))
        own = share(len(indices), self._world.rank, self._world.size)
        tokens = arrays.inputs.size - self._packed.padding(indices)
        count = rounds(len(indices), self._world.size, self._micro_batch)
        return Batch(index, _rows(arrays, own), tokens, targets, count)

    def micro_batches(self, batch: Batch) -> Iterator[MicroBatch]:
        """This process's share of the batch in pieces of ``micro_batch`` sequences, as many on every process."""
        yield from self._split(batch.arrays, batch.rounds)

    def loss(self, model: LossModel, micro: MicroBatch) -> torch.Tensor:
        """The sum of the losses, in nats, over the targets of one micro-batch: a scalar."""
        return model.loss(micro.inputs, micro.targets, micro.positions, micro.segments)[0]

    @torch.no_grad()
    def evaluate(self, model: LossModel) -> dict[str, Any] | None:
        """Loss in nats per token and bits per byte of text on the validation sequences, if there are any."""
        packed = self._validation
        if packed is None or packed.count == 0:
            return None
        count = min(packed.count, self._evaluate_sequences or packed.count)
        nats, targets, size = 0.0, 0, 0
        together = self._micro_batch * self._world.size
        for first in range(0, count, together):
            block = min(together, count - first)
            own = share(block, self._world.rank, self._world.size)
            indices = np.arange(first + own.start, first + own.stop, dtype=np.int64)
            arrays = packed.batch(indices)
            targets += int(np.count_nonzero(arrays.targets != NO_TARGET))
            size += sum(packed.target_bytes(int(i)) for i in indices)
            processes.mark(None, "evaluating")
            nats += sum(float(self.loss(model, micro)) for micro in self._split(arrays, 1))
        nats, all_targets, all_bytes = self._world.sums([nats, targets, size])
        bits = nats / math.log(2) / all_bytes if all_bytes else None
        return {"loss": nats / max(all_targets, 1), "bits_per_byte": bits, "tokens": int(all_targets)}

    def samples(self, model: torch.nn.Module, update: int) -> list[dict[str, str]]:
        """Text that the model writes after each prompt; the same model and update give the same text."""
        tokenizer, asked = self._tokenizer, self._sampling
        if tokenizer is None or not asked.prompts or not isinstance(model, Llama | Foreign):
            return []
        # In the stream a document begins behind the end of another one.
        end = tokenizer.end_id
        prompts = [[end, *tokenizer.encode(prompt).tolist()] for prompt in asked.prompts]
        room = model.config.max_position_embeddings - max(map(len, prompts))
        written = generate(
            model,
            prompts,
            max(0, min(asked.new_tokens, room)),
            temperature=asked.temperature,
            top_p=asked.top_p,
            stop_ids=(end,),
            generator=torch.Generator().manual_seed(asked.seed + update),
        )
        return [
            {"prompt": prompt, "text": tokenizer.decode(ids)}
            for prompt, ids in zip(asked.prompts, written, strict=True)
        ]

    def _split(self, arrays: Arrays, count: int) -> Iterator[MicroBatch]:
        """``count`` micro-batches; one for which no sequence is left has a single row without targets."""
        for first in range(0, count * self._micro_batch, self._micro_batch):
            part = _rows(arrays, slice(first, first + self._micro_batch))
            yield MicroBatch(
                inputs=self._tensor(part.inputs, 0),
                targets=self._tensor(part.targets, NO_TARGET),
                positions=None if part.positions is None else self._tensor(part.positions, 0),
                segments=None if part.segments is None else self._tensor(part.segments, -1),
            )

    def _tensor(self, rows: np.ndarray, padding: int) -> torch.Tensor:
        least = self._micro_batch if self._whole else 1
        if len(rows) < least:
            rows = np.pad(rows, ((0, least - len(rows)), (0, 0)), constant_values=padding)
        return torch.from_numpy(rows.astype(np.int64)).to(self._device, non_blocking=True)


def _rows(arrays: Arrays, rows: slice) -> Arrays:
    return Arrays(
        arrays.inputs[rows],
        arrays.targets[rows],
        None if arrays.positions is None else arrays.positions[rows],
        None if arrays.segments is None else arrays.segments[rows],
    )
