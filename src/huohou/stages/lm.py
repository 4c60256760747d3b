"""Language modelling: sequences of a packed token stream, and the loss of predicting each next token.

A batch arrives as numpy arrays and becomes tensors here, one micro-batch at a time. The loss is a sum, never a mean,
and the number of targets of the whole batch is known beforehand, so how a batch is split changes nothing but memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from huohou.data.order import Order
from huohou.data.packing import Packed
from huohou.data.packing import Sequence as Arrays
from huohou.data.tokenizer import Tokenizer
from huohou.model import Llama, generate

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
    """All sequences of one update. ``tokens``: input positions without padding; ``targets``: what the loss counts."""

    index: int
    arrays: Arrays
    tokens: int
    targets: int


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
        packed: Packed,
        order: Order,
        *,
        micro_batch: int,
        device: torch.device | str = "cpu",
        whole: bool = False,
        validation: Packed | None = None,
        evaluate_sequences: int | None = None,
        tokenizer: Tokenizer | None = None,
        sampling: Sampling | None = None,
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

    def batch(self, index: int) -> Batch:
        """Batch ``index`` (from 0) of the run; it depends on nothing but the order."""
        indices = self._order.batch(index)
        arrays = self._packed.batch(indices)
        # Padding lies at the end of the last sequence and nowhere else.
        padding = self._packed.padded * int(np.count_nonzero(indices == self._packed.count - 1))
        targets = int(np.count_nonzero(arrays.targets != NO_TARGET))
        return Batch(index, arrays, arrays.inputs.size - padding, targets)

    def micro_batches(self, batch: Batch) -> Iterator[MicroBatch]:
        """The batch in pieces of ``micro_batch`` sequences."""
        yield from self._split(batch.arrays)

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
        nats, targets = 0.0, 0
        for first in range(0, count, self._micro_batch):
            arrays = packed.batch(np.arange(first, min(first + self._micro_batch, count), dtype=np.int64))
            targets += int(np.count_nonzero(arrays.targets != NO_TARGET))
            nats += sum(float(self.loss(model, micro)) for micro in self._split(arrays))
        size = sum(packed.target_bytes(i) for i in range(count))
        bits = nats / math.log(2) / size if size else None
        return {"loss": nats / max(targets, 1), "bits_per_byte": bits, "tokens": targets}

    def samples(self, model: torch.nn.Module, update: int) -> list[dict[str, str]]:
        """Text that the model writes after each prompt; the same model and update give the same text."""
        tokenizer, asked = self._tokenizer, self._sampling
        if tokenizer is None or not asked.prompts or not isinstance(model, Llama):
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

    def _split(self, arrays: Arrays) -> Iterator[MicroBatch]:
        for first in range(0, len(arrays.inputs), self._micro_batch):
            rows = slice(first, first + self._micro_batch)
            yield MicroBatch(
                inputs=self._tensor(arrays.inputs[rows], 0),
                targets=self._tensor(arrays.targets[rows], NO_TARGET),
                positions=None if arrays.positions is None else self._tensor(arrays.positions[rows], 0),
                segments=None if arrays.segments is None else self._tensor(arrays.segments[rows], -1),
            )

    def _tensor(self, rows: np.ndarray, padding: int) -> torch.Tensor:
        if self._whole and len(rows) < self._micro_batch:
            rows = np.pad(rows, ((0, self._micro_batch - len(rows)), (0, 0)), constant_values=padding)
        return torch.from_numpy(rows.astype(np.int64)).to(self._device, non_blocking=True)
