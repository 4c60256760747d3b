"""A model on disk, as Hugging Face lays it out: ``config.json``, safetensors, tokenizer, ``generation_config.json``.

What is written here ``AutoModelForCausalLM.from_pretrained`` loads with equal logits, and a LLaMA that transformers
wrote loads here. Tensors are only ever read from safetensors: other files of weights are pickles, which can run code.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from huohou.errors import UserError
from huohou.model.config import ModelConfig
from huohou.model.initialise import empty
from huohou.model.llama import Llama
from huohou.records import write_json

CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
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
    model: Llama,
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
    _refuse_to_replace(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    new, old = (folder.with_name(f".{folder.name}.{mark}.{what}") for what in ("new", "old"))
    new.mkdir()
    try:
        _write(model, new, tokenizer, dtype, shard_bytes)
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

    Raises ``UserError``, naming the file and the tensor, where there is no folder, the config is not one that this
    decoder computes, weights are missing, left over, misshapen or damaged, or are not safetensors.
    """
    config = ModelConfig.from_huggingface(_read_json(folder / CONFIG), str(folder / CONFIG))
    files = _weight_files(folder)
    holders = {name: file for file in files for name in _names(file)}
    stored = dtype
    if stored is None:
        stored = _tensor(holders[EMBEDDING], EMBEDDING).dtype if EMBEDDING in holders else torch.float32
    model = empty(config, device, stored)
    wanted = dict(model.named_parameters())
    _check_names(set(holders), set(wanted), folder, config)
    for file in files:
        for name, tensor in _tensors(file):
            if name == HEAD and config.tie_word_embeddings:
                _check_tied(tensor, _tensor(holders[EMBEDDING], EMBEDDING), file)
            elif name in wanted:
                _fill(wanted[name], name, tensor, file)
    return model


# Writing


def _write(
    model: Llama, folder: Path, tokenizer: SavesItself | None, dtype: torch.dtype | None, shard_bytes: int
) -> None:
    tensors = {
        name: tensor.detach().to(device="cpu", dtype=dtype or tensor.dtype).contiguous()
        for name, tensor in model.named_parameters()
    }
    type_name = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    config = model.config.to_huggingface(type_name)
    write_json(folder / CONFIG, config)
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
    write_json(folder / GENERATION_CONFIG, {key: config[key] for key in tokens if config[key] is not None})
    shards = _shards(tensors, shard_bytes)
    if len(shards) == 1:
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    else:
        places: dict[str, str] = {}
        for number, shard in enumerate(shards, start=1):
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
            save_file(shard, folder / file, metadata={"format": "pt"})
            places |= dict.fromkeys(shard, file)
        total = sum(tensor.nbytes for tensor in tensors.values())
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})
    for file in folder.glob("*.safetensors"):
        # safetensors leaves its files to their owner alone; a model is passed around like any other file.
        shutil.copymode(folder / GENERATION_CONFIG, file)
    if tokenizer is not None:
        tokenizer.save(folder)


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


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            value = json.load(file)
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} is no Hugging Face model folder: there is no {path.name} in it.",
            f"{path.parent} 不是 Hugging Face 模型文件夹：其中没有 {path.name}。",
        ) from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.", f"{path} 不能作为 JSON 读取：{error}。") from None
    if not isinstance(value, Mapping):
        raise UserError(f"{path} must hold a JSON object.", f"{path} 的内容应为一个 JSON 对象。")
    return value


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, each of which lies in it."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        places = _read_json(folder / INDEX).get("weight_map")
        names = sorted(set(map(str, places.values()))) if isinstance(places, Mapping) else []
        if not names:
            raise UserError(f"{folder / INDEX} names no files of weights.", f"{folder / INDEX} 没有列出任何权重文件。")
        for name in names:
            if not re.fullmatch(r"[\w.-]+\.safetensors", name) or not (folder / name).is_file():
                raise UserError(
                    f"{folder / INDEX} names {name!r}; that is no safetensors file of this folder.",
                    f"{folder / INDEX} 中的 {name!r} 不是这个文件夹里的 safetensors 文件。",
                )
        return [folder / name for name in names]
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickles:
        convert = (
            'python -c "from transformers import AutoModelForCausalLM as M; '
            f"M.from_pretrained({str(folder)!r}).save_pretrained('converted')\""
        )
        raise UserError(
            f"{folder} holds its weights in {pickles[0]}, a pickle, which can run code and is not read; if you trust "
            f"it, convert it: {convert}",
            f"{folder} 的权重在 {pickles[0]} 中，这是 pickle 文件，可能执行代码，因此不读取；"
            f"如果信任它，请先转换：{convert}",
        )
    raise UserError(f"{folder} holds no {WEIGHTS}.", f"{folder} 中没有 {WEIGHTS}。")


def _damaged(file: Path, error: Exception) -> UserError:
    return UserError(
        f"{file} is not a whole safetensors file: {error}.", f"{file} 不是完整的 safetensors 文件：{error}。"
    )


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as content:
            return list(content.keys())
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from None


def _tensor(file: Path, name: str) -> Tensor:
    with safe_open(file, framework="pt") as content:
        return content.get_tensor(name)


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(file, framework="pt") as content:
        for name in content.keys():  # noqa: SIM118 (it is no mapping)
            yield name, content.get_tensor(name)


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


def _check_tied(head: Tensor, embedding: Tensor, file: Path) -> None:
    if not torch.equal(head, embedding):
        raise UserError(
            f"{file}: {HEAD} differs from {EMBEDDING}, but config.json says they are one (tie_word_embeddings).",
            f"{file}：{HEAD} 与 {EMBEDDING} 不同，但 config.json 说它们是同一个（tie_word_embeddings）。",
        )


@torch.no_grad()
def _fill(parameter: Tensor, name: str, tensor: Tensor, file: Path) -> None:
    if tensor.shape != parameter.shape or not tensor.is_floating_point():
        have, want = f"{tensor.dtype} {list(tensor.shape)}", list(parameter.shape)
        raise UserError(
            f"{file}: {name} is {have}; by config.json it has the shape {want}.",
            f"{file}：{name} 是 {have}；按 config.json 其形状应为 {want}。",
        )
    parameter.copy_(tensor)
