"""Where in the text of a dialogue the assistant's answers stand.

An answer is all that the template writes from the end of the generation prompt to the beginning of the next message:
its text, its reasoning and tool calls where they are shown, and the token that ends it. A template that marks them
with ``{% generation %}`` tags is believed. For one without them the text is compared with the texts of the dialogue's
beginnings: the dialogue up to the answer with its generation prompt, and up to the answer's end. Both must be
beginnings of the whole text; where a template writes earlier answers differently once more messages follow (it leaves
their reasoning out), the answer's end is found as the longest common part that holds the answer. What cannot be told
for certain is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huohou.data.template_engine import Engine, Message, TemplateFault

Span = tuple[int, int]


def answer_spans(
    engine: Engine, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None, answers: Sequence[int]
) -> tuple[str, list[Span]]:
    """The text, and where in it the messages at the places ``answers`` stand, in characters."""
    text, parts = engine.render(messages, tools)
    _all_shown(text, messages)
    if not answers:
        return text, []
    if engine.marks_answers:
        return text, _marked(parts, messages, answers)
    spans: list[Span] = []
    for place in answers:
        start = _start(engine, text, messages, tools, place)
        end = _end(engine, text, messages, tools, place, start)
        if not start < end or (spans and start < spans[-1][1]):
            raise TemplateFault(_UNCLEAR.format(place + 1))
        spans.append((start, end))
    for place, (start, end) in zip(answers, spans, strict=True):
        if _core(messages[place]) not in text[start:end]:
            raise TemplateFault(_UNCLEAR.format(place + 1))
    return text, spans


_UNCLEAR = (
    "without {{% generation %}} tags it cannot be told where the answer in message {} begins and ends, because the "
    "template writes it differently when other messages follow"
)


def _core(message: Message) -> str:
    """The text of a message that no template leaves out; some leave out what was thought before it."""
    content = str(message.get("content") or "")
    return (content.rpartition("</think>")[2] if message["role"] == "assistant" else content).strip()


def _all_shown(text: str, messages: Sequence[Message]) -> None:
    for place, message in enumerate(messages):
        # What a tool returned is written as JSON by some templates.
        if message["role"] != "tool" and _core(message) not in text:
            raise TemplateFault(f"it leaves out the text of message {place + 1} ({message['role']})")


def _marked(parts: list[Span], messages: Sequence[Message], answers: Sequence[int]) -> list[Span]:
    written = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    if list(answers) == written and parts:
        return parts
    if len(parts) == len(written):
        return [part for place, part in zip(written, parts, strict=True) if place in answers]
    raise TemplateFault(f"its generation tags mark {len(parts)} parts, the assistant has {len(written)} messages")


def _start(
    engine: Engine, text: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None, place: int
) -> int:
    """Where the answer begins: behind the generation prompt."""
    before = messages[:place]
    prompt = engine.render(before, tools, prompt=True)[0]
    if text.startswith(prompt):
        return len(prompt)
    # The prompt holds more than such an answer begins with (a <think> that is left out of what is past). Two made-up
    # answers in the same place show what every answer there begins with.
    probes: list[str] = []
    for probe in ("α", "β"):
        changed = [*before, {**messages[place], "content": probe}, *messages[place + 1 :]]
        probes.append(engine.render(changed, tools)[0])
    head = _common(prompt, *probes)
    plain = engine.render(before, tools)[0]
    if len(head) > len(_common(plain, head)) and text.startswith(head):
        return len(head)
    raise TemplateFault(_UNCLEAR.format(place + 1))


def _common(*texts: str) -> str:
    """The longest beginning of all these texts that does not break a tag such as ``<|end|>`` off."""
    first, shortest = texts[0], min(map(len, texts))
    # Halving finds the place among many characters without looking at each of them in Python.
    low, high = 0, shortest
    while low < high:
        middle = (low + high + 1) // 2
        if all(text[low:middle] == first[low:middle] for text in texts):
            low = middle
        else:
            high = middle - 1
    begun = first.rfind("<", 0, low)
    # A tag that all of them finish is no broken one, and what is far behind a lone < is none either.
    broken = begun >= max(0, low - 40) and ">" not in first[begun:low]
    whole = all(text[begun:].partition(">")[0] == first[begun:].partition(">")[0] for text in texts)
    return first[:begun] if broken and not whole else first[:low]


def _end(
    engine: Engine,
    text: str,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]] | None,
    place: int,
    start: int,
) -> int:
    """Where the answer ends."""
    if place == len(messages) - 1:
        return len(text)
    ended = engine.render(messages[: place + 1], tools)[0]
    if text.startswith(ended):
        return len(ended)
    core = _core(messages[place]) or str(messages[place].get("tool_calls", [{}])[0].get("function", {}).get("name", ""))
    begins = text[start : start + 8]
    at = ended.find(begins, min(start, len(ended)))
    while at >= 0:
        tail = ended[at:]
        if core in tail and text.startswith(tail, start):
            return start + len(tail)
        at = ended.find(begins, at + 1)
    # Where something follows the last message of all (an end token of the whole text), it follows no prompt.
    common = _common(text, ended, engine.render(messages[: place + 1], tools, prompt=True)[0])
    behind = common.rfind(core, start) + len(core)
    if core in common[start:] and behind < len(common):
        return len(common)
    raise TemplateFault(_UNCLEAR.format(place + 1))
