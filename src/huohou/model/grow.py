"""Growing a model to a larger vocabulary: what its new rows begin as, and that nothing it knew changes.

A new token's rows are the mean of the rows of the old tokens that spelled it (in the embedding, and likewise in the
head), rescaled to the median norm of the old rows: a mean of many rows is short, and a short or long row is an
outlier among the logits. Mundra et al. 2024 (arXiv 2407.05841) find means as good as the best known beginnings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_growth import added_pieces, check_grown
from huohou.errors import UserError
from huohou.model.config import ModelConfig
from huohou.model.initialise import draw
from huohou.model.rows import ends, split_rows

Spelled = Mapping[int, Sequence[int]]
"""For a new id the old ids that spelled its text; none for a token that had no spelling."""

_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Growth:
    """What growing did: new rows have the ids from ``first_new``; the last ``padded_rows`` of them mean nothing."""

    first_new: int
    new_rows: int
    padded_rows: int


def grow_model(
    model: nn.Module,
    old_tokenizer: Tokenizer,
    new_tokenizer: Tokenizer,
    method: str = "mean",
    pad_rows_to: int = 1,
    *,
    seed: int = 0,
) -> Growth:
    """Give a model a row for every id of a tokenizer that begins with the old one's tokens; in place.

    ``method``: ``mean`` as the module says, ``unscaled`` without the rescaling, ``normal`` drawn with the standard
    deviation ``initializer_range`` from ``seed``, ``zeros``. The number of rows is raised to a multiple of
    ``pad_rows_to``. A row without a token is the mean of all rows, so its logit is the mean of all logits and never
    above the highest; its id is in ``model.suppressed`` and never generated, here or by transformers. Rows that the
    model has beyond its old tokenizer belong to no token: they become new rows where tokens get their ids, and stay
    as they are elsewhere.

    The model's begin, end and padding ids become the new tokenizer's. Raises ``UserError`` where an old id means
    another token in the new tokenizer.
    """
    check_grown(old_tokenizer, new_tokenizer)
    spelled = added_pieces(old_tokenizer, new_tokenizer)
    empty = [i for i in spelled if new_tokenizer.token_of(i) is None]
    growth = grow_rows(
        model, old_tokenizer.vocab_size, new_tokenizer.vocab_size, spelled, method, pad_rows_to, seed=seed
    )
    _settle(model, new_tokenizer, growth, empty)
    return growth


def grow_rows(
    model: nn.Module,
    first_new: int,
    vocab_size: int,
    spelled: Spelled,
    method: str = "mean",
    pad_rows_to: int = 1,
    *,
    seed: int = 0,
) -> Growth:
    """Grow the rows alone: tokens ``first_new`` … ``vocab_size`` − 1 are new, ``spelled`` by old ones."""
    begin = _BEGINNINGS.get(method)
    if begin is None:
        raise UserError(
            f"model.grow: {method!r} is no way to begin new rows; it is one of {', '.join(_BEGINNINGS)}.",
            f"model.grow：没有 {method!r} 这种新增词表行的初值；可选 {'、'.join(_BEGINNINGS)}。",
        )
    have = len_rows(model)
    if have < first_new:
        raise UserError(
            f"the tokenizer has ids up to {first_new - 1}, but the model has {have} rows: ids {_span(have, first_new)} "
            "have none; give the tokenizer that belongs to the model.",
            f"分词器的 id 到 {first_new - 1} 为止，而模型只有 {have} 行：id {_span(have, first_new)} 没有对应的行；"
            "请给出属于该模型的分词器。",
        )
    rows = -(-max(have, vocab_size) // pad_rows_to) * pad_rows_to
    if rows == have and vocab_size <= first_new:
        return Growth(have, 0, 0)
    inputs, outputs = ends(model)
    ids = [spelled.get(i, ()) for i in range(first_new, vocab_size)]

    def new_rows(matrix: Tensor, name: str) -> Tensor:
        old = matrix.detach()[:first_new]
        begun = begin(old, ids, name, seed, _spread(model))
        kept = matrix.detach()[max(vocab_size, first_new) :].float()
        known = torch.cat((begun, kept))
        mean = (old.sum(0, dtype=torch.float32) + known.sum(0)) / (first_new + len(known))
        return torch.cat((known, mean.expand(rows - first_new - len(known), -1))).to(matrix.dtype)

    tied = outputs.weight is inputs.weight
    embedding = new_rows(inputs.weight, "embedding")
    split_rows(model, first_new, embedding, None if tied else new_rows(outputs.weight, "head"))
    _set_rows(model, rows)
    return Growth(first_new, rows - first_new, rows - max(vocab_size, first_new))


def check_agreement(model: nn.Module, tokenizer: Tokenizer, where: str = "model") -> None:
    """``UserError``, naming the ids, unless every token has a row and begin, end and padding are the same to both.

    A role that only one of the two knows is fine (many models name no padding), but for the end: without one a
    document would run into the next.
    """
    rows = len_rows(model)
    if tokenizer.vocab_size > rows:
        beyond = _span(rows, tokenizer.vocab_size)
        raise UserError(
            f"{where}: the tokenizer has {tokenizer.vocab_size} ids and the model {rows} rows: ids {beyond} have none; "
            "give the tokenizer that belongs to the model, or grow the model.",
            f"{where}：分词器有 {tokenizer.vocab_size} 个 id，模型只有 {rows} 行：id {beyond} 没有对应的行；"
            "请给出属于该模型的分词器，或扩充模型的词表。",
        )
    if tokenizer.eos_id is None:
        raise UserError(
            f"{where}: the tokenizer names no end token (eos), so no document or answer could end.",
            f"{where}：分词器没有指定结束词元（eos），文档和回答都无法结束。",
        )
    config = _text_config(model)
    for role, of_tokenizer in (("bos", tokenizer.bos_id), ("eos", tokenizer.eos_id), ("pad", tokenizer.pad_id)):
        stated = getattr(config, f"{role}_token_id", None)
        stated = tuple(stated) if isinstance(stated, list | tuple) else () if stated is None else (stated,)
        for i in stated:
            if not 0 <= i < rows:
                raise UserError(
                    f"{where}: {role}_token_id is {i} in config.json, but the model's rows are 0 to {rows - 1}.",
                    f"{where}：config.json 中 {role}_token_id 为 {i}，而模型的行是 0 到 {rows - 1}。",
                )
        # What fills a batch up is never looked at, so a tokenizer may well have found another padding token.
        if role != "pad" and stated and of_tokenizer is not None and of_tokenizer not in stated:
            named = ", ".join(map(str, stated))
            raise UserError(
                f"{where}: {role} is {of_tokenizer} ({tokenizer.token_of(of_tokenizer)}) to the tokenizer, and "
                f"{role}_token_id is {named} in config.json; write the right one there, or give the model's own "
                "tokenizer.",
                f"{where}：分词器的 {role} 是 {of_tokenizer}（{tokenizer.token_of(of_tokenizer)}），而 config.json 中 "
                f"{role}_token_id 为 {named}；请改为正确的编号，或给出属于该模型的分词器。",
            )


def len_rows(model: nn.Module) -> int:
    """How many rows a model's embedding has, grown or not."""
    return int(model.get_input_embeddings().num_embeddings)  # pyright: ignore[reportCallIssue]


def _mean(old: Tensor, ids: Sequence[Sequence[int]], name: str, seed: int, spread: float) -> Tensor:
    """Means of the old rows, as long as the median old row: [new, D] in fp32."""
    means = _unscaled(old, ids, name, seed, spread)
    norms = means.norm(dim=1, keepdim=True)
    median = torch.cat([part.float().norm(dim=1) for part in old.split(_AT_ONCE)]).median()
    return torch.where(norms > 0, means * (median / norms.clamp(min=torch.finfo(torch.float32).tiny)), means)


def _unscaled(old: Tensor, ids: Sequence[Sequence[int]], name: str, seed: int, spread: float) -> Tensor:
    all_of_them = old.sum(0, dtype=torch.float32) / len(old)
    means = torch.empty(len(ids), old.shape[1], dtype=torch.float32, device=old.device)
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        pieces = torch.tensor([i for spelling in some for i in spelling], dtype=torch.int64, device=old.device)
        counts = torch.tensor([len(spelling) for spelling in some], device=old.device)
        owners = torch.arange(len(some), device=old.device).repeat_interleave(counts)
        sums = means.new_zeros(len(some), old.shape[1]).index_add_(0, owners, old[pieces].float())
        means[first : first + len(some)] = torch.where(
            counts[:, None] > 0, sums / counts[:, None].clamp(min=1), all_of_them
        )
    return means


def _normal(old: Tensor, ids: Sequence[Sequence[int]], name: str, seed: int, spread: float) -> Tensor:
    return draw(f"new rows of the {name}", torch.Size((len(ids), old.shape[1])), seed, spread).to(old.device)


def _zeros(old: Tensor, ids: Sequence[Sequence[int]], name: str, seed: int, spread: float) -> Tensor:
    return torch.zeros(len(ids), old.shape[1], dtype=torch.float32, device=old.device)


_Beginning = Callable[[Tensor, Sequence[Sequence[int]], str, int, float], Tensor]
_BEGINNINGS: Mapping[str, _Beginning] = {"mean": _mean, "unscaled": _unscaled, "normal": _normal, "zeros": _zeros}


def _text_config(model: nn.Module) -> object:
    """The config that has the vocabulary; a model of text and pictures keeps it inside another."""
    config = model.config
    inner = getattr(config, "get_text_config", None)
    return inner() if inner is not None else config


def _spread(model: nn.Module) -> float:
    return float(getattr(_text_config(model), "initializer_range", 0.02))


def _change_config(model: nn.Module, **changes: object) -> None:
    config = model.config
    if isinstance(config, ModelConfig):
        config = replace(config, **changes)  # pyright: ignore[reportArgumentType]
        model.config = model.model.config = config  # pyright: ignore[reportAttributeAccessIssue]
        return
    for key, value in changes.items():
        setattr(_text_config(model), key, value)


def _set_rows(model: nn.Module, rows: int) -> None:
    _change_config(model, vocab_size=rows)


def _settle(model: nn.Module, tokenizer: Tokenizer, growth: Growth, empty: Sequence[int]) -> None:
    """The tokenizer's begin, end and padding, and which ids are nobody's."""
    config = _text_config(model)
    changes: dict[str, object] = {}
    for role, own in (("bos", tokenizer.bos_id), ("eos", tokenizer.eos_id), ("pad", tokenizer.pad_id)):
        stated = getattr(config, f"{role}_token_id", None)
        known = stated if isinstance(stated, list | tuple) else (stated,)
        if own is not None and own not in known:
            changes[f"{role}_token_id"] = own
    _change_config(model, **changes)
    end = growth.first_new + growth.new_rows
    nobodys = {*getattr(model, "suppressed", ()), *range(end - growth.padded_rows, end)} - set(
        range(growth.first_new, end - growth.padded_rows)
    )
    model.suppressed = tuple(sorted(nobodys | set(empty)))  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]


def _span(first: int, end: int) -> str:
    return str(first) if end - first == 1 else f"{first}–{end - 1}"
