"""Activations that are computed twice: the same gradients to the last bit, in less memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from huohou.model import ModelConfig, build
from huohou.train import engine_ddp, engine_fsdp2
from huohou.train.distributed import ALONE, World
from huohou.train.engine import Engine
from huohou.train.optim import OptimizerSettings, make_optimizer, set_rates
from huohou.train.recompute import recompute

CONFIG = ModelConfig(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    tie_word_embeddings=True,
)


def own() -> Any:
    return build(CONFIG, seed=1, device="cpu")


def foreign() -> Any:
    transformers = pytest.importorskip("transformers")
    from huohou.model.foreign import Foreign

    torch.manual_seed(1)
    config = transformers.GPTNeoXConfig(
        vocab_size=64, hidden_size=64, intermediate_size=128, num_hidden_layers=6, num_attention_heads=4
    )
    return Foreign(transformers.GPTNeoXForCausalLM(config))


def with_dropout() -> Any:
    """The own decoder with dropout before every layer's norm: what is computed again must be thrown again alike."""
    model = own()
    for layer in model.layers():
        layer.input_layernorm = torch.nn.Sequential(torch.nn.Dropout(0.2), layer.input_layernorm)
    return model


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    inputs, targets = (torch.randint(0, 64, (4, 64), generator=draw) for _ in range(2))
    segments = (torch.arange(64) >= 20).long().expand(4, 64)
    return inputs, targets, segments


def backward(model: Any, dtype: str = "float32") -> None:
    inputs, targets, segments = batch()
    torch.manual_seed(7)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
        loss = model.loss(inputs, targets, None, segments)[0]
    loss.backward()


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and one
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [own, with_dropout, foreign])
def test_gradients_are_the_same_to_the_last_bit(make: Callable[[], Any], dtype: str) -> None:
    kept, twice = make(), make()
    assert recompute(twice) == 6
    backward(kept, dtype)
    backward(twice, dtype)
    assert_equal(gradients(kept), gradients(twice))


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_too() -> None:
    kept, twice = own(), own()
    recompute(twice)
    kept.compile(dynamic=False)
    twice.compile(dynamic=False)
    backward(kept)
    backward(twice)
    assert_equal(gradients(kept), gradients(twice))


def activations(make: Callable[[], Any], again: bool) -> int:
    """The most bytes that activations take at once in a forward and a backward pass."""
    from torch.distributed._tools.mem_tracker import MemTracker

    model = make()
    if again:
        recompute(model)
    tracker = MemTracker()
    with tracker:
        backward(model)
    [peak] = tracker.get_tracker_snapshot("peak").values()
    return sum(count for kind, count in peak.items() if str(kind) in ("Activation", "_MemRefType.ACT"))


@pytest.mark.parametrize("make", [own, foreign])
def test_activations_take_a_third_of_the_memory_or_less(make: Callable[[], Any]) -> None:
    kept, twice = activations(make, False), activations(make, True)
    assert 0 < twice < kept / 3, (twice, kept)


def test_layers_are_wrapped_once_and_keep_their_names() -> None:
    model = own()
    names = [name for name, _ in model.named_parameters()]
    recompute(model)
    forwards = [layer.forward for layer in model.layers()]
    recompute(model)
    assert [layer.forward for layer in model.layers()] == forwards
    assert [name for name, _ in model.named_parameters()] == names


def test_nothing_is_computed_twice_where_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    model = own()
    recompute(model)
    monkeypatch.setattr("huohou.train.recompute.checkpoint", lambda *_, **__: pytest.fail("a checkpoint was set"))
    with torch.no_grad():
        assert model(batch()[0]).shape == (4, 64, 64)


ENGINES: dict[str, type[Engine]] = {"ddp": engine_ddp.DDPEngine, "fsdp2": engine_fsdp2.FSDP2Engine}


def _trained(name: str, world: World, again: bool) -> dict[str, torch.Tensor]:
    """The weights that this rank holds after three updates."""
    model = own()
    if again:
        recompute(model)
    if name == "deepspeed":
        from huohou.train.engine_deepspeed import DeepSpeedEngine

        engine: Engine = DeepSpeedEngine(
            model, partial(make_optimizer, settings=OptimizerSettings()), world=world, zero_stage=3
        )
    else:
        engine = ENGINES[name](
            model, partial(make_optimizer, settings=OptimizerSettings()), device="cpu", dtype="float32", world=world
        )
    inputs, targets, segments = batch()
    rows = slice(2 * world.rank, 2 * world.rank + 2)
    for _ in range(3):
        set_rates(engine.optimizer, {"all": 1e-3})
        engine.begin()
        loss = engine.accumulate(
            lambda m: m.loss(inputs[rows], targets[rows], None, segments[rows])[0] / 256, last=True
        )
        engine.reduce(loss)
        engine.step()
    return {name: piece.tensor.clone() for name, piece in engine.pieces()["model"].items()}


def _compare(rank: int, name: str, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    world = World(rank, 2, rank)
    kept, twice = _trained(name, world, False), _trained(name, world, True)
    assert kept.keys() == twice.keys()
    assert [n for n in kept if not torch.equal(kept[n], twice[n])] == []
    dist.destroy_process_group()


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["ddp", "fsdp2", "deepspeed"])
def test_in_two_processes_too(tmp_path: Path, name: str) -> None:
    if name == "deepspeed":
        pytest.importorskip("deepspeed")
    spawn(_compare, (name, str(tmp_path / "store")), nprocs=2)


def test_one_process_is_what_the_others_are_compared_with() -> None:
    """The comparison above would be empty if the weights did not move."""
    engine = Engine(own(), partial(make_optimizer, settings=OptimizerSettings()), world=ALONE)
    before = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    inputs, targets, segments = batch()
    set_rates(engine.optimizer, {"all": 1e-3})
    engine.begin()
    engine.reduce(engine.accumulate(lambda m: m.loss(inputs, targets, None, segments)[0] / 256, last=True))
    engine.step()
    assert all(not torch.equal(before[name], p) for name, p in engine.model.named_parameters())
