"""FSDP2 over a model that is never whole: the same weights as one that is built or read as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from huohou.model import Llama, ModelConfig, build, write_model
from huohou.model.grow import grow_rows
from huohou.model.initialise import empty
from huohou.model.load import open_model
from huohou.model.on_demand import drawn, fill_ends, stored
from huohou.train.distributed import ALONE
from huohou.train.engines import make_engine
from huohou.train.optim import OptimizerSettings, make_optimizer


@pytest.fixture
def group() -> Iterator[None]:
    store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def config(*, tied: bool) -> ModelConfig:
    shape = {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 32,
        "tie_word_embeddings": tied,
    }
    return ModelConfig.from_huggingface(shape, where="test")


@pytest.mark.parametrize("tied", [False, True])
def test_one_that_grows_has_its_embedding_and_head_in_memory_and_no_layer(
    tmp_path: Path, group: None, tied: bool
) -> None:
    from huohou.train.engine_fsdp2 import FSDP2Engine

    whole = build(config(tied=tied), 7)
    write_model(whole, tmp_path / "model")
    model = open_model(tmp_path / "model", device="meta", dtype=torch.float32)
    assert isinstance(model, Llama)
    fill_ends(model, tmp_path / "model")
    spelled = {40: (1, 2), 41: (3,), 42: (39, 0)}
    for one in (whole, model):
        grow_rows(one, 40, 43, spelled, pad_rows_to=8)
    in_memory = {name for name, parameter in model.named_parameters() if not parameter.is_meta}
    assert len(in_memory) == (2 if tied else 4)
    weights = stored(model, tmp_path / "model")
    make = partial(make_optimizer, settings=OptimizerSettings())
    engine = FSDP2Engine(model, make, device="cpu", dtype="float32", world=ALONE, weights=weights)
    with engine.written() as written:
        assert written is model
        held = dict(model.named_parameters())
        assert held.keys() == dict(whole.named_parameters()).keys()
        assert all(torch.equal(held[name], parameter) for name, parameter in whole.named_parameters())
    with engine.looking():
        ids = torch.arange(48)[None, ::2]
        torch.testing.assert_close(engine.apply(lambda held: held(ids)), whole(ids))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("offload", [False, True])
def test_a_model_without_memory_gets_its_weights(tmp_path: Path, group: None, tied: bool, offload: bool) -> None:
    from huohou.train.engine_fsdp2 import FSDP2Engine

    whole = build(config(tied=tied), 7, depth_scaled=True)
    write_model(whole, tmp_path / "model")
    made = empty(config(tied=tied), "meta", torch.float32)
    opened = open_model(tmp_path / "model", device="meta", dtype=torch.float32)
    ids = torch.arange(12)[None]
    for model, weights in (
        (made, drawn(made, made.config, 7, depth_scaled=True)),
        (opened, stored(opened, tmp_path / "model")),
    ):
        assert isinstance(model, Llama)
        engine = FSDP2Engine(
            model,
            partial(make_optimizer, settings=OptimizerSettings()),
            device="cpu",
            dtype="float32",
            world=ALONE,
            offload=offload,
            weights=weights,
        )
        with engine.looking():
            logits = engine.apply(lambda held: held(ids))
        torch.testing.assert_close(logits, whole(ids))
        with engine.written() as written:
            assert written is model
            assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
            for (name, a), (other, b) in zip(model.named_parameters(), whole.named_parameters(), strict=True):
                assert name == other and torch.equal(a, b)
        assert len(list(model.parameters())) == len(list(whole.parameters()))


def test_one_process_needs_no_sharing() -> None:
    model = torch.nn.Linear(2, 2)
    engine = make_engine(
        "fsdp2",
        model,
        partial(make_optimizer, settings=OptimizerSettings()),
        device="cpu",
        dtype="float32",
        world=ALONE,
    )
    assert engine.name == "single"
