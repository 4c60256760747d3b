"""All dialects, and which one a file is in."""

from __future__ import annotations

from types import ModuleType

from huohou.audit.dialects import (
    axolotl,
    colossalai,
    composer,
    deepspeed,
    deepspeed_chat,
    firefly,
    gpt_neox,
    huohou,
    launched,
    levanter,
    lightning,
    litgpt,
    llama_factory,
    megatron,
    minimind,
    ms_swift,
    nanochat,
    nanogpt,
    nanotron,
    olmo_core,
    openrlhf,
    optax,
    paddlenlp,
    program,
    timm,
    torch,
    torchtitan,
    torchtune,
    transformers,
    unnamed,
    verl,
    xtuner,
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
    nanochat,
    minimind,
    olmo_core,
    openrlhf,
    verl,
    xtuner,
    paddlenlp,
    firefly,
    lightning,
    timm,
    colossalai,
    nanotron,
    gpt_neox,
    levanter,
    composer,
    torch,
    optax,
    huohou,
    program,
    launched,
    unnamed,
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
