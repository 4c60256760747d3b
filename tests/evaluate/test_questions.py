"""The embedded corpus's questions: asked as in the corpus, or as a user's message."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from huohou.data.chat_template import open_template
from huohou.data.embedded import questions
from huohou.evaluate import questions as module
from huohou.model.opening import Opened


@pytest.mark.parametrize("template", [None, "chatml"])
def test_a_model_that_knows_is_right(opened: Opened, monkeypatch: pytest.MonkeyPatch, template: str | None) -> None:
    asked: list[str] = []
    wanted = questions(3, 40)

    def knows(model: Any, prompts: list[list[int]], new: int, **_: Any) -> list[list[int]]:
        begun = len(asked)
        asked.extend(opened.tokenizer.decode(prompt) for prompt in prompts)
        # Every second answer is wrong.
        texts = [
            f"{one.answer}。\n问：还有？" if place % 2 else "不知道"
            for place, one in enumerate(wanted[begun : begun + len(prompts)], begun)
        ]
        return [opened.tokenizer.encode(text).tolist() for text in texts]

    monkeypatch.setattr(module, "generate", knows)
    made = None if template is None else open_template(template, opened.tokenizer)
    found = module.ask(opened, 3, 40, template=made)
    assert (found.score.right, found.score.total) == (20, 40)
    assert ("问：" in asked[0]) is (template is None)
    assert ("<|im_start|>" in asked[0]) is (template is not None)
    assert all("\n" not in reply for reply in found.replies)


def test_an_untrained_model_knows_nothing_and_says_it_twice(opened: Opened) -> None:
    one, two = (module.ask(opened, 0, 4) for _ in range(2))
    assert one.replies == two.replies and one.prompts_sha256 == two.prompts_sha256
    assert one.score.right <= 2


def test_a_question_that_is_too_long_loses_its_beginning(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = dataclasses.replace(opened.model.config, max_position_embeddings=60)
    monkeypatch.setattr(opened.model, "config", shorter)
    found = module.ask(opened, 0, 8)
    assert 0 < found.cut < 8 and len(found.replies) == 8
