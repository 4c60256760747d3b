"""What a user of TRL would write for the same tuning: ``python -m benchmarks.trl_sft FOLDER OUTPUT PACKING SEED``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Steps(TrainerCallback):
    """The seconds inside steps, as huohou counts its own: from the batch at hand to the weights changed."""

    def __init__(self) -> None:
        self.seconds, self.updates, self.loss, self._began = 0.0, 0, float("nan"), 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.monotonic()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds += time.monotonic() - self._began
        self.updates += 1

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        self.loss = (logs or {}).get("loss", self.loss)


def main() -> None:
    """Train once over the dialogues and write what was measured."""
    folder, output, packing, seed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])
    setting = json.loads((folder / "setting.json").read_text(encoding="utf-8"))
    torch.set_num_threads(setting["threads"])
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", attn_implementation="sdpa")
    data = load_dataset(
        "json", data_files=str(folder / "dialogues.jsonl"), split="train", cache_dir=str(output / "data")
    )
    batch = max(1, setting["padded_batch"] // 3) if packing else setting["padded_batch"]
    arguments = SFTConfig(
        output_dir=str(output),
        num_train_epochs=1,
        per_device_train_batch_size=batch,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        max_length=setting["sequence_length"],
        packing=packing,
        assistant_only_loss=True,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        seed=seed,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    steps = Steps()
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer, callbacks=[steps])
    trainer.train()
    output.mkdir(parents=True, exist_ok=True)
    found = {"seconds": steps.seconds, "updates": steps.updates, "loss": steps.loss}
    (output / "measured.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
