# type: ignore  # It runs in another environment, whose packages are not here.
"""Run in an environment with some version of deepspeed: the rates of its schedulers, from that one file of it."""

import importlib.metadata
import importlib.util
import json
import logging
import sys
import types
from pathlib import Path

import torch


def module():
    """``deepspeed/runtime/lr_schedules.py`` without the rest, which asks for devices while it is imported."""
    place = Path(importlib.util.find_spec("deepspeed").origin).parent / "runtime" / "lr_schedules.py"
    for name in ("deepspeed", "deepspeed.utils"):
        stub = types.ModuleType(name)
        stub.__path__ = []
        stub.logger = logging.getLogger("silent")
        sys.modules[name] = stub
    logging.getLogger("silent").setLevel(logging.CRITICAL)
    sys.modules["deepspeed.utils.torch"] = tensor = types.ModuleType("deepspeed.utils.torch")
    tensor.is_tensor = torch.is_tensor
    specification = importlib.util.spec_from_file_location("lr_schedules", place)
    found = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(found)
    return found


def rates(schedules, kind, params, rate, updates):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = getattr(schedules, kind)(optimizer, **params)
    found = []
    for _ in range(updates):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def main():
    version = importlib.metadata.version("deepspeed")
    schedules = module()
    asked = json.load(sys.stdin)
    json.dump({"version": version, "rates": [rates(schedules, *cell) for cell in asked]}, sys.stdout)


main()
