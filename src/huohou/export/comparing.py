"""The logits of an exported folder beside those of the live model, base and adapters, that it was made from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from huohou.errors import RunFailed
from huohou.export.opened import Opened
from huohou.language import Text
from huohou.model import Llama, ModelConfig
from huohou.model.adapter_apply import merge_adapters, read_adapter
from huohou.model.initialise import empty
from huohou.model.load import open_model

SEQUENCES, POSITIONS = 4, 32

TOLERANCES = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.08}
"""How far the logits may be from the live model's, root mean square, as a share of how much these vary: what the
rounding of every weight to the type adds up to over some tens of layers, with room."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found: all shares of how much the live model's logits vary."""

    largest: float
    """The largest difference of a logit, as it is."""
    difference: float
    """Result against live model."""
    effect: float
    """Live model against the base without its last adapter; 0 where there is none."""
    tolerance: float

    def said(self) -> Text:
        """The comparison in a sentence."""
        return Text(
            f"logits beside the live model's: largest difference {self.largest:.2e}, root mean square "
            f"{self.difference:.1e} of their spread (allowed {self.tolerance:.0e}) on {SEQUENCES} sequences",
            f"与在线模型的 logits 对比：最大差 {self.largest:.2e}，均方根差为其离散程度的 {self.difference:.1e}"
            f"（允许 {self.tolerance:.0e}），共 {SEQUENCES} 个序列",
        )

    def warning(self) -> Text | None:
        """Where the type rounds away what the adapter learned."""
        if not self.effect or self.difference < self.effect / 2:
            return None
        return Text(
            f"rounding changes the logits about as much as the adapter does ({self.difference:.1e} and "
            f"{self.effect:.1e}): write it with --dtype float32 to keep what was learned.",
            f"舍入对 logits 的改变与适配器相当（{self.difference:.1e} 与 {self.effect:.1e}）："
            "请用 --dtype float32 以保留学到的内容。",
        )


def live_logits(opened: Opened, rows: int) -> tuple[Tensor, float, Tensor]:
    """Token ids, how far the last adapter moves the logits, and the live model's logits [B, T, V] in fp32.

    All adapters but the last are merged in memory, the last stands beside the weights as in training.
    """
    model = _base_model(opened)
    model.eval()
    merge_adapters(model, opened.adapters[:-1])
    before = _logits(model, _ids(_rows(model))) if opened.adapters else None
    if opened.adapters:
        read_adapter(model, opened.adapters[-1])
    ids = _ids(rows)
    logits = _logits(model, ids)
    effect = 0.0
    if before is not None and before.shape[-1] == rows:
        effect = _share(before, logits)
    return ids, effect, logits


def compare(folder: Path, dtype: torch.dtype, live: tuple[Tensor, float, Tensor]) -> Comparison:
    """Compare a folder with logits of :func:`live_logits`; raises :class:`RunFailed` where they are another model's."""
    ids, effect, logits = live
    model = open_model(folder, dtype=torch.float32)
    model.eval()
    found = _logits(model, ids)
    tolerance = TOLERANCES.get(dtype, TOLERANCES[torch.bfloat16])
    same = found.shape == logits.shape
    difference = _share(found, logits) if same else math.inf
    largest = float((found - logits).abs().max()) if same else math.inf
    result = Comparison(largest, difference, effect, tolerance)
    if not difference <= tolerance:
        raise RunFailed(
            f"the result does not compute what the live model does, so nothing was written ({result.said().en}).",
            f"结果与在线模型的计算不一致，因此没有写出任何内容（{result.said().zh}）。",
        )
    return result


def _base_model(opened: Opened) -> nn.Module:
    if opened.folder is not None:
        return open_model(opened.folder, dtype=torch.float32)
    model = empty(ModelConfig.from_huggingface(opened.config), "cpu", torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(opened.tensors.get(name))
    return model


def _rows(model: nn.Module) -> int:
    inputs: nn.Embedding = model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    return inputs.num_embeddings


def _ids(rows: int) -> Tensor:
    """A few sequences over the whole vocabulary, the same ones every time."""
    return torch.randint(0, rows, (SEQUENCES, POSITIONS), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def _logits(model: nn.Module, ids: Tensor) -> Tensor:
    context = model.config.max_position_embeddings if isinstance(model, Llama) else POSITIONS
    return model(ids[:, :context]).float()


def _share(a: Tensor, b: Tensor) -> float:
    """Root mean square of the difference, as a share of how much ``b`` varies."""
    spread = float((b - b.mean(dim=-1, keepdim=True)).square().mean().sqrt())
    return float((a - b).square().mean().sqrt()) / max(spread, 1e-12)
