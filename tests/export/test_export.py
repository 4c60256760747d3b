"""Exported folders compute what the live model computes, whatever they were made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

from huohou.cli.main import main
from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import RunFailed, UserError
from huohou.export import export
from huohou.language import Text
from huohou.model import ModelConfig, build, read_model, write_model
from huohou.model.adapter_write import write_adapter
from huohou.model.base import identify
from huohou.model.generate import generate
from huohou.model.load import open_model
from huohou.model.lora import add_adapters
from huohou.model.rows import split_rows

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

VOCABULARY, WIDTH, MORE = 290, 16, 7


def config(tied: bool = False, **more: Any) -> ModelConfig:
    return ModelConfig(
        VOCABULARY, WIDTH, 24, 2, 4, 2, max_position_embeddings=64, tie_word_embeddings=tied, eos_token_id=2, **more
    )


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["春眠不觉晓， 处处闻啼鸟。夜来风雨声，花落知多少。"] * 5, VOCABULARY)


@pytest.fixture(params=[False, True], ids=["head", "tied"])
def base(request: pytest.FixtureRequest, tmp_path: Path, tokenizer: Tokenizer) -> Path:
    write_model(build(config(request.param), seed=1), tmp_path / "base", tokenizer)
    return tmp_path / "base"


def shake(model: nn.Module, scale: float = 0.1) -> None:
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(scale * torch.randn_like(parameter))


def adapted(base: Path, folder: Path, *, grown: bool = False, seed: int = 1, scale: float = 0.1, **more: Any) -> Any:
    """An adapter's folder, as training on ``base`` would write it, and the live model."""
    model = read_model(base)
    if grown:
        torch.manual_seed(3)
        head = None if model.config.tie_word_embeddings else torch.randn(MORE, WIDTH)
        split_rows(model, VOCABULARY, torch.randn(MORE, WIDTH), head)
    add_adapters(model, {"rank": 4, "alpha": 8.0, **more}, seed=seed)
    shake(model, scale)
    before = [Path(path) for path in more.get("adapters", ())]
    write_adapter(model, folder, identify(base, adapters=before))
    return model


def logits(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        out = model(ids)
    return out if isinstance(out, torch.Tensor) else out.logits


def ids_of(rows: int) -> torch.Tensor:
    return torch.randint(0, rows, (3, 12), generator=torch.Generator().manual_seed(2))


CHOICES: Mapping[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "rows": {"rows": "all"},
    "save": {"save": ("embed_tokens", "lm_head")},
    "grown": {"grown": True},
    "grown new": {"grown": True, "rows": "new", "dora": True},
    "grown all": {"grown": True, "rows": "all", "rslora": True},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_merged_is_applied_is_what_peft_merges(base: Path, tmp_path: Path, choice: str) -> None:
    live = adapted(base, tmp_path / "adapter", **CHOICES[choice])
    said: list[Text] = []
    done = export(tmp_path / "adapter", tmp_path / "out", shard_bytes=20_000, say=said.append)
    assert done.comparison is not None
    assert done.comparison.difference < 1e-5 < done.comparison.effect or "grown" in choice
    rows = VOCABULARY + MORE * ("grown" in choice)
    ids = ids_of(rows)
    want = logits(live, ids)
    assert torch.allclose(logits(read_model(tmp_path / "out"), ids), want, atol=1e-5)
    foreign: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert foreign.config.vocab_size == rows
    assert torch.allclose(logits(foreign, ids), want, atol=1e-5)
    plain = AutoModelForCausalLM.from_pretrained(base)
    plain.resize_token_embeddings(rows, mean_resizing=False)
    theirs = peft.PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))
    # PEFT parts a tied head from its embedding when it merges modules that were saved whole.
    merged = theirs if live.config.tie_word_embeddings and "whole" in choice else theirs.merge_and_unload()
    assert torch.allclose(logits(merged, ids), want, atol=1e-5)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1


def test_transformers_and_we_generate_the_same_greedy_tokens(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter")
    export(tmp_path / "adapter", tmp_path / "out", say=lambda text: None)
    foreign: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ours = read_model(tmp_path / "out")
    for prompt in ([5, 17, 33], [200, 2, 91, 4]):
        theirs = foreign.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        assert theirs[0, len(prompt) :].tolist() == generate(ours, [prompt], 12)[0]


def test_adapters_in_sequence(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "one")
    live = adapted(base, tmp_path / "two", adapters=(str(tmp_path / "one"),), seed=2)
    ids = ids_of(VOCABULARY)
    export(base, tmp_path / "out", adapters=[tmp_path / "one", tmp_path / "two"], say=lambda text: None)
    assert torch.allclose(logits(read_model(tmp_path / "out"), ids), logits(live, ids), atol=1e-5)
    with pytest.raises(UserError, match="same ones in the same order"):
        export(tmp_path / "two", tmp_path / "wrong", say=lambda text: None)
    with pytest.raises(UserError, match="same ones in the same order"):
        export(base, tmp_path / "wrong", adapters=[tmp_path / "two", tmp_path / "one"], say=lambda text: None)
    assert not (tmp_path / "wrong").exists()


def test_another_base_is_refused_and_the_same_one_in_other_files_is_not(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter")
    write_model(read_model(base), tmp_path / "shards", shard_bytes=9_000)
    export(tmp_path / "adapter", tmp_path / "out", base=str(tmp_path / "shards"), say=lambda text: None)
    other = build(config(), seed=2)
    write_model(other, tmp_path / "other")
    with pytest.raises(UserError, match="was trained on another base"):
        export(tmp_path / "adapter", tmp_path / "wrong", base=str(tmp_path / "other"), say=lambda text: None)
    assert not (tmp_path / "wrong").exists()


def test_every_key_must_have_its_place(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    strange = {name.replace("layers.1", "layers.7"): tensor for name, tensor in tensors.items()}
    save_file(strange, file)
    with pytest.raises(UserError, match=r"does not have: model\.layers\.7\..*never merged in part"):
        export(tmp_path / "adapter", tmp_path / "out", say=lambda text: None)
    save_file({**tensors, "base_model.model.model.layers.0.lora_X.weight": torch.zeros(2)}, file)
    with pytest.raises(UserError, match="not understood"):
        export(tmp_path / "adapter", tmp_path / "out", say=lambda text: None)
    first = next(name for name in tensors if name.endswith("lora_B.weight"))
    save_file({name: tensor for name, tensor in tensors.items() if name != first}, file)
    with pytest.raises(UserError, match="not understood"):
        export(tmp_path / "adapter", tmp_path / "out", say=lambda text: None)
    save_file({**tensors, first: torch.zeros(3, 4)}, file)
    with pytest.raises(UserError, match="does not fit the base"):
        export(tmp_path / "adapter", tmp_path / "out", say=lambda text: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_types_are_chosen_and_their_rounding_is_told(base: Path, tmp_path: Path, dtype: str) -> None:
    adapted(base, tmp_path / "adapter", scale=1e-5)
    said: list[str] = []
    done = export(tmp_path / "adapter", tmp_path / "out", dtype=dtype, say=lambda text: said.append(text.en))
    assert done.comparison is not None
    assert 1e-5 < done.comparison.difference < done.comparison.tolerance
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in stored.values()} == {f"torch.{dtype}"}
    written = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert written["dtype"] == written["torch_dtype"] == dtype
    assert any("rounding changes the logits" in one for one in said)


def test_a_result_that_computes_something_else_is_not_written(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted(base, tmp_path / "adapter")
    monkeypatch.setattr("huohou.model.adapter.Adapter._lowered", lambda self, low, tensor: tensor)
    with pytest.raises(RunFailed, match="nothing was written"):
        export(tmp_path / "adapter", tmp_path / "out", say=lambda text: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_a_tied_head_that_only_one_side_changed_is_parted(tmp_path: Path) -> None:
    write_model(build(config(tied=True), seed=1), tmp_path / "base")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "lm_head"], task_type="CAUSAL_LM")
    with pytest.warns(UserWarning, match="tie"):
        theirs = peft.get_peft_model(plain, settings)
    shake(theirs)
    theirs.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    ids = ids_of(VOCABULARY)
    said: list[str] = []
    export(tmp_path / "adapter", tmp_path / "out", say=lambda text: said.append(text.en))
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"] is False
    assert torch.allclose(logits(read_model(tmp_path / "out"), ids), logits(theirs, ids), atol=1e-5)
    assert any("does not say which base" in one for one in said)


def test_memory_holds_one_file(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapted(base, tmp_path / "adapter")
    sizes: list[int] = []

    def count(content: dict[str, torch.Tensor], *rest: Any, **more: Any) -> None:
        sizes.append(sum(tensor.nbytes for tensor in content.values()))
        save_file(content, *rest, **more)

    monkeypatch.setattr("huohou.model.merge.save_file", count)
    export(tmp_path / "adapter", tmp_path / "out", shard_bytes=20_000, check=False, say=lambda text: None)
    assert len(sizes) > 1
    assert max(sizes) <= 20_000


def test_the_command(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapted(base, tmp_path / "adapter")
    out = tmp_path / "out"
    arguments = [
        "export",
        str(base),
        "--adapter",
        str(tmp_path / "adapter"),
        "--output",
        str(out),
        "--dtype",
        "float32",
    ]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "logits beside the live model's" in shown
    assert "tokenizer.model was written for llama.cpp" in shown
    assert f"model: {out} (float32, 1 adapter merged)" in shown
    assert Tokenizer.load(out).vocab_size == Tokenizer.load(base).vocab_size
    assert main([*arguments[:-1], "int8"]) == 2
    assert "--dtype is 'int8'" in capsys.readouterr().err
    assert main([*arguments, "--shard-size", "many"]) == 2
    assert main(["export", str(tmp_path / "nothing"), "--output", str(out)]) == 2
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    assert main(arguments) == 2
    assert "notes.txt" in capsys.readouterr().err


def test_a_model_of_another_family(tmp_path: Path) -> None:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape = GPTNeoXConfig(**sizes, intermediate_size=24, max_position_embeddings=64, tie_word_embeddings=False)
    GPTNeoXForCausalLM(shape).save_pretrained(tmp_path / "base")
    live = open_model(tmp_path / "base")
    add_adapters(live, {"rank": 2, "alpha": 4.0, "targets": ("query_key_value", "dense")}, seed=1)
    shake(live)
    write_adapter(live, tmp_path / "adapter", identify(tmp_path / "base"))
    export(tmp_path / "adapter", tmp_path / "out", say=lambda text: None)
    ids = ids_of(61)
    want = logits(live, ids)
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"), ids), want, atol=1e-5)
    plain = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base"), str(tmp_path / "adapter")
    )
    assert torch.allclose(logits(plain, ids), want, atol=1e-5)
