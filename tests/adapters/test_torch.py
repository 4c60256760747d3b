"""The scheduler in plain loops: the plan's rates bit for bit, its state, groups, tensors, and what it refuses."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

import huohou
from huohou.adapters import torch as huohou_torch
from huohou.errors import UserError
from huohou.language import choose_language

PLAN = huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%")
PLANNED = [PLAN.curve(update) for update in range(1, 13)]
PROOF = "planned == applied: 12 of 12 updates"


def made(**how: Any) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.5, **how)


def train(model: torch.nn.Module, optimizer: Any, scheduler: Any, updates: int) -> list[float]:
    """The rates that the first group held in each update."""
    rates: list[float] = []
    for _ in range(updates):
        model(torch.ones(1, 3)).sum().backward()
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return rates


def test_a_loop_applies_the_plan_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    model, optimizer = made()
    scheduler = huohou_torch.scheduler(optimizer, PLAN, guard="raise", updates=12)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    assert train(model, optimizer, scheduler, 12) == PLANNED
    assert capsys.readouterr().err == PROOF + "\n"
    assert [row["rate"] for row in scheduler.guard.applied] == PLANNED
    assert (scheduler.last_epoch, scheduler.base_lrs, scheduler.get_last_lr()) == (12, [1e-3], [PLAN.curve(13)])


RUN_FILE = "train: {updates: 12}\nschedule: {peak: 1e-3, warmup: 4 steps, floor: 10%}\n"


def file_sources(folder: Path) -> list[Any]:
    run, bare = folder / "run.yaml", folder / "bare.yaml"
    run.write_text("data: {train: absent.txt}\n" + RUN_FILE, encoding="utf-8")
    # For somebody else's trainer the data need not be said.
    bare.write_text(RUN_FILE, encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps(PLAN.to_plain()), encoding="utf-8")
    return [run, str(bare), folder / "plan.json", folder, PLAN, PLAN.curve]


def test_every_source_is_the_same_curve(tmp_path: Path) -> None:
    for source in file_sources(tmp_path):
        model, optimizer = made()
        assert train(model, optimizer, huohou_torch.scheduler(optimizer, source, guard="raise"), 12) == PLANNED


def test_the_package_itself_costs_nothing() -> None:
    code = "import huohou.adapters, sys; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# State.


def test_the_state_is_plain_and_loading_puts_the_rate_into_every_group_at_once() -> None:
    model, optimizer = made()
    scheduler = huohou_torch.scheduler(optimizer, PLAN)
    train(model, optimizer, scheduler, 5)
    state = scheduler.state_dict()
    assert all(type(value) in (int, str) for value in state.values())
    assert json.loads(json.dumps(state)) == state
    saved = io.BytesIO()
    torch.save({"scheduler": state, "optimizer": optimizer.state_dict()}, saved)
    saved.seek(0)
    loaded = torch.load(saved, weights_only=True)

    model, optimizer = made()
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    again = huohou_torch.scheduler(optimizer, PLAN, guard="raise")
    again.load_state_dict(loaded["scheduler"])
    assert [group["lr"] for group in optimizer.param_groups] == [PLAN.curve(6)] * 2
    assert train(model, optimizer, again, 7) == PLANNED[5:]
    assert str(again.guard.proof) == PROOF, "the proof holds over the resumption"


@pytest.mark.parametrize("order", ["scheduler first", "optimizer first"])
def test_a_rate_from_the_optimizers_state_never_counts(order: str) -> None:
    model, optimizer = made()
    scheduler = huohou_torch.scheduler(optimizer, PLAN)
    train(model, optimizer, scheduler, 5)
    states = [(scheduler, scheduler.state_dict()), (optimizer, optimizer.state_dict())]
    longer = huohou.plan(updates=24, peak="2e-3", warmup="4 steps", floor="10%")
    model, optimizer = made()
    again = huohou_torch.scheduler(optimizer, longer)
    pairs = list(zip((again, optimizer), (state for _, state in states), strict=True))
    for target, state in pairs if order == "scheduler first" else reversed(pairs):
        target.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == longer.curve(6)
    [said] = again.guard.said
    assert said.en.startswith("the state was written under another curve (")


def test_an_optimizer_that_goes_on_without_its_scheduler_is_told() -> None:
    model, optimizer = made()
    train(model, optimizer, huohou_torch.scheduler(optimizer, PLAN), 5)
    state = optimizer.state_dict()
    model, optimizer = made()
    scheduler = huohou_torch.scheduler(optimizer, PLAN)
    optimizer.load_state_dict(state)
    train(model, optimizer, scheduler, 2)
    assert [text.en for text in scheduler.guard.said] == [
        "the optimizer's state goes on after update 5, but the scheduler's state was not loaded, so the curve begins "
        "again at update 1: load both."
    ]


def test_the_state_of_torchs_scheduler_is_taken_and_nothing_else() -> None:
    _, other = made()
    lambda_lr = torch.optim.lr_scheduler.LambdaLR(other, lambda i: 1 / (i + 1))
    other.step()
    lambda_lr.step()
    model, optimizer = made()
    scheduler = huohou_torch.scheduler(optimizer, PLAN, guard="raise")
    scheduler.load_state_dict(lambda_lr.state_dict())
    assert train(model, optimizer, scheduler, 11) == PLANNED[1:]
    with pytest.raises(UserError, match=r"no scheduler's state: it has no last_epoch, only a, b\."):
        scheduler.load_state_dict({"a": 1, "b": 2})


def test_torchs_distributed_checkpoints_step_an_optimizer_without_an_update() -> None:
    model, optimizer = made()
    scheduler = huohou_torch.scheduler(optimizer, PLAN, guard="raise")
    state = get_optimizer_state_dict(model, optimizer)
    assert scheduler.guard.done == 0
    set_optimizer_state_dict(model, optimizer, state)
    assert train(model, optimizer, scheduler, 12) == PLANNED


def test_step_can_jump_as_torchs_do() -> None:
    _, optimizer = made()
    scheduler = huohou_torch.scheduler(optimizer, PLAN)
    scheduler.step(7)
    assert optimizer.param_groups[0]["lr"] == PLAN.curve(8) == scheduler.get_lr()[0]


# Groups.


def test_groups_follow_multiples_names_and_curves_of_their_own() -> None:
    other = huohou.plan(updates=12, peak="5e-4", warmup="2 steps").curve
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(4)]
    optimizer = torch.optim.SGD(
        [
            {"params": parameters[0]},
            {"params": parameters[1], "name": "embeddings"},
            {"params": parameters[2], "name": "head"},
        ],
        lr=1.0,
    )
    scheduler = huohou_torch.scheduler(
        optimizer, PLAN, groups={0: "all", "embeddings": 0.1, "head": other}, guard="raise"
    )
    tenth = huohou.Curve(Fraction("1e-4"), PLAN.curve.knots, 12)
    for update in range(1, 13):
        if update == 6:
            # A group that comes later has its rate in the very next update.
            optimizer.add_param_group({"params": parameters[3]})
        rates = [PLAN.curve(update), tenth(update), other(update)]
        for parameter in parameters:
            parameter.grad = torch.ones(1)
        optimizer.step()
        assert [group["lr"] for group in optimizer.param_groups] == (rates if update < 6 else [*rates, rates[0]])
        scheduler.step()
    assert scheduler.guard.applied[0]["rate"] == {"all": PLANNED[0], "embeddings": tenth(1), "head": other(1)}
    assert str(scheduler.guard.proof) == PROOF


def test_the_curves_of_a_plan_find_their_groups() -> None:
    curves = {"adapters_b": huohou.plan(updates=12, peak="1.6e-2", warmup="4 steps").curve}
    plan = huohou.Plan.from_plain(
        PLAN.to_plain() | {"groups": {"all": PLAN.curve.to_plain()} | {n: c.to_plain() for n, c in curves.items()}}
    )
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": parameters[0]}, {"params": parameters[1], "name": "adapters_b"}], lr=1.0)
    huohou_torch.scheduler(optimizer, plan)
    assert [group["lr"] for group in optimizer.param_groups] == [PLANNED[0], curves["adapters_b"](1)]


@pytest.mark.parametrize("groups", [None, [1, 0.5]])
def test_a_rate_in_a_tensor_stays_that_tensor_and_is_the_plans_in_its_precision(groups: Any) -> None:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizer = torch.optim.AdamW([{"params": [one]} for one in parameters], lr=torch.tensor(0.5), foreach=False)
    assert optimizer.param_groups[0]["lr"] is optimizer.param_groups[1]["lr"], "torch shares it"
    scheduler = huohou_torch.scheduler(optimizer, PLAN, groups=groups, guard="raise")
    tensors = [group["lr"] for group in optimizer.param_groups]
    for update in range(1, 13):
        for parameter in parameters:
            parameter.grad = torch.ones(1)
        optimizer.step()
        assert float(tensors[0]) == float(torch.tensor(PLAN.curve(update)))
        scheduler.step()
    assert all(group["lr"] is tensor for group, tensor in zip(optimizer.param_groups, tensors, strict=True))
    assert str(scheduler.guard.proof) == PROOF


# Several optimizers.


def test_several_optimizers_share_a_plan() -> None:
    models = [made(), made()]
    container = huohou_torch.schedulers([optimizer for _, optimizer in models], PLAN, guard="raise")
    for _ in range(5):
        for model, optimizer in models:
            model(torch.ones(1, 3)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        container.step()
    assert container.get_last_lr() == [PLAN.curve(6)] * 2
    # A run may be resumed with another number of optimizers.
    [(model, optimizer)] = [made()]
    again = huohou_torch.schedulers([optimizer], PLAN, guard="raise")
    again.load_state_dict(container.state_dict())
    assert train(model, optimizer, again, 7) == PLANNED[5:]


# What is refused.


def unequal() -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.ones(1)], "lr": 0.1}, {"params": [torch.ones(1)], "lr": 0.2}])


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "length": (lambda _: huohou_torch.scheduler(made()[1], PLAN, updates=13),
               r"^the training loop makes 13 updates, but the plan is for 12: set the trainer's number of updates to 12, "
               r"or plan for 13 \(train\.updates: 13\)\.$"),
    "ratios": (lambda _: huohou_torch.scheduler(unequal(), PLAN),
               r"^the optimizer's groups have different rates \(0\.1, 0\.2\), but the plan has one curve: say what they "
               r"follow, such as groups=\{0: 1, 1: 0\.1\}"),
    "curve": (lambda _: huohou_torch.scheduler(made()[1], PLAN, groups={0: "nothing"}),
              r"^group 0 is to follow the curve nothing, but the plan has these curves: all\.$"),
    "factor": (lambda _: huohou_torch.scheduler(made()[1], PLAN, groups=[0]), r"the factor must be above 0\.$"),
    "mode": (lambda _: huohou_torch.scheduler(made()[1], PLAN, guard="loud"),  # pyright: ignore
             r"^guard is 'loud'; write warn, raise or off\.$"),
    "run file": (lambda folder: huohou_torch.scheduler(made()[1], written(folder / "run.yaml", "schedule: {peak: 1}")),
                 r"there is nothing to read; write data\.train"),
    "file": (lambda folder: huohou_torch.scheduler(made()[1], folder / "absent.json"),
             r"absent\.json cannot be read as a plan\.json: .*; huohou plan run\.yaml --json writes one\.$"),
    "list": (lambda folder: huohou_torch.scheduler(made()[1], written(folder / "list.json", "[]")),
             r"list\.json is no plan\.json\.$"),
    "optimizer": (lambda _: huohou_torch.scheduler(object(), PLAN), r"^object is no torch optimizer\.$"),
}  # fmt: skip


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_a_sentence(case: str, tmp_path: Path) -> None:
    act, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence) as caught:
        act(tmp_path)
    choose_language("zh")
    assert any("一" <= letter <= "鿿" for letter in str(caught.value))


def test_another_length_can_be_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    model, optimizer = made()
    scheduler = huohou_torch.scheduler(optimizer, PLAN, updates=14, horizon="warn")
    assert capsys.readouterr().err.startswith("huohou: the training loop makes 14 updates, but the plan is for 12:")
    train(model, optimizer, scheduler, 14)
    assert [text.en for text in scheduler.guard.said] == [
        "update 13 lies past the end of the plan, which is for 12 updates; the curve stays where it ended."
    ]
