"""Adapters merged into a base's files, tensor by tensor: memory holds one file's worth of the result, never a model.

Arithmetic is in fp32 whatever the types on the disk; a tensor that nothing touches keeps its bits if its type stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from huohou.errors import UserError
from huohou.model.adapter import Adapter, Named
from huohou.model.adapter_apply import follows
from huohou.model.weights import INDEX, WEIGHTS
from huohou.records import write_json


class Tensors(Named, Protocol):
    """Tensors by name, which say their types too."""

    def dtype(self, name: str) -> torch.dtype:
        """The type of a tensor."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """The names of the weights of embedding and head, and whether the head is the embedding."""

    embedding: str
    head: str
    tied: bool


class Merged:
    """A base with adapters merged into it, in order, as :class:`Tensors`.

    A tied head that an adapter changes in another way than the embedding becomes a tensor of its own; ``ends`` says how
    it came out. Raises ``UserError`` for an adapter with anything that has no place in the base.
    """

    def __init__(self, base: Tensors, adapters: Sequence[Adapter], ends: Ends) -> None:
        self.base = base
        self.adapters = adapters
        names = [name for name in base.names() if not name.endswith(".rotary_emb.inv_freq")]
        if ends.tied:
            names = [name for name in names if name != ends.head]
        for adapter in adapters:
            _refuse_unmatched(adapter, {*names, ends.head})
        self.ends = Ends(ends.embedding, ends.head, ends.tied and self._stays_tied(ends))
        if ends.tied and not self.ends.tied:
            names.append(ends.head)
        self._names = names
        # A head that was the embedding begins as what the embedding was.
        self._begins = {ends.head: ends.embedding} if ends.tied else {}
        self._shapes = {name: self._shape(name) for name in names}
        if not self.ends.tied and ends.head in self._shapes and self._shapes[ends.head] != self.shape(ends.embedding):
            rows = [self._shapes[name][0] for name in (ends.embedding, ends.head)]
            raise UserError(
                f"merged, the embedding has {rows[0]} rows and the head {rows[1]}; an adapter grew only one of them.",
                f"合并后词嵌入有 {rows[0]} 行、输出层有 {rows[1]} 行；有适配器只扩充了其中之一。",
            )

    @property
    def rows(self) -> int:
        """How many rows embedding and head have."""
        return self._shapes[self.ends.embedding][0]

    def names(self) -> list[str]:
        """All names, in the base's order."""
        return self._names

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor of the result."""
        return self._shapes[name]

    def dtype(self, name: str) -> torch.dtype:
        """The type that it has in the base."""
        return self.base.dtype(self._begins.get(name, name))

    def get(self, name: str) -> Tensor:
        """One tensor of the result: fp32 where an adapter changed it, else as it was."""
        tensor = self.base.get(self._begins.get(name, name))
        for adapter in self.adapters:
            if name in adapter.touched():
                tensor = adapter.applied(name, tensor.float())
        return tensor

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = self.base.shape(self._begins.get(name, name))
        for adapter in self.adapters:
            if name in adapter.touched():
                shape = adapter.shape_after(name, shape)
        return shape

    def _stays_tied(self, ends: Ends) -> bool:
        embedding = ends.embedding.removesuffix(".weight")
        for adapter in self.adapters:
            touched = adapter.touched()
            if ends.head in touched:
                same = (adapter.whole.get(name) for name in (ends.embedding, ends.head))
                pair = [adapter.get(key) for key in same if key is not None]
                if len(pair) != 2 or adapter.low.keys() & {embedding} or not torch.equal(*pair):
                    return False
            elif ends.embedding in touched and not follows(adapter, embedding):
                return False
        return True


def write_tensors(tensors: Tensors, folder: Path, dtype: torch.dtype | None, shard_bytes: int) -> None:
    """Write tensors as a folder's safetensors, holding no more than one file's worth in memory at a time.

    ``dtype`` is the type of all floating-point tensors; ``None`` keeps each one's own.
    """
    shards: list[list[str]] = [[]]
    size = total = 0
    for name in tensors.names():
        count = _type(tensors, name, dtype).itemsize
        for length in tensors.shape(name):
            count *= length
        if shards[-1] and size + count > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += count
        total += count
    places: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = WEIGHTS if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        content = {name: tensors.get(name).to(_type(tensors, name, dtype)).contiguous() for name in names}
        for name, tensor in content.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise UserError(
                    f"{name} has numbers that are not finite in {tensor.dtype}; choose --dtype bfloat16 or float32, or "
                    "an earlier checkpoint if the training diverged.",
                    f"{name} 以 {tensor.dtype} 表示时含有非有限的数；请选择 --dtype bfloat16 或 float32，"
                    "若训练已发散则选更早的检查点。",
                )
        save_file(content, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names, file)
    if len(shards) > 1:
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def _type(tensors: Tensors, name: str, dtype: torch.dtype | None) -> torch.dtype:
    own = tensors.dtype(name)
    return dtype if dtype is not None and own.is_floating_point else own


def _refuse_unmatched(adapter: Adapter, names: set[str]) -> None:
    unmatched = sorted(adapter.touched() - names)
    if unmatched:
        shown = ", ".join(unmatched[:3]) + (f" (+{len(unmatched) - 3})" if len(unmatched) > 3 else "")
        raise UserError(
            f"{adapter.folder} adapts what the base does not have: {shown}; it belongs to another model, and an "
            "adapter is never merged in part.",
            f"{adapter.folder} 适配了基座中没有的 {shown}；它属于别的模型，适配器不会只合并一部分。",
        )
