"""How many processes a command starts: the flags of ``deepspeed``, ``torchrun`` and ``accelerate launch``."""

from __future__ import annotations

import re

from huohou.audit.document import Document
from huohou.audit.values import Settings, as_number

_SLOTS = re.compile(r"^\s*(\S+)\s+slots\s*=\s*(\d+)\s*$", re.MULTILINE)


def processes(settings: Settings, document: Document | None = None) -> int | None:
    """The world size that the launcher's flags say; ``None`` where they leave it to the machine.

    A host file that is named is read for its slots.
    """
    included = _text(settings, "include")
    if included is not None and ":" in included:
        return _included(included)
    per_node = _count(settings, "num_gpus", "nproc_per_node", "num_accelerators")
    nodes = _count(settings, "num_nodes", "nnodes")
    slots = _host_file(settings, document)
    if slots:
        shares = [min(each, per_node) if per_node else each for each in slots]
        return sum(shares[:nodes] if nodes else shares)
    whole = _count(settings, "num_processes")
    if whole is not None:
        return whole
    return per_node * (nodes or 1) if per_node else None


def _count(settings: Settings, *keys: str) -> int | None:
    """A number above zero. The word that follows it (``--num_gpus 1 main.py``) may stand with it in a list."""
    for key in keys:
        value = settings.get(key)
        if isinstance(value, list) and value:
            value = value[0]  # pyright: ignore[reportUnknownVariableType]
        number = as_number(value)
        if number is not None and number >= 1:
            return int(number)
    return None


def _text(settings: Settings, *keys: str) -> str | None:
    for key in keys:
        value = settings.get(key)
        if isinstance(value, list) and value:
            value = value[0]  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, str):
            return value
    return None


def _included(text: str) -> int | None:
    """``host:0,1@other:0,2-3``: every number is a process."""
    found = 0
    for host in text.strip("\"'").split("@"):
        _, sign, slots = host.partition(":")
        if not sign:
            return None
        for slot in slots.split(","):
            first, _, last = slot.partition("-")
            if not first.strip().isdigit() or (last and not last.strip().isdigit()):
                return None
            found += int(last) - int(first) + 1 if last else 1
    return found if found > 0 else None


def _host_file(settings: Settings, document: Document | None) -> list[int]:
    name = _text(settings, "hostfile", "H")
    if name is None or document is None:
        return []
    found = document.other(name)
    return [] if found is None else [int(slots) for _, slots in _SLOTS.findall(found.source.text) if int(slots) > 0]
