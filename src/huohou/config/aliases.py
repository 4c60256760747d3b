"""Other names of the run file's keys: what people of this field already type.

An alias may stand at the top of the file or in the section of the key that it means. One that says the same as that
key is accepted beside it; one that says something else is refused, naming both places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from huohou.config.kinds import Wrong
from huohou.config.values import LEVEL, NAMES, SWITCH, duration
from huohou.language import Text
from huohou.units import Level


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a key.

    Attributes:
        path: The key that it means; a number at the end is the member of a list.
        converts: What its value is under that key; ``None`` is as if it had not been written.
        note: What differs, in a few words.
    """

    path: tuple[str | int, ...]
    converts: Callable[[Any], Any] = lambda value: value
    note: Text | None = None


def _if_true(result: Any) -> Callable[[Any], Any]:
    return lambda value: result if SWITCH.read(value) else None


def _unless_negative(value: Any) -> Any:
    return None if isinstance(value, int | float) and value == -1 else value


def _share_of_peak(value: Any) -> Level:
    level = LEVEL.read(value)
    if level.number > 1:
        raise Wrong(
            "it must be a share of the peak between 0 and 1, such as 0.1", "应为占峰值的比例，在 0 与 1 之间，例如 0.1"
        )
    return Level(level.number)


def _finetuning(value: Any) -> Any:
    match value:
        case "lora":
            return {}
        case "full":
            return None
        case _:
            raise Wrong(
                "it must be lora or full; to freeze parts write groups, such as body: off",
                "应为 lora 或 full；要冻结某些部分请写 groups，例如 body: off",
            )


def _targets(value: Any) -> tuple[str, ...]:
    names = NAMES.read(value)
    return ("all",) if names == ("all-linear",) else names


def _kbits(value: Any) -> Any:
    return None if value in (16, 32, "16", "32") else value


def _schedule(*names: str, to: str, converts: Callable[[Any], Any] | None = None, note: Text | None = None) -> Any:
    alias = Alias(("schedule", to), converts or (lambda value: value), note)
    return dict.fromkeys(names, alias)


_RATE = Text("a share of the run: 0.1 is 10%, 1.0 is all of it", "占全程的比例：0.1 即 10%，1.0 即全程")
_STEPS = Text("a whole number of updates", "更新步数（整数）")
_DECAY = Text(
    "the Transformers' names are understood; the floor stays 10% of the peak unless one is written",
    "可用 Transformers 的名字；不写下限时仍为峰值的 10%",
)

ALIASES: Mapping[str, Alias] = MappingProxyType(
    {
        "run_name": Alias(("name",)),
        "output_dir": Alias(("output",)),
        # The warmup's names, as the field writes them.
        **_schedule("warmup", to="warmup"),
        **_schedule("warmup_rate", "warmup_ratio", to="warmup", converts=duration("rate").read, note=_RATE),
        **_schedule("num_warmup_steps", "warmup_steps", to="warmup", converts=duration("steps").read, note=_STEPS),
        # The rest of the schedule.
        **_schedule("learning_rate", "lr", "max_lr", to="peak"),
        **_schedule("lr_scheduler_type", "lr_decay_style", to="decay", note=_DECAY),
        **_schedule("min_lr", "lr_scheduler_kwargs.min_lr", to="floor"),
        **_schedule(
            "min_lr_ratio",
            "min_lr_rate",
            "lr_scheduler_kwargs.min_lr_rate",
            "lr_scheduler_kwargs.min_lr_ratio",
            to="floor",
            converts=_share_of_peak,
            note=Text("a share of the peak: 0.1 is 10%", "占峰值的比例：0.1 即 10%"),
        ),
        **_schedule(
            "num_decay_steps", "lr_scheduler_kwargs.num_decay_steps", to="decay_length", converts=duration("steps").read
        ),
        **_schedule("lr_scheduler_kwargs.num_cycles", "num_cycles", to="cycles"),
        **_schedule("lr_scheduler_kwargs.power", to="power"),
        **_schedule("lr_scheduler_kwargs.timescale", to="timescale"),
        # How long.
        "max_steps": Alias(("train", "updates"), _unless_negative, Text("-1 is as if absent", "-1 等于不写")),
        "train_iters": Alias(("train", "updates")),
        "num_train_epochs": Alias(("train", "epochs")),
        # The batch.
        "global_batch_size": Alias(("batch", "size")),
        "per_device_train_batch_size": Alias(("batch", "micro_batch")),
        "micro_batch_size": Alias(("batch", "micro_batch")),
        "gradient_accumulation_steps": Alias(("batch", "accumulation")),
        "world_size": Alias(("batch", "gpus")),
        # The data and the vocabulary.
        "train_file": Alias(("data", "train")),
        "train_files": Alias(("data", "train")),
        "dataset": Alias(("data", "dataset"), note=Text("names in data.dataset_info", "data.dataset_info 中的名字")),
        "validation_file": Alias(("data", "validation")),
        "text_column": Alias(("data", "text")),
        "dataset_text_field": Alias(("data", "text")),
        **dict.fromkeys(
            ("max_length", "max_seq_length", "max_seq_len", "seq_length", "cutoff_len", "block_size"),
            Alias(("data", "sequence_length")),
        ),
        "dataloader_drop_last": Alias(("data", "drop_last")),
        "tokenizer_name": Alias(("tokenizer", "path")),
        "tokenizer_name_or_path": Alias(("tokenizer", "path")),
        "vocab_size": Alias(("tokenizer", "vocab_size")),
        # The model, as its config.json has it.
        **{
            name: Alias(("model", name))
            for name in (
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
                "num_key_value_heads",
                "max_position_embeddings",
                "rope_theta",
                "rms_norm_eps",
                "tie_word_embeddings",
                "initializer_range",
            )
        },
        # The model that a run goes on from.
        "model_name_or_path": Alias(("model", "path")),
        "model_path": Alias(("model", "path")),
        "base_model": Alias(("model", "path")),
        "model_revision": Alias(("model", "revision")),
        "trust_remote_code": Alias(("model", "remote_code")),
        "use_modelscope_hub": Alias(
            ("model", "hub"), _if_true("modelscope"), Text("true is modelscope", "true 即 modelscope")
        ),
        "resize_vocab": Alias(("model", "grow"), _if_true("mean"), Text("true is mean", "true 即 mean")),
        "pad_to_multiple_of": Alias(("model", "pad_rows_to")),
        # Adapters, as LLaMA-Factory, PEFT and Chinese-LLaMA-Alpaca write them.
        "finetuning_type": Alias(("lora",), _finetuning, Text("lora, or full", "lora，或 full")),
        "lora_rank": Alias(("lora", "rank")),
        "lora_r": Alias(("lora", "rank")),
        "r": Alias(("lora", "rank")),
        "lora_alpha": Alias(("lora", "alpha")),
        "lora_dropout": Alias(("lora", "dropout")),
        **dict.fromkeys(
            ("lora_target", "trainable", "target_modules", "lora_target_modules"), Alias(("lora", "targets"), _targets)
        ),
        **dict.fromkeys(
            ("modules_to_save", "additional_target", "lora_modules_to_save"), Alias(("lora", "save"), NAMES.read)
        ),
        "use_rslora": Alias(("lora", "rslora")),
        "use_dora": Alias(("lora", "dora")),
        "loraplus_lr_ratio": Alias(("lora", "plus_ratio")),
        "quantization_bit": Alias(("lora", "bits")),
        "load_in_4bit": Alias(("lora", "bits"), _if_true(4), Text("true is 4", "true 即 4")),
        "load_in_kbits": Alias(("lora", "bits"), _kbits, Text("16 is off", "16 即 off")),
        "peft_path": Alias(("lora", "adapters")),
        "adapter_name_or_path": Alias(("lora", "adapters"), NAMES.read),
        # Dialogues.
        **{name: Alias(("data", name)) for name in ("template", "packing", "dataset_info")},
        "chat_template": Alias(("data", "template")),
        "default_system": Alias(("data", "system")),
        "mask_history": Alias(("data", "learn"), _if_true("last"), Text("true is last", "true 即 last")),
        "sample_packing": Alias(("data", "packing")),
        "neat_packing": Alias(("data", "packing")),
        # The optimizer.
        "optim": Alias(("optimizer", "name")),
        "weight_decay": Alias(("optimizer", "weight_decay")),
        "adam_beta1": Alias(("optimizer", "betas", 0)),
        "adam_beta2": Alias(("optimizer", "betas", 1)),
        "beta1": Alias(("optimizer", "betas", 0)),
        "beta2": Alias(("optimizer", "betas", 1)),
        "adam_epsilon": Alias(("optimizer", "eps")),
        "max_grad_norm": Alias(("optimizer", "max_grad_norm")),
        "grad_clip": Alias(("optimizer", "max_grad_norm")),
        "clip_grad": Alias(("optimizer", "max_grad_norm")),
        # How it is computed.
        "bf16": Alias(("train", "dtype"), _if_true("bfloat16"), Text("true is bfloat16", "true 即 bfloat16")),
        "fp16": Alias(("train", "dtype"), _if_true("float16"), Text("true is float16", "true 即 float16")),
        "torch_dtype": Alias(("train", "dtype")),
        "use_cpu": Alias(("train", "device"), _if_true("cpu"), Text("true is cpu", "true 即 cpu")),
        "no_cuda": Alias(("train", "device"), _if_true("cpu"), Text("true is cpu", "true 即 cpu")),
        "torch_compile": Alias(("train", "compile")),
        "gradient_checkpointing": Alias(("train", "recompute")),
        "ddp_timeout": Alias(("train", "timeout")),
        "full_determinism": Alias(("train", "deterministic")),
        # What is watched and kept.
        "eval_steps": Alias(("train", "evaluate_every")),
        "logging_steps": Alias(("train", "print_every")),
        "save_steps": Alias(("checkpoint", "every")),
        "save_total_limit": Alias(("checkpoint", "keep")),
        "load_best_model_at_end": Alias(("checkpoint", "keep_best")),
    }
)

NOT_HERE: Mapping[str, Text] = MappingProxyType(
    {
        "resume_from_checkpoint": Text(
            "a run is resumed from the command line: huohou train … --resume",
            "接着训练请用命令行：huohou train … --resume",
        ),
        "overwrite_output_dir": Text(
            "a run folder is never overwritten: choose another name, or resume it with --resume",
            "训练目录不会被覆盖：请换一个 name，或用 --resume 接着训练",
        ),
        "report_to": Text("metrics.jsonl is always written; delete the line", "metrics.jsonl 总会写出；请删去这一行"),
        "logging_dir": Text(
            "everything of a run is in its run folder; delete the line", "训练的一切都在训练目录里；请删去这一行"
        ),
        "save_strategy": Text("write checkpoint.every instead", "请改用 checkpoint.every"),
        "eval_strategy": Text("write train.evaluate_every instead", "请改用 train.evaluate_every"),
        "evaluation_strategy": Text("write train.evaluate_every instead", "请改用 train.evaluate_every"),
        "do_train": Text(
            "the command says it: huohou train; delete the line", "由命令 huohou train 决定；请删去这一行"
        ),
        "deepspeed": Text(
            "write train.engine: deepspeed and train.zero_stage instead; no JSON file is needed",
            "请改用 train.engine: deepspeed 和 train.zero_stage；不需要 JSON 文件",
        ),
        "fsdp": Text("write train.engine: fsdp2 instead", "请改用 train.engine: fsdp2"),
        "fsdp_config": Text("write train.engine: fsdp2 instead", "请改用 train.engine: fsdp2"),
        "dataset_dir": Text(
            "write data.train: FOLDER for the files of a folder, or data.dataset_info: FOLDER/dataset_info.json",
            "要读文件夹里的文件请写 data.train: 文件夹；要用数据集说明请写 data.dataset_info: 文件夹/dataset_info.json",
        ),
        "data_cache_dir": Text("write data.cache instead", "请改用 data.cache"),
        "load_in_8bit": Text(
            "the base weights are kept in 4 bits (lora.bits: 4) or whole", "基座权重以 4 比特（lora.bits: 4）或原样保存"
        ),
        "train_on_prompt": Text("answers alone are learned; delete the line", "只学习回答；请删去这一行"),
        "freeze_trainable_layers": Text("write groups.body: off, or lora", "请改用 groups.body: off，或 lora"),
    }
)
"""Keys that are well known elsewhere, and what takes their place."""
