"""Embedding and head of a grown vocabulary: old rows and new rows are two parameters, so each has its own rate.

A row belongs to a token. In files the rows of both parameters are one matrix under Hugging Face's name. Old logits
come from a product of the old rows alone, the same one as before growing, so they keep their bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from huohou.errors import UserError

NEW = "new_weight"
"""The name of the new rows beside ``weight``, the old ones."""

INNER = "base."
"""What stands before every parameter's name in a model that holds another library's one."""


class GrownEmbedding(nn.Embedding):
    """An embedding of ``weight`` [old, D] and ``new_weight`` [new, D]; the new rows' ids follow the old ones."""

    def __init__(self, old: nn.Parameter, new: nn.Parameter, padding_idx: int | None = None) -> None:
        nn.Module.__init__(self)
        self.num_embeddings, self.embedding_dim = len(old) + len(new), old.shape[1]
        self.padding_idx = padding_idx
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = None, 2.0, False, False
        self.weight, self.new_weight = old, new

    def forward(self, input: Tensor) -> Tensor:
        count = self.num_embeddings - self.new_weight.shape[0]
        padding = self.padding_idx if self.padding_idx is not None and self.padding_idx < count else None
        old = F.embedding(input.clamp(max=count - 1), self.weight, padding)
        new = F.embedding((input - count).clamp(min=0), self.new_weight)
        return torch.where((input < count)[..., None], old, new)


class GrownHead(nn.Linear):
    """A head of ``weight`` [old, D] and ``new_weight`` [new, D]; the new tokens' logits follow the old ones."""

    def __init__(self, old: nn.Parameter, new: nn.Parameter) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = old.shape[1], len(old) + len(new)
        self.weight, self.new_weight = old, new
        self.register_parameter("bias", None)

    def forward(self, input: Tensor) -> Tensor:
        return torch.cat((F.linear(input, self.weight), F.linear(input, self.new_weight)), dim=-1)


def is_grown(module: nn.Module) -> bool:
    """Whether a module holds new rows beside its old ones."""
    return isinstance(module, GrownEmbedding | GrownHead)


def head_parts(head: nn.Module) -> tuple[Tensor, ...] | None:
    """The rows of a head, [V, D] in all: one matrix, or the old rows and the new ones.

    ``None`` for a head that does more than multiply by its rows (an adapter around it, a bias).
    """
    if isinstance(head, GrownHead):
        return head.weight, head.new_weight
    return (head.weight,) if type(head) is nn.Linear and head.bias is None else None


def split_rows(model: nn.Module, old_rows: int, embedding: Tensor, head: Tensor | None = None) -> None:
    """Grow a model in place to the first ``old_rows`` rows that it has and new ones: ``embedding`` [new, D].

    ``head`` [new, D] are the head's new rows; a model whose head is its embedding has none. Rows that the model has
    beyond ``old_rows`` (padding of its vocabulary) are replaced. Raises ``UserError`` for an embedding or a head that
    is more than a table of rows.
    """
    inputs, outputs = ends(model)
    tied = outputs.weight is inputs.weight
    assert tied == (head is None)
    old, new = _kept(inputs.weight, old_rows), _row_parameter(embedding, inputs.weight)
    model.set_input_embeddings(GrownEmbedding(old, new, inputs.padding_idx))  # pyright: ignore[reportCallIssue]
    if head is not None:
        old, new = _kept(outputs.weight, old_rows), _row_parameter(head, outputs.weight)
    model.set_output_embeddings(GrownHead(old, new))  # pyright: ignore[reportCallIssue]


def joined_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter under Hugging Face's name, old and new rows joined; a tied head is there once."""
    parameters = dict(model.named_parameters())
    joined: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        if name.endswith(f".{NEW}"):
            continue
        new = parameters.get(name.removesuffix("weight") + NEW) if name.endswith(".weight") else None
        tensor = parameter.detach()
        joined[hf_name(name)] = tensor if new is None else torch.cat((tensor, new.detach()))
    return joined


def hf_name(name: str) -> str:
    """The name in a Hugging Face folder of a parameter of one of our models."""
    name = name.removeprefix(INNER)
    return name.removesuffix(NEW) + "weight" if name.endswith(f".{NEW}") else name


def ends(model: nn.Module) -> tuple[Any, Any]:
    """Embedding and head of a model that can be grown; ``UserError`` for another."""
    inputs, outputs = _end(model, "input"), _end(model, "output")
    _refuse_more_than_rows(inputs, nn.Embedding)
    _refuse_more_than_rows(outputs, nn.Linear)
    return inputs, outputs


def _end(model: nn.Module, which: str) -> Any:
    module = getattr(model, f"get_{which}_embeddings")()
    if module is None:
        raise UserError(
            f"{type(model).__name__} shows no {which} embeddings, so its vocabulary cannot be grown.",
            f"{type(model).__name__} 没有给出 {which} embeddings，无法扩充词表。",
        )
    return module


def _refuse_more_than_rows(module: nn.Module, plain: type[nn.Module]) -> None:
    """A subclass may scale what it looks up, and a bias would need new numbers of its own."""
    if is_grown(module):
        raise UserError(
            "this model was grown already in this process; write it to a folder and open that to grow it again.",
            "该模型在本进程中已经扩充过；请先写成文件夹，再打开它继续扩充。",
        )
    if type(module) is not plain or getattr(module, "bias", None) is not None:
        raise UserError(
            f"the vocabulary of this model cannot be grown: its {type(module).__name__} is more than a table of rows.",
            f"无法扩充该模型的词表：它的 {type(module).__name__} 不只是一张按行存放的表。",
        )


def _kept(weight: Tensor, rows: int) -> nn.Parameter:
    """The parameter itself where all of it stays, so that nothing is copied."""
    if isinstance(weight, nn.Parameter) and len(weight) == rows:
        return weight
    return nn.Parameter(weight.detach()[:rows].clone(), requires_grad=weight.requires_grad)


def _row_parameter(rows: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(rows.to(device=like.device, dtype=like.dtype), requires_grad=like.requires_grad)
