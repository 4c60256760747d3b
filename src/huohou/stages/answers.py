"""What a language model writes after a prompt, greedily: for questions that have an answer."""

from __future__ import annotations

from collections.abc import Sequence

from huohou.data.tokenizer import Tokenizer
from huohou.model import Llama, generate

BATCH = 32
"""Prompts that are answered together."""


def answers(model: Llama, tokenizer: Tokenizer, prompts: Sequence[str], new_tokens: int = 24) -> list[str]:
    """The most likely continuation of each prompt, at most ``new_tokens`` long, up to the end of the document.

    Each prompt stands at the beginning of a document, as in the stream that the model was trained on.
    """
    end = tokenizer.end_id
    written: list[str] = []
    for first in range(0, len(prompts), BATCH):
        asked = [[end, *tokenizer.encode(prompt).tolist()] for prompt in prompts[first : first + BATCH]]
        written += [tokenizer.decode(ids) for ids in generate(model, asked, new_tokens, stop_ids=(end,))]
    return written
