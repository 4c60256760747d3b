"""What the page shows can be typed: each piece of code is run as it stands, and is at most three lines long."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import huohou
from huohou.adapters.torch import CurveScheduler, CurveSchedulers

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")


def pieces(tag: str) -> dict[str, list[str]]:
    """The code of a language under each heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for match in re.finditer(r"^## ([^\n]+)$|^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        elif match[2] == tag:
            found.setdefault(heading, []).append(match[3])
    return found


CODE = pieces("python")
[RUN_FILE] = pieces("yaml")[""]


@pytest.fixture
def run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> huohou.Curve:
    """The page's run file in the working folder, and its curve."""
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(RUN_FILE, encoding="utf-8")
    return huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%").curve


def parts() -> dict[str, Any]:
    model = torch.nn.Linear(4, 2)
    return {"torch": torch, "model": model, "optimizer": torch.optim.AdamW(model.parameters())}


def of_two_groups() -> dict[str, Any]:
    from huohou.adapters import torch as huohou_torch

    groups = [{"params": [torch.ones(1)], "lr": lr} for lr in (1.0, 0.1)]
    return {"huohou_torch": huohou_torch, "optimizer": torch.optim.AdamW(groups)}


def of_deepspeed() -> dict[str, Any]:
    def initialize(*, model: Any, optimizer: Any, config: Any, lr_scheduler: Any) -> Any:
        return SimpleNamespace(lr_scheduler=lr_scheduler(optimizer)), optimizer, None, None

    return {**parts(), "config": {}, "deepspeed": SimpleNamespace(initialize=initialize)}


def of_accelerate() -> dict[str, Any]:
    pytest.importorskip("accelerate")
    from accelerate import Accelerator

    return {**parts(), "accelerator": Accelerator(cpu=True), "loader": torch.utils.data.DataLoader([1, 2])}  # pyright: ignore


CASES: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[dict[str, Any]], Any]]] = {
    "Plain PyTorch": (parts, lambda made: made["scheduler"]),
    "Accelerate": (of_accelerate, lambda made: made["scheduler"].scheduler),
    "DeepSpeed": (of_deepspeed, lambda made: made["engine"].lr_scheduler),
    "Lightning": (parts, lambda made: made["configure_optimizers"](made["model"])["lr_scheduler"]["scheduler"]),
    "torchtitan": (lambda: {"optimizers": [parts()["optimizer"]]}, lambda made: made["lr_schedulers"]),
    "Parameter groups": (of_two_groups, lambda made: made["scheduler"]),
}


def test_every_framework_takes_at_most_three_lines() -> None:
    assert set(CODE) == {*CASES, "Transformers and TRL", "optax", "The drift guard"}
    assert all(len(code.splitlines()) <= 3 for codes in CODE.values() for code in codes)


@pytest.mark.parametrize(
    "heading", [pytest.param(h, marks=pytest.mark.heavy if h == "Accelerate" else ()) for h in CASES]
)
@pytest.mark.filterwarnings("ignore")
def test_what_the_page_shows_applies_the_plan(heading: str, run_file: huohou.Curve) -> None:
    begin, scheduler_of = CASES[heading]
    made = begin()
    [code] = CODE[heading]
    exec(compile(code, heading, "exec"), made)
    scheduler = scheduler_of(made)
    assert isinstance(scheduler, CurveScheduler | CurveSchedulers)
    rates = scheduler.get_last_lr()
    assert rates[0] == run_file(1)
    if heading == "Parameter groups":
        assert rates[1] == pytest.approx(run_file(1) / 10)


def test_the_record_is_written(run_file: huohou.Curve) -> None:
    made = parts()
    exec(CODE["Plain PyTorch"][0] + "optimizer.step()\n" + CODE["The drift guard"][0], made)
    assert Path("applied.jsonl").read_text("utf-8") == '{"update": 1, "rate": 0.00025, "skipped": false}\n'


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
def test_the_trainers_lines(run_file: huohou.Curve, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from loops import trainer_of  # pyright: ignore[reportMissingImports]

    exec(CODE["Transformers and TRL"][0], {"trainer": trainer_of(tmp_path, {})})
    assert "planned == applied: 12 of 12 updates\n" in capfd.readouterr().err


def test_the_lines_of_optax(run_file: huohou.Curve) -> None:
    optax = pytest.importorskip("optax")
    made: dict[str, Any] = {"optax": optax}
    exec(CODE["optax"][0], made)
    assert made["schedule"](0) == pytest.approx(run_file(1))
