"""Equality of measured numbers: values decide ties and zeros, the last bits of a float never do.

1.1 - 1.0 and 1.3 - 1.2 are one difference, although their floats differ, and a change of unit moves the last bits of
both. Numbers that a text gave are compared as the decimals that the text shows. Computed numbers are equal where they
differ by less than `RESOLUTION` of the largest raw value: rounding errors grow with the raw values, not with their
differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPSILON = float(np.finfo(np.float64).eps)
RESOLUTION = 50_000 * EPSILON
"""Relative to the largest raw value, 1.1e-11: above the rounding of counters that have run for weeks, far below what
any instrument resolves.

A few eps would settle a factor and one subtraction, and would tell apart steps of 0.001 beside 1e9. But a raw value
is often itself the difference of two readings: 0.1 kWh on a counter that stands at 1234.567 kWh is rounded by up to
10,000 eps of itself, and two differences of such values by up to 40,000. A lower limit takes their ties for steps.
"""
NO_SPREAD = 64 * EPSILON
"""Range of numbers that are equal but for rounding, relative to the largest of them."""
MOST_DIGITS = 14
"""Of a decimal that somebody wrote. A float printed in full has 15 digits (R) to 17 (Python)."""
MOST_INTEGRAL = 10**15
"""Below it a decimal without a fraction is exact, as an integer is: pandas writes counts beside a gap as 12.0. Floats
lie an eighth or closer there, so that noise shows behind the point; from 2**52 on every float is integral."""
_SMALLEST_EXPONENT = -400

Floats = NDArray[np.float64]
Number = float | Fraction
"""A computed number, or one that a text gave exactly."""


def exact(text: str) -> Fraction | None:
    """Return the number that *text* shows; ``None`` for a float printed in full, whose last digits are noise.

    Exact are integers, other numbers without a fraction below `MOST_INTEGRAL`, and decimals of up to `MOST_DIGITS`.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent < _SMALLEST_EXPONENT or value.adjusted() > -_SMALLEST_EXPONENT:
        return None
    shown = len("".join(map(str, digits)).strip("0"))
    written_whole = text.strip().lstrip("+-").isdigit()
    number = Fraction(value)
    integral = number.denominator == 1 and abs(number) < MOST_INTEGRAL
    return number if shown <= MOST_DIGITS or written_whole or integral else None


def settled(values: ArrayLike, largest: float | None = None) -> Floats:
    """Return *values* with equal magnitudes made exactly equal, and those that are zero but for rounding made zero.

    *largest* is the largest raw value that the values were computed from; left out: that of the values themselves.
    """
    given = np.asarray(values, dtype=np.float64)
    size = np.abs(given)
    limit = RESOLUTION * (float(size.max(initial=0.0)) if largest is None else largest)
    return np.sign(given) * np.where(size <= limit, 0.0, _merged(size, limit))


def _merged(values: Floats, limit: float) -> Floats:
    """Replace every value by the smallest of its cluster, which is at most *limit* wide."""
    order = np.argsort(values, kind="stable")
    merged = np.empty_like(values)
    first = -np.inf
    for place in order:
        if values[place] - first > limit:
            first = values[place]
        merged[place] = first
    return merged


def subtract(second: Sequence[Number], first: Sequence[Number]) -> Floats:
    """Return the differences second minus first, with ties and zeros settled."""
    if (known := _exact_differences(second, first)) is not None:
        return np.array([float(difference) for difference in known], dtype=np.float64)
    return settled(np.subtract(floats(second), floats(first)), _largest(second, first))


def signed_places(second: Sequence[Number], first: Sequence[Number]) -> NDArray[np.int_]:
    """Return the place of each difference by size (1, 2, ... for the different sizes) with its sign; zero is 0.

    Signed ranks of these numbers are those of the differences, in every unit.
    """
    known = _exact_differences(second, first)
    differences: list[Number] = subtract(second, first).tolist() if known is None else [*known]
    sizes: list[Number] = [max(difference, -difference) for difference in differences]
    place = {size: number for number, size in enumerate(sorted({0.0, *sizes}))}
    signs = [1 if difference > 0 else -1 for difference in differences]
    return np.array([sign * place[size] for sign, size in zip(signs, sizes, strict=True)], dtype=np.int_)


def places(values: Sequence[Number]) -> NDArray[np.int_]:
    """Return the place of each value among the different values (0, 1, ...)."""
    given: Sequence[Number] = values
    if not _all_exact(values):
        numbers = floats(values)
        given = _merged(numbers, RESOLUTION * float(np.abs(numbers).max(initial=0.0))).tolist()
    place = {value: number for number, value in enumerate(sorted(set(given)))}
    return np.array([place[value] for value in given], dtype=np.int_)


def noise(*columns: Sequence[Number]) -> float:
    """Return how far two differences of numbers in *columns* may lie apart by rounding alone; 0 for exact numbers."""
    return 0.0 if all(_all_exact(column) for column in columns) else RESOLUTION * _largest(*columns)


def varies(values: ArrayLike) -> bool:
    """Return True if *values* are not all the same number but for rounding."""
    given = np.asarray(values, dtype=np.float64)
    return bool(np.ptp(given) > NO_SPREAD * np.abs(given).max()) if given.size else False


def floats(values: Sequence[Number]) -> Floats:
    """Return *values* as floats."""
    return np.array([float(value) for value in values], dtype=np.float64)


def _exact_differences(second: Sequence[Number], first: Sequence[Number]) -> list[Fraction] | None:
    if not _all_exact(second) or not _all_exact(first):
        return None
    return [Fraction(b) - Fraction(a) for b, a in zip(second, first, strict=True)]


def _all_exact(values: Sequence[Number]) -> bool:
    return all(isinstance(value, Fraction) for value in values)


def _largest(*columns: Sequence[Number]) -> float:
    return max((float(np.abs(floats(column)).max(initial=0.0)) for column in columns), default=0.0)
