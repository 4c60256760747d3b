"""Weights in safetensors files: what they say they hold is checked before anything of that size is made.

The safetensors library finds most of this when it opens a file. It is looked at here so that a person is told which
file and tensor it is, and so that shapes are compared with the model's before either takes memory.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from huohou.errors import UserError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library. A model of a million tensors stays below it."""

TYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies, and what it is."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]


class Weights:
    """All tensors of a folder's (or one file's) safetensors, by name; a tensor is read when it is asked for.

    Raises ``UserError`` for a folder without such files and for files whose headers are not what they should be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = [path] if path.is_file() else weight_files(path)
        self.entries: dict[str, Entry] = {}
        for file in self.files:
            for name, entry in read_header(file).items():
                if name in self.entries:
                    other = self.entries[name].file.name
                    raise damaged(file, f"{name} is in {other} too", f"{name} 也在 {other} 中")
                self.entries[name] = entry

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def names(self) -> list[str]:
        """The names in the order of the files."""
        return list(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return self.entries[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """The type of a tensor, without reading it."""
        return self.entries[name].dtype

    def get(self, name: str) -> Tensor:
        """One tensor, on the CPU."""
        return next(self.read([name]))[1]

    def read(self, names: Iterable[str] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Tensors by name (default: all), file by file; each is read as it is asked for."""
        wanted = set(self.entries if names is None else names)
        for file in self.files:
            here = [name for name in wanted if self.entries[name].file == file]
            if not here:
                continue
            try:
                with safe_open(file, framework="pt") as content:
                    for name in sorted(here, key=list(self.entries).index):
                        yield name, content.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise damaged(file, str(error), str(error)) from None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, each of which lies in it."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        places = read_json(folder / INDEX).get("weight_map")
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


def read_json(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file of a model folder."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            value = json.load(file)
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} is no Hugging Face model folder: there is no {path.name} in it.",
            f"{path.parent} 不是 Hugging Face 模型文件夹：其中没有 {path.name}。",
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.", f"{path} 不能作为 JSON 读取：{error}。") from None
    if not isinstance(value, Mapping):
        raise UserError(f"{path} must hold a JSON object.", f"{path} 的内容应为一个 JSON 对象。")
    return value


def read_header(file: Path) -> dict[str, Entry]:
    """What a safetensors file says it holds, every statement checked against the others and the file's size."""
    try:
        size = file.stat().st_size
        with open(file, "rb") as content:
            length = int.from_bytes(content.read(8), "little")
            if size < 8 or length > min(LARGEST_HEADER, size - 8):
                raise damaged(
                    file,
                    f"its header says it has {length} bytes, of {max(size - 8, 0)} that there are and "
                    f"{LARGEST_HEADER} that it may have",
                    f"文件头声明有 {length} 字节，而文件里只有 {max(size - 8, 0)} 字节，上限为 {LARGEST_HEADER} 字节",
                )
            header = json.loads(content.read(length).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"its header is no JSON ({error})", f"文件头不是 JSON（{error}）") from None
    except OSError as error:
        raise damaged(file, str(error), str(error)) from None
    if not isinstance(header, dict):
        raise damaged(file, "its header is no JSON object", "文件头不是 JSON 对象")
    header.pop("__metadata__", None)
    entries: dict[str, Entry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, value in header.items():
        entry, begin, end = _entry(file, name, value)
        entries[name] = entry
        spans.append((begin, end, name))
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            raise damaged(
                file,
                f"{name} begins at byte {begin} where {place} is next, so tensors overlap or leave a hole",
                f"{name} 从第 {begin} 字节开始，而应从第 {place} 字节开始，张量重叠或留有空洞",
            )
        place = end
    if place != size - 8 - length:
        raise damaged(
            file,
            f"its tensors take {place} bytes and {size - 8 - length} are there",
            f"张量共占 {place} 字节，而文件里有 {size - 8 - length} 字节",
        )
    return entries


def _entry(file: Path, name: str, value: object) -> tuple[Entry, int, int]:
    """A tensor's statement about itself, and its bytes [begin, end)."""
    if isinstance(value, dict):
        dtype, shape, offsets = str(value.get("dtype")), value.get("shape"), value.get("data_offsets")
        if _whole_numbers(shape) and _whole_numbers(offsets) and len(offsets) == 2:
            begin, end = offsets
            if dtype not in TYPES:
                raise damaged(file, f"{name} has the unknown type {dtype!r}", f"{name} 的类型 {dtype!r} 未知")
            if math.prod(shape) * TYPES[dtype].itemsize == end - begin:
                return Entry(file, TYPES[dtype], tuple(shape)), begin, end
            raise damaged(
                file,
                f"{name} is {dtype} {shape} but has {end - begin} bytes",
                f"{name} 是 {dtype} {shape}，却有 {end - begin} 字节",
            )
    raise damaged(file, f"the header's words about {name} are not understood", f"看不懂文件头中关于 {name} 的内容")


def _whole_numbers(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)


def damaged(file: Path, why: str, why_zh: str) -> UserError:
    """The sentence for a file of weights that is not one."""
    return UserError(
        f"{file} is not a whole safetensors file: {why}.", f"{file} 不是完整的 safetensors 文件：{why_zh}。"
    )
