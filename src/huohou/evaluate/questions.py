"""The questions of the embedded corpus, answered greedily and scored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from huohou.data.chat_template import ChatTemplate
from huohou.data.embedded import Question, Score, questions, score
from huohou.data.embedded.instructions import instruction
from huohou.model.generate import generate
from huohou.model.opening import Opened

AT_ONCE = 32
"""Questions that are answered together."""

NEW_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Asked:
    """The score, what was answered, and the hash of all that was asked.

    ``cut``: questions of which the beginning was left out, since the model reads no more.
    """

    score: Score
    questions: list[Question]
    replies: list[str]
    prompts_sha256: str
    cut: int = 0


def ask(
    opened: Opened,
    seed: int,
    count: int,
    *,
    template: ChatTemplate | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Asked:
    """So many questions of a corpus's seed.

    Without a ``template`` a question stands as in the corpus, at the beginning of a document; with one it is a user's
    message. A reply is the answer's first line.
    """
    asked = questions(seed, count)
    tokenizer = opened.tokenizer
    if template is None:
        texts = [one.prompt for one in asked]
        prompts = [[opened.begin_id(), *ids.tolist()] for ids in tokenizer.encode_batch(texts)]
        stops = () if tokenizer.eos_id is None else (tokenizer.eos_id,)
    else:
        texts = [template.prompt([{"role": "user", "content": instruction(one)}]) for one in asked]
        prompts = [ids.tolist() for ids in tokenizer.encode_batch(texts, special=True)]
        stops = template.end_ids(tokenizer)
    room = opened.model.context
    new = NEW_TOKENS if room is None else min(NEW_TOKENS, max(1, room // 2))
    most = len(max(prompts, key=len)) if room is None else room - new
    cut = sum(len(ids) > most for ids in prompts)
    prompts = [ids if len(ids) <= most else [ids[0], *ids[1 + len(ids) - most :]] for ids in prompts]
    replies: list[str] = []
    for first in range(0, len(prompts), AT_ONCE):
        written = generate(opened.model, prompts[first : first + AT_ONCE], new, stop_ids=stops)
        replies += [tokenizer.decode(ids, special=False).strip().partition("\n")[0] for ids in written]
        progress(len(replies), len(prompts))
    digest = hashlib.sha256("\0".join(texts).encode())
    return Asked(score(replies, asked), asked, replies, digest.hexdigest(), cut)
