"""What TRL computes on a folder's model and dialogues: ``python trl_losses.py FOLDER EPOCHS LENGTH``, as JSON.

All dialogues are one batch, so it does not matter in which order they come. For TRL's padded default and its packing
with attention inside samples: the loss of the batch before any update, and what the Trainer logs of every update.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer


def losses(folder: Path, epochs: int, length: int, *, packing: bool) -> dict[str, Any]:
    output = folder / f"trl-{packing}"
    data = load_dataset("json", data_files=str(folder / "dialogues.jsonl"), split="train", cache_dir=str(output))
    arguments = SFTConfig(
        output_dir=str(output), num_train_epochs=epochs, per_device_train_batch_size=len(data), learning_rate=1e-3,
        lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=1.0, max_length=length, packing=packing,
        assistant_only_loss=True, gradient_checkpointing=False, bf16=False, use_cpu=True, save_strategy="no",
        logging_steps=1, report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "model", attn_implementation="sdpa"),
        args=arguments,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
    )
    batches = list(trainer.get_train_dataloader())
    assert len(batches) == 1
    targets = (batches[0]["labels"] != -100).sum()
    model: Any = trainer.model
    with torch.no_grad():
        loss = trainer.compute_loss(model, dict(batches[0]), num_items_in_batch=targets)
    trainer.train()
    logged = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {"loss": float(loss), "targets": int(targets), "logged": logged}


if __name__ == "__main__":
    torch.set_num_threads(1)
    place, rounds, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    found = {"padded": losses(place, rounds, size, packing=False), "packed": losses(place, rounds, size, packing=True)}
    (place / "trl.json").write_text(json.dumps(found), encoding="utf-8")
