"""The Trainer with a DeepSpeed JSON: ``auto`` as transformers itself fills it in, and DeepSpeed's own schedulers."""

from __future__ import annotations

import json
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Given, Reading
from huohou.audit.source import Source

AUTO: dict[str, dict[str, Any]] = {
    "WarmupLR": {"warmup_min_lr": "auto", "warmup_max_lr": "auto", "warmup_num_steps": "auto"},
    "WarmupDecayLR": {
        "warmup_min_lr": "auto",
        "warmup_max_lr": "auto",
        "warmup_num_steps": "auto",
        "total_num_steps": "auto",
    },
    "WarmupDecayLR linear": {
        "total_num_steps": "auto",
        "warmup_num_steps": "auto",
        "warmup_max_lr": "auto",
        "warmup_type": "linear",
    },
    "WarmupCosineLR": {"total_num_steps": "auto", "warmup_num_steps": "auto", "cos_min_ratio": 0.1},
    "OneCycle": {"cycle_min_lr": 1e-5, "cycle_max_lr": 1e-3, "cycle_first_step_size": 20},
    "WarmupDecayLR with its own peak": {"total_num_steps": "auto", "warmup_num_steps": "auto"},
}


def audit(text: str, tmp_path: Path, config: dict[str, Any], **given: Any) -> Reading:
    (tmp_path / "ds.json").write_text(json.dumps(config), encoding="utf-8")
    path = tmp_path / "train.py"
    path.write_text(text, encoding="utf-8")
    (reading,) = examine(Document(Source("train.py", text, path)), Given(**given)).readings
    return reading


@pytest.mark.parametrize("warmup", [0, 7, 0.1])
@pytest.mark.parametrize("name", AUTO)
def test_auto_is_filled_in_as_transformers_does(name: str, warmup: float, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    pytest.importorskip("deepspeed")
    from deepspeed.runtime import lr_schedules
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

    kind = name.split()[0]
    config = {
        "train_micro_batch_size_per_gpu": "auto",
        "train_batch_size": "auto",
        "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
        "scheduler": {"type": kind, "params": AUTO[name]},
    }
    text = (
        f"TrainingArguments('o', learning_rate=3e-4, warmup_steps={warmup}, max_steps=60, "
        "lr_scheduler_type='cosine', deepspeed='ds.json')\n"
    )
    (role,) = audit(text, tmp_path, config).roles
    # Transformers' own filling, on the arguments that it looks at.
    filled = HfTrainerDeepSpeedConfig(json.loads(json.dumps(config)))
    made = 60 * warmup if 0 < warmup < 1 else warmup
    arguments = types.SimpleNamespace(
        world_size=1, per_device_train_batch_size=8, gradient_accumulation_steps=1, max_grad_norm=1.0,
        learning_rate=3e-4, adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8, weight_decay=0.0, fp16=False,
        fp16_full_eval=False, bf16=True, bf16_full_eval=False, save_on_each_node=False,
        get_warmup_steps=lambda _: int(made),
    )  # fmt: skip
    filled.trainer_config_process(arguments)
    filled.trainer_config_finalize(arguments, None, 60)
    params = filled.config["scheduler"]["params"]
    used = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=filled.config["optimizer"]["params"]["lr"])
    scheduler = getattr(lr_schedules, kind)(used, **params)
    rates: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(60):
            rates.append(used.param_groups[0]["lr"])
            used.step()
            scheduler.step()
    ours = [role.applied.rate(update) for update in range(1, 61)]
    assert ours == pytest.approx(rates, rel=0, abs=1e-12 * role.applied.peak)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"warmup_max_lr": 1e-3, "warmup_num_steps": "auto"}, "warmup_max_lr 0.001 / 0.0003"),
        ({"warmup_max_lr": "auto", "warmup_num_steps": 100}, "warmup_num_steps 100 / 7"),
        ({"warmup_max_lr": 3e-4, "warmup_num_steps": 7}, None),
    ],
    ids=["peak", "warmup", "the same"],
)
def test_what_the_trainer_refuses(params: dict[str, Any], named: str | None, tmp_path: Path) -> None:
    config = {
        "train_batch_size": "auto",
        "bf16": {"enabled": True},
        "scheduler": {"type": "WarmupLR", "params": params},
    }
    text = "TrainingArguments('o', learning_rate=3e-4, warmup_steps=7, max_steps=60, deepspeed='ds.json')\n"
    reading = audit(text, tmp_path, config)
    assert (reading.refused is None) == (named is None)
    assert named is None or named in str(reading.refused)


def test_without_a_scheduler_of_its_own_the_trainers_is_used(tmp_path: Path) -> None:
    text = "TrainingArguments('o', learning_rate=3e-4, warmup_steps=7, max_steps=60, deepspeed='ds.json')\n"
    (role,) = audit(text, tmp_path, {"train_batch_size": "auto", "zero_optimization": {"stage": 2}}).roles
    assert role.applied.rate(1) == 0.0 and role.applied.rate(8) == 3e-4 and role.warmup == 7
