"""ms-swift: ``swift sft`` and its kin, which run the Transformers Trainer with defaults of their own.

The scheduler is cosine, the learning rate 1e-4 (1e-5 where the whole model is trained), and an accumulation that is not
written is made up to a batch of 16 over all processes. ``megatron sft`` is read as Megatron-LM.
"""

from __future__ import annotations

import math
from itertools import pairwise

from huohou.audit.dialects.trainer import Defaults, read_trainer
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading
from huohou.audit.values import Settings

name = "ms-swift"
title = "ms-swift"

_VERBS = ("sft", "pt", "rlhf")


def _trains(document: Document) -> list[Settings]:
    script = document.script
    if script is None:
        return []
    found: list[Settings] = []
    for command, settings in zip(script.commands, document.commands, strict=True):
        words = [word.text for word in command.words]
        own = any(a.rsplit("/", 1)[-1] == "swift" and b in _VERBS for a, b in pairwise(words))
        if own or any(word.endswith(("swift/cli/sft.py", "swift/cli/pt.py", "swift/cli/rlhf.py")) for word in words):
            found.append(settings)
    return found


def sees(document: Document) -> int:
    """``swift sft``, ``swift pt`` or ``swift rlhf``."""
    return 99 if _trains(document) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each command that trains."""
    return [_read(settings, document, given) for settings in _trains(document)]


def _read(settings: Settings, document: Document, given: Given) -> Reading:
    full = settings.text("tuner_type", "train_type", "sft_type") == "full"
    batch = settings.whole("per_device_train_batch_size") or 1
    online = settings.text("rlhf_type") in ("grpo", "gkd", "ppo")
    accumulation = 1 if online else max(1, math.ceil(16 / (batch * (given.gpus or 1))))
    defaults = Defaults(
        learning_rate=1e-5 if full else 1e-4, scheduler="cosine", epochs=3.0, batch=1, accumulation=accumulation
    )
    reading = read_trainer(settings, document, given, dialect=name, title=title, defaults=defaults)
    reading.facts["framework"] = name
    # It hands a ratio on in whichever word the installed Transformers take.
    reading.refused = None
    if given.accumulation is None and settings.whole("gradient_accumulation_steps") is None:
        reading.assume(
            f"gradient_accumulation_steps is not written: ms-swift makes it {accumulation}.",
            f"没有写 gradient_accumulation_steps：ms-swift 取 {accumulation}。",
        )
    return reading
