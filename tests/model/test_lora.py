"""Adapters in a live model and in PEFT's folders, both ways."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM

from huohou.errors import UserError
from huohou.model import Llama, ModelConfig, build, read_model, write_model
from huohou.model.adapter import Adapter
from huohou.model.adapter_apply import check_adapters, merge_adapters, read_adapter
from huohou.model.adapter_write import write_adapter
from huohou.model.base import Base, identify
from huohou.model.lora import add_adapters, initialise_adapters, trained_parts
from huohou.model.parts import part_of
from huohou.model.peft_layers import has_adapters, lora_layers
from huohou.model.rows import split_rows

# What PEFT itself still asks of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

VOCABULARY, WIDTH, MORE = 61, 16, 7
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [60, 59, 2, 7, 18, 28, 1, 8]])
GROWN_IDS = torch.tensor([[3, 61, 4, 67, 5, 9, 2, 6], [60, 62, 63, 64, 18, 66, 65, 8]])


def config(tied: bool = False) -> ModelConfig:
    return ModelConfig(VOCABULARY, WIDTH, 24, 2, 4, 2, max_position_embeddings=64, tie_word_embeddings=tied)


@pytest.fixture(params=[False, True], ids=["head", "tied"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_model(build(config(request.param), seed=1), tmp_path / "base")
    return tmp_path / "base"


def settings(**more: Any) -> dict[str, Any]:
    return {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": ("all",), **more}


def shake(model: nn.Module) -> None:
    """Move everything that is trained, as training would."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


def grow(model: Llama) -> None:
    torch.manual_seed(3)
    tied = model.config.tie_word_embeddings
    split_rows(model, VOCABULARY, torch.randn(MORE, WIDTH), None if tied else torch.randn(MORE, WIDTH))


def logits(model: nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        out = model(ids)
    return out if isinstance(out, torch.Tensor) else out.logits


def with_plain_peft(base: Path, folder: Path, rows: int | None = None) -> Any:
    plain = AutoModelForCausalLM.from_pretrained(base)
    if rows is not None:
        plain.resize_token_embeddings(rows, mean_resizing=False)
    return peft.PeftModel.from_pretrained(plain, str(folder))


CHOICES: Mapping[str, dict[str, Any]] = {
    "lora": {},
    "some": {"targets": ("q_proj", "self_attn.v_proj"), "alpha": 3.0},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "rows": {"rows": "all"},
    "save": {"save": ("norm", "lm_head", "embed_tokens")},
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("grown", [False, True], ids=["", "grown"])
def test_plain_peft_loads_what_is_written_and_so_do_we(base: Path, tmp_path: Path, choice: str, grown: bool) -> None:
    model = read_model(base)
    if grown:
        grow(model)
    before = logits(model, GROWN_IDS if grown else IDS)
    add_adapters(model, settings(**CHOICES[choice]), seed=1)
    ids = GROWN_IDS if grown else IDS
    assert torch.allclose(logits(model, ids), before, atol=1e-6)
    shake(model)
    live = logits(model, ids)
    assert not torch.allclose(live, before, atol=1e-2)
    write_adapter(model, tmp_path / "adapter", identify(base))
    plain = with_plain_peft(base, tmp_path / "adapter", VOCABULARY + MORE if grown else None)
    assert torch.allclose(logits(plain, ids), live, atol=1e-5)
    if plain.get_base_model().config.tie_word_embeddings is False or "save" not in CHOICES[choice]:
        assert torch.allclose(logits(plain.merge_and_unload(), ids), live, atol=1e-5)
    ours = read_model(base)
    read_adapter(ours, tmp_path / "adapter")
    assert torch.allclose(logits(ours, ids), live, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    merged = read_model(base)
    merge_adapters(merged, [tmp_path / "adapter"])
    assert not has_adapters(merged)
    assert torch.allclose(logits(merged, ids), live, atol=1e-5)


PLAIN: Mapping[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "all": {"target_modules": "all-linear"},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 5}},
    "ends": {"target_modules": ["q_proj", "embed_tokens"]},
    "tokens": {"trainable_token_indices": {"embed_tokens": [3, 60, 4]}},
    "save": {"modules_to_save": ["norm"]},
}


@pytest.mark.parametrize("choice", PLAIN)
@pytest.mark.parametrize("base", [False], indirect=True, ids=[""])
def test_what_plain_peft_wrote_is_read(base: Path, tmp_path: Path, choice: str) -> None:
    chosen = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj"],
        "task_type": "CAUSAL_LM",
        **PLAIN[choice],
    }
    theirs = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(**chosen))
    shake(theirs)
    theirs.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    ours, merged = read_model(base), read_model(base)
    read_adapter(ours, tmp_path / "adapter")
    merge_adapters(merged, [tmp_path / "adapter"])
    want = logits(theirs)
    assert torch.allclose(logits(ours), want, atol=1e-5)
    assert torch.allclose(logits(merged), want, atol=1e-5)
    assert check_adapters([tmp_path / "adapter"], identify(base)) == [tmp_path / "adapter"]


def test_models_of_transformers_take_adapters_too(base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    add_adapters(model, settings(dora=True, targets=("down_proj", "k_proj")), seed=3)
    shake(model)
    want = logits(model)
    write_adapter(model, tmp_path / "adapter", identify(base))
    ours = read_model(base)
    read_adapter(ours, tmp_path / "adapter", trainable=True)
    assert torch.allclose(logits(ours), want, atol=1e-5)
    assert trained_parts(ours) == {"adapters", "adapters_b"}


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_exactly_what_is_asked_for_is_trained(base: Path) -> None:
    model = read_model(base)
    add_adapters(model, settings(), seed=1)
    assert len(lora_layers(model)) == 14
    assert trained_parts(model) == {"adapters", "adapters_b"}
    parts = part_of(model)
    assert all((parts[name] == "adapters_b") == (".lora_B." in name) for name in trained(model))
    model = read_model(base)
    grow(model)
    add_adapters(model, settings(rows="new"), seed=1)
    assert trained_parts(model) == {"adapters", "adapters_b", "new_rows"}
    model = read_model(base)
    add_adapters(model, settings(rows="new"), seed=1, new_rows=range(50, VOCABULARY))
    assert trained_parts(model) == {"adapters", "adapters_b", "new_rows"}
    assert model.model.embed_tokens.new_weight.shape == (VOCABULARY - 50, WIDTH)
    model = read_model(base)
    add_adapters(model, settings(rows="all", save=("norm",)), seed=1)
    assert trained_parts(model) == {"adapters", "adapters_b", "old_rows", "body"}
    assert {name for name in trained(model) if "norm" in name} == {"model.norm.weight"}


def test_no_whole_matrix_is_copied(base: Path) -> None:
    model = read_model(base)
    before = sum(parameter.numel() for parameter in model.parameters())
    add_adapters(model, settings(rows="all"), seed=1)
    added = sum(parameter.numel() for name, parameter in model.named_parameters() if ".lora_" in name)
    assert sum(parameter.numel() for parameter in model.parameters()) == before + added


def test_the_seed_decides_and_nothing_else_is_drawn(base: Path) -> None:
    def first(seed: int, drawn: int) -> tuple[torch.Tensor, torch.Tensor]:
        model = read_model(base)
        torch.manual_seed(drawn)
        add_adapters(model, settings(), seed=seed)
        return lora_layers(model)[3][1].lora_A["default"].weight, torch.rand(3)

    torch.manual_seed(1)
    untouched = torch.rand(3)
    one, after = first(1, 1)
    again, _ = first(1, 2)
    other, _ = first(2, 1)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(after, untouched)


def test_dropout_is_only_there_in_training(base: Path) -> None:
    model = read_model(base)
    add_adapters(model, settings(dropout=0.5), seed=1)
    shake(model)
    torch.manual_seed(1)
    model.train()
    first, second = model(IDS), model(IDS)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(model(IDS), first)
    assert torch.equal(logits(model), logits(model))


@pytest.mark.parametrize("grown", [False, True], ids=["", "grown"])
def test_what_is_untrained_stays_as_it_was(base: Path, grown: bool) -> None:
    model = read_model(base)
    if grown:
        grow(model)
    add_adapters(model, settings(rows="new" if grown else "none"), seed=1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    ids = GROWN_IDS if grown else IDS
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        loss, count = model.loss(ids[:, :-1], ids[:, 1:])
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == trained(model)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"targets": ("q_proj", "query")}, "no matrix 'query' in the layers; there are down_proj, gate_proj, k_proj"),
        ({"targets": ("lm_head",)}, "no matrix 'lm_head' in the layers"),
        ({"save": ("head",)}, "no module 'head'; there are"),
        ({"rows": "new"}, "was not grown in this run"),
    ],
    ids=["target", "head", "save", "rows"],
)
def test_mistakes_are_named(base: Path, wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        add_adapters(read_model(base), settings(**wrong), seed=1)


def test_other_kinds_of_adapters_are_refused(base: Path, tmp_path: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(base)
    peft.get_peft_model(plain, peft.IA3Config(task_type="CAUSAL_LM")).save_pretrained(str(tmp_path / "adapter"))
    with pytest.raises(UserError, match="peft_type is 'IA3'"):
        Adapter(tmp_path / "adapter")


@pytest.mark.heavy
def test_a_base_in_4_bits_learns_and_its_adapter_fits_the_base(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = read_model(base)
        plain = logits(model)
        add_adapters(model, settings(bits=4), seed=1)
        assert all(layer.get_base_layer().weight.dtype == torch.uint8 for _, layer in lora_layers(model))
        # Rounded to 4 bits, it is still that model.
        rounded = logits(model)
        assert 1e-4 < float((rounded - plain).abs().max()) < 1.0
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
        losses: list[float] = []
        for _ in range(24):
            loss, count = model.loss(IDS[:, :-1], IDS[:, 1:])
            optimizer.zero_grad()
            (loss / count).backward()
            optimizer.step()
            losses.append(float(loss))
        assert losses[-1] < 0.95 * losses[0]
        write_adapter(model, tmp_path / "adapter", identify(base))
        ours = read_model(base)
        read_adapter(ours, tmp_path / "adapter")
        effect = float((logits(ours) - plain).abs().max())
        assert float((logits(ours) - logits(model)).abs().max()) < max(1.0, effect)
        assert effect > 0.1


def test_the_record_of_the_base_says_what_it_was(base: Path, tmp_path: Path) -> None:
    model = read_model(base)
    add_adapters(model, settings(), seed=1)
    record = identify(base, revision="main")
    write_adapter(model, tmp_path / "adapter", record)
    assert Base.read(tmp_path / "adapter") == record
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(tensors) == 28
    assert all(name.startswith("base_model.model.model.layers.") for name in tensors)
    (tmp_path / "adapter" / "huohou_base.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="does not say which base"):
        Base.read(tmp_path / "adapter")


def test_a_model_made_without_memory_begins_the_same(base: Path) -> None:
    direct, later = read_model(base), read_model(base)
    add_adapters(direct, settings(dora=True), seed=1)
    add_adapters(later, settings(dora=True), seed=9)
    with torch.no_grad():
        for _, layer in lora_layers(later):
            layer.lora_B["default"].weight.fill_(3)
            layer.lora_magnitude_vector["default"].weight.fill_(3)
    initialise_adapters(later, 1)
    mine, other = direct.state_dict(), later.state_dict()
    assert all(torch.allclose(mine[name], other[name], atol=1e-7) for name in mine)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"trainable_token_indices": {"embed_tokens": [3, 10**15]}}, "neither it nor the base has row 61"),
        ({"trainable_token_indices": {"embed_tokens": [3, 3]}}, "not understood"),
        ({"trainable_token_indices": None}, "not understood"),
        ({"lora_alpha": "much"}, "lora_alpha holds 'much'"),
        ({"lora_alpha": float("nan")}, "lora_alpha holds nan"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "alpha_pattern holds"),
        ({"use_dora": True}, "not understood"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is"),
        ({"bias": "all"}, "bias is 'all'"),
    ],
    ids=["far", "twice", "none", "text", "nan", "pattern", "dora", "replication", "bias"],
)
def test_settings_of_strangers_are_refused(tmp_path: Path, wrong: dict[str, Any], sentence: str) -> None:
    tensors = {
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, WIDTH),
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": torch.zeros(WIDTH, 2),
        "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta": torch.zeros(2, WIDTH),
    }
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    right = {"peft_type": "LORA", "lora_alpha": 4, "trainable_token_indices": {"embed_tokens": [3, 5]}}
    (tmp_path / "adapter_config.json").write_text(json.dumps({**right, **wrong}), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(sentence)):
        Adapter(tmp_path).shape_after("model.embed_tokens.weight", (VOCABULARY, WIDTH))
