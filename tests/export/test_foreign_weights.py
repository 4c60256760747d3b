"""minimind's ``.pth``, old ``pytorch_model.bin`` and ``adapter_model.bin``: exported without anything being run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from huohou.cli.main import main
from huohou.errors import UserError
from huohou.export import export
from huohou.model import ModelConfig, build, read_model, write_model

# Every test waits for a process that imports torch.
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [60, 59, 2, 7, 18, 28, 1, 8]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        out = model(IDS)
    return out if isinstance(out, torch.Tensor) else out.logits


def minimind_llama() -> Any:
    """As minimind 2 has it: 8 heads, 2 of keys, rotary base 1e6, a tied head."""
    shape = ModelConfig(61, 64, 96, 2, 8, 2, rope_theta=1e6, rms_norm_eps=1e-5, tie_word_embeddings=True)
    return build(shape, seed=1)


def minimind_3() -> PreTrainedModel:
    """As minimind 3 has it: norms of queries and keys."""
    torch.manual_seed(1)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=61,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=8,
            num_key_value_heads=4,
            head_dim=8,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            rms_norm_eps=1e-6,
            tie_word_embeddings=True,
        )
    )


@pytest.mark.parametrize("make", [minimind_llama, minimind_3], ids=["2", "3"])
def test_a_pth_of_minimind_becomes_a_folder(tmp_path: Path, make: Any) -> None:
    model = make()
    state = model.state_dict()
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    torch.save({name: tensor.float() for name, tensor in state.items()}, tmp_path / "full_sft_64.pth")
    assert main(["export", str(tmp_path / "full_sft_64.pth"), "--output", str(tmp_path / "out")]) == 0
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")), logits(model), atol=1e-5)
    assert torch.allclose(logits(read_model(tmp_path / "out")), logits(model), atol=1e-5)


OLD_NAMES = {
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}


def test_the_first_names_and_their_order_of_numbers(tmp_path: Path) -> None:
    model = minimind_llama()
    state: dict[str, torch.Tensor] = {"pos_cis": torch.ones(3)}
    for name, tensor in {**model.state_dict(), "lm_head.weight": model.lm_head.weight.detach()}.items():
        heads = {"q_proj": 8, "k_proj": 2}.get(name.split(".")[-2])
        if heads:
            # A head's halves beside each other, as complex numbers have them.
            tensor = tensor.view(heads, 2, -1, 64).transpose(1, 2).reshape(tensor.shape)
        for new, old in OLD_NAMES.items():
            name = name.replace(new, old) if new != "model.norm" or name.startswith(new) else name
        state[name.removeprefix("model.")] = tensor
    assert "layers.1.attention.wq.weight" in state
    torch.save(state, tmp_path / "pretrain_64.pth")
    export(tmp_path / "pretrain_64.pth", tmp_path / "out", say=lambda text: None)
    assert torch.allclose(logits(read_model(tmp_path / "out")), logits(model), atol=1e-5)


def test_another_shape_is_asked_for_and_given(tmp_path: Path) -> None:
    model = build(ModelConfig(61, 60, 96, 2, 6, 2), seed=1)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match="give the model's config.json with --base"):
        export(tmp_path / "a.pth", tmp_path / "out", say=lambda text: None)
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_huggingface()), encoding="utf-8")
    export(tmp_path / "a.pth", tmp_path / "out", base=str(tmp_path / "config.json"), say=lambda text: None)
    assert torch.allclose(logits(read_model(tmp_path / "out")), logits(model), atol=1e-5)


def test_experts_and_strangers_are_refused(tmp_path: Path) -> None:
    state = {**minimind_llama().state_dict(), "model.layers.0.mlp.experts.0.gate_proj.weight": torch.ones(2)}
    torch.save(state, tmp_path / "moe.pth")
    with pytest.raises(UserError, match="mixture of experts"):
        export(tmp_path / "moe.pth", tmp_path / "out", say=lambda text: None)
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="does not hold a LLaMA"):
        export(tmp_path / "other.pth", tmp_path / "out", say=lambda text: None)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


def test_a_malicious_file_is_refused_wherever_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(build(ModelConfig(61, 16, 24, 1, 4, 2), seed=1), tmp_path / "base")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "config.json").write_bytes((tmp_path / "base" / "config.json").read_bytes())
    content = {"model.embed_tokens.weight": torch.ones(61, 16), "x": Malicious(tmp_path / "canary")}
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(tmp_path / "base")}
    (adapter / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    for file in (tmp_path / "a.pth", bad / "pytorch_model.bin", adapter / "adapter_model.bin"):
        torch.save(content, file)
    for source in (tmp_path / "a.pth", bad, adapter):
        assert main(["export", str(source), "--output", str(tmp_path / "out")]) == 2
        assert "Nothing in it was executed" in capsys.readouterr().err
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "out").exists()


def test_old_bin_files_of_base_and_adapter(tmp_path: Path) -> None:
    write_model(build(ModelConfig(61, 16, 24, 2, 4, 2), seed=1), tmp_path / "base")
    theirs = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base"),
        peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) * parameter.requires_grad)
    theirs.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    for folder, name, new in (("base", "model", "pytorch_model"), ("adapter", "adapter_model", "adapter_model")):
        file = tmp_path / folder / f"{name}.safetensors"
        torch.save(load_file(file), file.with_name(f"{new}.bin"))
        file.unlink()
    export(tmp_path / "base", tmp_path / "out", adapters=[tmp_path / "adapter"], say=lambda text: None)
    assert torch.allclose(logits(read_model(tmp_path / "out")), logits(theirs), atol=1e-5)
