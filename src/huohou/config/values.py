"""The kinds of value that belong to a run: names, lengths, heights, rates, batches, what is held out."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

from huohou.config.kinds import KEY, Kind, Wrong, must_be, number, plain_number, strings, text_reader
from huohou.errors import UserError
from huohou.language import Text
from huohou.units import OFF, Duration, Level, decimal_text, exact, normal, quantity

_FORBIDDEN = frozenset('<>:"/\\|?*：“”')


def _name(value: Any) -> str:
    said = NAME.text
    result = text_reader(said)(value)
    if (
        result != result.strip(" .")
        or any(sign in _FORBIDDEN or ord(sign) < 32 for sign in result)
        or len(result) > 100
    ):
        raise must_be(said)
    return result


NAME = Kind(
    _name,
    Text(
        "a name that can be a folder's, without / \\ : * ? \" < > | and of at most 100 characters",
        r'可作文件夹名的名字，不含 / \ : * ? " < > |，最多 100 个字符',
    ),
)


def run_name(stem: str) -> str:
    """The name of a run whose file is called so; ``run`` where the stem cannot be a name."""
    try:
        return NAME.read(stem)
    except Wrong:
        return "run"


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = normal(value).lower() if isinstance(value, str) else ""
    if word in ("true", "yes", "on") or word in OFF:
        return word in ("true", "yes", "on")
    raise must_be(SWITCH.text)


SWITCH = Kind(_switch, Text("true or false", "true 或 false"))


def _worded(reads: Callable[[Any], Any], said: Text) -> Callable[[Any], Any]:
    """Keep the unit's own sentence, which says more than the kind's."""

    def with_sentence(value: Any) -> Any:
        if isinstance(value, list | dict):
            raise must_be(said)
        try:
            return reads(value)
        except UserError as error:
            raise Wrong(error.text.en, error.text.zh, whole=True) from error

    return with_sentence


def duration(bare: Literal["rate", "steps"] | None = None) -> Kind:
    """A length of the run; ``bare`` says what a number without a unit means."""
    said = Text(
        "a length such as 10%, 1000 steps, 2B tokens, 1 epoch, or off",
        "长度，例如 10%、1000 steps、2B tokens、1 epoch 或 off",
    )

    def reads(value: Any) -> Duration:
        return _nothing_is_off(value if isinstance(value, Duration) else Duration.parse(value, key=KEY, bare=bare))

    return Kind(_worded(reads, said), said, str)


def _updates(value: Any) -> Duration:
    """A length in which a bare number counts updates."""
    if isinstance(value, Duration):
        return value
    return _nothing_is_off(Duration.parse(f"{value} steps" if type(value) is int else value, key=KEY))


def _nothing_is_off(length: Duration) -> Duration:
    """No tokens, no epochs and no share of the run are one length: off."""
    return length if length.number else Duration(Fraction(0), "updates")


_LENGTH = Text("a number of updates such as 10000, or another length", "更新步数，例如 10000，或其他长度")
UPDATES = Kind(_worded(_updates, _LENGTH), _LENGTH, str)


def _level(value: Any) -> Level:
    return value if isinstance(value, Level) else Level.parse(value, key=KEY)


_HEIGHT = Text("a share of the peak such as 10%, or a rate such as 3e-5", "峰值的比例，例如 10%，或学习率，例如 3e-5")
LEVEL = Kind(_worded(_level, _HEIGHT), _HEIGHT, lambda level: _plain(level.number) if level.absolute else str(level))


def _multiple(value: Any) -> Level:
    """A height of which a share may be above the whole: ``5x`` is 500 %."""
    if isinstance(value, str) and (word := normal(value).lower()).endswith(("x", "×", "倍")):
        value = f"{decimal_text(exact(word[:-1].strip(), key='') * 100)}%"
    level = _level(value)
    if level.number == 0:
        raise must_be(MULTIPLE.text)
    return level


MULTIPLE = Kind(
    _multiple,
    Text(
        "a rate such as 1e-3, or a multiple of the main peak such as 5x or 50%",
        "学习率，例如 1e-3，或主峰值的倍数，例如 5x 或 50%",
    ),
    LEVEL.writes,
)


def _bits(value: Any) -> int:
    if str(value) == "4":
        return 4
    raise must_be(BITS.text)


BITS = Kind(_bits, Text("4, or off", "4，或 off"), off=True)


def exact_above_zero(example: str) -> Kind:
    """A number above 0 that is kept exactly as it was typed."""
    said = Text(f"a number above 0, such as {example}", f"大于 0 的数，例如 {example}")

    def reads(value: Any) -> Fraction:
        result = exact(plain_number(value, said), key="")
        if result <= 0 or not 0 < float(result) < float("inf"):
            raise must_be(said)
        return result

    return Kind(reads, said, lambda value: _plain(value))


RATE = exact_above_zero("3e-4")
EXPONENT = exact_above_zero("2")


def _percentage(value: str) -> Fraction:
    return exact(normal(value)[:-1], key="") / 100


def _percent(value: Fraction) -> str:
    return f"{decimal_text(value * 100)}%"


def _plain(value: Fraction) -> int | float:
    """The number that JSON holds."""
    return int(value) if value.denominator == 1 else float(value)


def _batch_size(value: Any) -> int | Duration:
    if isinstance(value, Duration):
        return value
    size, word = quantity(plain_number(value, BATCH_SIZE.text), key="", default="sequence")
    if word in ("token", "tokens", "tok", "词元") and size > 0:
        return Duration(size, "tokens")
    if word not in ("sequence", "sequences", "条", "序列") or size.denominator != 1 or size < 1:
        raise must_be(BATCH_SIZE.text)
    return int(size)


BATCH_SIZE = Kind(
    _batch_size,
    Text(
        "a number of sequences such as 64, or of tokens such as 4M tokens",
        "序列条数，例如 64，或 token 数，例如 4M tokens",
    ),
    lambda size: size if isinstance(size, int) else str(size),
)


def _epochs(value: Any) -> Fraction:
    passes, word = quantity(plain_number(value, EPOCHS.text), key="", default="epoch")
    if word not in ("epoch", "epochs", "轮") or passes <= 0:
        raise must_be(EPOCHS.text)
    return passes


EPOCHS = Kind(_epochs, Text("a number above 0, such as 3 or 1.5", "大于 0 的数，例如 3 或 1.5"), _plain)


def _validation(value: Any) -> Fraction | tuple[str, ...]:
    if isinstance(value, str) and normal(value).endswith("%"):
        share = _percentage(value)
        if not 0 < share < 1:
            raise must_be(VALIDATION.text)
        return share
    if isinstance(value, int | float):
        raise must_be(VALIDATION.text)
    return _FILES.read(value)


_FILES = strings("a path, or a list of them", "一个路径，或路径的列表")
VALIDATION = Kind(
    _validation,
    Text("a share of the data such as 1%, or paths, or off", "数据的比例，例如 1%，或路径，或 off"),
    lambda value: _percent(value) if isinstance(value, Fraction) else list(value),
    off=True,
)


def _names(value: Any) -> tuple[str, ...]:
    """Names, also as one text with commas."""
    if isinstance(value, str):
        value = [one.strip() for one in value.split(",")]
    return _NAMES.read(value)


_NAMES = strings("a name, or a list of names", "名字，或名字的列表")
NAMES = Kind(_names, _NAMES.text, list)


def _betas(value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple) or len(value) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise must_be(BETAS.text)
    first, second = (_BETA.read(one) for one in value)  # pyright: ignore[reportUnknownVariableType]
    return first, second


_BETA = number(0, most=1, example="0.9")
BETAS = Kind(
    _betas,
    Text("two numbers from 0 up and below 1, such as [0.9, 0.95]", "两个不小于 0 且小于 1 的数，例如 [0.9, 0.95]"),
    list,
)


def _zero_stage(value: Any) -> int:
    stage = exact(plain_number(value, STAGE.text), key="")
    if stage not in (0, 1, 2, 3):
        raise must_be(STAGE.text)
    return int(stage)


STAGE = Kind(_zero_stage, Text("0, 1, 2 or 3", "0、1、2 或 3"))
