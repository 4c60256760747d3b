"""Writing on from prompts, several at a time, token by token as they come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from huohou.errors import UserError
from huohou.model.cache import Cache
from huohou.model.foreign import Foreign
from huohou.model.llama import Llama
from huohou.model.sampling import Sampling


@torch.inference_mode()
def generate(
    model: Llama | Foreign,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    stop_ids: Collection[int] = (),
    generator: torch.Generator | None = None,
    on_token: Callable[[int, int], None] | None = None,
    cache: bool = True,
) -> list[list[int]]:
    """The new tokens of each prompt, without the stop token that ended them.

    The flags are those of :class:`Sampling`; tokens are drawn with ``generator`` (on the CPU whatever the model's
    device). ``on_token(row, token)`` is called for every new token as it comes. Prompts may differ in length; each
    gets what it would get alone. Without ``cache`` everything is read again for each token: slow, and the same. With
    it the model runs eagerly, compiled or not. Raises ``UserError`` for an empty prompt, a token outside the
    vocabulary, settings out of range, and where prompt and new tokens go beyond ``max_position_embeddings``;
    ``RunFailed`` where the model's output is not a number.
    """
    sampling = Sampling(temperature, top_p, top_k, min_p, repetition_penalty)
    results: list[list[int]] = [[] for _ in prompts]
    for row, token in stream(
        model, prompts, max_new_tokens, sampling, stop_ids=stop_ids, generator=generator, cache=cache
    ):
        results[row].append(token)
        if on_token is not None:
            on_token(row, token)
    return results


def stream(
    model: Llama | Foreign,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    stop_ids: Collection[int] = (),
    generator: torch.Generator | None = None,
    cache: bool = True,
) -> Iterator[tuple[int, int]]:
    """What :func:`generate` gives, as (row, token) while it comes: each row's tokens in order, rows in turn.

    Arguments are checked when it is called, before the first token is asked for. Whoever stops asking stops the work.
    Until then the model is as for evaluation: nothing is dropped out.
    """
    _check(model, prompts, max_new_tokens, generator)
    return _stream(model, prompts, max_new_tokens, sampling or Sampling(), stop_ids, generator, cache)


@torch.inference_mode()
def _stream(
    model: Llama | Foreign,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling,
    stop_ids: Collection[int],
    generator: torch.Generator | None,
    cache: bool,
) -> Iterator[tuple[int, int]]:
    if not prompts or not max_new_tokens:
        return
    device = _device(model)
    suppressed = torch.tensor(model.suppressed, device=device) if model.suppressed else None
    reader: Reader = (
        _ForeignReader(model, cache)
        if isinstance(model, Foreign)
        else _OwnReader(model, max(map(len, prompts)) + max_new_tokens if cache else 0)
    )
    texts = [list(prompt) for prompt in prompts]
    training = model.training
    model.eval()
    try:
        yield from _tokens(reader, texts, max_new_tokens, sampling, stop_ids, generator, suppressed)
    finally:
        model.train(training)


def _tokens(
    reader: Reader,
    texts: list[list[int]],
    max_new_tokens: int,
    sampling: Sampling,
    stop_ids: Collection[int],
    generator: torch.Generator | None,
    suppressed: Tensor | None,
) -> Iterator[tuple[int, int]]:
    open_rows = set(range(len(texts)))
    logits = reader.begin(texts)
    for count in range(1, max_new_tokens + 1):
        chosen = sampling.choose(logits, texts, suppressed, generator)
        for row, token in enumerate(chosen.tolist()):
            texts[row].append(token)
            if row in open_rows and token in stop_ids:
                open_rows.remove(row)
            elif row in open_rows:
                yield row, token
        if not open_rows or count == max_new_tokens:
            return
        logits = reader.go_on(texts, chosen)


class Reader(Protocol):
    """Reads texts and gives the logits [rows, V] of what comes next in each."""

    def begin(self, texts: list[list[int]]) -> Tensor: ...

    def go_on(self, texts: list[list[int]], chosen: Tensor) -> Tensor:
        """After ``chosen`` [rows] was put at the end of every text."""
        ...


class _OwnReader:
    """The own decoder with its cache of ``slots`` positions; with none of them everything is read again."""

    def __init__(self, model: Llama, slots: int) -> None:
        self.model, self.slots = model, slots
        self.store: Cache | None = None

    def begin(self, texts: list[list[int]]) -> Tensor:
        device = _device(self.model)
        lengths = torch.tensor([len(text) for text in texts], device=device)
        # Rows are filled up on the right. Whatever stands there lies after a row's own tokens, so none of them sees it.
        tokens = pad_sequence([torch.tensor(text, device=device) for text in texts], batch_first=True)
        if self.slots:
            self.store = Cache(self.model.config.num_hidden_layers, self.slots)
            self.store.reach = tokens.shape[1]
        positions = torch.arange(tokens.shape[1], device=device).expand_as(tokens)
        hidden = self.model.model(tokens, positions, cache=self.store)
        self.lengths = lengths
        return self.model.lm_head(hidden[torch.arange(len(texts), device=device), lengths - 1])

    def go_on(self, texts: list[list[int]], chosen: Tensor) -> Tensor:
        if self.store is None:
            return self.begin(texts)
        positions = self.lengths[:, None]
        self.lengths = self.lengths + 1
        self.store.reach = max(map(len, texts))
        return self.model.lm_head(self.model.model(chosen[:, None], positions, cache=self.store)[:, 0])


class _ForeignReader:
    """A model of transformers with its own cache; rows are filled up on the left, as these models want it."""

    def __init__(self, model: Foreign, cache: bool) -> None:
        self.model, self.cache = model, cache

    def begin(self, texts: list[list[int]]) -> Tensor:
        device, longest = _device(self.model), max(map(len, texts))
        tokens = torch.tensor([[0] * (longest - len(text)) + text for text in texts], device=device)
        lengths = torch.tensor([len(text) for text in texts], device=device)
        self.mask = torch.arange(longest, device=device) >= longest - lengths[:, None]
        self.positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)
        logits, self.past = self.model.read(tokens, self.positions, self.mask, None, self.cache)
        return logits

    def go_on(self, texts: list[list[int]], chosen: Tensor) -> Tensor:
        if self.past is None:
            return self.begin(texts)
        self.mask = torch.cat((self.mask, torch.ones_like(self.mask[:, :1])), dim=1)
        self.positions = self.positions[:, -1:] + 1
        logits, self.past = self.model.read(chosen[:, None], self.positions, self.mask, self.past, True)
        return logits


def _device(model: Llama | Foreign) -> torch.device:
    return next(model.parameters()).device


def _check(
    model: Llama | Foreign,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    generator: torch.Generator | None,
) -> None:
    if max_new_tokens < 0:
        raise UserError(
            f"max_new_tokens is {max_new_tokens}; it must be 0 or more.",
            f"max_new_tokens 是 {max_new_tokens}；应不小于 0。",
        )
    if generator is not None and generator.device.type != "cpu":
        raise UserError(
            f"the generator is on {generator.device}; tokens are drawn on the CPU, so that a seed means the same "
            "everywhere.",
            f"随机数生成器在 {generator.device} 上；词元在 CPU 上抽取，这样同一个种子在任何设备上含义相同。",
        )
    rows, room = model.rows, model.context
    for row, prompt in enumerate(prompts, start=1):
        if not prompt:
            raise UserError(
                f"prompt {row} is empty; begin it with at least one token.",
                f"第 {row} 个提示为空；请至少以一个词元开头。",
            )
        if not all(0 <= token < rows for token in prompt):
            wrong = next(token for token in prompt if not 0 <= token < rows)
            raise UserError(
                f"prompt {row} holds the token {wrong}; the model's vocabulary is 0 to {rows - 1}.",
                f"第 {row} 个提示含有词元 {wrong}；模型的词表是 0 到 {rows - 1}。",
            )
        if room is not None and len(prompt) + max_new_tokens > room:
            raise UserError(
                f"prompt {row} has {len(prompt)} tokens and {max_new_tokens} new ones are wanted, but the model reads "
                f"{room} positions (max_position_embeddings).",
                f"第 {row} 个提示有 {len(prompt)} 个词元，还要生成 {max_new_tokens} 个，但模型只有 "
                f"{room} 个位置（max_position_embeddings）。",
            )
