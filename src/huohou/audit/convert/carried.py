"""Which of a source's settings our run file has a key for, and what remains.

The names that many share are the run file's own aliases; what a framework calls otherwise is in the table here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading
from huohou.audit.values import Settings, Value, as_number
from huohou.errors import UserError

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """A value for a key of our run file, and the setting of the source that holds it (``None``: a default of its)."""

    path: Key
    value: Any
    key: str
    written: Value | None


_OWN: Mapping[str, Mapping[str, Key]] = {
    "axolotl": {
        "sequence_len": ("data", "sequence_length"),
        "num_epochs": ("train", "epochs"),
        "val_set_size": ("data", "validation"),
        "optimizer": ("optimizer", "name"),
        "lora_model_dir": ("lora", "adapters"),
        "peft_use_rslora": ("lora", "rslora"),
        "peft_use_dora": ("lora", "dora"),
        "tokenizer_config": ("tokenizer", "path"),
        "revision_of_model": ("model", "revision"),
    },
    "llamafactory": {"val_size": ("data", "validation"), "pissa_init": ()},
    "megatron": {
        "num_layers": ("model", "num_hidden_layers"),
        "ffn_hidden_size": ("model", "intermediate_size"),
        "num_query_groups": ("model", "num_key_value_heads"),
        "rotary_base": ("model", "rope_theta"),
        "norm_epsilon": ("model", "rms_norm_eps"),
        "init_method_std": ("model", "initializer_range"),
        "adam_eps": ("optimizer", "eps"),
        "save_interval": ("checkpoint", "every"),
        "eval_interval": ("train", "evaluate_every"),
        "log_interval": ("train", "print_every"),
    },
    "torchtitan": {
        "training.seq_len": ("data", "sequence_length"),
        "training.local_batch_size": ("batch", "micro_batch"),
        "training.batch_size": ("batch", "micro_batch"),
        "training.global_batch_size": ("batch", "size"),
        "training.max_norm": ("optimizer", "max_grad_norm"),
        "training.seed": ("seed",),
        "training.compile": ("train", "compile"),
        "optimizer.eps": ("optimizer", "eps"),
        "optimizer.weight_decay": ("optimizer", "weight_decay"),
        "checkpoint.interval": ("checkpoint", "every"),
        "checkpoint.keep_latest_k": ("checkpoint", "keep"),
        "metrics.log_freq": ("train", "print_every"),
    },
    "torchtune": {
        "batch_size": ("batch", "micro_batch"),
        "tokenizer.max_seq_len": ("data", "sequence_length"),
        "model.lora_rank": ("lora", "rank"),
        "model.lora_alpha": ("lora", "alpha"),
        "model.lora_dropout": ("lora", "dropout"),
        "optimizer.weight_decay": ("optimizer", "weight_decay"),
        "clip_grad_norm": ("optimizer", "max_grad_norm"),
        "dtype": ("train", "dtype"),
        "compile": ("train", "compile"),
        "enable_activation_checkpointing": ("train", "recompute"),
        "checkpointer.checkpoint_dir": ("model", "path"),
    },
    "litgpt": {
        "train.global_batch_size": ("batch", "size"),
        "train.micro_batch_size": ("batch", "micro_batch"),
        "train.max_seq_length": ("data", "sequence_length"),
        "train.max_norm": ("optimizer", "max_grad_norm"),
        "train.save_interval": ("checkpoint", "every"),
        "train.log_interval": ("train", "print_every"),
        "eval.interval": ("train", "evaluate_every"),
        "optimizer.init_args.weight_decay": ("optimizer", "weight_decay"),
        "checkpoint_dir": ("model", "path"),
        "lora_dropout": ("lora", "dropout"),
        "devices": ("batch", "gpus"),
    },
    "nanogpt": {
        "batch_size": ("batch", "micro_batch"),
        "n_layer": ("model", "num_hidden_layers"),
        "n_head": ("model", "num_attention_heads"),
        "n_embd": ("model", "hidden_size"),
        "compile": ("train", "compile"),
        "eval_interval": ("train", "evaluate_every"),
        "log_interval": ("train", "print_every"),
    },
    "deepspeed": {
        "train_batch_size": ("batch", "size"),
        "train_micro_batch_size_per_gpu": ("batch", "micro_batch"),
        "gradient_clipping": ("optimizer", "max_grad_norm"),
        "optimizer.params.weight_decay": ("optimizer", "weight_decay"),
        "optimizer.params.eps": ("optimizer", "eps"),
        "optimizer.params.betas": ("optimizer", "betas"),
        "zero_optimization.stage": ("train", "zero_stage"),
        "bf16.enabled": ("bf16",),
        "fp16.enabled": ("fp16",),
    },
    "deepspeed-chat": {
        "data_path": ("data", "train"),
        "lora_dim": ("lora", "rank"),
        "zero_stage": ("train", "zero_stage"),
        "offload": ("train", "offload"),
    },
    "ms-swift": {
        "model": ("model", "path"),
        "model_id_or_path": ("model", "path"),
        "split_dataset_ratio": ("data", "validation"),
        "target_modules": ("lora", "targets"),
    },
    "openrlhf": {
        "pretrain": ("model", "path"),
        "train_batch_size": ("batch", "size"),
        "micro_train_batch_size": ("batch", "micro_batch"),
        "max_len": ("data", "sequence_length"),
        "max_norm": ("optimizer", "max_grad_norm"),
        "l2": ("optimizer", "weight_decay"),
        "target_modules": ("lora", "targets"),
        "zero_stage": ("train", "zero_stage"),
        "input_template": (),
    },
    "transformers": {"model": ("model", "path"), "data_seed": ()},
}  # fmt: skip
"""What frameworks call otherwise. An empty path: the run file has no such key, whatever its alias says."""

_DECIDED = frozenset({"schedule", "updates"})
_PEFT = {"r": ("lora", "rank"), "lora_alpha": ("lora", "alpha"), "lora_dropout": ("lora", "dropout"),
         "target_modules": ("lora", "targets"), "modules_to_save": ("lora", "save"), "use_rslora": ("lora", "rslora"),
         "use_dora": ("lora", "dora")}  # fmt: skip


def carried(reading: Reading, given: Given) -> tuple[list[Carried], list[str]]:
    """What goes into our run file, and the keys of the source that neither do nor decided its schedule."""
    found: dict[Key, Carried] = {}
    left: list[str] = []
    for key, value in reading.settings.values.items():
        taken = list(_of_key(reading.dialect, key, value))
        for each in taken:
            found.setdefault(each.path, each)
        if not taken and key not in reading.settings.asked and value.value not in (None, False, "", "none", {}):
            left.append(key)
    for each in _of_python(reading):
        found.setdefault(each.path, each)
    _processes(found, reading, given)
    _plain(found, reading, given)
    used = {each.key for each in found.values()}
    return list(found.values()), [key for key in left if key not in used]


def _processes(found: dict[Key, Carried], reading: Reading, given: Given) -> None:
    path = ("batch", "gpus")
    if given.gpus:
        found[path] = Carried(path, given.gpus, "--gpus", None)
        return
    for key in ("nproc_per_node", "num_gpus", "num_processes"):
        written = reading.settings.values.get(key)
        # What follows the flag is the script, which a command line cannot tell from a second value.
        value: Any = None if written is None else written.value
        many = as_number(cast("list[Any]", value)[0] if isinstance(value, list) and value else value)
        if many and many == int(many):
            found[path] = Carried(path, int(many), key, written)
            return


def _of_key(dialect: str, key: str, value: Value) -> Iterator[Carried]:
    from huohou.config.aliases import ALIASES
    from huohou.config.kinds import Wrong

    if not value.known or value.value is None or value.value == "auto":
        return
    own = _OWN.get(dialect, {})
    name = key.lstrip("-").replace("-", "_")
    if name in own:
        path = own[name]
    elif name in ("seed",):
        path = ("seed",)
    elif name in ALIASES:
        path = tuple(map(str, ALIASES[name].path))
    else:
        return
    if path and path[0] not in _DECIDED and path != ("train", "updates"):
        converts = ALIASES[name].converts if name in ALIASES and name not in own else None
        plain = value.value
        if converts is not None:
            try:
                plain = converts(_number(plain))
            except (Wrong, UserError, TypeError, ValueError):
                return  # It is listed among what is not carried.
        if plain is not None:
            yield Carried(path, _number(plain), key, value)


def _number(value: Any) -> Any:
    """Text that is a number, as a command line has it, as one."""
    if isinstance(value, str):
        number = as_number(value)
        if number is not None:
            return number
        return {"true": True, "false": False}.get(value.lower(), value)
    return value


def _of_python(reading: Reading) -> Iterator[Carried]:
    """What other calls of the same file say: the adapters, and the model that is loaded."""
    document = reading.facts.get("document")
    module = document.module if isinstance(document, Document) else None
    if module is None:
        return
    for call in module.calls:
        if call.last_name == "LoraConfig":
            for key, path in _PEFT.items():
                value = call.settings.values.get(key)
                if value is not None and value.known and value.value is not None:
                    yield Carried(path, value.value, f"LoraConfig.{key}", value)
        elif call.last_name == "load_dataset":
            value = call.settings.values.get("data_files")
            if value is not None and value.known and (names := _names(value.value)):
                yield Carried(("data", "train"), names, "load_dataset", value)
        elif call.last_name == "from_pretrained" and "Model" in call.name and call.positional:
            value = call.positional[0]
            if value.known and isinstance(value.value, str):
                yield Carried(("model", "path"), value.value, call.name, value)


def _plain(found: dict[Key, Carried], reading: Reading, given: Given) -> None:
    """Put in order what several keys say together."""
    betas = [found.pop(("optimizer", "betas", place), None) for place in ("0", "1")]
    usual = (0.9, 0.999)
    if any(betas):
        value = [usual[place] if each is None else each.value for place, each in enumerate(betas)]
        first = next(each for each in betas if each is not None)
        found[("optimizer", "betas")] = Carried(("optimizer", "betas"), value, first.key, first.written)
    for key, dtype in (("bf16", "bfloat16"), ("fp16", "float16")):
        each = found.pop((key,), None)
        if each is not None and each.value is True:
            found[("train", "dtype")] = Carried(("train", "dtype"), dtype, each.key, each.written)
    if given.accumulation is not None:
        path = ("batch", "accumulation")
        found[path] = Carried(path, given.accumulation, "--accumulation", None)
    _shares(found)
    if found.get(("lora", "rank")) is not None and found[("lora", "rank")].value == 0:
        for path in [path for path in found if path[0] == "lora"]:
            del found[path]
    if reading.settings.text("finetuning_type", "adapter", "tuner_type", "train_type") in ("full", "freeze"):
        for path in [path for path in found if path[0] == "lora"]:
            del found[path]
    elif reading.settings.text("adapter") in ("lora", "qlora") or reading.settings.text("train_type") == "lora":
        found.setdefault(("lora",), Carried(("lora",), {}, "adapter", None))
    if ("train", "zero_stage") in found:
        found.setdefault(("train", "engine"), Carried(("train", "engine"), "deepspeed", "zero_stage", None))
    _files(found, reading)
    _folders(found)
    if reading.facts.get("family") == "transformers" and reading.dialect in ("transformers", "llamafactory"):
        for path, value in ((("optimizer", "betas"), [0.9, 0.999]), (("optimizer", "weight_decay"), 0.0)):
            found.setdefault(path, Carried(path, value, "", None))


def _shares(found: dict[Key, Carried]) -> None:
    """Where the model itself is divided, not every process has a share of the batch: then only the batch is said."""
    size, gpus = found.get(("batch", "size")), found.get(("batch", "gpus"))
    micro = found.get(("batch", "micro_batch"))
    if size is None or gpus is None or not isinstance(size.value, int):
        return
    least = micro.value if micro is not None and isinstance(micro.value, int) else 1
    if size.value % gpus.value or size.value // gpus.value < least:
        del found[("batch", "gpus")]


def _files(found: dict[Key, Carried], reading: Reading) -> None:
    """The data: files stay files; LLaMA-Factory's names stay names; what a hub would have to be asked for is left."""
    train, named = found.get(("data", "train")), found.pop(("data", "dataset"), None)
    settings: Settings = reading.settings
    folder = settings.find("dataset_dir")
    if named is not None:
        names = _names(named.value)
        if reading.dialect == "llamafactory" and names:
            where = f"{settings.text('dataset_dir') or 'data'}/dataset_info.json"
            found[("data", "dataset")] = Carried(("data", "dataset"), names, named.key, named.written)
            found[("data", "dataset_info")] = Carried(("data", "dataset_info"), where, "dataset_dir", folder)
        elif names and all(_is_file(name) for name in names):
            found[("data", "train")] = Carried(("data", "train"), names, named.key, named.written)
    elif train is None and (paths := _paths(settings.values.get("datasets"))):
        found[("data", "train")] = Carried(("data", "train"), paths, "datasets", settings.values["datasets"])
    elif train is not None:
        found[("data", "train")] = Carried(("data", "train"), _names(train.value), train.key, train.written)
    elif folder is not None and isinstance(folder.value, str):
        # Chinese-LLaMA-Alpaca reads every file of a folder.
        found[("data", "train")] = Carried(("data", "train"), folder.value, "dataset_dir", folder)


def _folders(found: dict[Key, Carried]) -> None:
    """A tokenizer that is a folder of another machine would be refused; the model's own takes its place."""
    each = found.get(("tokenizer", "path"))
    if each is not None and (not isinstance(each.value, str) or is_elsewhere(each.value)):
        del found[("tokenizer", "path")]


def is_elsewhere(path: str) -> bool:
    """Whether a path is written like a folder (and not like a hub's name) and is not on this machine."""
    local = path.startswith((".", "/", "~", "\\")) or path.count("/") > 1
    return local and not Path(path).expanduser().exists()


def _paths(value: Value | None) -> list[str]:
    """axolotl's list of data, where all of it are files."""
    plain: Any = None if value is None else value.value
    members = cast("list[Any]", plain) if isinstance(plain, list) else []
    paths = [str(cast("dict[str, Any]", each).get("path")) for each in members if isinstance(each, dict)]
    return paths if len(paths) == len(members) and all(map(_is_file, paths)) else []


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    members = cast("list[Any]", value) if isinstance(value, list) else []
    return [str(member) for member in members if isinstance(member, str)]


def _is_file(name: str) -> bool:
    return name.lower().endswith((".json", ".jsonl", ".txt", ".csv", ".parquet", ".gz", ".zst"))
