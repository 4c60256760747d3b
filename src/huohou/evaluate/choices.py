"""Which option of a multiple-choice question a model finds most probable.

By letter (the usual way): the prompt shows the question with its options and ends in “答案：”, and the letters A to D
are compared as what comes next. By text: the prompt shows the question alone, and the texts of the options are
compared, each by its logarithm of probability over its bytes in UTF-8, so that long options are not at a disadvantage.
Nothing is drawn, so a score is the same each time. Of equally probable options the first one is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from huohou.data.chat_template import ChatTemplate
from huohou.data.embedded.score import wilson
from huohou.data.tokenizer import Tokenizer
from huohou.evaluate.bank import LETTERS, Bank, Question
from huohou.evaluate.likelihood import log_probabilities, next_log_probabilities
from huohou.evaluate.subjects import GROUPS, subject_of
from huohou.model.opening import Opened

By = Literal["letter", "text"]

TOKENS_AT_ONCE = 8192
"""Rows are computed together up to so many tokens, filling up counted."""

_HEADS = {
    "ceval": "以下是中国关于{}考试的单项选择题，请选出其中的正确答案。\n\n",
    "cmmlu": "以下是关于{}的单项选择题，请直接给出正确答案的选项。\n\n",
}


@dataclass(frozen=True, slots=True)
class Tally:
    """So many right of so many."""

    right: int
    total: int

    @property
    def share(self) -> float:
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval, 95 %."""
        return wilson(self.right, self.total)


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen: by subject the tally and the letters, and the hash of all that the model was shown.

    ``shortened``: questions that were asked with fewer examples than wanted, since the model reads no more; ``cut``:
    those of which even so the beginning was left out.
    """

    subjects: dict[str, Tally]
    chosen: dict[str, str]
    prompts_sha256: str
    shortened: int
    cut: int

    def groups(self, bank: Bank) -> dict[str, tuple[float, Tally]]:
        """(mean of its subjects' shares, all its questions together) of each group that has any."""
        found: dict[str, tuple[float, Tally]] = {}
        for group in GROUPS:
            members = [t for key, t in self.subjects.items() if group in subject_of(bank.table, key).groups()]
            if members:
                found[group] = _together(members)
        return found

    def overall(self) -> tuple[float, Tally]:
        """(mean of all subjects' shares, all questions together)."""
        return _together(list(self.subjects.values()))


def _together(tallies: Sequence[Tally]) -> tuple[float, Tally]:
    right, total = sum(t.right for t in tallies), sum(t.total for t in tallies)
    return sum(t.share for t in tallies) / len(tallies), Tally(right, total)


@dataclass(frozen=True, slots=True)
class _Row:
    """A prompt and its four ways to go on, as tokens: ``before`` is what the four have in common."""

    before: list[int]
    after: list[list[int]]
    sizes: list[int]


def choose(
    opened: Opened,
    bank: Bank,
    *,
    shots: int,
    by: By = "letter",
    template: ChatTemplate | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Choices:
    """Ask every question (of each subject the first ``limit`` ones) with so many examples before it."""
    digest = hashlib.sha256()
    room = opened.model.context
    rows: list[_Row] = []
    places: list[tuple[str, Question]] = []
    shortened = cut = 0
    for key, questions in bank.asked.items():
        examples = bank.examples.get(key, ())[:shots]
        head = _HEADS[bank.kind].format(subject_of(bank.table, key).name)
        for question in questions[:limit]:
            for count in range(len(examples), -1, -1):
                text, endings = _shown(head, question, examples[:count], by)
                row = _row(opened, text, endings, template)
                longest = len(row.before) + max(map(len, row.after))
                if room is None or longest <= room:
                    break
            shortened += count < shots
            if room is not None and longest > room:
                cut += 1
                row = _Row([row.before[0], *row.before[1 + longest - room :]], row.after, row.sizes)
            digest.update(text.encode() + b"\0")
            rows.append(row)
            places.append((key, question))
    scores = _scores(opened, rows, by, progress)
    subjects: dict[str, tuple[int, int]] = dict.fromkeys(bank.asked, (0, 0))
    chosen = dict.fromkeys(bank.asked, "")
    for (key, question), score in zip(places, scores, strict=True):
        best = score.index(max(score))
        right, total = subjects[key]
        subjects[key] = (right + (best == question.answer), total + 1)
        chosen[key] += LETTERS[best]
    return Choices({k: Tally(*v) for k, v in subjects.items()}, chosen, digest.hexdigest(), shortened, cut)


def _shown(head: str, question: Question, examples: Sequence[Question], by: By) -> tuple[str, list[str]]:
    """(prompt, the four ways to go on)."""

    def one(asked: Question) -> str:
        if by == "text":
            return f"{asked.text}\n答案："
        options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, asked.options, strict=True))
        return f"{asked.text}\n{options}\n答案："

    def endings(asked: Question) -> list[str]:
        return list(asked.options) if by == "text" else list(LETTERS)

    shown = "".join(f"{one(example)}{endings(example)[example.answer]}\n\n" for example in examples)
    return head + shown + one(question), endings(question)


def _row(opened: Opened, text: str, endings: Sequence[str], template: ChatTemplate | None) -> _Row:
    tokenizer: Tokenizer = opened.tokenizer
    if template is None:
        begun, special = [opened.begin_id()], False
    else:
        begun, special = [], True
        text = template.prompt([{"role": "user", "content": text}])
    # Prompt and ending are tokenised as one text: where the two meet, a token may take from both.
    whole = [
        [*begun, *ids.tolist()]
        for ids in tokenizer.encode_batch([text + ending for ending in endings], special=special)
    ]
    common = next(
        (i for i, tokens in enumerate(zip(*whole, strict=False)) if len(set(tokens)) > 1), min(map(len, whole))
    )
    # Every ending needs a token to be judged by, and every row one to be read.
    common = max(1, min(common, min(map(len, whole)) - 1))
    sizes = [max(1, len(ending.encode())) for ending in endings]
    return _Row(whole[0][:common], [one[common:] for one in whole], sizes)


def _scores(opened: Opened, rows: Sequence[_Row], by: By, progress: Callable[[int, int], None]) -> list[list[float]]:
    """Of each row the four scores; rows of like length are computed together."""
    found: dict[int, list[float]] = {}
    single = [i for i, row in enumerate(rows) if all(len(one) == 1 for one in row.after)]
    for group in _groups(single, [len(row.before) for row in rows]):
        given = next_log_probabilities(
            opened.model, [rows[i].before for i in group], [[one[0] for one in rows[i].after] for i in group]
        )
        found.update(zip(group, given, strict=True))
        progress(len(found), len(rows))
    others = [i for i in range(len(rows)) if i not in found]
    lengths = [len(row.before) + max(map(len, row.after)) for row in rows]
    for group in _groups(others, [4 * length for length in lengths]):
        whole = [[*rows[i].before, *one] for i in group for one in rows[i].after]
        first = [len(rows[i].before) for i in group for _ in rows[i].after]
        given = [sum(parts) for parts, _ in log_probabilities(opened.model, whole, first)]
        for place, i in enumerate(group):
            found[i] = given[4 * place : 4 * place + 4]
        progress(len(found), len(rows))
    if by == "text":
        for i, row in enumerate(rows):
            found[i] = [score / size for score, size in zip(found[i], row.sizes, strict=True)]
    return [found[i] for i in range(len(rows))]


def _groups(which: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    group: list[int] = []
    for i in sorted(which, key=lambda i: lengths[i]):
        if group and (len(group) + 1) * lengths[i] > TOKENS_AT_ONCE:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
