"""Writing on from prompts, several at a time, with a cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from huohou.errors import RunFailed, UserError
from huohou.model.cache import Cache
from huohou.model.llama import Llama


@torch.inference_mode()
def generate(
    model: Llama,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    stop_ids: Collection[int] = (),
    generator: torch.Generator | None = None,
    on_token: Callable[[int, int], None] | None = None,
    cache: bool = True,
) -> list[list[int]]:
    """The new tokens of each prompt, without the stop token that ended them.

    ``temperature`` 0 takes the most probable token; above 0 a token is drawn from the smallest set that holds
    ``top_p`` of the probability (Holtzman et al. 2019), with ``generator`` (on the CPU whatever the model's device).
    ``on_token(row, token)`` is called for every new token as it comes. Prompts may differ in length; each gets what
    it would get alone. Without ``cache`` everything is read again for each token: slow, and the same. With it the
    model runs eagerly, compiled or not. Raises ``UserError`` for an empty prompt, a token outside the vocabulary,
    settings out of range, and where prompt and new tokens go beyond ``max_position_embeddings``; ``RunFailed`` where
    the model's output is not a number.
    """
    _check(model, prompts, max_new_tokens, temperature, top_p, generator)
    results: list[list[int]] = [[] for _ in prompts]
    if not prompts or not max_new_tokens:
        return results
    device = model.lm_head.weight.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    rows = torch.arange(len(prompts), device=device)
    # Rows are filled up on the right. Whatever stands there lies after a row's own tokens, so none of them sees it.
    tokens = pad_sequence([torch.tensor(list(prompt), device=device) for prompt in prompts], batch_first=True)
    store = Cache(model.config.num_hidden_layers, tokens.shape[1] + max_new_tokens) if cache else None
    inputs, positions = tokens, torch.arange(tokens.shape[1], device=device).expand_as(tokens)
    last = lengths - 1
    open_rows = set(range(len(prompts)))
    for count in range(1, max_new_tokens + 1):
        if store is not None:
            store.reach = tokens.shape[1]
        hidden = model.model(inputs, positions, cache=store)
        chosen = _choose(model.lm_head(hidden[rows, last]).float(), temperature, top_p, generator)
        for row, token in enumerate(chosen.tolist()):
            if row in open_rows and token in stop_ids:
                open_rows.remove(row)
            elif row in open_rows:
                results[row].append(token)
                if on_token is not None:
                    on_token(row, token)
        if not open_rows or count == max_new_tokens:
            break
        tokens = torch.cat((tokens, torch.zeros_like(tokens[:, :1])), dim=1)
        tokens[rows, lengths] = chosen
        if store is None:
            inputs, last = tokens, lengths
            positions = torch.arange(tokens.shape[1], device=device).expand_as(tokens)
        else:
            inputs, positions, last = chosen[:, None], lengths[:, None], torch.zeros_like(lengths)
        lengths = lengths + 1
    return results


def _choose(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> Tensor:
    """One token a row from logits [rows, V]."""
    if logits.isnan().any():
        raise RunFailed(
            "the model's output is not a number (NaN), so no token can be chosen; its training has diverged.",
            "模型的输出不是数（NaN），无法选出词元；它的训练已经发散。",
        )
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = (logits.cpu() / temperature).softmax(dim=-1)
    if top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        # A token stays while those before it hold less than top_p, so the first one always does.
        ordered[ordered.cumsum(dim=-1) - ordered >= top_p] = 0.0
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1).to(logits.device)


def _check(
    model: Llama,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    generator: torch.Generator | None,
) -> None:
    config = model.config
    if max_new_tokens < 0:
        raise UserError(
            f"max_new_tokens is {max_new_tokens}; it must be 0 or more.",
            f"max_new_tokens 是 {max_new_tokens}；应不小于 0。",
        )
    if not 0 <= temperature < float("inf"):
        raise UserError(
            f"temperature is {temperature}; it must be 0 (the most probable token) or a number above it.",
            f"temperature 是 {temperature}；应为 0（取概率最大的词元）或大于 0 的数。",
        )
    if not 0 < top_p <= 1:
        raise UserError(
            f"top_p is {top_p}; it must be above 0 and at most 1.", f"top_p 是 {top_p}；应大于 0 且不超过 1。"
        )
    if generator is not None and generator.device.type != "cpu":
        raise UserError(
            f"the generator is on {generator.device}; tokens are drawn on the CPU, so that a seed means the same "
            "everywhere.",
            f"随机数生成器在 {generator.device} 上；词元在 CPU 上抽取，这样同一个种子在任何设备上含义相同。",
        )
    for row, prompt in enumerate(prompts, start=1):
        if not prompt:
            raise UserError(
                f"prompt {row} is empty; begin it with at least one token.",
                f"第 {row} 个提示为空；请至少以一个词元开头。",
            )
        if not all(0 <= token < config.vocab_size for token in prompt):
            wrong = next(token for token in prompt if not 0 <= token < config.vocab_size)
            raise UserError(
                f"prompt {row} holds the token {wrong}; the model's vocabulary is 0 to {config.vocab_size - 1}.",
                f"第 {row} 个提示含有词元 {wrong}；模型的词表是 0 到 {config.vocab_size - 1}。",
            )
        if len(prompt) + max_new_tokens > config.max_position_embeddings:
            raise UserError(
                f"prompt {row} has {len(prompt)} tokens and {max_new_tokens} new ones are wanted, but the model reads "
                f"{config.max_position_embeddings} positions (max_position_embeddings).",
                f"第 {row} 个提示有 {len(prompt)} 个词元，还要生成 {max_new_tokens} 个，但模型只有 "
                f"{config.max_position_embeddings} 个位置（max_position_embeddings）。",
            )
