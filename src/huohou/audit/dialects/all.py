"""All dialects, and which one a file is in."""

from __future__ import annotations

from types import ModuleType

from huohou.audit.dialects import (
    axolotl,
    deepspeed,
    deepspeed_chat,
    litgpt,
    llama_factory,
    megatron,
    ms_swift,
    nanogpt,
    openrlhf,
    optax,
    torch,
    torchtitan,
    torchtune,
    transformers,
)
from huohou.audit.document import Document
from huohou.errors import UserError

DIALECTS: tuple[ModuleType, ...] = (
    transformers,
    deepspeed_chat,
    deepspeed,
    llama_factory,
    axolotl,
    ms_swift,
    megatron,
    torchtitan,
    torchtune,
    litgpt,
    nanogpt,
    openrlhf,
    torch,
    optax,
)
"""Each is a module with ``name``, ``title``, ``sees`` and ``read`` (:class:`huohou.audit.dialects.base.Dialect`)."""


def named(name: str) -> ModuleType:
    """The dialect that ``--as`` names.

    Raises:
        UserError: There is none of this name.
    """
    for dialect in DIALECTS:
        if dialect.name == name:
            return dialect
    known = ", ".join(sorted(dialect.name for dialect in DIALECTS))
    raise UserError(f"--as {name}: no such dialect; there are {known}.", f"--as {name}：没有这种方言；可选 {known}。")


def recognise(document: Document) -> ModuleType | None:
    """The dialect that sees its own words in the file most surely; ``None`` where none does."""
    sure, dialect = max(((each.sees(document), each) for each in DIALECTS), key=lambda pair: pair[0])
    return dialect if sure > 0 else None
