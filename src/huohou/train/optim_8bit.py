"""AdamW whose two moments take a byte each instead of four (Dettmers et al. 2021), by bitsandbytes.

The moments of large matrices are kept in 8 bits with a scale for every 256 numbers; matrices of fewer than 4096
numbers, norms and biases keep fp32. Paged, the moments may also lie in the memory of the host, from where a GPU
fetches them when its own is full. Everything it remembers is plain tensors, so its state lies in a checkpoint like
any other's, and a run goes on from it bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from huohou.errors import UserError, missing_extra

if TYPE_CHECKING:
    from huohou.train.optim import OptimizerSettings

NAMES = ("adamw8bit", "paged_adamw8bit")
"""Values of ``optimizer.name`` that mean an optimizer of this module."""

_MAPS = ("qmap1", "qmap2")


def check_8bit(name: str, engine: str, device: str) -> None:
    """Raise :class:`UserError` where an optimizer of this name cannot work, before anything is computed."""
    if name not in NAMES:
        return
    if engine in ("fsdp2", "deepspeed"):
        raise UserError(
            f"optimizer.name is {name}, but train.engine {engine} cuts parameters across the blocks of 256 numbers "
            f"that share a scale: write adamw, or train.engine: ddp.",
            f"optimizer.name 为 {name}，但 train.engine {engine} 会把参数从共用一个缩放系数的 256 个数中间切开："
            f"请写 adamw，或 train.engine: ddp。",
        )
    if name == "paged_adamw8bit" and device == "cpu":
        raise UserError(
            "optimizer.name is paged_adamw8bit, but pages go between the memory of a GPU and that of the host, and "
            "this run is on the CPU: write adamw8bit.",
            "optimizer.name 为 paged_adamw8bit，但分页是在 GPU 显存与主机内存之间进行的，而本次训练在 CPU 上："
            "请写 adamw8bit。",
        )


def make_8bit(groups: list[dict[str, object]], settings: OptimizerSettings, *, paged: bool) -> torch.optim.Optimizer:
    """8-bit AdamW over ``groups``, for :func:`huohou.train.optim.make_optimizer`; its rate is 0 until one is set."""
    try:
        from bitsandbytes.optim.adamw import AdamW8bit
    except ImportError:
        raise missing_extra("bitsandbytes", "bitsandbytes") from None

    class Adam8(AdamW8bit):
        """What bitsandbytes remembers as a Python number is a tensor here, and loading keeps every bit and page."""

        def init_state(self, group: dict[str, Any], p: torch.Tensor, gindex: int, pindex: int) -> None:
            super().init_state(group, p, gindex, pindex)
            state = self.state[p]
            # One table of codes serves all parameters, but a file holds each name's own.
            state.update({key: state[key].clone() for key in _MAPS if key in state})

        def update_step(self, group: dict[str, Any], p: torch.Tensor, gindex: int, pindex: int) -> None:
            state = self.state[p]
            state["step"] = int(state["step"])
            super().update_step(group, p, gindex, pindex)
            state["step"] = torch.tensor(float(state["step"]))

        def load_state_dict(self, state_dict: dict[str, Any], move_to_device: bool = True) -> None:
            """Put back the state of the parameters; groups and settings stay as they are."""
            indices = iter(i for group in state_dict["param_groups"] for i in group["params"])
            for number, group in enumerate(self.param_groups):
                for place, parameter in enumerate(group["params"]):
                    given = state_dict["state"].get(next(indices))
                    if given is None:
                        self.state.pop(parameter, None)
                        continue
                    given = {**given, **given.get(self._FSDP_WRAPPED_QUANT_STATE_KEY, {})}
                    # A buffer may be paged memory, which only bitsandbytes can get: it is filled, not replaced.
                    self.init_state(group, parameter, number, place)
                    state = self.state[parameter]
                    state["step"] = given["step"].detach().clone().cpu().float()
                    for key in [key for key in state if key != "step"]:
                        if key not in _MAPS:
                            state[key].copy_(given[key])
                        elif not torch.equal(state[key].cpu(), given[key].cpu()):
                            state[key] = given[key].to(parameter.device)

    return Adam8(
        groups,
        lr=0.0,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        is_paged=paged,
    )
