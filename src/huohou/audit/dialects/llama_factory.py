"""LLaMA-Factory: a flat YAML or JSON of the Trainer's arguments with words of its own; and its command line.

It runs the Transformers Trainer. For ``warmup_stable_decay`` it fills the scheduler's arguments in where they are not
written: a third of what follows the warmup is held, the rest decays (``src/llamafactory/train/trainer_utils.py``).
"""

from __future__ import annotations

from dataclasses import replace

from huohou.audit.applied import Applied
from huohou.audit.dialects.trainer import Defaults, read_trainer, scheduler_kwargs
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Role
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
    """Files for chatting and exporting use the same words, and those that only write the tokens to the disk."""
    if "tokenized_path" in settings and "learning_rate" not in settings:
        return False
    return (
        "stage" in settings
        and (settings.flag("do_train") is not False)
        and ("do_train" in settings or "output_dir" in settings or "learning_rate" in settings)
    )


def _candidates(document: Document) -> list[Settings]:
    return [document.settings] if document.settings is not None else document.commands


def sees(document: Document) -> int:
    """Its own words beside those of the Trainer."""
    most = 94 if document.settings is not None and _newer(document.settings) else 0
    for settings in _candidates(document):
        own = _own(settings)
        if "tokenized_path" in settings and not _trains(settings):
            continue
        program = "llamafactory" in settings.name or "train_bash" in settings.name or settings.name == "lmf"
        if (own >= 3 and (settings.text("stage") in _STAGES or "finetuning_type" in settings)) or (
            program and own >= 2
        ):
            most = max(most, min(96, 60 + 5 * own))
    return most


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for the file, or for each command that trains."""
    if document.settings is not None and _newer(document.settings):
        return [_read_newer(document.settings, given)]
    return [_read(each, document, given) for each in _candidates(document) if _own(each) >= 2 and _trains(each)]


_NEWER = ("kernel_config", "dist_config", "sample_backend", "model_class", "peft_config", "quant_config",
          "batching_strategy", "optim_config", "lr_scheduler_config", "train_dataset", "init_config")  # fmt: skip


def _newer(settings: Settings) -> bool:
    """A file of its second engine (``src/llamafactory/v1``), which has a Trainer of its own."""
    top = {key.split(".")[0] for key in settings}
    trains = "learning_rate" in settings or "micro_batch_size" in settings
    return trains and "train_dataset" in top and sum(key in top for key in _NEWER) >= 2


def _read_newer(settings: Settings, given: Given) -> Reading:
    """Without ``lr_scheduler_config`` the rate stays; with one a plugin decides (``core/base_trainer.py``)."""
    reading = Reading(name, f"{title} v1", settings)
    peak = settings.number("learning_rate")
    if peak is None:
        peak = 1e-4
        reading.assume("learning_rate: its default 1e-4.", "learning_rate：取默认值 1e-4。")
    reading.facts |= {"family": "llamafactory-v1", "framework": name, "scheduler": "constant", "peak": float(peak)}
    plugin = settings.text("lr_scheduler_config.name")
    if plugin is not None:
        reading.need(
            f"lr_scheduler_config {plugin} is a plugin, whose code would have to be run.",
            f"lr_scheduler_config {plugin} 是插件，须运行其代码才能得知。",
        )
        return reading
    updates = given.updates or settings.whole("max_steps")
    if updates is None and given.samples is not None:
        batch = settings.whole("global_batch_size") or (settings.whole("micro_batch_size") or 1) * (given.gpus or 1)
        updates = (settings.whole("num_train_epochs") or 3) * (given.samples // batch)
        reading.assume(f"{given.samples} samples in batches of {batch}.", f"{given.samples} 个样本，批大小 {batch}。")
    if not updates:
        reading.need(
            "how many updates: give --updates, or --samples (with --gpus where there are several).",
            "更新步数未知：请给出 --updates，或 --samples（多卡时加 --gpus）。",
        )
        return reading
    reading.roles.append(Role("model", Applied(float(peak), updates, (Piece(0, "hold", 1.0),)), 0.0))
    return reading


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
    if reading.refused is not None and given.version("transformers") is None:
        # What it is released with takes the word: it asks for transformers of at most 5.8.
        reading.refused = None
        reading.assume(
            "LLaMA-Factory takes transformers up to 5.8, which take warmup_ratio.",
            "LLaMA-Factory 要求 transformers 不高于 5.8，它们接受 warmup_ratio。",
        )
    if kwargs and "num_decay_steps" in kwargs:
        reading.facts["filled_in"] = kwargs
    return reading


def _without_type(settings: Settings) -> Settings:
    return Settings(
        {k: v for k, v in settings.values.items() if k != "lr_scheduler_type"}, settings.name, settings.line
    )
