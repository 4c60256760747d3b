"""A decoder of the LLaMA family that can be read from top to bottom.

RMSNorm (Zhang and Sennrich 2019), rotary positions (Su et al. 2021) in Hugging Face's order of a head's halves,
grouped-query attention (Ainslie et al. 2023), SwiGLU (Shazeer 2020). Mistral is the same where no window limits its
attention, Qwen2 adds biases to queries, keys and values, Qwen3 norms of queries and keys. Every parameter carries the
name that it has in transformers, so state dicts go from one to the other as they stand, and the two agree in logits
and gradients.

Shapes in the comments: B sequences, T positions, D hidden, H query heads, K key/value heads, W the width of a head,
S slots of a cache, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from huohou.model.cache import Cache, LayerCache
from huohou.model.config import ModelConfig
from huohou.model.loss import EAGER, Kernels, loss_of_head, ordinary, with_slope
from huohou.model.rows import is_grown


def frequencies(config: ModelConfig, device: torch.device) -> Tensor:
    """By how much each pair of a head's numbers turns from one position to the next, in radians: [W/2], fp32."""
    exponents = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32) / config.head_dim
    turns = 1.0 / (config.rope_theta**exponents)
    scaling = config.rope_scaling
    if scaling is None:
        return turns
    # Llama 3.1: slow turns are slowed by the factor, fast ones stay, those between are blended.
    lengths = 2 * math.pi / turns
    share = scaling.original_max_position_embeddings / lengths - scaling.low_freq_factor
    share = (share / (scaling.high_freq_factor - scaling.low_freq_factor)).clamp(0.0, 1.0)
    return (1 - share) * turns / scaling.factor + share * turns


def rotation(config: ModelConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles: [B or 1, T, 1, W/2], fp32."""
    angles = positions.float()[..., None, None] * frequencies(config, positions.device)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn a head's first half against its second half: x is [B, T, heads, W]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def document_starts(segments: Tensor) -> Tensor:
    """Where each position's document begins: [B, T] from [B, T], a document being a run of equal numbers."""
    index = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return torch.where(begins, index, 0).cummax(dim=1).values


class RMSNorm(nn.Module):
    """Divide by the root of the mean square, in fp32, and scale."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention; several query heads share one head of keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.width = config.head_dim
        self.grouped = config.num_key_value_heads != config.num_attention_heads
        queries, keys = config.num_attention_heads * self.width, config.num_key_value_heads * self.width
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=config.biased)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=config.biased)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=config.biased)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(self.width, config.rms_norm_eps) if config.normed else nn.Identity()
        self.k_norm = RMSNorm(self.width, config.rms_norm_eps) if config.normed else nn.Identity()

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: LayerCache | None = None
    ) -> Tensor:
        heads = (*x.shape[:2], -1, self.width)
        queries = rotate(self.q_norm(self.q_proj(x).view(heads)), cos, sin)  # [B, T, H, W]
        keys = rotate(self.k_norm(self.k_proj(x).view(heads)), cos, sin)  # [B, T, K, W]
        values = self.v_proj(x).view(heads)
        if cache is not None:
            keys, values = cache.extend(keys, values)  # [B, S, K, W]
        mixed = F.scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=self.grouped,
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """SwiGLU: the gate decides how much of each inner number passes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and MLP, each with a norm before it and a residual around it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: LayerCache | None = None
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, layers and the final norm: what ``LlamaForCausalLM`` calls ``model``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens: nn.Embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        inputs: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Hidden states [B, T, D] after the final norm; arguments as :meth:`Llama.forward`.

        With a ``cache`` (generation), ``positions`` are the slots that the inputs take, and each input sees the
        slots up to its own.
        """
        mask = None
        index = torch.arange(inputs.shape[1], device=inputs.device)
        if cache is not None:
            assert positions is not None
            assert segments is None
            cache.positions = positions
            mask = torch.arange(cache.reach, device=inputs.device) <= positions[:, None, :, None]
        elif segments is not None:
            starts = document_starts(segments)
            positions = index - starts if positions is None else positions
            mask = ((index >= starts[..., None]) & (index <= index[:, None]))[:, None]  # [B, 1, T, T]
        elif positions is None:
            positions = index
        cos, sin = rotation(self.config, positions)
        x = self.embed_tokens(inputs)
        for number, layer in enumerate(self.layers):
            if cache is None:
                x = layer(x, cos, sin, mask)
            else:
                # Texts grow by a token at a time, and a compiled layer would be compiled again for each length.
                x = layer.forward(x, cos, sin, mask, cache.layers[number])
        return self.norm(x)


class Llama(nn.Module):
    """The decoder with its head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head: nn.Linear = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.suppressed: tuple[int, ...] = ()
        """Ids that are never generated: rows that only fill up the vocabulary to a multiple."""
        self._kernels = EAGER
        self.tie()

    def tie(self) -> None:
        """Make the head the embedding itself where the config says so (moving to another device can part them)."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
            if is_grown(self.lm_head):
                self.lm_head.new_weight = self.model.embed_tokens.new_weight

    @property
    def rows(self) -> int:
        """How many ids have a row."""
        return self.config.vocab_size

    @property
    def context(self) -> int:
        """How many positions the model is made for."""
        return self.config.max_position_embeddings

    def get_input_embeddings(self) -> nn.Module:
        """The embedding, under the name that transformers and PEFT ask for."""
        return self.model.embed_tokens

    def set_input_embeddings(self, embedding: nn.Module) -> None:
        """Put another embedding in its place."""
        self.model.embed_tokens = embedding  # pyright: ignore[reportAttributeAccessIssue]

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def set_output_embeddings(self, head: nn.Module) -> None:
        """Put another head in its place."""
        self.lm_head = head  # pyright: ignore[reportAttributeAccessIssue]

    def layers(self) -> list[nn.Module]:
        """The decoder's layers in order: what is sharded, recomputed or compiled as one."""
        return list(self.model.layers)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile every layer and the loss in place (arguments of ``torch.compile``); parameters keep their names.

        The layers are alike and share one graph, so this takes the time of one layer. One graph of the whole decoder
        took four times as long to make and was no faster.
        """
        for layer in self.model.layers:
            layer.compile(*args, **kwargs)
        self._kernels = Kernels(torch.compile(ordinary, *args, **kwargs), torch.compile(with_slope, *args, **kwargs))

    def forward(
        self,
        inputs: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        *,
        targets: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [B, T, V] for token ids [B, T]; with ``targets`` what :meth:`loss` returns.

        ``positions`` ([B, T] or [T]) default to 0…T−1. ``segments`` ([B, T]) numbers the documents of a sequence:
        attention stays inside a run of equal numbers, and positions restart with each run unless they are given.
        """
        hidden = self.model(inputs, positions, segments)
        if targets is None:
            return self.lm_head(hidden)
        return loss_of_head(self.lm_head, hidden, targets, self._kernels)

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The sum of nats over the targets (fp32 scalar) and how many targets there are (int64 scalar).

        ``targets`` [B, T] are the tokens to predict at each position, −100 where there is none. It is the sum, so
        that a batch in parts weighs as the whole: divide by the count of the whole batch.
        """
        return self(inputs, positions, segments, targets=targets)
