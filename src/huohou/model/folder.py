"""A model on disk, as Hugging Face lays it out: ``config.json``, safetensors, tokenizer, ``generation_config.json``.

What is written here ``AutoModelForCausalLM.from_pretrained`` loads with equal logits, and a LLaMA that transformers
wrote loads here. Tensors are only ever read from safetensors: other files of weights are pickles, which can run code.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from huohou.errors import UserError
from huohou.model.config import ModelConfig
from huohou.model.foreign import Foreign, without_bars
from huohou.model.initialise import empty
from huohou.model.llama import Llama
from huohou.model.rows import joined_tensors
from huohou.model.trust import check_config
from huohou.model.weights import INDEX, WEIGHTS, Weights, read_json
from huohou.records import write_json

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"

SHARD_BYTES = 5_000_000_000
"""Weights above this size are written as several files."""

# What a folder may hold that is replaced as a whole: a model's files and its tokenizer's.
_OURS = re.compile(
    r"(generation_)?config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
    r"|(tokenizer|special_tokens|added_tokens|vocab|chat_template|huohou).*\.(json|model|jinja)|merges\.txt"
)
# Old LLaMA files carry the rotary frequencies, which follow from the config.
_DERIVED = re.compile(r".*\.rotary_emb\.inv_freq")


class SavesItself(Protocol):
    """What a tokenizer must be able to do to be written beside a model."""

    def save(self, folder: Path, /) -> object:
        """Write the tokenizer's files into an existing folder."""
        ...


def write_model(
    model: Llama | Foreign,
    folder: Path,
    tokenizer: SavesItself | None = None,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a model as a Hugging Face folder; nobody ever meets half of one.

    Everything is written and flushed beside the folder and then takes its place; an earlier model there is moved
    aside first and removed last. ``dtype`` is the type of the stored weights (by default as they are). A folder that
    holds anything but a model is refused with ``UserError``.
    """
    with replacing(folder) as new:
        _write(model, new, tokenizer, dtype, shard_bytes)


@contextmanager
def replacing(folder: Path) -> Generator[Path]:
    """A new folder that is flushed and takes the place of ``folder`` when all went well; else nothing has changed."""
    _refuse_to_replace(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    new, old = (folder.with_name(f".{folder.name}.{mark}.{what}") for what in ("new", "old"))
    new.mkdir()
    try:
        yield new
        for path in new.iterdir():
            _flush(path)
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(new, folder)
        except BaseException:
            if old.exists():
                os.replace(old, folder)
            raise
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def read_model(folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = torch.float32) -> Llama:
    """The LLaMA in a Hugging Face folder, as ``dtype`` (``None``: as it is stored).

    Names, shapes and types are compared with the config's before anything is made; then tensors are read one by one,
    so that memory holds one copy. On the device ``meta`` nothing is read: :func:`fill_decoder` does it later.

    Raises ``UserError``, naming the file and the tensor, where there is no folder, the config is not one that this
    decoder computes, weights are missing, left over, misshapen or damaged, or are not safetensors.
    """
    path = folder / CONFIG
    values = read_json(path)
    check_config(values, path)
    return read_decoder(folder, ModelConfig.from_huggingface(values, str(path)), Weights(folder), device, dtype)


def read_decoder(
    folder: Path, config: ModelConfig, weights: Weights, device: torch.device | str, dtype: torch.dtype | None
) -> Llama:
    """What :func:`read_model` reads, of a config and weights that are open already."""
    stored = dtype or (weights.dtype(EMBEDDING) if EMBEDDING in weights else torch.float32)
    _check(weights, config)
    model = empty(config, device, stored)
    model.suppressed = suppressed_ids(folder, config.vocab_size)
    if torch.device(device).type != "meta":
        fill_decoder(model, weights)
    return model


@torch.no_grad()
def fill_decoder(model: Llama, weights: Weights, names: Collection[str] | None = None) -> None:
    """Put tensors into a decoder that has not grown: ``names`` of its parameters, or all of them."""
    parameters = {name: p for name, p in model.named_parameters() if names is None or name in names}
    if model.config.tie_word_embeddings and HEAD in weights and names is None:
        _check_tied(weights)
    for name, tensor in weights.read(parameters):
        parameters[name].copy_(tensor)


# Writing


def _write(
    model: Llama | Foreign, folder: Path, tokenizer: SavesItself | None, dtype: torch.dtype | None, shard_bytes: int
) -> None:
    tensors = {
        name: tensor.to(device="cpu", dtype=dtype or tensor.dtype).contiguous()
        for name, tensor in joined_tensors(model).items()
    }
    if isinstance(model, Foreign):
        _write_foreign(model, folder, tensors, shard_bytes)
    else:
        _write_own(model, folder, tensors, shard_bytes)
    for file in folder.glob("*.safetensors"):
        # safetensors leaves its files to their owner alone; a model is passed around like any other file.
        shutil.copymode(folder / CONFIG, file)
    if tokenizer is not None:
        tokenizer.save(folder)


def _write_own(model: Llama, folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int) -> None:
    type_name = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    config = model.config.to_huggingface(type_name)
    write_json(folder / CONFIG, config)
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
    generation = {key: config[key] for key in tokens if config[key] is not None}
    if model.suppressed:
        generation["suppress_tokens"] = list(model.suppressed)
    write_json(folder / GENERATION_CONFIG, generation)
    shards = _shards(tensors, shard_bytes)
    if len(shards) == 1:
        save_file(dict(tensors), folder / WEIGHTS, metadata={"format": "pt"})
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def _write_foreign(model: Foreign, folder: Path, tensors: dict[str, Tensor], shard_bytes: int) -> None:
    """By transformers, which may keep tensors in memory under other names and in other pieces than in files."""
    with without_bars():
        model.base.save_pretrained(folder, state_dict=tensors, max_shard_size=shard_bytes)
    # transformers writes the type of the model in memory there.
    type_name = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    write_json(folder / CONFIG, {**read_json(folder / CONFIG), "dtype": type_name, "torch_dtype": type_name})
    path = folder / GENERATION_CONFIG
    generation = dict(read_json(path)) if path.is_file() else {}
    generation.pop("suppress_tokens", None)
    if model.suppressed:
        generation["suppress_tokens"] = list(model.suppressed)
    write_json(path, generation)


def _shards(tensors: Mapping[str, Tensor], shard_bytes: int) -> list[dict[str, Tensor]]:
    """The tensors in order, parted so that no part is larger than asked unless a single tensor is."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _flush(path: Path) -> None:
    if path.is_file():
        # Windows only flushes what is open for writing.
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def _refuse_to_replace(folder: Path) -> None:
    """An old model may be replaced; a folder that holds something of somebody's may not."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(
            f"{folder} is a file; the model needs a folder of its own.", f"{folder} 是一个文件；模型需要自己的文件夹。"
        )
    foreign = sorted(path.name for path in folder.iterdir() if not (path.is_file() and _OURS.fullmatch(path.name)))
    if foreign:
        raise UserError(
            f"{folder} holds {foreign[0]!r}, which is no part of a model, so it is not replaced; choose another folder "
            "or move that away.",
            f"{folder} 中有 {foreign[0]!r}，它不属于模型，因此不会被替换；请换一个文件夹，或把它移走。",
        )


# Reading


def _check(weights: Weights, config: ModelConfig) -> None:
    """Whether the files hold what the config says, by their headers alone."""
    # A layer takes time to make even where it takes no memory, and anybody can write a number into a file.
    layers = min(config.num_hidden_layers, len(weights.entries) + 1)
    with torch.device("meta"):
        wanted = dict(Llama(replace(config, num_hidden_layers=layers)).named_parameters())
    _check_names(set(weights.names()), set(wanted), weights.path, config)
    for name, parameter in wanted.items():
        entry = weights.entries[name]
        if entry.shape != tuple(parameter.shape) or not entry.dtype.is_floating_point:
            have, want = f"{entry.dtype} {list(entry.shape)}", list(parameter.shape)
            raise UserError(
                f"{entry.file}: {name} is {have}; by config.json it has the shape {want}.",
                f"{entry.file}：{name} 是 {have}；按 config.json 其形状应为 {want}。",
            )


def suppressed_ids(folder: Path, rows: int) -> tuple[int, ...]:
    """The ids that the folder's settings of generation keep from being generated."""
    if not (folder / GENERATION_CONFIG).is_file():
        return ()
    ids = read_json(folder / GENERATION_CONFIG).get("suppress_tokens")
    if not isinstance(ids, list):
        return ()
    return tuple(i for i in ids if isinstance(i, int) and not isinstance(i, bool) and 0 <= i < rows)


def _check_names(found: set[str], wanted: set[str], folder: Path, config: ModelConfig) -> None:
    missing = sorted(wanted - found)
    if missing:
        raise UserError(
            f"{folder} lacks {_some(missing)}, which a model of {config.num_hidden_layers} layers has (config.json).",
            f"{folder} 缺少 {_some(missing)}；按 config.json，{config.num_hidden_layers} 层的模型应当有。",
        )
    tied = {HEAD} if config.tie_word_embeddings else set()
    left_over = sorted(name for name in found - wanted - tied if not _DERIVED.fullmatch(name))
    if left_over:
        raise UserError(
            f"{folder} holds {_some(left_over)}, which a model of {config.num_hidden_layers} layers does not have "
            "(config.json).",
            f"{folder} 含有 {_some(left_over)}；按 config.json，{config.num_hidden_layers} 层的模型不应当有。",
        )


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} (+{len(names) - 1})"


def _check_tied(weights: Weights) -> None:
    if not torch.equal(weights.get(HEAD), weights.get(EMBEDDING)):
        file = weights.entries[HEAD].file
        raise UserError(
            f"{file}: {HEAD} differs from {EMBEDDING}, but config.json says they are one (tie_word_embeddings).",
            f"{file}：{HEAD} 与 {EMBEDDING} 不同，但 config.json 说它们是同一个（tie_word_embeddings）。",
        )
