"""A model's folder: written whole or not at all, read with every mistake named."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from huohou.errors import UserError
from huohou.language import choose_language
from huohou.model import Llama, ModelConfig, build, fill_model, open_model, read_model, write_model
from huohou.model.weights import Weights

CONFIG = ModelConfig(31, 16, 24, 2, 4, 2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2)
TIED = ModelConfig(31, 16, 24, 2, 4, 2, tie_word_embeddings=True)


class Tokenizer:
    def save(self, folder: Path, /) -> None:
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


class BrokenTokenizer:
    def save(self, folder: Path, /) -> None:
        raise OSError("no space left on device")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(a: Llama, b: Llama) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return list(mine) == list(other) and all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize("config", [CONFIG, TIED])
@pytest.mark.parametrize("shard_bytes", [10**9, 5000])
def test_what_is_written_is_read(tmp_path: Path, config: ModelConfig, shard_bytes: int) -> None:
    model = build(config, seed=1)
    write_model(model, tmp_path / "run" / "model", Tokenizer(), shard_bytes=shard_bytes)
    there = read_model(tmp_path / "run" / "model")
    assert same(there, model)
    assert there.config == config
    assert (tmp_path / "run" / "model" / "tokenizer.json").exists()
    assert names(tmp_path / "run") == ["model"]


def test_every_file_has_the_same_permissions(tmp_path: Path) -> None:
    write_model(build(CONFIG, seed=1), tmp_path / "model", shard_bytes=5000)
    assert len({path.stat().st_mode for path in (tmp_path / "model").iterdir()}) == 1


def test_the_layout_is_hugging_faces(tmp_path: Path) -> None:
    write_model(build(CONFIG, seed=1), tmp_path / "model")
    assert names(tmp_path / "model") == ["config.json", "generation_config.json", "model.safetensors"]
    with safe_open(tmp_path / "model" / "model.safetensors", framework="pt") as content:
        assert content.metadata() == {"format": "pt"}
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert (config["architectures"], config["dtype"], config["eos_token_id"]) == (["LlamaForCausalLM"], "float32", 2)
    assert json.loads((tmp_path / "model" / "generation_config.json").read_text(encoding="utf-8")) == {
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def test_shards_are_no_larger_than_asked_and_indexed(tmp_path: Path) -> None:
    write_model(build(CONFIG, seed=1), tmp_path / "model", shard_bytes=5000)
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text(encoding="utf-8"))
    files = sorted(set(index["weight_map"].values()))
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert not (tmp_path / "model" / "model.safetensors").exists()
    sizes = []
    for file in files:
        tensors = load_file(tmp_path / "model" / file)
        assert all(index["weight_map"][name] == file for name in tensors)
        sizes.append(sum(tensor.nbytes for tensor in tensors.values()))
    assert max(sizes) <= 5000
    assert sum(sizes) == index["metadata"]["total_size"]


def test_types_are_kept_or_changed_as_asked(tmp_path: Path) -> None:
    model = build(CONFIG, seed=1)
    write_model(model, tmp_path / "model", dtype=torch.bfloat16)
    assert next(read_model(tmp_path / "model", dtype=None).parameters()).dtype == torch.bfloat16
    wide = read_model(tmp_path / "model")
    assert torch.equal(wide.lm_head.weight, model.lm_head.weight.bfloat16().float())
    assert json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"


def test_tensors_are_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(build(CONFIG, seed=1), tmp_path / "model", shard_bytes=5000)
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0
    read = Weights.read

    def watched(self: Weights, names: Any = None) -> Iterator[tuple[str, torch.Tensor]]:
        nonlocal most
        for name, tensor in read(self, names):
            alive.add(tensor)
            most = max(most, len(alive))
            yield name, tensor

    monkeypatch.setattr(Weights, "read", watched)
    read_model(tmp_path / "model")
    assert 1 <= most <= 3


def test_on_the_meta_device_there_is_only_the_shape(tmp_path: Path) -> None:
    model = build(CONFIG, seed=1)
    write_model(model, tmp_path / "model")
    shape = open_model(tmp_path / "model", device="meta")
    assert all(parameter.is_meta for parameter in shape.parameters())
    shape.to_empty(device="cpu")
    assert isinstance(shape, Llama)
    fill_model(shape, tmp_path / "model", {"lm_head.weight"})
    assert torch.equal(shape.lm_head.weight, model.lm_head.weight)
    fill_model(shape, tmp_path / "model")
    assert same(shape, model)


def test_an_earlier_model_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_model(build(CONFIG, seed=1), folder, Tokenizer(), shard_bytes=5000)
    write_model(build(CONFIG, seed=2), folder)
    assert same(read_model(folder), build(CONFIG, seed=2))
    assert names(folder) == ["config.json", "generation_config.json", "model.safetensors"]
    assert names(tmp_path) == ["model"]


def test_an_earlier_model_stays_when_writing_fails(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_model(build(CONFIG, seed=1), folder)
    with pytest.raises(OSError, match="no space left"):
        write_model(build(CONFIG, seed=2), folder, BrokenTokenizer())
    assert same(read_model(folder), build(CONFIG, seed=1))
    assert names(tmp_path) == ["model"]


def test_an_earlier_model_comes_back_when_the_last_move_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    write_model(build(CONFIG, seed=1), folder)
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if str(source).endswith(".new"):
            raise PermissionError("in use")
        replace(source, target)

    monkeypatch.setattr("huohou.model.folder.os.replace", refuse)
    with pytest.raises(PermissionError):
        write_model(build(CONFIG, seed=2), folder)
    assert same(read_model(folder), build(CONFIG, seed=1))
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("foreign", ["thesis.docx", "config.json.mine", "sub/config.json", "config.json/thesis"])
def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path: Path, foreign: str) -> None:
    path = tmp_path / "model" / foreign
    path.parent.mkdir(parents=True)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="no part of a model"):
        write_model(build(CONFIG, seed=1), tmp_path / "model")
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_file_in_the_folders_place_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="is a file"):
        write_model(build(CONFIG, seed=1), tmp_path / "model")
    assert (tmp_path / "model").read_text(encoding="utf-8") == "mine"


def test_a_tied_head_that_is_stored_too_is_accepted(tmp_path: Path) -> None:
    model = build(TIED, seed=1)
    write_model(model, tmp_path / "model")
    change_tensors(lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"].clone()})(tmp_path / "model")
    assert same(read_model(tmp_path / "model"), model)


def test_stored_rotary_frequencies_are_left_out(tmp_path: Path) -> None:
    half = build(TIED, seed=1, dtype=torch.bfloat16)
    write_model(half, tmp_path / "model")
    change_tensors(lambda t: t | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)})(tmp_path / "model")
    assert same(read_model(tmp_path / "model", dtype=None), half)


def test_weights_are_on_the_disk_before_they_take_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[int] = set()
    monkeypatch.setattr("huohou.model.folder.os.fsync", lambda file: flushed.add(os.fstat(file).st_ino))
    write_model(build(CONFIG, seed=1), tmp_path / "model", Tokenizer())
    assert {path.stat().st_ino for path in (tmp_path / "model").iterdir()} <= flushed


# Each damage is done to a good folder; the sentence says what is wrong.
Damage = Callable[[Path], object]
Tensors = dict[str, torch.Tensor]


def change_tensors(change: Callable[[Tensors], Tensors]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        save_file(change(tensors), path)

    return damage


def change_config(**values: Any) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")

    return damage


def write(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def index(text: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder.parent / "outside.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")

    return damage


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: tensors[key] for key in tensors if key != name}


UP = "model.layers.1.mlp.up_proj.weight"
DAMAGES: list[tuple[str, Damage, str]] = [
    ("no folder", lambda folder: (folder / "config.json").unlink(), "is no Hugging Face model folder"),
    ("config no JSON", write("config.json", "{"), "cannot be read as JSON"),
    ("config no text", lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON"),
    ("config no object", write("config.json", "[]"), "must hold a JSON object"),
    ("another architecture", change_config(model_type="gemma"), "model_type is 'gemma'"),
    ("another family", change_config(model_type="qwen2"), "lacks model.layers.0.self_attn.k_proj.bias (+5)"),
    ("more layers than tensors", change_config(num_hidden_layers=10**9), "lacks"),
    ("no weights", lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors"),
    ("a pickle", pickled, "pytorch_model.bin, a pickle, which can run code"),
    ("cut short", truncate, "is not a whole safetensors file"),
    ("garbage", write("model.safetensors", "garbage"), "is not a whole safetensors file"),
    ("missing", change_tensors(without(UP)), f"lacks {UP}"),
    ("missing several", change_config(num_hidden_layers=3), "lacks model.layers.2.input_layernorm.weight (+8)"),
    ("left over", change_tensors(lambda t: t | {"other.bias": torch.ones(2)}), "holds other.bias"),
    ("left over several", change_config(num_hidden_layers=1), "holds model.layers.1.input_layernorm.weight (+8)"),
    ("misshapen", change_tensors(lambda t: t | {UP: t[UP].T.contiguous()}), f"{UP} is torch.float32 [16, 24]"),
    ("whole numbers", change_tensors(lambda t: t | {UP: t[UP].int()}), f"{UP} is torch.int32 [24, 16]"),
    ("another size", change_config(vocab_size=32), "has the shape [32, 16]"),
    ("tied but different", change_config(tie_word_embeddings=True), "lm_head.weight differs from"),
    ("index to nothing", index('{"weight_map": {"a": "b.safetensors"}}'), "names 'b.safetensors'"),
    ("index upwards", index('{"weight_map": {"a": "../outside.safetensors"}}'), "names '../outside.safetensors'"),
    ("index absolute", index('{"weight_map": {"a": "/etc/passwd"}}'), "names '/etc/passwd'"),
    ("index to a pickle", index('{"weight_map": {"a": "config.json"}}'), "names 'config.json'"),
    ("index empty", index('{"weight_map": {}}'), "names no files"),
    ("index without map", index('{"weight_map": 3}'), "names no files"),
]


@pytest.mark.parametrize(("damage", "sentence"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_damage_is_named(tmp_path: Path, damage: Damage, sentence: str) -> None:
    folder = tmp_path / "model"
    write_model(build(CONFIG, seed=1), folder)
    damage(folder)
    with pytest.raises(UserError) as caught:
        read_model(folder)
    assert sentence in caught.value.text.en
    assert str(tmp_path) in caught.value.text.en
    choose_language("zh")
    assert any("一" <= sign <= "鿿" for sign in str(caught.value))


def test_a_shard_that_is_gone_is_named(tmp_path: Path) -> None:
    write_model(build(CONFIG, seed=1), tmp_path / "model", shard_bytes=5000)
    gone = sorted((tmp_path / "model").glob("model-00002-of-*.safetensors"))[0]
    gone.unlink()
    with pytest.raises(UserError, match=f"names '{gone.name}'"):
        read_model(tmp_path / "model")
