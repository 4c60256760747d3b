"""Scheduler calls of torch and transformers in a Python file: their arguments by name, and what a call holds."""

from __future__ import annotations

import ast

from huohou.audit.python import Call, Module
from huohou.audit.values import Value

TORCH = {
    "LinearLR": ("optimizer", "start_factor", "end_factor", "total_iters"),
    "ConstantLR": ("optimizer", "factor", "total_iters"),
    "CosineAnnealingLR": ("optimizer", "T_max", "eta_min"),
    "ExponentialLR": ("optimizer", "gamma"),
    "StepLR": ("optimizer", "step_size", "gamma"),
    "MultiStepLR": ("optimizer", "milestones", "gamma"),
    "PolynomialLR": ("optimizer", "total_iters", "power"),
    "CosineAnnealingWarmRestarts": ("optimizer", "T_0", "T_mult", "eta_min"),
    "CyclicLR": ("optimizer", "base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma"),
    "OneCycleLR": ("optimizer", "max_lr", "total_steps", "epochs", "steps_per_epoch", "pct_start", "anneal_strategy"),
    "ChainedScheduler": ("schedulers", "optimizer"),
    "SequentialLR": ("optimizer", "schedulers", "milestones"),
    "LambdaLR": ("optimizer", "lr_lambda"),
}
_WARMUP = ("optimizer", "num_warmup_steps", "num_training_steps")
TRANSFORMERS = {
    "get_scheduler": ("name", *_WARMUP, "scheduler_specific_kwargs"),
    "get_constant_schedule": ("optimizer",),
    "get_constant_schedule_with_warmup": ("optimizer", "num_warmup_steps"),
    "get_linear_schedule_with_warmup": _WARMUP,
    "get_cosine_schedule_with_warmup": (*_WARMUP, "num_cycles"),
    "get_cosine_with_hard_restarts_schedule_with_warmup": (*_WARMUP, "num_cycles"),
    "get_polynomial_decay_schedule_with_warmup": (*_WARMUP, "lr_end", "power"),
    "get_inverse_sqrt_schedule": ("optimizer", "num_warmup_steps", "timescale"),
    "get_cosine_with_min_lr_schedule_with_warmup": (*_WARMUP, "num_cycles", "last_epoch", "min_lr", "min_lr_rate"),
    "get_cosine_with_min_lr_schedule_with_warmup_lr_rate": (
        *_WARMUP, "num_cycles", "last_epoch", "min_lr", "min_lr_rate", "warmup_lr_rate"
    ),
    "get_wsd_schedule": (
        "optimizer", "num_warmup_steps", "num_decay_steps", "num_training_steps", "num_stable_steps", "warmup_type",
        "decay_type", "min_lr_ratio", "num_cycles",
    ),
}  # fmt: skip
KINDS = {
    "get_constant_schedule": "constant",
    "get_constant_schedule_with_warmup": "constant_with_warmup",
    "get_linear_schedule_with_warmup": "linear",
    "get_cosine_schedule_with_warmup": "cosine",
    "get_cosine_with_hard_restarts_schedule_with_warmup": "cosine_with_restarts",
    "get_polynomial_decay_schedule_with_warmup": "polynomial",
    "get_inverse_sqrt_schedule": "inverse_sqrt",
    "get_cosine_with_min_lr_schedule_with_warmup": "cosine_with_min_lr",
    "get_cosine_with_min_lr_schedule_with_warmup_lr_rate": "cosine_warmup_with_min_lr",
    "get_wsd_schedule": "warmup_stable_decay",
}
SHAPE = ("num_cycles", "lr_end", "power", "timescale", "min_lr", "min_lr_rate", "warmup_lr_rate", "num_decay_steps",
         "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio")  # fmt: skip
"""The arguments of transformers' functions that are no lengths of the run."""
HOLDERS = ("SequentialLR", "ChainedScheduler")
ABSOLUTE = ("LambdaLR", "CyclicLR", "OneCycleLR", "CosineAnnealingWarmRestarts", *TRANSFORMERS)
"""Schedulers that write a rate from the initial one, and do not multiply the one that is there."""


def parts_of(call: Call, module: Module) -> list[Call]:
    """The scheduler calls that a SequentialLR or ChainedScheduler names or holds."""
    value = arguments(call).get("schedulers")
    if value is None:
        return []
    try:
        tree = ast.parse(value.written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    members = tree.elts if isinstance(tree, ast.List | ast.Tuple) else []
    place = next(number for number, each in enumerate(module.calls) if each is call)
    found: list[Call] = []
    for member in members:
        wanted = ast.unparse(member.func if isinstance(member, ast.Call) else member)
        part = None
        if isinstance(member, ast.Call):
            inner = (module.calls[number] for number in range(place + 1, len(module.calls)))
            part = next(
                (
                    each
                    for each in inner
                    if each.name == wanted and _same(each, member) and not any(each is other for other in found)
                ),
                None,
            )
        else:
            earlier = (module.calls[number] for number in range(place - 1, -1, -1))
            part = next((each for each in earlier if each.target == wanted), None)
        if part is None:
            return []
        found.append(part)
    return found


def _same(call: Call, node: ast.Call) -> bool:
    """Whether a call of the file has the arguments that are written here."""
    return [value.written for value in call.positional] == [ast.unparse(argument) for argument in node.args] and all(
        call.settings.values[each.arg].written == ast.unparse(each.value)
        for each in node.keywords
        if each.arg is not None and each.arg in call.settings
    )


def arguments(call: Call) -> dict[str, Value]:
    """The arguments by name, those that are given by place too."""
    names = TORCH.get(call.last_name) or TRANSFORMERS.get(call.last_name) or ()
    found = dict(zip(names, call.positional, strict=False))
    return found | {key: call.settings.values[key] for key in call.settings}
