"""The terminal drawing of a curve."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction

import pytest

from huohou.report.curve_drawing import draw, needs_ascii
from huohou.schedule.curve import Curve, knots

SMALL = Curve(Fraction("3e-4"), knots([(0, 0, "linear"), (10, 1, "linear"), (40, "0.1", "hold")]), 40)


def test_braille_drawing_of_a_small_curve() -> None:
    assert draw(SMALL, 40, width=20, height=4) == (
        "3e-4 ┤   ⢀⠎⠑⠢⢄⡀\n"
        "     │  ⡠⠃    ⠈⠉⠒⠤⣀\n"
        "     │ ⡔⠁          ⠉⠒⠢⢄⡀\n"
        "3e-5 ┤⠊                ⠈⠑⠒\n"
        "   0 └┴───┴──────────────┴\n"
        "      1 W=10          T=40"
    )


def test_ascii_drawing_of_a_small_curve() -> None:
    text = draw(SMALL, 40, width=20, height=4, ascii=True)
    assert text.isascii()
    assert text == (
        "3e-4 +   _::-__\n"
        "     |  :'    ''-:_\n"
        "     | :'          ':-__\n"
        "3e-5 +:                ''-\n"
        "   0 ++---+--------------+\n"
        "      1 W=10          T=40"
    )


def test_labels_name_peak_floor_warmup_and_end() -> None:
    curve = Curve(Fraction("0.5"), knots([(1, 1, "cosine"), (1000, "0.2", "hold")]), 1000)
    text = draw(curve, 1000)
    assert text.startswith("0.5 ┤")
    assert "\n0.1 ┤" in text
    assert "T=1000" in text
    assert "W=" not in text, "a curve that starts at its peak has no warmup to mark"


@pytest.mark.parametrize("updates", [1, 2, 3, 7, 10**9])
@pytest.mark.parametrize("ascii", [True, False])
def test_any_length_is_drawn_with_few_evaluations(updates: int, ascii: bool) -> None:
    calls: list[int] = []

    def curve(update: int) -> float:
        calls.append(update)
        return 1e-3 * update / updates

    lines = draw(curve, updates, width=400, height=8, ascii=ascii).split("\n")
    assert len(calls) <= 401
    assert set(calls) <= set(range(1, updates + 1)) if updates < 100 else max(calls) == updates
    assert len(lines) == 10


def test_a_peak_between_two_columns_is_not_lost() -> None:
    shape = [(0, 0, "hold"), (777_776, 0, "linear"), (777_777, 1, "linear"), (777_778, 0, "hold")]
    text = draw(Curve(Fraction("1e-3"), knots(shape), 10**7), 10**7)
    assert text.startswith("1e-3 ┤")
    assert "W=777777" in text


@pytest.mark.parametrize("updates", [997, 19_999, 3_000_000])
def test_a_peak_of_a_curve_without_knots_is_not_lost(updates: int) -> None:
    class Spike:
        seams = (updates // 3 + 0.5,)

        def __call__(self, update: int) -> float:
            return 2e-4 if update == updates // 3 else 1e-4

    assert draw(Spike(), updates).split("\n")[0].startswith("2e-4")


def test_a_rate_of_zero_and_values_that_are_not_finite_do_not_break_the_drawing() -> None:
    assert "0 ┤" in draw(lambda _: 0.0, 5)
    assert "T=5" in draw(lambda u: float("nan") if u < 3 else 1.0, 5)


def test_ascii_is_needed_where_the_encoding_lacks_the_characters() -> None:
    assert needs_ascii(io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert needs_ascii(io.TextIOWrapper(io.BytesIO(), encoding="gbk"))
    assert not needs_ascii(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


def test_drawing_loads_no_numpy() -> None:
    code = (
        "import sys, huohou.report.curve_drawing; print([m for m in ('numpy', 'pydantic', 'rich') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
