"""The Transformers Trainer and TRL's trainers: arguments in Python, a notebook, YAML, JSON, or on a command line."""

from __future__ import annotations

from huohou.audit.dialects.trainer import Defaults, read_trainer
from huohou.audit.document import Document
from huohou.audit.python import Call
from huohou.audit.reading import Given, Reading
from huohou.audit.values import Settings

CALLS = {
    "TrainingArguments": Defaults(),
    "Seq2SeqTrainingArguments": Defaults(),
    "SFTConfig": Defaults(learning_rate=2e-5),
    "DPOConfig": Defaults(learning_rate=1e-6),
    "RewardConfig": Defaults(learning_rate=1e-4),
    "GRPOConfig": Defaults(learning_rate=1e-6),
    "KTOConfig": Defaults(learning_rate=1e-6),
    "ORPOConfig": Defaults(learning_rate=1e-6),
    "CPOConfig": Defaults(learning_rate=1e-6),
    "RLOOConfig": Defaults(learning_rate=1e-6),
    "PPOConfig": Defaults(learning_rate=3e-6),
    "UnslothTrainingArguments": Defaults(),
}
"""The classes of arguments and the defaults in which they differ from ``TrainingArguments``."""

KEYS = (
    "lr_scheduler_type",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "warmup_ratio",
    "warmup_steps",
    "max_steps",
)
"""Names that the Trainer gave the field; one alone is used by others too."""

name = "transformers"
title = "Transformers Trainer"


def sees(document: Document) -> int:
    """Its own classes in Python, or several of its names."""
    if document.module is not None:
        if any(call.last_name in CALLS for call in document.module.calls):
            return 90
        if any(_kin(call) for call in document.module.calls):
            return 40
    settings = [document.settings] if document.settings is not None else document.commands
    most = max((_words(each) for each in settings), default=0)
    return 0 if most < 2 else 20 + 5 * most


def _words(settings: Settings) -> int:
    return sum(key in settings for key in KEYS) + ("learning_rate" in settings)


def _kin(call: Call) -> bool:
    """A class of arguments that is made from the Trainer's, by its words."""
    return call.last_name.endswith(("Config", "Arguments", "Args")) and _words(call.settings) >= 3


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each call, for each command with such flags, or for the file."""
    readings: list[Reading] = []
    if document.module is not None:
        for call in document.module.calls:
            if call.last_name in CALLS or _kin(call):
                readings.append(_read(call.settings, document, given, CALLS.get(call.last_name, Defaults())))
        if readings:
            return readings
    # Of a notebook without such a call, the commands that it starts.
    settings = [document.settings] if document.settings is not None else document.commands
    return [_read(each, document, given, Defaults()) for each in settings if _words(each) >= 2]


def _read(settings: Settings, document: Document, given: Given, defaults: Defaults) -> Reading:
    return read_trainer(settings, document, given, dialect=name, title=title, defaults=defaults)
