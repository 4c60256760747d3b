"""All targets but our own run file, which is no framework's arguments (:mod:`huohou.audit.convert.run_file`)."""

from __future__ import annotations

from types import ModuleType

from huohou.audit.convert import (
    axolotl,
    composer,
    deepspeed,
    deepspeed_chat,
    gpt_neox,
    levanter,
    litgpt,
    llamafactory,
    megatron,
    ms_swift,
    nanogpt,
    olmo_core,
    openrlhf,
    optax,
    torch,
    torchtitan,
    torchtune,
    transformers,
)
from huohou.errors import UserError

OURS = "huohou"
TARGETS: tuple[ModuleType, ...] = (
    transformers,
    llamafactory,
    ms_swift,
    axolotl,
    deepspeed,
    deepspeed_chat,
    openrlhf,
    megatron,
    torchtitan,
    torchtune,
    olmo_core,
    gpt_neox,
    litgpt,
    nanogpt,
    composer,
    levanter,
    torch,
    optax,
)
"""Each is a module as :class:`huohou.audit.convert.target.Target` says."""


def target(name: str) -> ModuleType:
    """The target that ``--to`` names.

    Raises:
        UserError: There is none of this name.
    """
    for each in TARGETS:
        if each.name == name:
            return each
    known = ", ".join([OURS, *sorted(each.name for each in TARGETS)])
    raise UserError(
        f"--to {name}: nothing is written for that; there are {known}.", f"--to {name}：不支持；可选 {known}。"
    )
