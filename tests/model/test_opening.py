"""A model to be used: a run's, a folder's, an adapter on its base, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from huohou.data.embedded import documents
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import UserError
from huohou.model import Llama, ModelConfig, build, write_model
from huohou.model.base import identify
from huohou.model.opening import open_for_use

IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opening") / "base"
    tokenizer = train_tokenizer(list(documents(0, characters=5_000)), 400)
    write_model(
        build(ModelConfig(400, 16, 32, 2, 2, 2, eos_token_id=2), seed=1), folder, tokenizer, dtype=torch.bfloat16
    )
    return folder


def adapter(base: Path, folder: Path, *, seed: int = 1) -> Llama:
    """Write an adapter that changes the logits; the live model with it."""
    from huohou.model.adapter_write import write_adapter
    from huohou.model.load import open_model
    from huohou.model.lora import add_adapters

    model = open_model(base, dtype=torch.float32)
    assert isinstance(model, Llama)
    add_adapters(model, {"rank": 2, "alpha": 4, "dropout": 0.0, "targets": ("all",), "rows": "none"}, seed=seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    write_adapter(model, folder, identify(base))
    return model.eval()


def test_a_folder_and_a_run(base: Path, tmp_path: Path) -> None:
    one = open_for_use(base, device="cpu")
    assert one.dtype == "float32" and one.adapters == () and not one.model.training
    assert open_for_use(base, device="cpu", dtype="bfloat16").dtype == "bfloat16"
    run = tmp_path / "run"
    run.mkdir()
    (run / "plan.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="has no model yet"):
        open_for_use(run)
    (run / "model").symlink_to(base)
    two = open_for_use(run, device="cpu")
    assert two.content_hash() == one.content_hash()
    assert torch.equal(one.model(IDS), two.model(IDS))
    with pytest.raises(UserError, match="is no folder"):
        open_for_use(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is no adapter"):
        open_for_use(base, adapters=[tmp_path])


@pytest.mark.heavy
def test_an_adapter_finds_its_base_and_no_other(base: Path, tmp_path: Path) -> None:
    live = adapter(base, tmp_path / "run" / "adapter")
    (tmp_path / "run" / "plan.json").write_text(json.dumps({"model": {"lora": {"adapters": []}}}), encoding="utf-8")
    with torch.inference_mode():
        wanted, bare = live(IDS), open_for_use(base, device="cpu").model(IDS)
        assert (wanted - bare).abs().max() > 1e-3
        for opened in (
            open_for_use(tmp_path / "run", device="cpu"),
            open_for_use(tmp_path / "run" / "adapter", device="cpu"),
            open_for_use(base, adapters=[tmp_path / "run" / "adapter"], device="cpu"),
        ):
            assert torch.allclose(opened.model(IDS), wanted, atol=1e-5)
            assert opened.folder == opened.base == base
            assert opened.content_hash() != open_for_use(base, device="cpu").content_hash()
    other = tmp_path / "other"
    write_model(build(ModelConfig(400, 16, 32, 2, 2, 2, eos_token_id=2), seed=2), other, None)
    (other / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match="was trained on another base"):
        open_for_use(other, adapters=[tmp_path / "run" / "adapter"], device="cpu")
