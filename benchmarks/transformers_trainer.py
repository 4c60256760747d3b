"""What a user of transformers would write for the same run: ``python -m benchmarks.transformers_trainer SETTINGS``.

The Trainer as it comes, with the run's optimizer, schedule and clipping, without logging. Like huohou it leaves one
checkpoint of the end and a model folder. With a second argument the moment at which each step began is written there.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed


class Blocks(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Rows of a memory-mapped array of token ids."""

    def __init__(self, path: str) -> None:
        self.rows = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.from_numpy(self.rows[index].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


class Times(TrainerCallback):
    """When each step began."""

    def __init__(self) -> None:
        self.began: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began.append(time.monotonic())


def main() -> None:
    """Train and save."""
    asked: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(asked["threads"])
    set_seed(asked["seed"])
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    model = LlamaForCausalLM(
        LlamaConfig(
            **{name: asked[name] for name in names},
            max_position_embeddings=asked["sequence_length"],
            tie_word_embeddings=True,
            use_cache=False,
        )
    )
    arguments = TrainingArguments(
        output_dir=asked["output"],
        max_steps=asked["updates"],
        per_device_train_batch_size=asked["batch"],
        learning_rate=asked["peak"],
        warmup_steps=asked["warmup"],
        lr_scheduler_type="cosine",
        adam_beta1=asked["betas"][0],
        adam_beta2=asked["betas"][1],
        adam_epsilon=asked["eps"],
        weight_decay=asked["weight_decay"],
        max_grad_norm=asked["max_grad_norm"],
        seed=asked["seed"],
        # The blocks lie in the order in which huohou reads them.
        train_sampling_strategy="sequential",
        dataloader_pin_memory=False,
        use_cpu=True,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    times = Times()
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Blocks(asked["blocks"]),
        callbacks=[times] if len(sys.argv) > 2 else None,
    )
    trainer.train()
    trainer.save_model(str(Path(asked["output"]) / "model"))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps(times.began), encoding="utf-8")


if __name__ == "__main__":
    main()
