"""Any other causal language model of transformers, with the methods of our own decoder.

Documents packed into one sequence are told apart by their positions, which begin anew with each: transformers makes
the mask of attention from them, with the model's own windows. Not every model heeds it, so this is tried on the model
itself before the first packed sequence is learned from.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from huohou.errors import UserError
from huohou.model.llama import document_starts
from huohou.model.loss import IGNORED, loss_of_head

LEAKS = 0.05
"""A document that changes the logits of the next one by more than this share of what it does unseparated is seen."""


CACHE_WORDS = ("cache", "past_key_values", "cache_params")
"""What transformers calls the keys and values of the tokens already read: since 5.24, before it, and in Mamba."""


@contextmanager
def without_bars() -> Generator[None]:
    """While it lasts, transformers reads and writes without drawing progress bars."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class Foreign(nn.Module):
    """A causal model of transformers, ``base``; arguments and results are those of :class:`huohou.model.Llama`.

    The loss is the cross entropy of the logits alone: what a model adds to it by itself (the balance of experts) is
    not in it.
    """

    def __init__(self, base: Any, suppressed: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.base: Any = base
        self.suppressed = suppressed
        """Ids that are never generated: rows that only fill up the vocabulary to a multiple."""
        self._takes = set(inspect.signature(base.forward).parameters)
        self._cache_word = next((word for word in CACHE_WORDS if word in self._takes), None)
        self._kept_apart: bool | None = None
        self._plain_head: bool | None = None

    @property
    def config(self) -> Any:
        """The configuration as transformers has it."""
        return self.base.config

    @property
    def rows(self) -> int:
        """How many ids have a row."""
        embedding: Any = self.get_input_embeddings()
        return int(embedding.num_embeddings)

    @property
    def context(self) -> int | None:
        """How many positions the model reads, where its configuration says so."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)

    def forward(
        self,
        inputs: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        *,
        targets: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [B, T, V] for token ids [B, T]; with ``targets`` what :meth:`loss` returns.

        ``positions`` ([B, T] or [T]) default to 0…T−1. With ``segments`` ([B, T]) attention stays inside a run of
        equal numbers and positions begin anew with each. Raises ``UserError`` for a model that cannot keep them apart.
        """
        if segments is not None:
            self._keep_apart()
            positions = torch.arange(inputs.shape[1], device=inputs.device) - document_starts(segments)
        given = self._given(inputs, positions)
        if targets is None:
            return self.base(**given).logits
        if self._has_plain_head():
            hidden = self.base.base_model(**given).last_hidden_state
            return loss_of_head(self.get_output_embeddings(), hidden, targets)
        logits = self.base(**given).logits.flatten(0, -2).float()
        nats = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum")
        return nats, (targets != IGNORED).sum()

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The sum of nats over the targets (fp32 scalar) and how many there are, as :meth:`Llama.loss` gives them."""
        return self(inputs, positions, segments, targets=targets)

    def read(self, tokens: Tensor, positions: Tensor, mask: Tensor, past: Any, cache: bool) -> tuple[Tensor, Any]:
        """Logits [B, V] after the last of the tokens [B, T], and what the model keeps of what it read.

        ``mask`` [B, all positions so far] is false where a row is filled up. A model without a cache that it can be
        given again keeps ``None``: its tokens are to be read anew.
        """
        given: dict[str, Any] = {"input_ids": tokens, "position_ids": positions, "attention_mask": mask.long()}
        word = self._cache_word
        given["use_cache"] = cache and word is not None
        if word is not None:
            given[word] = past
        found = self.base(**{key: value for key, value in given.items() if key in self._takes and value is not None})
        return found.logits[:, -1], getattr(found, word, None) if cache and word is not None else None

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.base.get_input_embeddings()

    def set_input_embeddings(self, embedding: nn.Module) -> None:
        """Put another embedding in its place."""
        self.base.set_input_embeddings(embedding)

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.base.get_output_embeddings()

    def set_output_embeddings(self, head: nn.Module) -> None:
        """Put another head in its place."""
        self.base.set_output_embeddings(head)

    def tie(self) -> None:
        """Make the head the embedding where the model says so (moving to another device can part them)."""
        self.base.tie_weights()

    def layers(self) -> list[nn.Module]:
        """The decoder's layers in order: the longest list of modules of one kind."""
        lists = [
            list(m) for m in self.base.modules() if isinstance(m, nn.ModuleList) and len({type(x) for x in m}) == 1
        ]
        return max(lists, key=len, default=[])

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile every layer in place (arguments of ``torch.compile``); parameters keep their names."""
        for layer in self.layers():
            layer.compile(*args, **kwargs)

    def _device(self) -> torch.device:
        return next(self.get_input_embeddings().parameters()).device

    def _given(self, inputs: Tensor, positions: Tensor | None) -> dict[str, Any]:
        given: dict[str, Any] = {"input_ids": inputs}
        if "use_cache" in self._takes:
            given["use_cache"] = False
        if positions is not None:
            if "position_ids" not in self._takes:
                raise self._no_positions()
            given["position_ids"] = positions.expand_as(inputs)
        return given

    def _keep_apart(self) -> None:
        """Refuse a model in which a document is seen by the next one."""
        if self._kept_apart is None:
            self._kept_apart = "position_ids" in self._takes and self._tried()
        if not self._kept_apart:
            raise self._no_positions()

    def _no_positions(self) -> UserError:
        kind = self.config.model_type
        return UserError(
            f"a model of the kind {kind!r} cannot keep documents of one sequence apart; set data.packing (SFT) or "
            "attention inside documents to off.",
            f"{kind!r} 类模型无法把同一序列里的多个文档分开；请关闭 data.packing（SFT）或文档内注意力。",
        )

    @torch.no_grad()
    def _tried(self) -> bool:
        """Whether another first document leaves the second one's logits as they are."""
        device = self._device()
        first, other, second = (
            (torch.arange(size, device=device) * step + 1) % self.rows for size, step in ((5, 3), (5, 7), (6, 5))
        )
        positions = torch.cat((torch.arange(5), torch.arange(6))).to(device)[None]
        training = self.base.training
        self.base.eval()
        try:
            change = [
                (
                    self.base(**self._given(torch.cat((first, second))[None], where)).logits[0, 5:]
                    - self.base(**self._given(torch.cat((other, second))[None], where)).logits[0, 5:]
                )
                .abs()
                .max()
                for where in (positions, None)
            ]
        finally:
            self.base.train(training)
        return bool(change[0] <= LEAKS * change[1])

    @torch.no_grad()
    def _has_plain_head(self) -> bool:
        """Whether the logits are the head's product with the last hidden states and nothing more.

        Then the loss is taken from the hidden states, without all logits at once. A model may scale or bend its
        logits (Gemma, Cohere), and says so only in its code, so it is tried.
        """
        if self._plain_head is None:
            self._plain_head = False
            head, inner = self.get_output_embeddings(), getattr(self.base, "base_model", None)
            if isinstance(head, nn.Linear) and isinstance(inner, nn.Module) and inner is not self.base:
                device = self._device()
                training = self.base.training
                self.base.eval()
                try:
                    given = self._given((torch.arange(8, device=device) * 3 % self.rows)[None], None)
                    hidden = getattr(inner(**given), "last_hidden_state", None)
                    self._plain_head = hidden is not None and torch.equal(head(hidden), self.base(**given).logits)
                finally:
                    self.base.train(training)
        return self._plain_head
