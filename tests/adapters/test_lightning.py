"""Lightning, under both of its names, where it is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import huohou
from huohou.errors import UserError

PLAN = huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%")
PLANNED = [PLAN.curve(update) for update in range(1, 13)]

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def library(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip(request.param.partition(".")[0])
    return importlib.import_module(request.param)


def module_of(library: Any, returned: str = "adapter") -> Any:
    from huohou.adapters import lightning as huohou_lightning
    from huohou.adapters import torch as huohou_torch

    class Module(library.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(4, 2)
            self.rates: list[float] = []

        def training_step(self, batch: Any, index: int) -> Any:
            return self.layer(batch[0]).square().mean()

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.rates.append(optimizer.param_groups[0]["lr"])

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters())
            if returned == "list":
                # Lightning then calls the scheduler once an epoch.
                return [optimizer], [huohou_torch.scheduler(optimizer, PLAN)]
            return huohou_lightning.optimizers(self, optimizer, PLAN)

    return Module()


def trainer_of(library: Any, folder: Path, **how: Any) -> Any:
    words: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": 2, "accelerator": "cpu", "devices": 1}
    words |= {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return library.Trainer(default_root_dir=folder, **(words | how))


def loader() -> Any:
    return DataLoader(TensorDataset(torch.randn(24, 4)), batch_size=2)


def test_the_plan_is_applied_with_accumulation_and_over_a_resumption(library: Any, tmp_path: Path) -> None:
    module = module_of(library)
    trainer = trainer_of(library, tmp_path, max_epochs=1, max_steps=-1)
    with pytest.raises(UserError, match="the Lightning trainer makes 6 updates, but the plan is for 12"):
        trainer.fit(module, loader())
    module = module_of(library)
    trainer = trainer_of(library, tmp_path)
    trainer.fit(module, loader())
    guard = trainer.lr_scheduler_configs[0].scheduler.guard
    assert module.rates == [row["rate"] for row in guard.applied] == PLANNED
    assert str(guard.proof) == "planned == applied: 12 of 12 updates"
    assert guard.said == []

    module = module_of(library)
    checkpoints = library.callbacks.ModelCheckpoint(dirpath=tmp_path / "saved", save_top_k=-1, every_n_train_steps=5)
    trainer_of(library, tmp_path, callbacks=[checkpoints]).fit(module, loader())
    [saved] = (tmp_path / "saved").glob("*step=5.ckpt")
    module = module_of(library)
    trainer = trainer_of(library, tmp_path, enable_checkpointing=False)
    trainer.fit(module, loader(), ckpt_path=saved)
    guard = trainer.lr_scheduler_configs[0].scheduler.guard
    assert module.rates == PLANNED[5:]
    assert str(guard.proof) == "planned == applied: 12 of 12 updates"
    assert guard.said == []


def test_a_scheduler_called_once_an_epoch_is_named(library: Any, tmp_path: Path) -> None:
    module = module_of(library, "list")
    trainer = trainer_of(library, tmp_path)
    trainer.fit(module, loader())
    [said] = trainer.lr_scheduler_configs[0].scheduler.guard.said
    assert said.en.startswith("update 2 used the rate 0.00025, the plan says 0.0005: scheduler.step() was never called")
    assert "not once an epoch" in said.en
