"""Numbers with units: what is read, what it means, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huohou.errors import UserError
from huohou.units import Duration, Level, decimal_text, exact, quantity, whole


@pytest.mark.parametrize(
    ("text", "bare", "number", "unit"),
    [
        ("10%", None, Fraction(1, 10), "share"),
        ("１０％", None, Fraction(1, 10), "share"),
        (" 0.3 % ", None, Fraction(3, 1000), "share"),
        ("0.1", "rate", Fraction(1, 10), "share"),
        (0.07, "rate", Fraction(7, 100), "share"),
        (1.0, "rate", Fraction(1), "share"),
        (1, "rate", Fraction(1), "share"),
        ("1000 steps", None, Fraction(1000), "updates"),
        ("1 step", None, Fraction(1), "updates"),
        ("1,000 updates", None, Fraction(1000), "updates"),
        ("2万步", None, Fraction(20000), "updates"),
        ("２千 步", None, Fraction(2000), "updates"),
        (1000, "steps", Fraction(1000), "updates"),
        ("2k", "steps", Fraction(2000), "updates"),
        (1, "steps", Fraction(1), "updates"),
        ("2B tokens", None, Fraction(2 * 10**9), "tokens"),
        ("2Btokens", None, Fraction(2 * 10**9), "tokens"),
        ("1.5亿 tokens", None, Fraction(150_000_000), "tokens"),
        ("3万亿 tokens", None, Fraction(3 * 10**12), "tokens"),
        ("4M tok", None, Fraction(4 * 10**6), "tokens"),
        ("1.5 epochs", None, Fraction(3, 2), "epochs"),
        ("1 轮", None, Fraction(1), "epochs"),
        ("off", None, Fraction(0), "updates"),
        ("关闭", None, Fraction(0), "updates"),
        (False, "steps", Fraction(0), "updates"),
        (0, None, Fraction(0), "updates"),
        ("0", "rate", Fraction(0), "updates"),
        ("0%", None, Fraction(0), "share"),
    ],
)
def test_durations_that_can_be_read(text: str | float, bare: str | None, number: Fraction, unit: str) -> None:
    assert Duration.parse(text, key="warmup", bare=bare) == Duration(number, unit)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "bare", "says"),
    [
        (0.03, "steps", "warmup_rate: 0.03"),
        ("0.03", "steps", "3% of the run"),
        (1.0, "steps", "a share or a number of steps"),
        ("1.0", "steps", "a share or a number of steps"),
        (10, "rate", "1000% of the run"),
        (0.1, None, "Write 10%"),
        (1000, None, "1000 steps"),
        ("-5%", None, "cannot be negative"),
        ("1.5 steps", None, "updates are whole"),
        ("1000 steps", "rate", "a share of the run"),
        ("10%", "steps", "counts updates"),
        ("2M tokens", "steps", "counts updates"),
        ("abc", None, "no length"),
        ("10 km", None, "no length"),
        ("nan", None, "no length"),
        ("inf%", None, "no length"),
        (float("nan"), "rate", "not a finite number"),
        ("1e999 steps", None, "no length"),
        ("auto", None, "auto does not exist yet"),
        (True, None, "says no length"),
    ],
)
def test_durations_that_are_refused_say_what_to_write(text: str | float, bare: str | None, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        Duration.parse(text, key="warmup_steps", bare=bare)  # pyright: ignore[reportArgumentType]
    assert "warmup_steps" in caught.value.text.en
    assert "warmup_steps" in caught.value.text.zh


@pytest.mark.parametrize(
    ("rate", "updates", "expected"),
    [("0.07", 100, 7), ("0.14", 50, 7), ("0.28", 25, 7), ("0.05", 7, 1), ("0.003", 10**8, 300_000), ("1e-9", 10, 1)],
)
def test_a_rate_becomes_updates_by_exact_decimal_arithmetic(rate: str, updates: int, expected: int) -> None:
    assert Duration.parse(rate, key="k", bare="rate").resolve(key="k", updates=updates) == expected
    assert Duration.parse(float(rate), key="k", bare="rate").resolve(key="k", updates=updates) == expected


@given(st.decimals(0, 1, places=6), st.integers(1, 10**9))
def test_rounding_is_up_and_at_least_one_above_zero(rate: Decimal, updates: int) -> None:
    made = Duration.parse(str(rate), key="k", bare="rate").resolve(key="k", updates=updates)
    product = rate * updates
    assert made == int(product.to_integral_value(rounding="ROUND_CEILING"))
    assert (made >= 1) == (rate > 0)


def test_tokens_and_epochs_resolve_through_the_batch() -> None:
    tokens = Duration.parse("2M tokens", key="warmup")
    assert tokens.resolve(key="warmup", tokens_per_update=Fraction(4096)) == 489
    epochs = Duration.parse("1.5 epochs", key="warmup")
    assert epochs.resolve(key="warmup", updates_per_epoch=Fraction(1000, 64)) == 24
    with pytest.raises(UserError, match="tokens of a batch"):
        tokens.resolve(key="warmup", updates=100)
    with pytest.raises(UserError, match="number of sequences"):
        epochs.resolve(key="warmup", updates=100)


@given(st.sampled_from(["share", "updates", "tokens", "epochs"]), st.integers(1, 10**12))
def test_what_is_said_reads_back(unit: str, number: int) -> None:
    duration = Duration(Fraction(number, 1000) if unit in ("share", "epochs") else Fraction(number), unit)  # pyright: ignore[reportArgumentType]
    assert Duration.parse(str(duration), key="k") == duration


def test_levels_are_shares_of_the_peak_or_rates() -> None:
    peak = Fraction("3e-4")
    assert Level.parse("10%", key="floor").of(peak, key="floor") == Fraction(1, 10)
    assert Level.parse("3e-5", key="floor").of(peak, key="floor") == Fraction(1, 10)
    assert Level.parse(3e-5, key="floor").of(peak, key="floor") == Fraction(1, 10)
    assert Level.parse("off", key="floor").of(peak, key="floor") == 0
    assert Level.parse(0.0, key="floor").of(peak, key="floor") == 0
    with pytest.raises(UserError, match=r"floor is 0.1, which is above the peak of 0.0003.*10%"):
        Level.parse("0.1", key="floor").of(peak, key="floor")
    assert Level.parse("3e-4", key="floor").of(peak, key="floor") == 1
    for above in ("3.1e-4", "101%"):
        with pytest.raises(UserError, match="above the peak"):
            Level.parse(above, key="floor").of(peak, key="floor")
    for wrong in ("-1", "10 steps", "x", float("inf")):
        with pytest.raises(UserError, match="floor"):
            Level.parse(wrong, key="floor")


def test_plain_numbers() -> None:
    assert exact("1.3B", key="params") == 1_300_000_000
    assert exact("３e-4", key="peak") == Fraction(3, 10_000)
    assert exact(5e-5, key="peak") == Fraction(5, 100_000)
    assert whole("2万", key="n") == 20_000
    assert quantity("4M tokens", key="batch", default="sequences") == (4_000_000, "tokens")
    assert quantity("256", key="batch", default="sequences") == (256, "sequences")
    assert decimal_text(Fraction(2000)) == "2000"
    assert decimal_text(Fraction("3e-4")) == "0.0003"
    for wrong in ("3e-4x", "", "nan", True, float("nan"), "1e9999"):
        with pytest.raises(UserError, match="peak"):
            exact(wrong, key="peak")
    with pytest.raises(UserError, match="whole number of at least 1"):
        whole("0.5", key="n", least=1)
