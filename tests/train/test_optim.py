from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import huohou
from huohou.errors import RunFailed
from huohou.train.optim import OptimizerSettings, make_optimizer, parameter_groups, rates_of, set_rates


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(10, 4)
        self.linear = torch.nn.Linear(4, 4)
        self.norm = torch.nn.LayerNorm(4)
        self.frozen = torch.nn.Linear(4, 4).requires_grad_(False)


def decayed(model: Model, settings: OptimizerSettings) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, settings)
    assert {id(p) for g in groups for p in g["params"]} == {  # pyright: ignore
        id(p) for p in model.parameters() if p.requires_grad
    }
    return {names[id(p)] for g in groups if g["weight_decay"] for p in g["params"]}  # pyright: ignore


def test_matrices_decay_and_the_rest_does_not() -> None:
    model = Model()
    assert decayed(model, OptimizerSettings()) == {"embed_tokens.weight", "linear.weight"}
    assert decayed(model, OptimizerSettings(decay_embeddings=False)) == {"linear.weight"}


def test_the_settings_arrive() -> None:
    settings = OptimizerSettings(betas=(0.8, 0.9), eps=1e-6, weight_decay=0.3, fused=True)
    for group in make_optimizer(Model(), settings).param_groups:
        assert (group["betas"], group["eps"], group["fused"], group["lr"]) == ((0.8, 0.9), 1e-6, True, 0.0)
        assert group["weight_decay"] in (0.3, 0.0)


def test_what_was_written_is_read_back() -> None:
    optimizer = make_optimizer(Model(), OptimizerSettings())
    assert set_rates(optimizer, {"all": 3e-4}) == {"all": 3e-4} == rates_of(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [3e-4, 3e-4]


def test_every_curve_has_its_own_rate() -> None:
    model = Model()
    groups = [
        {"params": [model.embed_tokens.weight], "curve": "embeddings"},
        {"params": [model.linear.weight], "curve": "all"},
    ]
    optimizer = make_optimizer(model, OptimizerSettings(), groups)
    assert set_rates(optimizer, {"all": 1.0, "embeddings": 2.0}) == {"embeddings": 2.0, "all": 1.0}
    assert [group["lr"] for group in optimizer.param_groups] == [2.0, 1.0]


def test_parts_of_one_curve_that_differ_are_a_failure() -> None:
    optimizer = make_optimizer(Model(), OptimizerSettings())
    optimizer.param_groups[1].update(lr=0.5)
    with pytest.raises(RunFailed, match=r"different learning rates: 0.0 and 0.5"):
        rates_of(optimizer)


def writers(source: str) -> int:
    """How often a source assigns to a key or attribute named lr, or hands one to a dict's update."""
    count = 0
    for node in ast.walk(ast.parse(source)):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                count += target.slice.value == "lr"
            count += isinstance(target, ast.Attribute) and target.attr == "lr"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
            count += any(keyword.arg == "lr" for keyword in node.keywords)
    return count


def test_one_line_of_the_package_writes_a_rate() -> None:
    assert writers("group['lr'] = 1\ngroup.lr = 2\ngroup['lr'] *= 3\ngroup.update(lr=4)") == 4
    package = Path(huohou.__file__).parent
    found = {
        path.relative_to(package).as_posix(): count
        for path in package.rglob("*.py")
        if (count := writers(path.read_text(encoding="utf-8")))
    }
    # Inside other people's trainers it is the scheduler of the adapters.
    assert found == {"train/optim.py": 1, "adapters/torch.py": 1}
