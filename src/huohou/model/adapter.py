"""An adapter in a folder of PEFT's format: what it does to each tensor of its base.

Only LoRA and what goes with it (rsLoRA, DoRA, trained rows, modules saved whole) is read; anything in the folder that
is not understood is refused by name, because an adapter applied in part gives fluent nonsense. Nothing here needs PEFT.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from huohou.errors import UserError
from huohou.model.base import ADAPTER_CONFIG, ADAPTER_PICKLE, ADAPTER_WEIGHTS, Base, adapter_hash
from huohou.model.weights import Weights, read_json

PREFIX = "base_model.model."
"""What stands before the base's own names in PEFT's files."""

ROWS = ".token_adapter.trainable_tokens_delta"

_LORA = re.compile(
    r"(.+)\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(?:\.default)?(\.weight)?"
)
# Expressions that take no time to match, whatever somebody writes: no groups, nothing that breaks the syntax.
_PATTERN = re.compile(r"\^?[\w|-]*(?:\\?\.\*?[\w|-]*){0,30}\$?")
# Settings of PEFT that change what the tensors mean and are not read here.
_OTHER_MEANINGS = (
    "layer_replication",
    "target_parameters",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
    "megatron_config",
)


class Named(Protocol):
    """Tensors by name, read when they are asked for."""

    def names(self) -> list[str]:
        """All names, in order."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        ...

    def get(self, name: str) -> Tensor:
        """One tensor, on the CPU."""
        ...


@dataclass(frozen=True, slots=True)
class Low:
    """The low-rank part of one matrix: the names of its tensors, and what it is scaled by."""

    a: str
    b: str
    magnitude: str | None
    scale: float
    embedding: bool


class Adapter:
    """A folder's adapter; tensors are read when they are asked for."""

    def __init__(self, folder: Path, weights: Named | None = None, config: Mapping[str, Any] | None = None) -> None:
        """``weights`` and ``config``: in place of the folder's files, for what is no adapter's folder."""
        self.folder = folder
        self.config = read_adapter_config(folder) if config is None else config
        self.base = Base.read(folder)
        self.low: dict[str, Low] = {}
        """By the name of the matrix's module."""
        self.rows: dict[str, tuple[list[int], str]] = {}
        """Trained rows by the name of embedding or head: their ids, and the tensor of their values."""
        self.whole: dict[str, str] = {}
        """What is replaced as a whole: the base's name of a tensor, and the name here."""
        self._weights: Named = _adapter_weights(folder) if weights is None else weights
        self._sort()

    @property
    def hash(self) -> str:
        """What later adapters record of this one."""
        return adapter_hash(self.folder)

    def get(self, name: str) -> Tensor:
        """One of its tensors, in fp32."""
        return self._weights.get(name).float()

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one of its tensors."""
        return self._weights.shape(name)

    def touched(self) -> set[str]:
        """The base's tensors that are not the same afterwards."""
        modules = {f"{module}.weight" for module in (*self.low, *self.rows)}
        return modules | set(self.whole)

    def shape_after(self, name: str, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a tensor once the adapter is merged; ``UserError`` where the two do not fit."""
        shape = tuple(shape)
        if name in self.whole:
            after = self.shape(self.whole[name])
            # An embedding or a head may have grown; nothing else may have another shape.
            if after[1:] != shape[1:] or (after != shape and len(shape) != 2) or after[0] < shape[0]:
                raise self._misfit(name, after, shape)
            shape = after
        module = name.removesuffix(".weight")
        if module in self.rows:
            ids, values = self.rows[module]
            if self.shape(values) != (len(ids), *shape[1:]):
                raise self._misfit(name, self.shape(values), shape)
            new = sorted(one for one in ids if one >= shape[0])
            # Counted, not enumerated: a file may name any number as a row.
            absent = next((row for row, one in enumerate(new, start=shape[0]) if row != one), None)
            if absent is not None:
                raise UserError(
                    f"{self.folder} trains row {max(ids)} of {name}, but neither it nor the base has row "
                    f"{absent}; the base has {shape[0]}.",
                    f"{self.folder} 训练了 {name} 的第 {max(ids)} 行，但它与基座都没有第 {absent} 行；"
                    f"基座只有 {shape[0]} 行。",
                )
            rows = shape[0] + len(new)
            shape = (rows, *shape[1:])
        if module in self.low:
            low = self.low[module]
            a, b = self.shape(low.a), self.shape(low.b)
            made = (a[1], b[0]) if low.embedding else (b[0], a[1])
            if len(a) != 2 or len(b) != 2 or a[0] != b[1] or made != shape:
                raise self._misfit(name, made, shape)
        return shape

    def applied(self, name: str, tensor: Tensor) -> Tensor:
        """A base's tensor (fp32) with the adapter merged into it."""
        after = self.shape_after(name, tensor.shape)
        if name in self.whole:
            tensor = self.get(self.whole[name])
        module = name.removesuffix(".weight")
        if module in self.rows:
            ids, values = self.rows[module]
            grown = tensor.new_zeros(after)
            grown[: len(tensor)] = tensor
            grown[ids] = self.get(values)
            tensor = grown
        if module in self.low:
            tensor = self._lowered(self.low[module], tensor)
        return tensor

    def _lowered(self, low: Low, tensor: Tensor) -> Tensor:
        product = self.get(low.b) @ self.get(low.a)
        tensor = tensor + low.scale * (product.T if low.embedding else product)
        if low.magnitude is None:
            return tensor
        # DoRA (Liu et al. 2024): the direction of each output's row, at a length of its own.
        return (self.get(low.magnitude) / torch.linalg.norm(tensor, dim=1))[:, None] * tensor

    def _sort(self) -> None:
        """Give every tensor of the file its meaning, or refuse it."""
        low: dict[str, dict[str, str]] = {}
        for key in self._weights.names():
            name = key.removeprefix(PREFIX)
            found = _LORA.fullmatch(name)
            if found:
                low.setdefault(found[1], {})[found[2]] = key
            elif name.endswith(ROWS):
                self.rows[name.removesuffix(ROWS)] = ([], key)
            elif ".lora_" in name or ".trainable_tokens" in name or not key.startswith(PREFIX):
                raise self._not_understood(key)
            else:
                self.whole[name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")] = key
        for module, parts in low.items():
            self.low[module] = self._pair(module, parts)
        indices = self.config.get("trainable_token_indices") or {}
        for module, (ids, key) in self.rows.items():
            chosen = indices if isinstance(indices, list) else _by_suffix(indices, module)
            if (
                not chosen
                or not all(type(one) is int and one >= 0 for one in chosen)
                or len(set(chosen)) != len(chosen)
            ):
                raise self._not_understood(key)
            ids.extend(chosen)

    def _pair(self, module: str, parts: Mapping[str, str]) -> Low:
        for embedding, names in ((False, ("lora_A", "lora_B")), (True, ("lora_embedding_A", "lora_embedding_B"))):
            if all(name in parts for name in names):
                magnitude = parts.get("lora_magnitude_vector")
                left_over = set(parts) - {*names, "lora_magnitude_vector"}
                if left_over or (embedding and magnitude) or bool(self.config.get("use_dora")) != bool(magnitude):
                    raise self._not_understood(parts[min(left_over)] if left_over else magnitude or parts[names[0]])
                rank = self.shape(parts[names[0]])[0]
                return Low(parts[names[0]], parts[names[1]], magnitude, self._scale(module, rank), embedding)
        raise self._not_understood(next(iter(parts.values())))

    def _scale(self, module: str, rank: int) -> float:
        alpha: Any = self.config.get("lora_alpha", 8)
        patterns = self.config.get("alpha_pattern") or {}
        for pattern, value in patterns.items() if isinstance(patterns, Mapping) else ():
            if not _PATTERN.fullmatch(pattern):
                raise self._wrong_setting("alpha_pattern", pattern)
            if re.match(rf"(.*\.)?({pattern})$", module):
                alpha = value
                break
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise self._wrong_setting("lora_alpha", alpha)
        return float(alpha) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _wrong_setting(self, key: str, value: object) -> UserError:
        where = self.folder / ADAPTER_CONFIG
        return UserError(
            f"{where}: {key} holds {value!r}, which is not understood.", f"{where}：无法理解 {key} 中的 {value!r}。"
        )

    def _not_understood(self, key: str) -> UserError:
        return UserError(
            f"{self.folder} holds {key}, which is not understood beside its {ADAPTER_CONFIG}; only LoRA, rsLoRA, DoRA, "
            "trained rows and modules saved whole can be used.",
            f"{self.folder} 含有 {key}，结合其 {ADAPTER_CONFIG} 也无法理解；只支持 LoRA、rsLoRA、DoRA、训练过的行"
            "和整体保存的模块。",
        )

    def _misfit(self, name: str, have: Sequence[int], want: Sequence[int]) -> UserError:
        return UserError(
            f"{self.folder} does not fit the base: for {name} it is made for {list(have)}, the base has {list(want)}.",
            f"{self.folder} 与基座不符：{name} 在适配器中对应 {list(have)}，基座为 {list(want)}。",
        )


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / ADAPTER_CONFIG).is_file()


def read_adapter_config(folder: Path) -> Mapping[str, Any]:
    """An adapter's settings; a kind of adapter or a setting that is not read here raises ``UserError``."""
    if not is_adapter(folder):
        raise UserError(
            f"{folder} is no adapter: there is no {ADAPTER_CONFIG} in it.",
            f"{folder} 不是适配器：其中没有 {ADAPTER_CONFIG}。",
        )
    config = read_json(folder / ADAPTER_CONFIG)
    where = folder / ADAPTER_CONFIG
    if config.get("peft_type") != "LORA":
        raise UserError(
            f"{where}: peft_type is {config.get('peft_type')!r}; only LORA can be used.",
            f"{where}：peft_type 是 {config.get('peft_type')!r}；只支持 LORA。",
        )
    refused = [key for key in _OTHER_MEANINGS if config.get(key)]
    if config.get("bias", "none") != "none":
        refused.append("bias")
    if config.get("fan_in_fan_out"):
        refused.append("fan_in_fan_out")
    if refused:
        raise UserError(
            f"{where}: {refused[0]} is {config[refused[0]]!r}; this form of LoRA cannot be used.",
            f"{where}：{refused[0]} 是 {config[refused[0]]!r}；不支持这种 LoRA。",
        )
    return config


def check_before(adapters: Sequence[Adapter], base: Base) -> list[Adapter]:
    """Refuse adapters that were trained on something else; returns those that do not say on what."""
    unknown: list[Adapter] = []
    before = list(base.adapters)
    for adapter in adapters:
        record = adapter.base
        if record is None:
            unknown.append(adapter)
        elif record.sha256 != base.sha256:
            raise UserError(
                f"{adapter.folder} was trained on another base: on {record.path} (hash {record.sha256[:12]}…), but "
                f"{base.path} has the hash {base.sha256[:12]}…; give the base that it was trained on with --base.",
                f"{adapter.folder} 不是在这个基座上训练的：它的基座是 {record.path}（哈希 {record.sha256[:12]}…），"
                f"而 {base.path} 的哈希是 {base.sha256[:12]}…；请用 --base 给出它训练时的基座。",
            )
        elif list(record.adapters) != before:
            raise UserError(
                f"{adapter.folder} was trained on {record.path} with {len(record.adapters)} adapters merged before it, "
                f"which are not the {len(before)} given here; give the same ones in the same order.",
                f"{adapter.folder} 训练时其基座 {record.path} 已先并入 {len(record.adapters)} 个适配器，"
                f"与这里给出的 {len(before)} 个不同；请按同样的顺序给出同样的适配器。",
            )
        before.append(adapter.hash)
    return unknown


def _by_suffix(indices: Mapping[str, Any], module: str) -> list[int] | None:
    return next((ids for name, ids in indices.items() if module == name or module.endswith(f".{name}")), None)


def _adapter_weights(folder: Path) -> Weights:
    if (folder / ADAPTER_WEIGHTS).is_file():
        return Weights(folder / ADAPTER_WEIGHTS)
    if (folder / ADAPTER_PICKLE).is_file():
        from huohou.model.pickled import unpickled

        return unpickled(folder / ADAPTER_PICKLE)
    raise UserError(
        f"{folder} is no adapter: there is no {ADAPTER_WEIGHTS} in it.",
        f"{folder} 不是适配器：其中没有 {ADAPTER_WEIGHTS}。",
    )
