"""Which model an adapter was trained on: a hash of the weights, so that it is never merged onto another one.

An adapter on the wrong base gives fluent nonsense, and nothing in its shapes says so. PEFT records only the base's
path; what is recorded here lies beside PEFT's files in ``huohou_base.json``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from huohou import records
from huohou.errors import UserError
from huohou.model.weights import Weights, read_json

RECORD = "huohou_base.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_PICKLE = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)


@dataclass(frozen=True, slots=True)
class Base:
    """A base model: where it was, what it was, and which adapters were merged into it before this one was trained."""

    path: str
    sha256: str
    """:func:`weights_hash` of its folder."""
    revision: str | None = None
    adapters: tuple[str, ...] = ()
    """Their :func:`adapter_hash`, in the order in which they were merged."""

    def write(self, folder: Path) -> None:
        """Write the record into an adapter's folder."""
        plain = {"path": self.path, "sha256": self.sha256, "revision": self.revision, "adapters": list(self.adapters)}
        records.write_json(folder / RECORD, {"format": 1, "base": plain})

    @classmethod
    def read(cls, folder: Path) -> Base | None:
        """The record of an adapter's folder; none where another program wrote it."""
        path = folder / RECORD
        if not path.is_file():
            return None
        try:
            plain: dict[str, Any] = read_json(path)["base"]
            return cls(
                str(plain["path"]),
                str(plain["sha256"]),
                None if plain.get("revision") is None else str(plain["revision"]),
                tuple(str(one) for one in plain.get("adapters", ())),
            )
        except (KeyError, TypeError, AttributeError):
            raise UserError(
                f"{path} does not say which base the adapter belongs to; restore the file, or remove it to merge "
                "without this check.",
                f"{path} 没有说明适配器属于哪个基座；请恢复该文件，或删除它以跳过这项检查。",
            ) from None


def identify(folder: Path, *, adapters: Sequence[Path] = (), revision: str | None = None) -> Base:
    """The record of the base in a folder, with the adapters that are merged into it, in this order."""
    return Base(str(folder), weights_hash(folder), revision, tuple(adapter_hash(one) for one in adapters))


def weights_hash(folder: Path) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor of a folder, however they are spread over files."""
    weights = Weights(folder)
    total = hashlib.sha256()
    parts = {name: _tensor_hash(name, tensor) for name, tensor in weights.read()}
    for name in sorted(parts):
        total.update(parts[name])
    return total.hexdigest()


def adapter_hash(folder: Path) -> str:
    """SHA-256 of an adapter's weights, whatever its configuration says of paths."""
    file = folder / ADAPTER_WEIGHTS
    if file.is_file():
        return weights_hash(file)
    pickled = folder / ADAPTER_PICKLE
    if pickled.is_file():
        with open(pickled, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    raise UserError(
        f"{folder} is no adapter: there is no {ADAPTER_WEIGHTS} in it.",
        f"{folder} 不是适配器：其中没有 {ADAPTER_WEIGHTS}。",
    )


def _tensor_hash(name: str, tensor: Tensor) -> bytes:
    digest = hashlib.sha256(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
    # Viewed as bytes nothing is copied; numpy has no bfloat16.
    digest.update(cast("Any", tensor.contiguous().view(-1).view(torch.uint8).numpy()) if tensor.numel() else b"")
    return digest.digest()
