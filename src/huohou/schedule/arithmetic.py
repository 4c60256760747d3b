"""Sine, power and logarithm from additions, multiplications and divisions alone.

The library functions of C and of numpy differ from each other, and from machine to machine, in the last bit. A rate is
part of a plan that is compared, hashed and replayed, so it must have the same bits for one update as for a vector of
them, and on every machine. IEEE 754 fixes the four operations and the square root completely; whatever is made of
them in a fixed order is therefore the same everywhere. Each function takes and gives a float or a numpy array, with
the operations that differ between the two in an :class:`Operations`.

All are within two units in the last place of the true value over the range where a curve uses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Operations:
    """What is written differently for one number and for an array of them."""

    sqrt: Callable[[Any], Any]
    floor: Callable[[Any], Any]
    frexp: Callable[[Any], tuple[Any, Any]]
    ldexp: Callable[[Any, Any], Any]
    minimum: Callable[[Any, Any], Any]
    where: Callable[[Any, Any, Any], Any]
    whole: Callable[[Any], Any]


SCALAR = Operations(
    sqrt=math.sqrt,
    floor=math.floor,
    frexp=math.frexp,
    ldexp=math.ldexp,
    minimum=min,
    where=lambda condition, yes, no: yes if condition else no,
    whole=int,
)


def array_operations() -> Operations:
    """The same operations on numpy arrays."""
    import numpy as np

    return Operations(
        sqrt=np.sqrt,
        floor=np.floor,
        frexp=np.frexp,
        ldexp=np.ldexp,
        minimum=np.minimum,
        where=np.where,
        whole=lambda x: x.astype(np.int32),
    )


# Taylor coefficients of sin(pi/2 x) in odd powers of x, of 2**x in powers of x, and of log2((1+s)/(1-s)) in odd powers
# of s, each correctly rounded. They are literals because computing them would bring the library functions back in.
_SINE = (
    1.5707963267948966,
    -0.6459640975062463,
    0.07969262624616705,
    -0.004681754135318688,
    0.00016044118478735983,
    -3.598843235212085e-06,
    5.692172921967927e-08,
    -6.688035109811468e-10,
    6.0669357311061955e-12,
)
_POWER_OF_TWO = (
    1.0,
    0.6931471805599453,
    0.24022650695910072,
    0.05550410866482158,
    0.009618129107628477,
    0.0013333558146428443,
    0.0001540353039338161,
    1.5252733804059841e-05,
    1.321548679014431e-06,
    1.01780860092397e-07,
    7.054911620801123e-09,
    4.4455382718708116e-10,
    2.5678435993488206e-11,
    1.3691488853904128e-12,
    6.778726354822545e-14,
)
_LOGARITHM = (
    2.8853900817779268,
    0.9617966939259756,
    0.5770780163555853,
    0.4121985831111324,
    0.3205988979753252,
    0.2623081892525388,
    0.22195308321368667,
    0.19235933878519512,
    0.16972882833987804,
    0.15186263588304877,
    0.1373995277037108,
    0.12545174268599682,
)
_SQRT_HALF = 0.7071067811865476


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Horner's rule, from the highest coefficient down."""
    result = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def rising_cosine(x: Any, ops: Operations) -> Any:
    """``(1 - cos(pi x)) / 2`` for x in [0, 1], as sin², which loses nothing where the result is small."""
    near = ops.minimum(x, 1.0 - x)
    sine = near * _polynomial(_SINE, near * near)
    square = sine * sine
    return ops.where(x <= 0.5, square, 1.0 - square)


def power_of_two(x: Any, ops: Operations) -> Any:
    """``2**x`` for x of moderate size."""
    nearest = ops.floor(x + 0.5)
    return ops.ldexp(_polynomial(_POWER_OF_TWO, x - nearest), ops.whole(nearest))


def logarithm(x: Any, ops: Operations) -> Any:
    """``log2(x)`` for x > 0."""
    mantissa, exponent = ops.frexp(x)
    small = mantissa < _SQRT_HALF
    mantissa = ops.where(small, mantissa * 2.0, mantissa)
    exponent = ops.where(small, exponent - 1, exponent)
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    return exponent + ratio * _polynomial(_LOGARITHM, ratio * ratio)
