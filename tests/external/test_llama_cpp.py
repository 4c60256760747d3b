"""Exported models go through llama.cpp's converter and run there to the same ids and the same greedy tokens.

``HUOHOU_LLAMA_CPP`` is the source package of llama-cpp-python; ``HUOHOU_LLAMA_CPP_WORKPLACE`` a folder where the library
may stay built. See ``llama_cpp.py`` beside this file.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from huohou.data.tokenizer_training import train_tokenizer

pytestmark = [pytest.mark.external, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The script beside this file, and the package built."""
    archive = os.environ.get("HUOHOU_LLAMA_CPP")
    if not archive:
        pytest.skip("HUOHOU_LLAMA_CPP does not name the source package of llama-cpp-python")
    specification = importlib.util.spec_from_file_location("llama_cpp_script", Path(__file__).with_name("llama_cpp.py"))
    assert specification is not None and specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    sys.modules["llama_cpp_script"] = script
    specification.loader.exec_module(script)
    workplace = Path(os.environ.get("HUOHOU_LLAMA_CPP_WORKPLACE") or tmp_path_factory.mktemp("llama.cpp"))
    package = script.Package(Path(archive), workplace)
    package.make()
    return script, package


def same(external: tuple[Any, Any], tokenizer: Path, folder: Path, *more: str) -> bool:
    script, package = external
    texts = (*script.TEXTS, *more)
    found = script.compare(package, script.small_model(tokenizer, folder), texts)
    return found == {"converts": "yes", "ids": len(texts), "greedy": len(texts)}


def test_a_tokenizer_trained_here(external: tuple[Any, Any], tmp_path: Path) -> None:
    lines = ["春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", "def f(x): return x + 1", "hello world"] * 5
    train_tokenizer(lines, 320).save(tmp_path / "tokenizer")
    assert same(external, tmp_path / "tokenizer", tmp_path / "model")


def test_the_tokenizer_of_chinese_llama_2(external: tuple[Any, Any], tmp_path: Path, shared_data: Path) -> None:
    assert same(external, shared_data / "tokenizer", tmp_path / "model", external[0].SPACED)
