"""What a value of the run file may be: each kind reads it, says what would be right, and writes it as plain data.

A :class:`Kind` stands in the annotation of a model's field. pydantic reads the value through it, the reference page
takes its words from it, and the resolved form is written by it, so that the three cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic_core import CoreSchema, core_schema

from huohou.errors import UserError
from huohou.language import Text
from huohou.units import OFF, Number, exact, normal, quantity, whole

KEY = "⟦key⟧"
"""Stands in a sentence where the key, as it was written, is put in later."""


class Wrong(ValueError):
    """A value that cannot be used; pydantic collects these.

    Attributes:
        text: What would be right, as the end of a sentence; a whole sentence where ``whole`` is true.
        keys: The dotted keys that contradict each other, where the mistake is not in one value.
        index: The member of a list that is meant.
    """

    def __init__(
        self, en: str, zh: str, *, whole: bool = False, keys: tuple[str, ...] = (), index: int | None = None
    ) -> None:
        super().__init__(en)
        self.text = Text(en, zh)
        self.whole = whole
        self.keys = keys
        self.index = index


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of value.

    Attributes:
        reads: Turns what was written into the value, or raises :class:`Wrong` or :class:`UserError`.
        text: What may stand here, in a few words.
        writes: Turns the value into plain data that ``reads`` reads back.
        off: Whether the value may be switched off; it is ``None`` then, and written as ``off``.
    """

    reads: Callable[[Any], Any]
    text: Text
    writes: Callable[[Any], Any] = lambda value: value
    off: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def read(self, value: Any) -> Any:
        """The value, or :class:`Wrong`."""
        if self.off and is_off(value):
            return None
        try:
            return self.reads(value)
        except UserError as error:
            raise must_be(self.text) from error

    def write(self, value: Any) -> Any:
        """The value as plain data."""
        if value is None:
            return "off" if self.off else None
        return self.writes(value)

    def or_off(self) -> Kind:
        """The same kind, with ``off`` beside it."""
        text = Text(f"{self.text.en}, or off", f"{self.text.zh}，或 off")
        return Kind(self.reads, text, self.writes, off=True)


def is_off(value: Any) -> bool:
    """Whether a value says off, in any of its spellings."""
    return value is False or (isinstance(value, str) and normal(value).lower() in OFF)


def must_be(kind: Text) -> Wrong:
    return Wrong(f"it must be {kind.en}", f"应为{spaced(kind.zh)}")


def spaced(zh: str) -> str:
    """Chinese text joins what stands before it; anything else keeps a space."""
    return zh if zh[0] >= "一" else f" {zh}"


def plain_number(value: Any, kind: Text) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise must_be(kind)
    return value


def count(least: int, unit: str = "", example: int = 1000) -> Kind:
    """A whole number of at least ``least``; the unit's word, singular, may follow it, as in ``1000 updates``."""
    said = Text(
        f"a whole number from {least} up, such as {example}",
        f"不小于 {least} 的整数，例如 {example}",
    )
    words = {"update": ("steps", "step", "步", "更新步"), "token": ("tok", "词元")}.get(unit, ())

    def reads(value: Any) -> int:
        number, word = quantity(plain_number(value, said), key="", default=unit)
        if word not in (unit, f"{unit}s", *words):
            raise must_be(said)
        return whole(number, key="", least=least)

    return Kind(reads, said)


def number(least: float, *, above: bool = False, most: float | None = None, example: str) -> Kind:
    """A finite number from ``least`` up (``above`` it, where that is said), and below ``most``."""
    bound_en = f"above {least:g}" if above else f"from {least:g} up"
    bound_zh = f"大于 {least:g}" if above else f"不小于 {least:g}"
    if most is not None:
        bound_en += f" and below {most:g}"
        bound_zh += f" 且小于 {most:g}"
    said = Text(f"a number {bound_en}, such as {example}", f"{bound_zh} 的数，例如 {example}")

    def reads(value: Any) -> float:
        result = float(exact(plain_number(value, said), key=""))
        if result < least or (above and result == least) or (most is not None and result >= most):
            raise must_be(said)
        return result

    return Kind(reads, said)


def choice(*names: str, spellings: dict[str, str] | None = None, switch: bool = False) -> Kind:
    """One of some names, or another spelling of one; ``switch`` adds true and false."""
    listed = [*names, *(("true", "false") if switch else ())]
    several = len(listed) > 1
    said = Text(
        f"one of {', '.join(listed)}" if several else listed[0],
        f"以下之一：{'、'.join(listed)}" if several else listed[0],
    )
    known = {**{name.lower(): name for name in names}, **(spellings or {})}

    def reads(value: Any) -> Any:
        if switch and isinstance(value, bool):
            return value
        # YAML reads an unquoted off as false; among names it is the name.
        word = normal(value).lower() if isinstance(value, str) else "off" if value is False else None
        if switch and word in ("true", "yes", "on", "false", "no", "off"):
            return word in ("true", "yes", "on")
        if word is not None and word in known:
            return known[word]
        if word is not None:
            import difflib

            near = difflib.get_close_matches(word, known, n=1)
            if near:
                meant = known[near[0]]
                raise Wrong(f"it must be {said.en}; did you mean {meant}?", f"应为{spaced(said.zh)}；是不是 {meant}？")
        raise must_be(said)

    return Kind(reads, said)


def text_reader(said: Text) -> Callable[[Any], str]:
    def reads(value: Any) -> str:
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int | float):
            raise Wrong(
                f"it must be {said.en}; put quotes around it if it is meant so",
                f"应为{spaced(said.zh)}；如确有此意请加引号",
            )
        raise must_be(said)

    return reads


def string(en: str, zh: str) -> Kind:
    """A text that is not empty."""
    said = Text(en, zh)
    return Kind(text_reader(said), said)


def strings(en: str, zh: str, *, least: int = 1) -> Kind:
    """One text or a list of them; always a tuple."""
    said = Text(en, zh)
    one = text_reader(said)

    def reads(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            return (one(value),)
        result: list[str] = []
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            try:
                result.append(one(item))
            except Wrong as wrong:
                raise Wrong(wrong.text.en, wrong.text.zh, index=index) from None
        if len(result) < least:
            raise must_be(said)
        return tuple(result)

    return Kind(reads, said, list)
