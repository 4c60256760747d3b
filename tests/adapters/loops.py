"""Real trainers with huohou's curve inside, on small models: ``python loops.py FOLDER RUNS`` is one process.

RUNS is a list of runs in JSON that are made one after another, each with its ``name``, ``kind`` and options. What each
found out is written to ``FOLDER/NAME/rank<N>.json``: the rates that the optimizer held when it stepped, as seen by a
hook of this file's own that knows nothing of huohou, and what the guard said.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import huohou
from huohou.errors import RunFailed

PLAN = huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%")
PLANNED = [PLAN.curve(update) for update in range(1, 13)]


class Seen:
    """The rates with which optimizers stepped, one row a call; ZeRO calls an optimizer several times an update."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self._handle = register_optimizer_step_pre_hook(self._see)

    def _see(self, optimizer: Any, *_: Any) -> None:
        self.rates.append([float(group["lr"]) for group in optimizer.param_groups])

    def stop(self) -> list[list[float]]:
        self._handle.remove()
        return self.rates


def tiny_llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def sequences(count: int) -> list[dict[str, list[int]]]:
    rows = [[1, 3 + i % 20, 5, 7, 9, 11, 2] for i in range(count)]
    return [{"input_ids": row, "labels": row} for row in rows]


def arguments(kind: type, folder: Path, options: dict[str, Any]) -> Any:
    said: dict[str, Any] = {
        "output_dir": str(folder / "out"), "use_cpu": True, "report_to": [], "max_steps": 12, "learning_rate": 7e-3,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": options.get("accumulation", 1),
        "logging_steps": 1, "save_strategy": "steps", "save_steps": 5, "disable_tqdm": True, "seed": 1,
        "dataloader_pin_memory": False, "dataloader_num_workers": 0,
    }  # fmt: skip
    said.update(options.get("arguments", {}))
    if options.get("deepspeed") is not None:
        said["deepspeed"] = {
            "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
            "zero_optimization": {"stage": options["deepspeed"]}, "zero_force_ds_cpu_optimizer": False,
            **options.get("deepspeed_config", {}),
        }  # fmt: skip
    return kind(**said)


def trainer_of(folder: Path, options: dict[str, Any]) -> Any:
    from transformers import Trainer, TrainingArguments

    args = arguments(TrainingArguments, folder, options)
    return Trainer(model=tiny_llama(), args=args, train_dataset=sequences(64))  # pyright: ignore[reportArgumentType]


def sft_of(folder: Path, options: dict[str, Any]) -> Any:
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    words = ["<pad>", "<s>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )
    data = Dataset.from_list([{"text": "a b c d e f"}, {"text": "g h i j k"}] * 32)
    args = arguments(SFTConfig, folder, options)
    return SFTTrainer(model=tiny_llama(), args=args, train_dataset=data, processing_class=tokenizer)


def trainer(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Transformers' Trainer or TRL's SFT trainer."""
    from transformers import TrainerCallback

    from huohou.adapters import transformers as huohou_trainer

    made = (sft_of if options.get("sft") else trainer_of)(folder, options)
    attached = huohou_trainer.attach(made, PLAN, guard=options.get("guard", "warn"))

    class Meddling(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **words: Any) -> None:
            if options.get("misuse") == "twice":
                words["lr_scheduler"].step()
            if options.get("misuse") == "second":
                for group in words["optimizer"].param_groups:
                    group["lr"] = 0.5 / state.global_step

    made.add_callback(Meddling())
    seen = Seen()
    made.train(resume_from_checkpoint=str(folder.parent / options["resume"]) if options.get("resume") else None)
    guard = attached.guard
    guard.write(folder / "applied.jsonl")
    logged = [row["learning_rate"] for row in made.state.log_history if "learning_rate" in row]
    return {**told(guard), "seen": seen.stop(), "logged": logged}


def loop(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """A loop with Accelerate."""
    from accelerate import Accelerator
    from torch.utils.data import DataLoader, TensorDataset

    from huohou.adapters import accelerate as huohou_accelerate
    from huohou.adapters import torch as huohou_torch

    accumulation = options.get("accumulation", 1)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    torch.manual_seed(0)
    model: Any = torch.nn.Linear(4, 2)
    optimizer: Any = torch.optim.AdamW(model.parameters(), lr=1.0)
    loader: Any = DataLoader(TensorDataset(torch.randn(8 * 12 * accumulation, 4)), batch_size=2)
    how = {"guard": options.get("guard", "warn")}
    if options.get("plain"):
        scheduler: Any = huohou_torch.scheduler(optimizer, PLAN, **how)
    else:
        scheduler = huohou_accelerate.scheduler(optimizer, PLAN, **how)
    guard = scheduler.guard
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    if options.get("prepared", True):
        scheduler = accelerator.prepare(scheduler)
    seen = Seen()
    for _ in range(2):
        for (rows,) in loader:
            with accelerator.accumulate(model):
                accelerator.backward(model(rows).square().mean())
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            if guard.done == 12:
                break
        if guard.done == 12:
            break
    return {**told(guard), "seen": seen.stop()}


def engine(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """DeepSpeed's own interface."""
    import deepspeed

    from huohou.adapters import deepspeed as huohou_deepspeed

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    # DeepSpeed knows overflow on a CPU for bfloat16 alone.
    overflow = options.get("overflow", 0)
    dtype = torch.bfloat16 if overflow else torch.float32
    config = {
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": options.get("accumulation", 1),
        "zero_optimization": {"stage": options.get("stage", 2)},
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
        **({"bf16": {"enabled": True, "check_grad_overflow": True}} if overflow else {}),
    }
    groups = [{"params": [p]} for p in model.parameters()] if options.get("groups") else model.parameters()
    client: Any = huohou_deepspeed.scheduler(PLAN, guard=options.get("guard", "warn"))
    engine, _, _, scheduler = deepspeed.initialize(
        model=model, optimizer=torch.optim.AdamW(groups, lr=1.0), config=config, lr_scheduler=client
    )
    assert scheduler is client.scheduler
    seen = Seen()
    while client.guard.done < 12:
        for _ in range(options.get("accumulation", 1)):
            spoilt = float("inf") if engine.skipped_steps < overflow else 1.0
            engine.backward((engine(torch.randn(2, 4, dtype=dtype)).float() * spoilt).square().mean())
            engine.step()
            if options.get("misuse") == "twice":
                scheduler.step()
    return {**told(client.guard), "seen": seen.stop(), "skipped": engine.skipped_steps}


def told(guard: Any) -> dict[str, Any]:
    return {
        "applied": [row["rate"] for row in guard.applied],
        "updates": [row["update"] for row in guard.applied],
        "said": [text.en for text in guard.said],
        "proof": guard.proof.en,
        "skips": guard.skips,
    }


KINDS = {"trainer": trainer, "loop": loop, "engine": engine}


def main(folder: Path, runs: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for options in runs:
        place = folder / options["name"]
        place.mkdir(exist_ok=True)
        try:
            found = KINDS[options["kind"]](place, options)
        except RunFailed as error:
            found = {"error": str(error)}
        (place / f"rank{os.environ.get('RANK', '0')}.json").write_text(json.dumps(found), encoding="utf-8")
        if options["kind"] != "engine":
            from accelerate.state import AcceleratorState, GradientState

            AcceleratorState._reset_state(reset_partial_state=options.get("deepspeed") is not None)
            GradientState._reset_state()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
