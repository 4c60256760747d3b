"""Weights that minimind saved as ``.pth``: names and shape of a LLaMA, found out from the tensors themselves.

minimind saves no configuration beside its weights. Widths follow from the tensors; what does not (heads, rotary base,
epsilon) is what minimind has always used, told apart by generation, unless a ``config.json`` is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from huohou.errors import UserError
from huohou.model.config import ModelConfig
from huohou.model.pickled import unpickled
from huohou.model.trust import check_config
from huohou.model.weights import Weights, read_json

# The first generation kept the names of Meta's and llama2.c's code, and its order of a head's numbers.
_FIRST = (
    (re.compile(r"tok_embeddings\.weight"), "model.embed_tokens.weight"),
    (re.compile(r"output\.weight"), "lm_head.weight"),
    (re.compile(r"norm\.weight"), "model.norm.weight"),
    (re.compile(r"layers\.(\d+)\.attention\.w([qkvo])\.weight"), r"model.layers.\1.self_attn.\2_proj.weight"),
    (re.compile(r"layers\.(\d+)\.feed_forward\.w1\.weight"), r"model.layers.\1.mlp.gate_proj.weight"),
    (re.compile(r"layers\.(\d+)\.feed_forward\.w2\.weight"), r"model.layers.\1.mlp.down_proj.weight"),
    (re.compile(r"layers\.(\d+)\.feed_forward\.w3\.weight"), r"model.layers.\1.mlp.up_proj.weight"),
    (re.compile(r"layers\.(\d+)\.attention_norm\.weight"), r"model.layers.\1.input_layernorm.weight"),
    (re.compile(r"layers\.(\d+)\.ffn_norm\.weight"), r"model.layers.\1.post_attention_layernorm.weight"),
)
_DERIVED = re.compile(r".*(freqs_cis|freqs_cos|freqs_sin|pos_cis|inv_freq|attention\.mask|\.mask)")
_VOCABULARY = "model.embed_tokens.weight"


class Renamed:
    """Tensors of a file under Hugging Face's names, a head's numbers in its order."""

    def __init__(self, weights: Weights, names: Mapping[str, str], heads: Mapping[str, int]) -> None:
        self._weights = weights
        self._names = names
        self._heads = heads
        """Names of matrices whose heads' numbers stand in pairs, and how many heads they have."""

    def names(self) -> list[str]:
        return list(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._weights.shape(self._names[name])

    def dtype(self, name: str) -> torch.dtype:
        return self._weights.dtype(self._names[name])

    def get(self, name: str) -> Tensor:
        tensor = self._weights.get(self._names[name])
        if name not in self._heads:
            return tensor
        pairs = tensor.view(self._heads[name], -1, 2, tensor.shape[1])
        return pairs.transpose(1, 2).reshape(tensor.shape)


def open_minimind(file: Path, config: Path | None = None) -> tuple[Renamed, dict[str, Any]]:
    """The tensors of a ``.pth``, and their ``config.json``; ``config`` is such a file, or a folder with one.

    Raises ``UserError`` for a file that is more than tensors (nothing in it is executed), and for tensors that are no
    LLaMA: experts, or names of another model.
    """
    weights = unpickled(file)
    names: dict[str, str] = {}
    first = any(name.startswith(("tok_embeddings", "layers.")) for name in weights.names())
    for name in weights.names():
        if not _DERIVED.fullmatch(name):
            names[_first_name(name) if first else name] = name
    shapes = {new: weights.shape(old) for new, old in names.items()}
    if _VOCABULARY not in shapes or "model.layers.0.self_attn.q_proj.weight" not in shapes:
        raise UserError(
            f"{file} does not hold a LLaMA: there is no {_VOCABULARY} in it (but {next(iter(shapes), 'nothing')}).",
            f"{file} 中不是 LLaMA：没有 {_VOCABULARY}（有的是 {next(iter(shapes), '空')}）。",
        )
    experts = next((name for name in shapes if ".experts." in name or "shared_expert" in name), None)
    if experts:
        raise UserError(
            f"{file} is a mixture of experts ({experts}), which is no LLaMA and cannot be exported.",
            f"{file} 是混合专家模型（{experts}），不是 LLaMA，无法导出。",
        )
    values = _given(config) if config is not None else _found_out(shapes, weights, names, first, file)
    parsed = ModelConfig.from_huggingface(values, str(config or file))
    if parsed.tie_word_embeddings:
        names.pop("lm_head.weight", None)
    heads: dict[str, int] = {}
    if first:
        for name in names:
            if name.endswith("q_proj.weight"):
                heads[name] = parsed.num_attention_heads
            elif name.endswith("k_proj.weight"):
                heads[name] = parsed.num_key_value_heads
    return Renamed(weights, names, heads), values


def _first_name(name: str) -> str:
    for pattern, new in _FIRST:
        if pattern.fullmatch(name):
            return pattern.sub(new, name)
    return name


def _given(config: Path) -> dict[str, Any]:
    path = config / "config.json" if config.is_dir() else config
    values = dict(read_json(path))
    check_config(values, path)
    return values


def _found_out(
    shapes: Mapping[str, tuple[int, ...]], weights: Weights, names: Mapping[str, str], first: bool, file: Path
) -> dict[str, Any]:
    vocabulary, width = shapes[_VOCABULARY]
    queries = shapes["model.layers.0.self_attn.q_proj.weight"][0]
    keys = shapes["model.layers.0.self_attn.k_proj.weight"][0]
    normed = shapes.get("model.layers.0.self_attn.q_norm.weight")
    # (query heads, rotary base) by how many query heads share one of keys; newer ones have the width in their norms.
    known = {2: (16, 1e4), 4: (8, 1e6)} if first else {1: (8, 1e6), 2: (8, 1e6), 4: (8, 1e6)}
    heads, theta = known.get(queries // keys, (0, 0.0)) if normed is None else (queries // normed[0], 1e6)
    if not heads or queries % heads or keys % (queries // heads) or (queries // heads) % 2:
        raise UserError(
            f"{file}: {queries} rows of queries and {keys} of keys are no shape that minimind used; give the model's "
            "config.json with --base.",
            f"{file}：查询有 {queries} 行、键有 {keys} 行，不是 minimind 用过的形状；"
            "请用 --base 给出模型的 config.json。",
        )
    head = queries // heads
    head_name = "lm_head.weight"
    tied = head_name not in shapes or torch.equal(weights.get(names[head_name]), weights.get(names[_VOCABULARY]))
    return {
        "model_type": "qwen3" if normed else "llama",
        "architectures": ["Qwen3ForCausalLM" if normed else "LlamaForCausalLM"],
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shapes["model.layers.0.mlp.gate_proj.weight"][0],
        "num_hidden_layers": 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("model.layers.")),
        "num_attention_heads": heads,
        "num_key_value_heads": keys // head,
        "head_dim": head,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6 if normed else 1e-5,
        "rope_theta": theta,
        "max_position_embeddings": 8192 if first else 32768,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
