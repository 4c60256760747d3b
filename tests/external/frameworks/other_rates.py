# type: ignore  # It runs in another environment, whose packages are not here.
"""Run in the environment of one framework: the rates that its own schedule code gives for each cell."""

import importlib.metadata
import json
import math
import sys
import types
import warnings

warnings.simplefilter("ignore")


def optimizer(rate):
    import torch

    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def stepped(used, scheduler, updates):
    found = []
    for _ in range(updates):
        found.append(float(used.param_groups[0]["lr"]))
        used.step()
        try:
            scheduler.step()
        except AssertionError:
            break
    return found


def optax(cells):
    import jax

    jax.config.update("jax_enable_x64", True)
    import optax

    return [
        [float(getattr(optax, name)(**arguments)(count)) for count in range(updates)]
        for name, arguments, updates in cells
    ]


def torchtitan(cells):
    from torchtitan.components.optimizer.lr_scheduler import LRSchedulersContainer

    found = []
    for rate, steps, settings, updates in cells:
        used = optimizer(rate)
        scheduler = LRSchedulersContainer.Config(**settings).build(optimizers=[used], training_steps=steps)
        found.append(stepped(used, scheduler, updates))
    return found


def torchtune(cells):
    from torchtune.training.lr_schedulers import get_cosine_schedule_with_warmup

    found = []
    for rate, warmup, horizon, updates in cells:
        used = optimizer(rate)
        found.append(stepped(used, get_cosine_schedule_with_warmup(used, warmup, horizon), updates))
    return found


def litgpt(cells):
    from litgpt.finetune.full import get_lr_scheduler
    from litgpt.pretrain import get_lr

    found = []
    for program, rate, warmup, updates, accumulation, floor, most in cells:
        if program == "finetune":
            used = optimizer(rate)
            found.append(stepped(used, get_lr_scheduler(used, warmup, most), updates))
        else:
            # The rate of an update is the one of its last micro-batch.
            last = (update * accumulation - 1 for update in range(1, updates + 1))
            found.append([get_lr(rate, it, warmup * accumulation, most, floor) for it in last])
    return found


def megatron(cells):
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

    found = []
    for settings, batch, updates in cells:
        group = {"lr": 0.0, "weight_decay": 0.0, "default_config": True}
        used = types.SimpleNamespace(param_groups=[group])
        scheduler = OptimizerParamScheduler(
            used, start_wd=0.0, end_wd=0.0, wd_incr_steps=1, wd_incr_style="constant", **settings
        )
        rates = []
        for _ in range(updates):
            rates.append(float(group["lr"]))
            scheduler.step(increment=batch)
        found.append(rates)
    return found


def main():
    name = sys.argv[1]
    out, sys.stdout = sys.stdout, sys.stderr
    package = {"megatron": "megatron-core"}.get(name, name)
    rates = globals()[name](json.load(sys.stdin))
    assert all(math.isfinite(rate) for cell in rates for rate in cell)
    json.dump({"version": importlib.metadata.version(package), "rates": rates}, out)


main()
