"""A plan from plain words: what the command line's flags and the Python interface have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from huohou.errors import UserError
from huohou.plan.planner import Request, make_plan
from huohou.plan.result import Plan
from huohou.plan.sizes import Asked, resolve
from huohou.schedule.recipes import ScheduleSpec
from huohou.units import Duration, Level, exact, quantity, whole

_SAY_WARMUP = {
    "warmup": None,
    "warmup_rate": "rate",
    "warmup_ratio": "rate",
    "num_warmup_steps": "steps",
    "warmup_steps": "steps",
}
"""The words that say the warmup's length, and what a bare number means under each."""

WORDS = frozenset(
    {
        *_SAY_WARMUP,
        *(
            "updates",
            "tokens",
            "epochs",
            "sequences",
            "sequence_length",
            "batch",
            "micro_batch",
            "accumulation",
            "gpus",
        ),
        *("peak", "warmup_shape", "warmup_start", "decay", "decay_length", "decay_shape", "floor"),
        *("power", "cycles", "timescale", "half_life"),
        *("name", "stage", "params", "hardware", "speed", "price"),
    }
)
"""Every word that :func:`huohou.plan` understands."""

_TOKENS = ("tokens", "token", "tok", "词元")
_SEQUENCES = ("sequences", "sequence", "samples", "条")


def plan_of_words(words: Mapping[str, Any], say: Callable[[str], str] = str) -> tuple[Plan, ScheduleSpec]:
    """A plan from words, and the schedule that they ask for.

    Args:
        words: By the names in :data:`WORDS`; absent and ``None`` are the same.
        say: Spells a word as its author wrote it, such as ``--warmup-rate``, for messages.
    """
    read = _Words(words, say)
    if read.get("peak") is None:
        example = "peak=3e-4, updates=10000" if say("peak") == "peak" else "--updates 10000 --peak 3e-4"
        raise UserError(
            f"{say('peak')} is missing: a plan needs the highest rate, as in {example}.",
            f"缺少 {say('peak')}：计划需要最高学习率，例如 {example}。",
        )
    asked = read.asked()
    spec = read.spec(asked)
    stage = str(read.get("stage") or "pretrain")
    request = Request(
        spec=spec,
        asked=asked,
        name=str(read.get("name") or "run"),
        stage=stage,
        scratch=stage == "pretrain",
        parameters=read.count("params"),
        hardware=read.get("hardware"),
        speed=read.positive("speed"),
        price=read.positive("price"),
    )
    return make_plan(request), spec


class _Words:
    """Words, read one by one with messages that name them as they were written."""

    def __init__(self, words: Mapping[str, Any], say: Callable[[str], str]) -> None:
        self._words, self._say = words, say

    def get(self, name: str) -> Any:
        return self._words.get(name)

    def count(self, name: str) -> int | None:
        value = self.get(name)
        return None if value is None else whole(value, key=self._say(name), least=1)

    def positive(self, name: str) -> float | None:
        value = self.get(name)
        if value is None:
            return None
        number = exact(value, key=self._say(name))
        if number <= 0:
            raise UserError(
                f"{self._say(name)} is {value}, but it must be above 0.",
                f"{self._say(name)} 的值是 {value}，应大于 0。",
            )
        return float(number)

    def asked(self) -> Asked:
        """What the words say about the size of the run."""
        say = self._say
        batch, unit = None, "sequences"
        if self.get("batch") is not None:
            batch, unit = quantity(self.get("batch"), key=say("batch"), default="sequences")
        if unit not in (*_TOKENS, *_SEQUENCES):
            raise UserError(
                f"{say('batch')} is {self.get('batch')}; write sequences such as 256, or tokens such as 4M tokens.",
                f"{say('batch')} 的值是 {self.get('batch')}；请写序列数，例如 256，或词元数，例如 4M tokens。",
            )
        epochs = None
        if self.get("epochs") is not None:
            epochs, word = quantity(self.get("epochs"), key=say("epochs"), default="epochs")
            if epochs <= 0 or word not in ("epochs", "epoch", "轮"):
                raise UserError(
                    f"{say('epochs')} is {self.get('epochs')}; write a number above 0 such as 3 or 1.5.",
                    f"{say('epochs')} 的值是 {self.get('epochs')}；请写大于 0 的数，例如 3 或 1.5。",
                )
        tokens = None
        if self.get("tokens") is not None:
            number, word = quantity(self.get("tokens"), key=say("tokens"), default="tokens")
            if word not in _TOKENS or number.denominator != 1 or number < 1:
                raise UserError(
                    f"{say('tokens')} is {self.get('tokens')}; write a whole number of tokens such as 2B.",
                    f"{say('tokens')} 的值是 {self.get('tokens')}；请写整数的词元数，例如 2B。",
                )
            tokens = int(number)
        return Asked(
            updates=self.count("updates"),
            tokens=tokens,
            epochs=epochs,
            sequences=self.count("sequences"),
            sequence_length=self.count("sequence_length"),
            batch=batch,
            batch_in_tokens=unit in _TOKENS,
            micro_batch=self.count("micro_batch"),
            accumulation=self.count("accumulation"),
            world_size=self.count("gpus") or 1,
        )

    def spec(self, asked: Asked) -> ScheduleSpec:
        """What the words say about the rates."""
        say = self._say
        peak = self.positive("peak")
        said: dict[str, Any] = {
            "warmup": self._warmup(asked),
            "decay_length": self._length("decay_length"),
            "timescale": self._length("timescale", "steps"),
            "half_life": self._length("half_life", "steps"),
            "warmup_shape": self.get("warmup_shape"),
            "decay": self.get("decay") and str(self.get("decay")).replace("inverse-sqrt", "inverse_sqrt"),
            "decay_shape": self.get("decay_shape"),
            "power": self.positive("power"),
            "cycles": self.count("cycles"),
        }
        for name in ("warmup_start", "floor"):
            if self.get(name) is not None:
                said[name] = Level.parse(self.get(name), key=say(name))
        if said["power"] is not None:
            said["power"] = exact(said["power"], key=say("power"))
        return ScheduleSpec(
            peak=exact(peak or 0, key=say("peak")), **{key: value for key, value in said.items() if value is not None}
        )

    def _length(self, name: str, bare: Any = None) -> Duration | None:
        value = self.get(name)
        return None if value is None else Duration.parse(value, key=self._say(name), bare=bare)

    def _warmup(self, asked: Asked) -> Duration | None:
        """The one length that the warmup words say; two that say the same are fine."""
        said: list[tuple[str, Duration]] = []
        for name, bare in _SAY_WARMUP.items():
            value = self.get(name)
            if value is not None:
                duration = Duration.parse(value, key=self._say(name), bare=bare)  # pyright: ignore[reportArgumentType]
                said.append((f"{self._say(name)} {value}", duration))
        if not said:
            return None
        sizes = resolve(asked)

        def updates(duration: Duration) -> int:
            return duration.resolve(
                key=self._say("warmup"),
                updates=sizes.updates,
                tokens_per_update=sizes.tokens_per_update,
                updates_per_epoch=sizes.updates_per_epoch,
            )

        first, length = said[0]
        for other, duration in said[1:]:
            if updates(duration) != updates(length):
                raise UserError(
                    f"{first} is {updates(length)} updates, but {other} is {updates(duration)}; leave one of them out.",
                    f"{first} 是 {updates(length)} 步，而 {other} 是 {updates(duration)} 步；请去掉其中一个。",
                )
        return length
