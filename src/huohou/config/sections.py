"""Which sections a run file has, and what stands above them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from huohou.config.data import Batch, Data
from huohou.config.model import Model, Tokenizer
from huohou.config.schedule import Schedule
from huohou.config.section import Section
from huohou.config.training import Checkpoint, Optimizer, Train

SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {
        "model": Model,
        "tokenizer": Tokenizer,
        "data": Data,
        "batch": Batch,
        "schedule": Schedule,
        "optimizer": Optimizer,
        "train": Train,
        "checkpoint": Checkpoint,
    }
)
TOP = ("name", "output", "stage", "seed")
"""The keys that stand in no section."""
