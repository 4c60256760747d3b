"""AdamW in 8 bits: beside AdamW in 32, resumed bit for bit, refused where it cannot work."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from huohou.errors import UserError
from huohou.train import optim_8bit, state
from huohou.train.optim import OptimizerSettings, make_optimizer, parameter_groups, set_rates

SETTINGS = OptimizerSettings(betas=(0.9, 0.95), weight_decay=0.1)


class Model(torch.nn.Module):
    """A matrix that is large enough for 8 bits, one that is not, and a bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.large = torch.nn.Linear(96, 128)
        self.other = torch.nn.Linear(128, 128, bias=False)
        self.small = torch.nn.Linear(128, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.small(torch.tanh(self.other(self.large(x))))


def test_the_name_chooses_it() -> None:
    pytest.importorskip("bitsandbytes")
    model = Model()
    assert type(make_optimizer(model, OptimizerSettings(name="adamw8bit"))).__name__ == "Adam8"
    assert getattr(make_optimizer(model, OptimizerSettings(name="paged_adamw8bit")), "is_paged", False)
    assert type(make_optimizer(model, OptimizerSettings())) is torch.optim.AdamW


def eight(model: Model, paged: bool = False) -> Any:
    pytest.importorskip("bitsandbytes")
    return optim_8bit.make_8bit(parameter_groups(model, SETTINGS), SETTINGS, paged=paged)


def advance(model: Model, optimizer: torch.optim.Optimizer, first: int, last: int, rate: float = 1e-3) -> None:
    for update in range(first, last + 1):
        set_rates(optimizer, {"all": rate})
        optimizer.zero_grad(set_to_none=True)
        draw = torch.Generator().manual_seed(update)
        x = torch.randn(32, 96, generator=draw)
        (model(x) - x[:, :4]).square().mean().backward()
        optimizer.step()


def test_it_moves_as_adamw_does_but_for_the_rounding_of_its_moments() -> None:
    ours, plain = Model(), Model()
    start = {name: p.detach().clone() for name, p in ours.named_parameters()}
    groups = parameter_groups(plain, SETTINGS)
    advance(ours, eight(ours), 1, 30)
    advance(plain, torch.optim.AdamW(groups, betas=(0.9, 0.95)), 1, 30)  # pyright: ignore[reportArgumentType]
    for (name, p), q in zip(ours.named_parameters(), plain.parameters(), strict=True):
        moved = (q - start[name]).norm()
        assert (p - q).norm() < 0.05 * moved, name


def test_large_matrices_take_a_byte_a_number() -> None:
    model = Model()
    optimizer = eight(model)
    advance(model, optimizer, 1, 1)
    dtypes = {name: optimizer.state[p]["state1"].dtype for name, p in model.named_parameters()}
    assert dtypes == {
        "large.weight": torch.uint8,
        "large.bias": torch.float32,
        "other.weight": torch.uint8,
        "small.weight": torch.float32,
    }


def test_its_state_goes_through_safetensors_and_the_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, first, second = Model(), Model(), Model()
    advance(whole, eight(whole), 1, 12)
    optimizer = eight(first)
    advance(first, optimizer, 1, 7)
    save_file(state.optimizer_tensors(optimizer, first), tmp_path / "o.safetensors")
    save_file(first.state_dict(), tmp_path / "m.safetensors")

    resumed = eight(second)
    state.load_model(second, load_file(tmp_path / "m.safetensors"))
    state.load_optimizer(resumed, second, load_file(tmp_path / "o.safetensors"))
    advance(second, resumed, 8, 12)
    for (name, p), q in zip(whole.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_loading_keeps_what_the_plan_made_of_the_groups() -> None:
    model = Model()
    optimizer = eight(model)
    advance(model, optimizer, 1, 1)
    saved = {k: v.clone() for k, v in state.optimizer_tensors(optimizer, model).items()}
    curves = dict.fromkeys((name for name, _ in model.named_parameters()), "main")
    groups = parameter_groups(model, OptimizerSettings(weight_decay=0.3), curves)
    other = optim_8bit.make_8bit(groups, SETTINGS, paged=False)
    state.load_optimizer(other, model, saved)
    assert [(g["weight_decay"], g["curve"]) for g in other.param_groups] == [(0.3, "main"), (0.0, "main")]


def test_a_parameter_without_a_gradient_keeps_its_moments() -> None:
    model = Model()
    optimizer = eight(model)
    advance(model, optimizer, 1, 2)
    before = {k: v.clone() for k, v in state.optimizer_tensors(optimizer, model).items()}
    optimizer.zero_grad(set_to_none=True)
    optimizer.step()
    after = state.optimizer_tensors(optimizer, model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_paged_is_made_the_same_way() -> None:
    model = Model()
    optimizer = eight(model, paged=True)
    assert optimizer.is_paged
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bitsandbytes says that it pages nothing on a CPU.
        advance(model, optimizer, 1, 1)
    assert "large.weight/state1" in state.optimizer_tensors(optimizer, model)


@pytest.mark.parametrize(
    ("name", "engine", "device", "message"),
    [
        ("adamw8bit", "fsdp2", "cuda", "adamw8bit, but train.engine fsdp2 cuts"),
        ("paged_adamw8bit", "deepspeed", "cuda", "paged_adamw8bit, but train.engine deepspeed cuts"),
        ("paged_adamw8bit", "single", "cpu", "this run is on the CPU: write adamw8bit"),
    ],
)
def test_what_cannot_work_is_refused(name: str, engine: str, device: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        optim_8bit.check_8bit(name, engine, device)


@pytest.mark.parametrize(
    ("name", "engine", "device"),
    [("adamw", "fsdp2", "cpu"), ("adamw8bit", "ddp", "cpu"), ("paged_adamw8bit", "ddp", "cuda")],
)
def test_the_rest_is_not(name: str, engine: str, device: str) -> None:
    optim_8bit.check_8bit(name, engine, device)


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim.adamw", None)
    with pytest.raises(UserError, match=r"pip install 'huohou\[bitsandbytes\]'"):
        optim_8bit.make_8bit([], SETTINGS, paged=False)
