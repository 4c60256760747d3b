"""Numbers that carry their unit: how they are read, said again, and turned into whole updates.

Everything is exact: text becomes a :class:`~fractions.Fraction` by decimal arithmetic (0.07 is 7/100, not the nearest
binary number), and one rule turns a share into updates: round up, so that a rate above 0 is at least one update.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal

from huohou.errors import UserError

Unit = Literal["share", "updates", "tokens", "epochs"]
Number = int | float | str | Fraction | Decimal

OFF = frozenset({"off", "no", "none", "false", "关", "关闭", "无"})
"""The words that switch something off; YAML turns some of them into ``False`` by itself."""

_SCALES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "b": 10**9,
    "t": 10**12,
    "千": 10**3,
    "万": 10**4,
    "亿": 10**8,
    "万亿": 10**12,
}
_UNITS: dict[str, Unit] = {
    "%": "share",
    "step": "updates",
    "steps": "updates",
    "update": "updates",
    "updates": "updates",
    "步": "updates",
    "更新步": "updates",
    "token": "tokens",
    "tokens": "tokens",
    "tok": "tokens",
    "词元": "tokens",
    "epoch": "epochs",
    "epochs": "epochs",
    "轮": "epochs",
}
_NUMBER = re.compile(
    r"(?P<number>[+-]?(?:\d[\d_,]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)\s*"
    r"(?P<scale>万亿|[kmbt千万亿](?=tok|step|update|epoch|[^a-z]|$))?\s*(?P<unit>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LARGEST_EXPONENT = 400
"""Beyond this no number of this field is meant, and exact arithmetic on it would take for ever."""
_LONGEST = 100
"""How many characters a number with its unit has at most, for the same reason."""


def normal(text: str) -> str:
    """The text with full-width digits, letters and signs as their plain forms, and no space around it."""
    return unicodedata.normalize("NFKC", text).strip()


def _quoted(value: object) -> str:
    """What was typed, as Python writes it, and not too long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _split(text: str) -> tuple[Fraction, str] | None:
    """``"2.5k steps"`` as ``(2500, "steps")``; ``None`` where it does not begin with a number."""
    match = _NUMBER.fullmatch(normal(text)) if len(text) <= _LONGEST else None
    if match is None:
        return None
    digits = match["number"].replace(",", "").replace("_", "")
    exponent = digits.lower().partition("e")[2]
    if exponent and abs(int(exponent)) > _LARGEST_EXPONENT:
        return None
    try:
        number = Fraction(Decimal(digits))
    except InvalidOperation:  # pragma: no cover - the pattern lets nothing through that Decimal refuses.
        return None
    return number * _SCALES[(match["scale"] or "").lower()], match["unit"].strip().lower()


def exact(value: Number, *, key: str) -> Fraction:
    """A plain number, exactly as it was typed.

    A float is taken as the decimal that Python prints for it, so that ``3e-4`` in YAML is 3/10000.

    Args:
        value: A number, or text such as ``3e-4``, ``1.3B``, ``２万``.
        key: Where it stands, for the message.

    Raises:
        UserError: It is no finite number.
    """
    if isinstance(value, Fraction):
        return value
    if isinstance(value, bool):
        raise _not_a_number(key, value)
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise _not_a_number(key, value)
        return Fraction(str(value))
    parts = _split(value)
    if parts is None or parts[1]:
        raise _not_a_number(key, value)
    return parts[0]


def _not_a_number(key: str, value: object) -> UserError:
    return UserError(
        f"{key} is {_quoted(value)}, which is not a finite number; write for example 3e-4 or 2000.",
        f"{key} 的值 {_quoted(value)} 不是有限的数；请写成例如 3e-4 或 2000。",
    )


def quantity(value: Number, *, key: str, default: str) -> tuple[Fraction, str]:
    """A number and the word behind it, such as ``4M tokens`` or ``256``.

    Returns:
        The number and its unit in lower case; ``default`` where none was written.
    """
    parts = _split(value) if isinstance(value, str) else (exact(value, key=key), "")
    if parts is None:
        raise _not_a_number(key, value)
    return parts[0], parts[1] or default


def whole(value: Number, *, key: str, least: int = 0) -> int:
    """A whole number of at least ``least``; ``2k``, ``2万`` and ``2e3`` are whole numbers too."""
    number = exact(value, key=key)
    if number.denominator != 1 or number < least:
        raise UserError(
            f"{key} is {value}, but it must be a whole number of at least {least}.",
            f"{key} 的值是 {value}，应为不小于 {least} 的整数。",
        )
    return int(number)


def round_up(number: Fraction) -> int:
    """The one rounding rule: up to the next whole number."""
    return math.ceil(number)


def decimal_text(number: Fraction) -> str:
    """The shortest usual way to write an exact number: ``2000``, ``0.07``, ``3e-4``."""
    if number.denominator == 1 and abs(number) < 10**15:
        return str(int(number))
    return repr(float(number))


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of training: a number and its unit.

    Attributes:
        number: The length, at least 0. A share is a part of the run: 1 is the whole run.
        unit: ``share``, ``updates``, ``tokens`` or ``epochs``.
    """

    number: Fraction
    unit: Unit

    @classmethod
    def parse(cls, value: Number | None, *, key: str, bare: Literal["rate", "steps"] | None = None) -> Duration:
        """Read a duration.

        Args:
            value: ``10%``, ``1000 steps``, ``2B tokens``, ``1.5 epochs``, ``off``, or a number.
            key: The key or flag it stands under, for the message.
            bare: What a number without a unit means here: ``rate`` under a key like ``warmup_rate``, ``steps`` under
                one like ``num_warmup_steps``; ``None`` where it would be ambiguous and is refused.

        Raises:
            UserError: The text is no duration, negative, or its unit does not go with the key.
        """
        if value is False or value is None or (isinstance(value, str) and normal(value).lower() in OFF):
            return cls(Fraction(0), "updates")
        if value is True:
            raise UserError(
                f"{key} is true, which says no length; write for example 10%, 1000 steps, or off.",
                f"{key} 的值 true 没有说明长度；请写成例如 10%、1000 steps 或 off。",
            )
        if isinstance(value, str) and normal(value).lower() == "auto":
            raise UserError(
                f"{key}: auto does not exist yet; write a length such as 10% or 1000 steps, or leave the key out.",
                f"{key}: 还没有 auto；请写出长度，例如 10% 或 1000 steps，或去掉这个键。",
            )
        parts = _split(value) if isinstance(value, str) else (exact(value, key=key), "")
        if parts is None:
            raise cls._unreadable(key, value)
        number, word = parts
        if word and word not in _UNITS:
            raise cls._unreadable(key, value)
        if number < 0:
            raise UserError(
                f"{key} is {value}, but a length cannot be negative; write 0 or off for none.",
                f"{key} 的值是 {value}，长度不能为负；不需要时请写 0 或 off。",
            )
        if not word:
            return cls._bare(number, value, key, bare)
        unit = _UNITS[word]
        if bare == "rate" and unit != "share":
            raise UserError(
                f"{key} is a share of the run, but {value} is in {unit}; write it as warmup: {value}.",
                f"{key} 是占全程的比例，而 {value} 的单位是 {unit}；请改写为 warmup: {value}。",
            )
        if bare == "steps" and unit != "updates":
            raise UserError(
                f"{key} counts updates, but {value} is in another unit; write it as warmup: {value}.",
                f"{key} 数的是更新步，而 {value} 用了别的单位；请改写为 warmup: {value}。",
            )
        if unit == "updates" and number.denominator != 1:
            raise UserError(
                f"{key} is {value}, but updates are whole; write a whole number of steps, or a share such as 3%.",
                f"{key} 的值是 {value}，而更新步是整数；请写整数步，或写成比例，例如 3%。",
            )
        return cls(number / 100 if unit == "share" else number, unit)

    @classmethod
    def _bare(cls, number: Fraction, value: object, key: str, bare: str | None) -> Duration:
        """A number without a unit: 0 is 0 everywhere, the rest depends on the key."""
        if number == 0:
            return cls(number, "updates")
        if bare == "rate":
            if number > 1:
                raise UserError(
                    f"{key} is {value}, which would be {decimal_text(number * 100)}% of the run; "
                    f"write a rate up to 1, or {decimal_text(number)} steps under num_warmup_steps.",
                    f"{key} 的值是 {value}，即全程的 {decimal_text(number * 100)}%；"
                    f"请写不超过 1 的比例，或用 num_warmup_steps: {decimal_text(number)} 表示步数。",
                )
            return cls(number, "share")
        if bare == "steps":
            if number.denominator != 1 or (number == 1 and not isinstance(value, int) and str(value) != "1"):
                raise UserError(
                    f"{key} is {value}: is it a share or a number of steps? Write warmup_rate: {value} for "
                    f"{decimal_text(number * 100)}% of the run, or a whole number of steps such as "
                    f"{key}: {round_up(number)}.",
                    f"{key} 的值是 {value}：是比例还是步数？要表示全程的 {decimal_text(number * 100)}% 请写 "
                    f"warmup_rate: {value}，要表示步数请写整数，例如 {key}: {round_up(number)}。",
                )
            return cls(number, "updates")
        share = f"{decimal_text(number * 100)}%" if number <= 1 else "10%"
        steps = cls(Fraction(round_up(number)), "updates")
        raise UserError(
            f"{key} is {value}: is it a rate or a number of steps? Write {share} or {steps}.",
            f"{key} 的值是 {value}：是比例还是步数？请写 {share} 或 {steps}。",
        )

    @staticmethod
    def _unreadable(key: str, value: object) -> UserError:
        return UserError(
            f"{key} is {_quoted(value)}, which is no length; write for example 10%, 1000 steps, 2B tokens, 1 epoch, "
            f"or off.",
            f"{key} 的值 {_quoted(value)} 不是长度；请写成例如 10%、1000 steps、2B tokens、1 epoch 或 off。",
        )

    def resolve(
        self,
        *,
        key: str,
        updates: int | None = None,
        tokens_per_update: Fraction | None = None,
        updates_per_epoch: Fraction | None = None,
    ) -> int:
        """The length in whole updates, rounded up.

        Args:
            key: Where the length was written, for the message.
            updates: All updates of the run; needed by a share.
            tokens_per_update: Tokens of one full batch; needed by tokens.
            updates_per_epoch: Updates of one pass over the data (need not be whole); needed by epochs.

        Raises:
            UserError: What its unit needs is not known.
        """
        factor = {
            "updates": Fraction(1),
            "share": None if updates is None else Fraction(updates),
            "tokens": None if tokens_per_update is None else 1 / Fraction(tokens_per_update),
            "epochs": None if updates_per_epoch is None else Fraction(updates_per_epoch),
        }[self.unit]
        if factor is None:
            needs_en, needs_zh = {
                "share": ("the number of updates", "更新步总数"),
                "tokens": (
                    "the tokens of a batch (sequence length and batch size)",
                    "每批的词元数（序列长度和批大小）",
                ),
                "epochs": ("the number of sequences and the batch size", "序列总数和批大小"),
            }[self.unit]
            raise UserError(
                f"{key} is {self}, but {needs_en} is not known here; give it, or write the length in steps.",
                f"{key} 的值是 {self}，但这里不知道{needs_zh}；请给出，或用步数表示长度。",
            )
        return round_up(self.number * factor)

    def __str__(self) -> str:
        if self.number == 0:
            return "off"
        if self.unit == "share":
            return f"{decimal_text(self.number * 100)}%"
        word = {"updates": "step", "tokens": "token", "epochs": "epoch"}[self.unit]
        return f"{decimal_text(self.number)} {word}{'' if self.number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Level:
    """A height of a curve: a share of its peak, or a rate of its own.

    Attributes:
        number: The share (0.1 for 10 %) or the rate.
        absolute: Whether ``number`` is a rate.
    """

    number: Fraction
    absolute: bool = False

    @classmethod
    def parse(cls, value: Number | None, *, key: str) -> Level:
        """Read ``10%`` as a share of the peak and ``3e-5`` as a rate; ``off`` and 0 are 0.

        Raises:
            UserError: It is neither, or negative.
        """
        if value is False or value is None or (isinstance(value, str) and normal(value).lower() in OFF):
            return cls(Fraction(0))
        number, unit = quantity(value, key=key, default="")
        if unit not in ("", "%") or number < 0:
            raise UserError(
                f"{key} is {value}; write a share of the peak such as 10%, or a rate of at least 0 such as 3e-5.",
                f"{key} 的值是 {value}；请写占峰值的比例，例如 10%，或不小于 0 的学习率，例如 3e-5。",
            )
        return cls(number / 100) if unit == "%" else cls(number, absolute=number > 0)

    def of(self, peak: Fraction, *, key: str) -> Fraction:
        """The height as a fraction of this peak.

        Raises:
            UserError: It lies above the peak.
        """
        value = self.number / peak if self.absolute else self.number
        if value > 1:
            hint = f"{decimal_text(self.number * 100)}%" if self.absolute and self.number <= 1 else "10%"
            raise UserError(
                f"{key} is {self}, which is above the peak of {float(peak)}; write a rate up to the peak, or a share "
                f"of it such as {hint}.",
                f"{key} 的值是 {self}，高于峰值 {float(peak)}；请写不超过峰值的学习率，或占峰值的比例，例如 {hint}。",
            )
        return value

    def __str__(self) -> str:
        return decimal_text(self.number) if self.absolute else f"{decimal_text(self.number * 100)}%"
