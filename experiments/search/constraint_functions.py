"""What signs and words of a constraint do with values: bounded, and strict about what is a number."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

LARGEST = 1e300


class Nonsense(Exception):
    """Something that cannot be calculated with these values."""


class Open:
    """What depends on a parameter that is not there."""


OPEN = Open()


def truth_of(value: object) -> object:
    if value is not OPEN and not isinstance(value, bool):
        raise Nonsense
    return value


def number_of(step: Callable, left: object, right: object) -> object:
    if left is OPEN or right is OPEN:
        return OPEN
    if not (_is_number(left) and _is_number(right)):
        raise Nonsense
    try:
        value = step(left, right)
    except ArithmeticError:
        raise Nonsense from None
    if not abs(value) <= LARGEST:  # NaN is not
        raise Nonsense
    return value


def power(base: float, exponent: float) -> float:
    """Bounded before it is calculated: 9**9**9 has 370 million digits."""
    try:
        approximate = math.pow(base, exponent)
    except ValueError:  # of a negative number a root, of 0 the inverse
        raise Nonsense from None
    is_whole = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
    return base**exponent if is_whole else approximate


def is_same(left: object, right: object) -> bool:
    """1 and 1.0 are the same, true is neither; floats are when a billionth lies between them: 0.1 * 3 is 0.3."""
    if _is_number(left) and _is_number(right):
        if isinstance(left, int) and isinstance(right, int):
            return left == right
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-15)
    return type(left) is type(right) and left == right


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(compare: Callable, *, or_same: bool) -> Callable:
    def is_so(left: object, right: object) -> bool:
        if not (_is_number(left) and _is_number(right)):
            raise Nonsense
        return or_same if is_same(left, right) else compare(left, right)

    return is_so


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
