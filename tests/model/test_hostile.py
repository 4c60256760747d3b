"""Folders that somebody made to do harm: each is refused in a sentence, before memory of that size is taken."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from huohou.errors import UserError
from huohou.model import ModelConfig, build, open_model, write_model
from huohou.model.weights import Weights, read_header

CONFIG = ModelConfig(31, 16, 24, 2, 4, 2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(build(CONFIG, seed=1), tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


CODE = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"auto_map": CODE}, "auto_map names code of the model's own, which is not run"),
    ({"model_type": "unheard", "auto_map": CODE}, "auto_map names code"),
    ({"custom_pipelines": {"x": {"impl": "evil.Pipeline"}}}, "custom_pipelines names code"),
    ({"_attn_implementation_internal": "owner/kernel"}, "_attn_implementation_internal is 'owner/kernel', which names"),
    ({"_attn_implementation_internal": "eager"}, "_attn_implementation_internal is 'eager'"),
    ({"attn_implementation": "owner/kernel:f"}, "attn_implementation is 'owner/kernel:f', which names code"),
    ({"text_config": {"_attn_implementation": "owner/kernel"}}, "_attn_implementation is 'owner/kernel'"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "the weights are quantised"),
    ({"model_type": "unheard"}, "transformers makes no causal language model of"),
    ({"model_type": ["llama"]}, "model_type is ['llama']"),
    ({"hidden_size": 10**12}, "has the shape"),
    ({"num_hidden_layers": 10**12}, "lacks"),
    ({"vocab_size": 10**15}, "has the shape"),
]


@pytest.mark.parametrize(("changes", "sentence"), CONFIGS, ids=[sentence[:40] for _, sentence in CONFIGS])
def test_configs(folder: Path, changes: dict[str, Any], sentence: str) -> None:
    (folder / "evil.py").write_text(f"open({str(folder / 'canary')!r}, 'w')", encoding="utf-8")
    change_config(folder, **changes)
    with pytest.raises(UserError) as caught:
        open_model(folder)
    assert sentence in caught.value.text.en
    assert "\n" not in caught.value.text.en
    assert not (folder / "canary").exists()


def test_deep_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 200_000 + "1" + "}" * 200_000, encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        open_model(folder)


def test_an_adapter_is_no_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}', encoding="utf-8")
    with pytest.raises(UserError, match="is an adapter"):
        open_model(folder)


Header = dict[str, Any]


def spoil(change: Callable[[Header], None]) -> Callable[[Path], None]:
    """Change a file's header and leave its tensors."""

    def spoiled(file: Path) -> None:
        content = file.read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + size])
        change(header)
        new = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(new)) + new + content[8 + size :])

    return spoiled


NAME = "model.norm.weight"
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a header of 2 GB": (
        lambda file: file.write_bytes(struct.pack("<Q", 2 * 10**9) + file.read_bytes()[8:]),
        "its header says it has 2000000000 bytes",
    ),
    "a header of 2 GB that is there": (
        lambda file: _sparse(file, 2 * 10**9),
        "that it may have",
    ),
    "nothing": (lambda file: file.write_bytes(b""), "its header says it has 0 bytes, of 0"),
    "no JSON": (lambda file: file.write_bytes(struct.pack("<Q", 4) + b"{{{{"), "its header is no JSON"),
    "a list": (lambda file: file.write_bytes(struct.pack("<Q", 2) + b"[]"), "is no JSON object"),
    "overlapping offsets": (
        spoil(lambda h: h[NAME].update(data_offsets=[0, 64])),
        "tensors overlap or leave a hole",
    ),
    "offsets beyond the end": (
        spoil(lambda h: h[NAME].update(data_offsets=[10**12, 10**12 + 64])),
        "tensors overlap or leave a hole",
    ),
    "a shape that is too large": (
        spoil(lambda h: h[NAME].update(shape=[2**40])),
        "model.norm.weight is F32 [1099511627776] but has 64 bytes",
    ),
    "a negative shape": (spoil(lambda h: h[NAME].update(shape=[-16])), "words about model.norm.weight are not"),
    "an unknown type": (spoil(lambda h: h[NAME].update(dtype="F31")), "has the unknown type 'F31'"),
    "another shape": (spoil(lambda h: h[NAME].update(shape=[4, 4])), "by config.json it has the shape [16]"),
    "another type": (spoil(lambda h: h[NAME].update(dtype="I32")), "is torch.int32 [16]"),
    "words that are none": (spoil(lambda h: h.update({NAME: 7})), "words about model.norm.weight are not understood"),
    "a cut end": (lambda file: file.write_bytes(file.read_bytes()[:-8]), "bytes and"),
}


def _sparse(file: Path, size: int) -> None:
    with open(file, "wb") as content:
        content.write(struct.pack("<Q", size))
        content.truncate(size + 8)


@pytest.mark.parametrize("kind", FILES)
def test_files_of_weights(folder: Path, kind: str) -> None:
    change, sentence = FILES[kind]
    change(folder / "model.safetensors")
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            open_model(folder)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert sentence in caught.value.text.en
    assert "model.safetensors" in caught.value.text.en


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "model/../x.safetensors", "x.bin", ""])
def test_an_index_names_files_of_its_folder_only(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    index = {"weight_map": dict.fromkeys(Weights(folder.parent / "secret.safetensors").names(), name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(UserError, match="is no safetensors file of this folder"):
        open_model(folder)


def test_a_tensor_in_two_files_is_refused(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    for name in ("a.safetensors", "b.safetensors"):
        (folder / name).write_bytes(content)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(UserError, match=r"is in a\.safetensors too"):
        open_model(folder)


def test_headers_are_read_as_safetensors_reads_them(folder: Path) -> None:
    from safetensors import safe_open

    entries = read_header(folder / "model.safetensors")
    with safe_open(folder / "model.safetensors", framework="pt") as content:
        assert set(entries) == set(content.keys())
        for name, entry in entries.items():
            tensor = content.get_tensor(name)
            assert (entry.dtype, entry.shape) == (tensor.dtype, tuple(tensor.shape))


def test_pickles_of_tensors_are_opened_and_others_are_not(folder: Path) -> None:
    weights = Weights(folder)
    tensors = dict(weights.read())
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    model = open_model(folder)
    assert all(torch.equal(tensors[name], parameter) for name, parameter in model.named_parameters())
    canary = folder / "canary"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (canary,))

    torch.save({"x": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="Nothing in it was executed"):
        open_model(folder)
    assert not canary.exists()
