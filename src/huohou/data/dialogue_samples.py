"""From dialogues to samples: the ids of the whole rendered text, and which of them are learned.

The text is tokenised whole, never prompt and answer apart, so the ids are those that the template and the tokenizer
give together (transformers' ``apply_chat_template`` gives the same). A token is learned if it holds any character of
an answer, its end token included. What follows the last learned token is left out: nothing would be learned from it.

A sample that is too long loses, in this order, its oldest rounds (the system message and the tools stay), the left
part of its last question, and at last whatever is not the answer; only an answer that is itself too long is cut at
its end. So what is left always has something to learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from huohou.data.chat_template import ChatTemplate, Rendered
from huohou.data.dialogue import Dialogue
from huohou.data.tokenizer import Ids, Tokenizer

Learn = Literal["all", "last"]
Why = Literal["refused", "nothing_to_learn", "too_long"]

_BATCH = 1 << 19
_CHARACTERS_A_TOKEN = 256
"""A text with more characters than this for every token that there is room for is too long without being counted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``ids`` [n], for each whether it is ``learned`` and which characters [start, end) of ``text`` it stands for;
    ``cut``: the dialogue was too long."""

    ids: Ids
    learned: NDArray[np.bool_]
    starts: Ids
    ends: Ids
    text: str
    place: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A dialogue that becomes no sample, and why; ``tokens`` where it is too long (None: too long to be counted)."""

    why: Why
    place: str
    reason: str = ""
    tokens: int | None = None


def learned_runs(sample: Sample) -> Iterator[tuple[str, bool]]:
    """The text of a sample in pieces, each learned or not."""
    changes = np.flatnonzero(np.diff(sample.learned)) + 1
    bounds = [0, *changes.tolist(), len(sample.ids)]
    for first, last in pairwise(bounds):
        begin = int(sample.starts[first])
        end = int(sample.starts[last]) if last < len(sample.ids) else int(sample.ends[-1])
        yield sample.text[begin : max(end, int(sample.ends[last - 1]))], bool(sample.learned[first])


class Sampler:
    """Makes samples of at most ``room`` ids."""

    def __init__(
        self, template: ChatTemplate, tokenizer: Tokenizer, room: int, *, learn: Learn = "all", cut: bool = True
    ) -> None:
        self._template, self._tokenizer, self._room = template, tokenizer, room
        self._learn: Learn = learn
        self._cut = cut

    def samples(self, dialogues: Iterable[Dialogue]) -> Iterator[Sample | LeftOut]:
        """One result for each dialogue, in their order."""
        batch: list[Rendered] = []
        size = 0
        for one in self._template.rendered(dialogues, self._learn):
            batch.append(one)
            size += len(one.text)
            if size >= _BATCH:
                yield from self._batch(batch)
                batch, size = [], 0
        yield from self._batch(batch)

    def _batch(self, batch: list[Rendered]) -> Iterator[Sample | LeftOut]:
        countable = [one for one in batch if self._usable(one)]
        encoded = iter(self._tokenizer.encode_spans([one.text for one in countable]))
        for one in batch:
            if one.fault is not None:
                yield LeftOut("refused", one.dialogue.place, one.fault)
            elif not one.spans:
                yield LeftOut("nothing_to_learn", one.dialogue.place)
            else:
                sample = _sample(one, *next(encoded)) if self._usable(one) else None
                yield self._fitting(one, sample)

    def _usable(self, one: Rendered) -> bool:
        return one.fault is None and bool(one.spans) and len(one.text) <= _CHARACTERS_A_TOKEN * self._room

    def _fitting(self, one: Rendered, sample: Sample | None) -> Sample | LeftOut:
        if sample is not None and not sample.learned.any():
            return LeftOut("nothing_to_learn", one.dialogue.place)
        if sample is not None and len(sample.ids) <= self._room:
            return sample
        shorter = self._shortened(one.dialogue) if self._cut else None
        if shorter is None:
            return LeftOut("too_long", one.dialogue.place, tokens=None if sample is None else len(sample.ids))
        return replace(shorter, cut=True)

    def _one(self, dialogue: Dialogue) -> Sample | None:
        """The sample of one dialogue, of whatever length; None where it cannot be said or counted."""
        one = next(self._template.rendered([dialogue], self._learn))
        return _sample(one, *self._tokenizer.encode_spans([one.text])[0]) if self._usable(one) else None

    def _fits(self, sample: Sample | None) -> bool:
        return sample is not None and len(sample.ids) <= self._room

    def _shortened(self, dialogue: Dialogue) -> Sample | None:
        """The dialogue with as little as possible taken away that fits."""
        last = dialogue.answers[-1]
        dialogue = dialogue.without(last + 1, len(dialogue.messages))
        rounds = dialogue.rounds()
        if len(rounds) > 1:
            first = rounds[0]
            # Of the rounds, the first k go; more of them gone is always shorter.
            low, high, best = 1, len(rounds) - 1, None
            while low <= high:
                middle = (low + high) // 2
                sample = self._one(dialogue.without(first, rounds[middle]))
                if self._fits(sample):
                    best, high = sample, middle - 1
                else:
                    low = middle + 1
            if best is not None:
                return best
            dialogue = dialogue.without(first, rounds[-1])
            rounds = dialogue.rounds()
        if rounds:
            found = self._shorter_question(dialogue, rounds[-1])
            if found is not None:
                return found
        most = _CHARACTERS_A_TOKEN // 8 * self._room
        if rounds:
            content = str(dialogue.messages[rounds[-1]].get("content") or "")
            dialogue = dialogue.with_content(rounds[-1], content[-most:])
        for place in dialogue.answers:
            content = str(dialogue.messages[place].get("content") or "")
            if len(content) > most:
                dialogue = dialogue.with_content(place, content[:most])
        sample = self._one(dialogue)
        return None if sample is None else _window(sample, self._room)

    def _shorter_question(self, dialogue: Dialogue, place: int) -> Sample | None:
        """The dialogue with the left part of a question taken away, as little of it as is needed."""
        content = str(dialogue.messages[place].get("content") or "")
        if not self._fits(self._one(dialogue.with_content(place, ""))):
            return None
        low = max(1, len(content) - _CHARACTERS_A_TOKEN // 4 * self._room)
        high, best = len(content), None
        while low <= high:
            middle = (low + high) // 2
            sample = self._one(dialogue.with_content(place, content[middle:]))
            if self._fits(sample):
                best, high = sample, middle - 1
            else:
                low = middle + 1
        return best


def _sample(one: Rendered, ids: Ids, starts: Ids, ends: Ids) -> Sample:
    learned = np.zeros(len(ids), np.bool_)
    for start, end in one.spans:
        learned[np.searchsorted(ends, start, side="right") : np.searchsorted(starts, end, side="left")] = True
    # Nothing stands before the first token that could predict it.
    learned[:1] = False
    places = np.flatnonzero(learned)
    kept = int(places[-1]) + 1 if len(places) else 0
    return Sample(ids[:kept], learned[:kept], starts[:kept], ends[:kept], one.text, one.dialogue.place)


def _window(sample: Sample, room: int) -> Sample:
    """The part of a sample that has room: its end if all that is learned fits, else from shortly before the answer."""
    places = np.flatnonzero(sample.learned)
    first, last = int(places[0]), int(places[-1])
    if last - first + 2 <= room:
        part = slice(last + 1 - room, last + 1)
    else:
        begin = max(0, first - max(1, room // 4))
        part = slice(begin, begin + room)
    learned = sample.learned[part].copy()
    learned[:1] = False
    starts, ends = sample.starts[part], sample.ends[part]
    return replace(sample, ids=sample.ids[part], learned=learned, starts=starts, ends=ends)
