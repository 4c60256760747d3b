"""The drift guard: compares the rate that each update used with the plan, and says at once what is wrong and why.

It counts the optimizer's updates itself and believes no scheduler. Each kind of trouble is said once. What was used is
kept as a record that ``huohou audit --log`` reads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from torch.optim import Optimizer

from huohou.adapters import causes, sentences
from huohou.adapters.causes import Call
from huohou.adapters.record import Record
from huohou.adapters.saying import Drift, Mode, check_mode, tell
from huohou.language import Text
from huohou.schedule.curve import Curve


class Watched(Protocol):
    """What the guard asks of a scheduler."""

    last_epoch: int
    optimizer: Optimizer

    def curve(self, index: int) -> tuple[str, Curve]: ...
    def meant(self, index: int, update: int) -> float: ...
    def place(self, group: dict[str, Any]) -> int | None: ...
    def written(self, index: int) -> float: ...
    def adopt(self) -> None: ...
    def rewrite(self) -> None: ...
    def made(self) -> int: ...
    def get_last_lr(self) -> list[float]: ...


class Guard:
    """The guard of one optimizer.

    Attributes:
        done: Updates that were made, those before a resumption included.
        as_planned: How many of them used the planned rates.
        skips: Skipped updates, as far as they were seen.
        said: What it has said, in order.
    """

    def __init__(
        self,
        scheduler: Watched,
        *,
        updates: int | None,
        mode: Mode = "warn",
        follow: bool = False,
        called_once: bool = True,
        announce: bool = True,
    ) -> None:
        check_mode(mode, "guard")
        self.mode: Mode = mode
        self.updates = updates
        self.done = 0
        self.as_planned = 0
        self.skips = 0
        self.said: list[Text] = []
        self._scheduler = scheduler
        self._follow, self._called_once, self._announce = follow, called_once, announce
        self._base = 0
        self._calls: list[Call] = []
        self._ever = False
        self._skips_since = 0
        self._gradients: causes.Mark = None
        self._kinds: set[str] = set()
        self._first_wrong: tuple[int, float, float] | None = None
        self._wrong_now = False
        self._loaded = self._optimizer_loaded = False
        self._record = Record()
        self._finished = False

    # What happens.

    def before_update(self, optimizer: Optimizer) -> None:
        """Groups that were added meanwhile get their rate before they are stepped."""
        self._scheduler.adopt()
        self._gradients = mark_of(optimizer)

    def stepped(self, call: Call) -> None:
        """``step()`` of the scheduler was called, and has not written anything yet."""
        self._ever = True
        if self.done == self.updates:
            self.finish()
        self._judge_others()
        if len(self._calls) < 1000:
            self._calls.append(replace(call, gradients=mark_of(self._scheduler.optimizer)))

    def skipped(self) -> None:
        """An update was skipped."""
        self.skips += 1
        self._skips_since += 1

    def used(self, update: int, groups: list[dict[str, Any]]) -> None:
        """These groups were stepped, as part of this process's update of that number."""
        first = self._base + update != self.done
        if first:
            self.done = self._base + update
            self._wrong_now = False
        if self.mode == "off":
            self._next(first, groups)
            return
        found = [(place, float(group["lr"])) for group in groups if (place := self._scheduler.place(group)) is not None]
        wrong = [(place, held) for place, held in found if held != self._scheduler.meant(place, self.done)]
        if first:
            self._record.begin(self.done)
        for place, held in found:
            self._record.add(self._scheduler.curve(place)[0], held, right=(place, held) not in wrong)
        if wrong:
            place, held = wrong[0]
            self._first_wrong = self._first_wrong or (self.done, held, self._scheduler.meant(place, self.done))
        if first:
            self.as_planned += not wrong
        elif wrong and not self._wrong_now:
            self.as_planned -= 1
        self._wrong_now = self._wrong_now or bool(wrong)
        try:
            self._judge(wrong, first)
        finally:
            self._next(first, groups)

    def _next(self, first: bool, groups: list[dict[str, Any]]) -> None:
        if first:
            self._calls, self._skips_since = [], 0
        # Where ZeRO steps group by group, the last line waits until the scheduler is called.
        if self.done == self.updates and len(groups) == len(self._scheduler.get_last_lr()):
            self.finish()

    def optimizer_loaded(self, optimizer: Optimizer) -> None:
        """The optimizer took a state, which brought the rates of another time with it."""
        self._scheduler.rewrite()
        self._optimizer_loaded = bool(optimizer.state)

    # Judging.

    def _judge(self, wrong: list[tuple[int, float]], first: bool) -> None:
        update, scheduler = self.done, self._scheduler
        if first:
            self._judge_resumption()
            if self.updates is not None and update > self.updates:
                self.say("end", sentences.past_the_end(update, self.updates))
            self._judge_clock(wrong)
        foreign = [(place, held) for place, held in wrong if held != scheduler.written(place)]
        if foreign:
            place, held = foreign[0]
            curve = scheduler.curve(place)[1]
            cause = causes.of_another_owner(scheduler.optimizer, scheduler, held=held, update=update, planned=curve)
            self.say("owner", sentences.with_cause(self._head(place, held), cause))

    def _judge_clock(self, wrong: list[tuple[int, float]]) -> None:
        update, stands = self.done, self._scheduler.last_epoch + 1
        once = 1 + self._skips_since
        if self._follow and stands == update:
            if self._called_once and len(self._calls) > once:
                cause = self._clock_cause(stands)
                cause = Text(cause.en + sentences.HARMLESS.en, cause.zh + sentences.HARMLESS.zh)
                self.say("clock", sentences.with_cause(sentences.before(update), cause))
            return
        if stands == update:
            return
        ours = [(place, held) for place, held in wrong if held == self._scheduler.written(place)]
        head = self._head(*ours[0]) if ours else sentences.stood(update, stands)
        self.say("clock", sentences.with_cause(head, self._clock_cause(stands)))

    def _judge_others(self) -> None:
        """Somebody else wrote a rate, although it was never used: the scheduler writes its own over it."""
        groups = self._scheduler.optimizer.param_groups
        for group in groups if self.mode != "off" else ():
            place = self._scheduler.place(group)
            if place is None or float(group["lr"]) == self._scheduler.written(place):
                continue
            owners = causes.other_owners(self._scheduler.optimizer, self._scheduler)
            self.say("owner", sentences.replaced(self.done, float(group["lr"]), owners))
            return

    def _clock_cause(self, stands: int) -> Text:
        return causes.of_the_clock(
            update=self.done,
            stands=stands,
            calls=self._calls,
            gradients=self._gradients,
            ever=self._ever,
            skipped=self._skips_since,
        )

    def _judge_resumption(self) -> None:
        """The optimizer goes on, but the curve begins again: its state was not loaded."""
        if not self._optimizer_loaded or self._loaded or self._base:
            return
        self._optimizer_loaded = False
        before = self._own_count() - 1
        # A library that allocates the state with a step of its own may be one ahead.
        if before > self.done:
            self.say("resume", sentences.begins_again(before))

    def _own_count(self) -> int:
        """The steps that the optimizer itself counts, as those of Adam's kind do."""
        steps = next((one["step"] for one in self._scheduler.optimizer.state.values() if "step" in one), 0)
        return int(steps)

    def unseen(self) -> int:
        """Updates that the optimizer counts itself although none could be seen, as when its step is compiled."""
        if self._scheduler.made() or self._loaded or self._optimizer_loaded:
            return 0
        count = self._own_count()
        if count < 2:
            return 0
        self.say("unseen", sentences.unseen(count))
        return count

    def _head(self, place: int, held: float) -> Text:
        name, _ = self._scheduler.curve(place)
        several = len(self._scheduler.optimizer.param_groups) > 1
        return sentences.used(self.done, held, self._scheduler.meant(place, self.done), name if several else None)

    # Saying.

    def say(self, kind: str, text: Text) -> None:
        """Say something, each kind once; with ``raise`` it stops the run.

        Raises:
            Drift: The mode is ``raise``.
        """
        if kind in self._kinds or self.mode == "off":
            return
        self._kinds.add(kind)
        self.said.append(text)
        if self.mode == "raise":
            raise Drift(text.en, text.zh)
        tell(text)

    def note(self, text: Text) -> None:
        """Say something that is no drift."""
        if self.mode != "off" and text not in self.said:
            self.said.append(text)
            tell(text)

    @property
    def proof(self) -> Text:
        """The line that a run ends with."""
        return sentences.proof(
            self.done,
            self.updates,
            as_planned=self.as_planned,
            skips=self.skips,
            first_wrong=self._first_wrong,
        )

    def finish(self) -> Text:
        """Say the line that a run ends with, once, and return it."""
        if not self._finished and self.mode != "off" and self._announce:
            self._finished = True
            tell(self.proof, prefix="")
        return self.proof

    # The record.

    @property
    def applied(self) -> list[dict[str, Any]]:
        """What every update of this process used, in the form of ``metrics.jsonl``: update, rate, skipped."""
        return self._record.rows()

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write :attr:`applied` as lines of JSON, for ``huohou audit --log``.

        Raises:
            UserError: The file cannot be written.
        """
        self._record.write(path)

    # Resuming.

    def state(self) -> dict[str, int | str]:
        """Whole numbers for the scheduler's state."""
        return {"updates": self.done, "as_planned": self.as_planned if self.mode != "off" else self.done}

    def load(self, state: Mapping[str, Any], last: int, fingerprint: str) -> None:
        """Go on where a state was written."""
        self.done = int(state.get("updates", last))
        self.as_planned = int(state.get("as_planned", self.done))
        self._base = self.done - self._scheduler.made()
        self._loaded = True
        self._calls, self._skips_since = [], 0
        theirs = state.get("fingerprint")
        if theirs is not None and theirs != fingerprint:
            self.note(sentences.other_curve(theirs, fingerprint, self.done + 1))


def mark_of(optimizer: Optimizer) -> causes.Mark:
    """A mark of the gradients: it changes when a backward pass adds to them."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                return id(parameter.grad), parameter.grad._version
    return None
