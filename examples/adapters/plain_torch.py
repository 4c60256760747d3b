"""huohou's curve in a plain PyTorch loop: ``python examples/adapters/plain_torch.py``.

The plan is made in place here; a run file or a plan.json, by its path, does as well.
"""

from __future__ import annotations

import torch

import huohou
from huohou.adapters import torch as huohou_torch

UPDATES = 100


def main() -> huohou_torch.CurveScheduler:
    """Fit a line, and return the scheduler with what its guard saw."""
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    plan = huohou.plan(updates=UPDATES, peak="1e-2", warmup="10%")
    scheduler = huohou_torch.scheduler(optimizer, plan, updates=UPDATES)
    weights = torch.randn(8, 1)
    for update in range(1, UPDATES + 1):
        inputs = torch.randn(32, 8)
        loss = (model(inputs) - inputs @ weights).square().mean()
        loss.backward()
        rate = scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if update % 20 == 0:
            print(f"update {update}  rate {rate:.6f}  loss {loss.item():.4f}")
    return scheduler


if __name__ == "__main__":
    main()
