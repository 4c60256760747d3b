"""Weights in pickles (``.pth``, ``.bin``), read in a process of their own that may only make tensors.

A pickle is a program. torch's restricted reader (``weights_only=True``) refuses whatever is not needed for tensors,
and there is no falling back to the other one. It runs in a child process, which writes what it found as safetensors,
so that even a hole in it does not reach this process's memory; this module is what the child runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import weakref
import zipfile
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

from huohou.errors import UserError

_DONE, _REFUSED, _BROKEN, _NO_TENSORS = 0, 3, 4, 5
# What training programs wrap the weights in.
_INSIDE = ("state_dict", "model", "model_state_dict", "module")


def unpickled(*files: Path) -> Any:
    """The tensors of pickles as a :class:`huohou.model.weights.Weights`; its files vanish with it.

    Raises ``UserError`` for a file that holds anything but tensors, by name of what it asked for; nothing in it is
    executed.
    """
    from huohou.model.weights import Weights

    folder = Path(tempfile.mkdtemp(prefix="huohou-"))
    try:
        for number, file in enumerate(files, start=1):
            convert(file, folder / f"model-{number:05}-of-{len(files):05}.safetensors")
        _index(folder)
        weights = Weights(folder)
    except BaseException:
        rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(weights, rmtree, str(folder), ignore_errors=True)
    return weights


def convert(file: Path, target: Path) -> None:
    """Write the tensors of a pickle as safetensors, from a child process."""
    _check_archive(file)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "huohou.model.pickled", str(file), str(target)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode == _DONE:
        return
    lines = done.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"exit status {done.returncode}"
    if done.returncode == _REFUSED:
        raise UserError(
            f"{file} is refused: it wants more than tensors ({reason}). Nothing in it was executed.",
            f"拒绝读取 {file}：它要求的不只是张量（{reason}）。其中没有任何内容被执行。",
        )
    if done.returncode == _NO_TENSORS:
        raise UserError(
            f"{file} is no table of named tensors ({reason}), so there are no weights in it to read.",
            f"{file} 不是由名字到张量的表（{reason}），其中没有可读取的权重。",
        )
    raise UserError(
        f"{file} cannot be read as weights of torch ({reason}).", f"{file} 不能作为 torch 的权重读取（{reason}）。"
    )


def _check_archive(file: Path) -> None:
    """A torch file is an archive without compression; one that would grow when it is read is none."""
    if not file.is_file():
        raise UserError(f"{file} does not exist.", f"{file} 不存在。")
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UserError(f"{file} is no whole archive ({error}).", f"{file} 不是完整的存档（{error}）。") from None
    if size > file.stat().st_size:
        raise UserError(
            f"{file} says it holds {size} bytes, more than the file has; it is not read.",
            f"{file} 声明含有 {size} 字节，多于文件本身的大小；不予读取。",
        )


def _index(folder: Path) -> None:
    from huohou.model.weights import INDEX, read_header

    files = sorted(folder.glob("*.safetensors"))
    places = {name: file.name for file in files for name in read_header(file)}
    (folder / INDEX).write_text(json.dumps({"weight_map": places}), encoding="utf-8")


def _named_tensors(content: object) -> dict[str, Any]:
    import torch

    for key in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise TypeError(type(content).__name__)
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise TypeError(f"{name!r}: {type(tensor).__name__}")
    # Shared tensors (a tied head) are written out; whoever reads them compares.
    return {str(name).removeprefix("module."): tensor.detach().contiguous().clone() for name, tensor in content.items()}


def _child(file: str, target: str) -> int:
    """Read, check, write; the exit status says which of them failed."""
    import torch
    from safetensors.torch import save_file

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever is wrong with a foreign file, the parent says it; nothing is tried a second way.
        text = " ".join(str(error).split())
        refused = "GLOBAL" in text or "Unsupported" in text
        print(_short(text), file=sys.stderr)
        return _REFUSED if refused else _BROKEN
    try:
        save_file(_named_tensors(content), target, metadata={"format": "pt"})
    except TypeError as error:
        print(_short(str(error)), file=sys.stderr)
        return _NO_TENSORS
    return _DONE


def _short(text: str) -> str:
    """The part of torch's message that names what was wanted."""
    text = text.split("from a trusted source. ")[-1].removeprefix("WeightsUnpickler error: ")
    return text.split(" Check the documentation")[0][:160].rstrip(".")


if __name__ == "__main__":
    sys.exit(_child(sys.argv[1], sys.argv[2]))
