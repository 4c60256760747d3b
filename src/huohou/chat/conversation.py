"""What was said so far, and the tokens from which the model goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from huohou.data.chat_template import ChatTemplate
from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError

Message = dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """Messages in order, with a system message before them where there is one.

    Without a ``template`` the model is no chat model: what was said and answered is one plain text that it goes on
    with, and ``begin`` is the token that stands before it.
    """

    tokenizer: Tokenizer
    template: ChatTemplate | None
    begin: int
    system: str | None = None
    messages: list[Message] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add what the user says."""
        self.messages.append({"role": "user", "content": text})

    def answered(self, text: str) -> None:
        """Add what the model said."""
        self.messages.append({"role": "assistant", "content": text})

    def take_back(self) -> str | None:
        """Forget the last thing that the user said, and everything after it; returns it."""
        places = [place for place, message in enumerate(self.messages) if message["role"] == "user"]
        if not places:
            return None
        said = str(self.messages[places[-1]]["content"])
        del self.messages[places[-1] :]
        return said

    def all_messages(self) -> list[Message]:
        """The messages with the system message before them."""
        before: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*before, *self.messages]

    def prompt(self) -> list[int]:
        """The tokens from which the next answer is written."""
        if self.template is not None:
            return self.tokenizer.encode(self.template.prompt(self.all_messages()), special=True).tolist()
        text = "".join(str(message["content"]) for message in self.all_messages())
        return [self.begin, *self.tokenizer.encode(text).tolist()]

    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        if self.template is not None:
            return self.template.end_ids(self.tokenizer)
        return () if self.tokenizer.eos_id is None else (self.tokenizer.eos_id,)

    def fitted(self, room: int | None) -> tuple[list[int], int]:
        """(prompt of at most ``room`` tokens, rounds that were left out for it, the oldest first).

        The messages themselves are kept. Raises ``UserError`` where the last message alone is too long.
        """
        kept = list(self.messages)
        try:
            left_out = 0
            while len(ids := self.prompt()) > (room or len(ids)):
                users = [place for place, message in enumerate(self.messages) if message["role"] == "user"]
                if len(users) < 2:
                    raise UserError(
                        f"this message has {len(ids)} tokens with what stands around it, but the model has room for "
                        f"{room} beside the answer; shorten it, or lower --max-tokens.",
                        f"这条消息连同前后内容共 {len(ids)} 个词元，而除回答外模型只容得下 {room} 个；"
                        "请缩短它，或减小 --max-tokens。",
                    )
                del self.messages[: users[1]]
                left_out += 1
            return ids, left_out
        finally:
            self.messages[:] = kept
