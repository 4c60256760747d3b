"""LLaMA-Factory: a flat YAML or JSON of the Trainer's arguments with words of its own; and its command line.

It runs the Transformers Trainer. For ``warmup_stable_decay`` it fills the scheduler's arguments in where they are not
written: a third of what follows the warmup is held, the rest decays (``src/llamafactory/train/trainer_utils.py``).
"""

from __future__ import annotations

from dataclasses import replace

from huohou.audit.dialects.trainer import Defaults, read_trainer, scheduler_kwargs
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading
from huohou.audit.values import Settings

name = "llamafactory"
title = "LLaMA-Factory"

_OWN = (
    "finetuning_type",
    "cutoff_len",
    "dataset_dir",
    "dataset",
    "template",
    "stage",
    "lora_target",
    "preprocessing_num_workers",
    "plot_loss",
    "overwrite_cache",
    "val_size",
    "pref_loss",
    "pref_beta",
    "flash_attn",
    "use_unsloth",
    "export_dir",
    "infer_backend",
    "freeze_trainable_layers",
    "quantization_bit",
    "lora_rank",
    "ppo_score_norm",
    "reward_model",
    "mix_strategy",
    "neat_packing",
)
_STAGES = ("pt", "sft", "rm", "ppo", "dpo", "kto")


def _own(settings: Settings) -> int:
    return sum(key in settings for key in _OWN)


def _trains(settings: Settings) -> bool:
    """Files for chatting and exporting use the same words."""
    return (
        "stage" in settings
        and (settings.flag("do_train") is not False)
        and ("do_train" in settings or "output_dir" in settings or "learning_rate" in settings)
    )


def _candidates(document: Document) -> list[Settings]:
    return [document.settings] if document.settings is not None else document.commands


def sees(document: Document) -> int:
    """Its own words beside those of the Trainer."""
    most = 0
    for settings in _candidates(document):
        own = _own(settings)
        program = "llamafactory" in settings.name or "train_bash" in settings.name or settings.name == "lmf"
        if (own >= 3 or program) and (settings.text("stage") in _STAGES or "finetuning_type" in settings or program):
            most = max(most, min(96, 60 + 5 * own))
    return most


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for the file, or for each command that trains."""
    return [_read(each, document, given) for each in _candidates(document) if _own(each) >= 2 and _trains(each)]


def _read(settings: Settings, document: Document, given: Given) -> Reading:
    kwargs = None
    defaults = Defaults()
    if settings.text("lr_scheduler_type") == "warmup_stable_decay":
        kwargs = scheduler_kwargs(settings)
        if "num_decay_steps" not in kwargs:
            # Its own filling needs T and W, which the shared reading resolves; a first pass finds them.
            plain = replace(defaults, scheduler="constant_with_warmup")
            first = read_trainer(_without_type(settings), document, given, dialect=name, title=title, defaults=plain)
            if first.roles and first.roles[0].horizon is not None:
                rest = int(first.roles[0].horizon - first.roles[0].warmup)
                stable = rest // 3
                kwargs |= {"num_stable_steps": stable, "num_decay_steps": rest - stable}
    reading = read_trainer(settings, document, given, dialect=name, title=title, defaults=defaults, kwargs=kwargs)
    reading.facts["framework"] = name
    if kwargs and "num_decay_steps" in kwargs:
        reading.facts["filled_in"] = kwargs
    return reading


def _without_type(settings: Settings) -> Settings:
    return Settings(
        {k: v for k, v in settings.values.items() if k != "lr_scheduler_type"}, settings.name, settings.line
    )
