"""axolotl: one YAML file. It runs the Transformers Trainer with schedules and rounding of its own.

A ``warmup_ratio`` is rounded down and not up; where neither word is written, 3 % of the run but at most 100 updates are
warmed up; a ``warmup_steps`` of 1 becomes 2 (``core/builders/base.py``). Its schedules beside the Trainer's are
``rex``, ``one_cycle``, and ``cosine`` with a floor, with a held floor or with a quadratic warmup.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied
from huohou.audit.dialects import torch_schedules, transformers_schedules
from huohou.audit.dialects.intended import intended
from huohou.audit.dialects.trainer_length import Length
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "axolotl"
title = "axolotl"

_OWN = (
    "base_model", "micro_batch_size", "sequence_len", "datasets", "val_set_size", "sample_packing", "num_epochs",
    "dataset_prepared_path", "pad_to_sequence_len", "load_in_8bit", "lora_target_linear", "special_tokens",
    "train_on_inputs", "adapter", "lr_scheduler", "flash_attention", "wandb_project", "gradient_checkpointing",
)  # fmt: skip


def _own(settings: Settings) -> int:
    top = {key.split(".")[0] for key in settings}
    return sum(key in top for key in _OWN)


def sees(document: Document) -> int:
    """``base_model`` and several more of its words."""
    settings = _settings(document)
    return 0 if settings is None else min(97, 55 + 6 * _own(settings))


def _settings(document: Document) -> Settings | None:
    """A file's, or those that a notebook writes as ``DictDefault(base_model=…)``."""
    candidates = [document.settings] if document.settings is not None else []
    if document.module is not None:
        candidates += [call.settings for call in document.module.calls if "base_model" in call.settings]
    return next((each for each in candidates if "base_model" in each and _own(each) >= 4), None)


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file."""
    settings = _settings(document)
    return [] if settings is None else [_read(settings, given)]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    kind = (settings.text("lr_scheduler") or "cosine").lower()
    peak = float(settings.number("learning_rate") or 0.0)
    lengths = _lengths(settings, given, reading)
    steps, ratio = settings.number("warmup_steps"), settings.number("warmup_ratio")
    reading.facts |= {
        "family": "transformers", "framework": name, "scheduler": kind, "warmup_steps": steps or 0,
        "warmup_ratio": ratio or 0, "peak": peak, "written_steps": steps,
    }  # fmt: skip
    if not peak:
        reading.need("learning_rate is not written as a number.", "learning_rate 没有写成数字。")
        return reading
    if lengths is None:
        reading.need(
            "how many updates: give --updates, or --samples with --gpus.",
            "更新步数未知：请给出 --updates，或 --samples 与 --gpus。",
        )
        return reading
    horizon, updates, estimate = lengths
    warmup = _warmup(steps, ratio, estimate, horizon)
    curve = _curve(settings, kind, peak, warmup, horizon, updates, reading)
    if curve is None:
        return reading
    bumped = steps == 1
    reading.facts["bumped"] = bumped
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            settings.find("warmup_steps", "warmup_ratio"),
            Text(f"W = {warmup} of {horizon} updates", f"W = {warmup}，共 {horizon} 步"),
        )
    )
    meant = intended("cosine" if kind == "cosine" else kind, peak, warmup, updates, {})
    if settings.number("cosine_min_lr_ratio") is not None:
        meant = None
    model = settings.text("base_model")
    reading.roles.append(Role("model", curve, float(warmup), meant, model, float(horizon)))
    return reading


def _lengths(settings: Settings, given: Given, reading: Reading) -> tuple[int, int, int] | None:
    """(the scheduler's horizon, updates that are made, axolotl's own estimate from which a ratio is taken)."""
    accumulation = given.accumulation or settings.whole("gradient_accumulation_steps") or 1
    batch = settings.whole("micro_batch_size") or 1
    epochs = float(settings.number("num_epochs") or 1.0)
    most = settings.whole("max_steps") or 0
    gpus = given.gpus or 1
    horizon = estimate = None
    if given.samples is not None:
        micro = math.ceil(given.samples / (gpus * batch))
        horizon = Length(micro, accumulation, epochs, most).updates(">=5.15")
        estimate = math.ceil(given.samples * epochs / (batch * accumulation * gpus))
        if most > 0:
            estimate = min(estimate, most)
        reading.assume(
            f"{given.samples} samples, each a sequence of its own, over {gpus} processes.",
            f"{given.samples} 个样本各成一条序列，{gpus} 个进程。",
        )
    elif most > 0:
        horizon = estimate = most
    if given.updates is not None:
        reading.assume(
            f"--updates: the run makes {given.updates} updates.", f"--updates：训练共 {given.updates} 个更新步。"
        )
        horizon = most if most > 0 else given.updates
        estimate = estimate or horizon
    if horizon is None or estimate is None:
        return None
    return horizon, given.updates or horizon, estimate


def _warmup(steps: float | None, ratio: float | None, estimate: int, horizon: int) -> int:
    if steps is not None:
        value = float(steps)
    elif ratio is not None:
        value = float(max(int(ratio * estimate), 0))
    else:
        value = float(min(int(0.03 * estimate), 100))
    if value == 1:
        value = 2.0
    return int(value) if value >= 1 else math.ceil(value * horizon)


def _curve(
    settings: Settings, kind: str, peak: float, warmup: int, horizon: int, updates: int, reading: Reading
) -> Applied | None:
    floor, held = settings.number("cosine_min_lr_ratio"), settings.number("cosine_constant_lr_ratio")
    least = float(floor or 0.0)
    rest = float(max(1, horizon - warmup))
    rise = (Piece(0, "linear", 0.0, 1.0, float(max(1, warmup))),) if warmup > 0 else ()
    if kind == "rex":
        # Its own count begins at 1, so update u stands at position u.
        pieces = (*rise, Piece(math.nextafter(warmup, math.inf), "rex", 1.0, least, rest, origin=float(warmup)))
        return Applied(peak, updates, (*pieces, Piece(float(max(horizon, warmup + 1)), "hold", least)), offset=1.0)
    if kind == "one_cycle":
        given = settings.number("lr_scheduler_kwargs.pct_start")
        return torch_schedules.one_cycle(peak, updates, horizon, warmup / horizon if given is None else float(given))
    if kind == "cosine" and settings.flag("lr_quadratic_warmup"):
        rise = (Piece(0, "rising power", 0.0, 1.0, float(max(1, warmup)), parameter=2.0),) if warmup > 0 else ()
        return Applied(peak, updates, (*rise, Piece(warmup, "cosine", 1.0, 0.0, rest, lowest=0.0)))
    if kind == "cosine" and floor and held:
        end = int(horizon * held)
        fall = Piece(warmup, "cosine", 1.0, least, float(max(1, end - warmup)))
        after = Piece(math.nextafter(max(warmup, end), math.inf), "hold", least)
        return Applied(peak, updates, (*rise, fall, after))
    if kind == "cosine" and floor:
        return Applied(peak, updates, (*rise, Piece(warmup, "cosine", 1.0, least, rest)))
    if kind not in transformers_schedules.TYPES or kind in transformers_schedules.UNPLANNED:
        reading.need(
            f"lr_scheduler {kind} is none that is known before the run.", f"lr_scheduler {kind} 事先无法得知。"
        )
        return None
    kwargs = {key: value.value for key, value in settings.under("lr_scheduler_kwargs").values.items()}
    used = 0 if kind in transformers_schedules.WITHOUT_WARMUP else warmup
    return transformers_schedules.applied(kind, peak, used, horizon, updates, kwargs)
