"""The operators of constraints: bounded in size, strict about types, with three-valued logic."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TypeGuard

MAX_NUMBER = 1e300


class Incalculable(Exception):
    """An expression that cannot be calculated with these values, such as a text times a number."""


class Unknown:
    """The value of an expression that depends on a parameter which the trial does not have."""


UNKNOWN = Unknown()


def truth_of(value: object) -> object:
    if value is not UNKNOWN and not isinstance(value, bool):
        raise Incalculable
    return value


def number_of(step: Callable, left: object, right: object) -> object:
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if not (_is_number(left) and _is_number(right)):
        raise Incalculable
    try:
        value = step(left, right)
    except ArithmeticError:
        raise Incalculable from None
    if not abs(value) <= MAX_NUMBER:  # also true for NaN
        raise Incalculable
    return value


def power(base: float, exponent: float) -> float:
    """Return base ** exponent, after a check of its magnitude as a float: 9**9**9 has 370 million digits."""
    try:
        approximate = math.pow(base, exponent)
    except ValueError:  # the root of a negative number, or the inverse of 0
        raise Incalculable from None
    is_integer = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
    return base**exponent if is_integer else approximate


def is_same(left: object, right: object) -> bool:
    """Compare values: 1 equals 1.0, but not true; floats are equal up to a relative 1e-9 (0.1 * 3 == 0.3)."""
    if _is_number(left) and _is_number(right):
        if isinstance(left, int) and isinstance(right, int):
            return left == right
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-15)
    return type(left) is type(right) and left == right


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(compare: Callable, *, or_same: bool) -> Callable:
    def holds(left: object, right: object) -> bool:
        if not (_is_number(left) and _is_number(right)):
            raise Incalculable
        return or_same if is_same(left, right) else compare(left, right)

    return holds


COMPARE: dict[str, Callable] = {
    "<": _ordered(operator.lt, or_same=False),
    "<=": _ordered(operator.lt, or_same=True),
    ">": _ordered(operator.gt, or_same=False),
    ">=": _ordered(operator.gt, or_same=True),
    "==": is_same,
    "!=": lambda left, right: not is_same(left, right),
}
CALCULATE: dict[str, Callable] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
