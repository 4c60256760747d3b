"""Firefly: the JSON of ``train_args`` (also as ``--train_args_file`` of a command), which holds the Trainer's
arguments."""

from __future__ import annotations

from huohou.audit.dialects.trainer import read_trainer
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading
from huohou.audit.values import Settings

name = "firefly"
title = "Firefly"

_OWN = ("train_mode", "task_type", "template_name", "train_file", "max_seq_length", "tokenize_num_workers",
        "max_length", "use_unsloth", "pretrain_data", "max_prompt_length")  # fmt: skip


def _is(settings: Settings) -> bool:
    own = sum(key in settings for key in _OWN)
    mode = settings.text("train_mode") in ("full", "lora", "qlora")
    return own >= 2 and "output_dir" in settings and (mode or "template_name" in settings or own >= 4)


def _files(document: Document) -> list[tuple[Settings, Document]]:
    """The arguments that each command names, with the file that they are in."""
    found = list[tuple[Settings, Document]]()
    for command in document.commands:
        named = command.text("train_args_file")
        other = None if named is None else document.other(named)
        if other is not None and other.settings is not None:
            found.append((other.settings, other))
    return found


def sees(document: Document) -> int:
    """Its own words beside the Trainer's, or a command that names such a file."""
    if document.settings is not None:
        return 93 if _is(document.settings) else 0
    return 95 if document.module is None and _files(document) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file, or of each file that a command names."""
    found = [(document.settings, document)] if document.settings is not None else _files(document)
    readings = [read_trainer(settings, each, given, dialect=name, title=title) for settings, each in found]
    for reading in readings:
        reading.facts["framework"] = name
    return readings
