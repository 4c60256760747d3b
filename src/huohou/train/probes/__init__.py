"""Measurements taken inside a run."""

from huohou.train.probes.gradients import clip, global_norm, layer_norms, tensor_norms

__all__ = ["clip", "global_norm", "layer_norms", "tensor_norms"]
