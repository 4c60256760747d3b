"""An exported model in llama.cpp: its own converter, its own runtime, the same ids from text and the same greedy tokens.

llama.cpp lies whole in the source package of llama-cpp-python (``pip download --no-deps --no-binary :all:
llama-cpp-python``). ``python tests/external/llama_cpp.py PACKAGE.tar.gz [WORKPLACE]`` unpacks it, builds the library with
cmake, makes small models with each tokenizer, exports, converts and compares them, and prints a table. A library that an
earlier call built in the workplace is used again.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tarfile
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from huohou.data.tokenizer import Tokenizer
from huohou.export import export
from huohou.model import ModelConfig, build, read_model, write_model
from huohou.model.generate import generate

TEXTS = (
    "春眠不觉晓，处处闻啼鸟。",
    "机器学习（machine learning）是一门人工智能的科学。",
    "Hello, world! It's 3.14 o'clock.",
    " 两端有空格 ",
    "def f(x):\n\treturn x + 1\n",
    "😀 龘𠮷",
)
SPACED = "def f(x):\n    return x + 1\n"
"""Several spaces before a word are split otherwise by a tokenizer trained here, as ``export`` says."""


class Package:
    """The unpacked source package, with the library built from it."""

    def __init__(self, archive: Path, workplace: Path) -> None:
        self.root = unpack(archive, workplace)
        self.source = self.root / "vendor" / "llama.cpp"
        self.build = workplace / "build"

    def make(self) -> None:
        """Build the library, one process at low priority."""
        self.build.mkdir(exist_ok=True)
        flags = ["BUILD_SHARED_LIBS=ON", "GGML_OPENMP=OFF", "GGML_NATIVE=OFF", "CMAKE_BUILD_TYPE=Release"]
        off = ["TESTS", "EXAMPLES", "TOOLS", "SERVER", "COMMON"]
        flags += [f"LLAMA_BUILD_{part}=OFF" for part in off] + ["LLAMA_CURL=OFF", "CMAKE_CXX_FLAGS=-O1"]
        nice = ["nice", "-n", "19"]
        say = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
        subprocess.run([*nice, "cmake", "-S", self.source, "-B", self.build, *(f"-D{flag}" for flag in flags)], **say)
        subprocess.run([*nice, "cmake", "--build", self.build, "--target", "llama", "-j1"], **say)

    def convert(self, folder: Path, target: Path) -> str:
        """Convert an exported folder to a GGUF file in f32; what went wrong, or nothing."""
        done = subprocess.run(
            [sys.executable, self.source / "convert_hf_to_gguf.py", folder, "--outtype", "f32", "--outfile", target],
            env={**os.environ, "PYTHONPATH": str(self.source / "gguf-py"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["?"])[-1]

    def library(self) -> Any:
        """The library, through the package's own declarations."""
        if "llama_cpp.llama_cpp" not in sys.modules:
            os.environ["LLAMA_CPP_LIB_PATH"] = str(self.build / "bin")
            # The package itself asks for more than its declarations need.
            package = types.ModuleType("llama_cpp")
            package.__path__ = [str(self.root / "llama_cpp")]
            sys.modules["llama_cpp"] = package
        import importlib

        return importlib.import_module("llama_cpp.llama_cpp")


class Runtime:
    """A GGUF file in llama.cpp."""

    def __init__(self, library: Any, file: Path) -> None:
        self.c = library
        self.c.llama_log_set(_SILENT, None)
        self.c.llama_backend_init()
        parameters = self.c.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = self.c.llama_model_load_from_file(str(file).encode(), parameters)
        assert self.model, f"llama.cpp does not load {file}"
        self.vocabulary = self.c.llama_model_get_vocab(self.model)
        self.size: int = self.c.llama_vocab_n_tokens(self.vocabulary)

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of a text, nothing added."""
        data = text.encode()
        room = len(data) + 8
        found = (self.c.llama_token * room)()
        count = self.c.llama_tokenize(self.vocabulary, data, len(data), found, room, False, special)
        assert count >= 0
        return list(found[:count])

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """The most probable tokens after a prompt."""
        parameters = self.c.llama_context_default_params()
        parameters.n_ctx, parameters.n_threads, parameters.n_threads_batch = 256, 1, 1
        # Keys and values are kept in fp16 unless it is told otherwise.
        parameters.type_k = parameters.type_v = 0
        parameters.flash_attn_type = 0
        context = self.c.llama_init_from_model(self.model, parameters)
        chosen: list[int] = []
        given = list(prompt)
        for _ in range(count):
            tokens = (self.c.llama_token * len(given))(*given)
            assert self.c.llama_decode(context, self.c.llama_batch_get_one(tokens, len(given))) == 0
            logits = torch.tensor(self.c.llama_get_logits_ith(context, -1)[: self.size])
            given = [int(logits.argmax())]
            chosen += given
        self.c.llama_free(context)
        return chosen


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _SILENT(level: int, text: bytes, data: object) -> None:
    """Says nothing."""


def unpack(archive: Path, workplace: Path) -> Path:
    """Unpack the source package; returns its folder."""
    with tarfile.open(archive) as content:
        name = content.getnames()[0].split("/")[0]
        if not (workplace / name).is_dir():
            content.extractall(workplace, filter="data")
    return workplace / name


def small_model(tokenizer: Path, folder: Path) -> Path:
    """A small untrained model with a tokenizer, exported."""
    loaded = Tokenizer.load(tokenizer)
    ids: dict[str, Any] = {"bos_token_id": loaded.bos_id, "eos_token_id": loaded.eos_id, "pad_token_id": loaded.pad_id}
    shape = ModelConfig(loaded.vocab_size, 64, 96, 2, 4, 2, max_position_embeddings=256, **ids)
    model = build(shape, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger weights make logits that are far apart: the greedy token is no matter of rounding.
            parameter.mul_(4 if parameter.dim() > 1 else 1)
    base = folder.with_name(f"{folder.name}-base")
    write_model(model, base, loaded)
    export(base, folder, say=lambda text: None)
    return folder


def compare(package: Package, folder: Path, texts: Sequence[str] = TEXTS, count: int = 24) -> dict[str, Any]:
    """Convert a folder and run it: how many texts and greedy continuations are the same."""
    file = folder.with_suffix(".gguf")
    problem = package.convert(folder, file)
    if problem:
        return {"converts": problem, "ids": 0, "greedy": 0}
    runtime, tokenizer = Runtime(package.library(), file), Tokenizer.load(folder)
    ours = [tokenizer.encode(text).tolist() for text in texts]
    ids = sum(runtime.ids(text) == own for text, own in zip(texts, ours, strict=True))
    model = read_model(folder)
    greedy = sum(runtime.greedy(own, count) == generate(model, [own], count)[0] for own in ours)
    return {"converts": "yes", "ids": ids, "greedy": greedy}


def main() -> None:
    """Build, and compare the folders with tokenizers that are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("workplace", type=Path)
    parser.add_argument("tokenizers", type=Path, nargs="+")
    options = parser.parse_args()
    options.workplace.mkdir(parents=True, exist_ok=True)
    package = Package(options.archive, options.workplace)
    package.make()
    for tokenizer in options.tokenizers:
        found = compare(package, small_model(tokenizer, options.workplace / f"model-{tokenizer.name}"))
        print(f"{tokenizer}: converts: {found['converts']}; same ids {found['ids']}/{len(TEXTS)}; ", end="")
        print(f"same greedy tokens {found['greedy']}/{len(TEXTS)}", flush=True)


if __name__ == "__main__":
    main()
