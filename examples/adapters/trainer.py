"""huohou's curve in Transformers' Trainer, on a tiny model: ``python examples/adapters/trainer.py``.

It needs transformers and accelerate. The plan is made in place here; a run file or a plan.json, by its path, does as
well.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

import huohou
from huohou.adapters import transformers as huohou_trainer

UPDATES = 30


def main(folder: str) -> huohou_trainer.Attached:
    """Train, and return the attached curve with what its guard saw."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    rows = [[1, *((start + i) % 60 + 3 for i in range(14)), 2] for start in range(60)]
    data: Any = [{"input_ids": row, "labels": row} for row in rows]
    arguments = TrainingArguments(
        output_dir=folder, max_steps=UPDATES, per_device_train_batch_size=4, gradient_accumulation_steps=2,
        logging_steps=5, save_strategy="no", report_to=[], use_cpu=not torch.cuda.is_available(),
    )  # fmt: skip
    trainer = Trainer(model=LlamaForCausalLM(config), args=arguments, train_dataset=data)
    plan = huohou.plan(updates=UPDATES, peak="3e-3", warmup="10%")
    attached = huohou_trainer.attach(trainer, plan)
    trainer.train()
    return attached


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(place)
