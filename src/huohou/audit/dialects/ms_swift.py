"""ms-swift: ``swift sft`` and its kin, which run the Transformers Trainer with defaults of their own.

The scheduler is cosine, the learning rate 1e-4 (1e-5 where the whole model is trained), and an accumulation that is not
written is made up to a batch of 16 over all processes. ``megatron sft`` is read as Megatron-LM.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from typing import cast

from huohou.audit.dialects import megatron
from huohou.audit.dialects.trainer import Defaults, read_trainer
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading
from huohou.audit.values import Settings

name = "ms-swift"
title = "ms-swift"

_VERBS = ("sft", "pt", "rlhf")


_NUMBERED = re.compile(r"[^#]#(\d{1,12})$")
_IMPORTED = re.compile(r"from swift[\w.]* import [^\n]*TrainingArguments")
_CALLS = ("SftArguments", "PretrainArguments", "RLHFArguments", "TrainArguments")
"""Its classes of arguments, for those who start it from Python."""


def _trains(document: Document) -> list[Settings]:
    module = None if document.module is None or "swift" not in document.source.text else document.module
    # Its classes of the Trainer's arguments have the Trainer's names and take words that the Trainer has given up.
    own = module is not None and _IMPORTED.search(document.source.text) is not None
    names = (*_CALLS, "Seq2SeqTrainingArguments", "TrainingArguments") if own else _CALLS
    found = [call.settings for call in module.calls if call.last_name in names] if module is not None else []
    script = document.script
    if script is None:
        return found
    for command, settings in zip(script.commands, document.commands, strict=True):
        words = [word.text for word in command.words]
        if not _says(settings):
            continue
        own = any(a.rsplit("/", 1)[-1] == "swift" and b in _VERBS for a, b in pairwise(words))
        if own or any(word.endswith(("swift/cli/sft.py", "swift/cli/pt.py", "swift/cli/rlhf.py")) for word in words):
            found.append(settings)
    return found


def _says(settings: Settings) -> bool:
    """Whether the command itself says anything of the training; one that names a configuration does not."""
    return any(key not in ("config", "use_ray") for key in settings)


_OWN = ("tuner_type", "train_type", "split_dataset_ratio", "load_from_cache_file", "attn_impl", "padding_free",
        "freeze_vit", "freeze_aligner", "target_modules", "rlhf_type", "dataset_num_proc", "model_author",
        "torch_dtype", "max_length", "max_completion_length", "vllm_mode")  # fmt: skip
_MEGATRON = ("micro_batch_size", "global_batch_size", "tensor_model_parallel_size", "pipeline_model_parallel_size",
             "train_iters", "lr", "lr_warmup_fraction")  # fmt: skip


def _file(document: Document) -> Settings | None:
    """A file that ``swift sft --config`` or ``megatron sft`` takes."""
    settings = document.settings
    if settings is None or "finetuning_type" in settings or not ("model" in settings or "tuner_type" in settings):
        return None
    rate = any(key in settings for key in ("learning_rate", "lr", "num_train_epochs", "train_iters", "max_epochs"))
    return settings if rate and sum(key in settings for key in _OWN) >= 3 else None


def sees(document: Document) -> int:
    """``swift sft``, ``swift pt`` or ``swift rlhf``, or a file of their words."""
    return 99 if _trains(document) or _file(document) is not None else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each command that trains, or for the file."""
    settings = _file(document)
    if settings is not None and sum(key in settings for key in _MEGATRON) >= 2:
        return megatron.read(document.holding(Settings(settings.values, "megatron", settings.line)), given)
    if settings is not None:
        return [_read(settings, document, given)]
    return [_read(settings, document, given) for settings in _trains(document)]


def _samples(settings: Settings) -> int | None:
    """The training samples where every dataset is written with its number: ``name#500`` (``dataset_meta.py``)."""
    written: object = settings.get("dataset")
    names = [str(each) for each in cast("list[object]", written)] if isinstance(written, list) else [str(written)]
    numbers = [_NUMBERED.search(each) for each in names]
    online = settings.text("rlhf_type") in ("grpo", "gkd", "ppo")
    if online or any(each is None for each in numbers) or settings.flag("packing") or settings.flag("streaming"):
        return None
    share = float(settings.number("split_dataset_ratio") or 0.0)
    total = 0
    for each in numbers:
        number = int(each.group(1)) if each is not None else 0
        total += number - (max(int(number * share), 1) if share > 0 and "val_dataset" not in settings else 0)
    return total if total > 0 else None


def _read(settings: Settings, document: Document, given: Given) -> Reading:
    full = settings.text("tuner_type", "train_type", "sft_type") == "full"
    batch = settings.whole("per_device_train_batch_size") or 1
    online = settings.text("rlhf_type") in ("grpo", "gkd", "ppo")
    accumulation = 1 if online else max(1, math.ceil(16 / (batch * (given.gpus or 1))))
    defaults = Defaults(
        learning_rate=1e-5 if full else 1e-4, scheduler="cosine", epochs=3.0, batch=1, accumulation=accumulation
    )
    counted = _samples(settings) if given.samples is None and given.updates is None else None
    if counted is not None:
        given = replace(given, samples=counted)
    reading = read_trainer(settings, document, given, dialect=name, title=title, defaults=defaults)
    if counted is not None:
        reading.assume(
            f"the datasets are sampled to {counted} (name#number), none is dropped for its length (--samples).",
            f"各数据集按 名称#数目 采样，共 {counted} 个样本，没有因过长而丢弃的（--samples）。",
        )
    reading.facts["framework"] = name
    # It hands a ratio on in whichever word the installed Transformers take.
    reading.refused = None
    if given.accumulation is None and settings.whole("gradient_accumulation_steps") is None:
        reading.assume(
            f"gradient_accumulation_steps is not written: ms-swift makes it {accumulation}.",
            f"没有写 gradient_accumulation_steps：ms-swift 取 {accumulation}。",
        )
    return reading
