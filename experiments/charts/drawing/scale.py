"""Scales from values to pixels, with a few ticks for grid lines and one number precision per axis."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from sys import float_info
from typing import Any, NamedTuple

DECADES_FOR_LOG = 3
MAX_WASTE = 0.25  # fraction of the values' span that may be empty to start an axis at a grid line
STEPS = ((1, 0), (2, 0), (5, 0), (25, 1))  # (mantissa, extra digits): 1, 2, 5, and 2.5 with one more digit


class Tick(NamedTuple):
    """A value with a grid line, its pixel, and its label."""

    value: Any
    at: float
    label: str


class Linear:
    """A linear scale from `low` at pixel `start` to `high` at pixel `end`; both must be finite.

    It has about `count` ticks, with `whole` only at whole numbers. `snap` moves `low` down to a tick, so that the axis
    starts at a grid line, unless that would waste too much space. A single value gets a margin on both sides.
    """

    def __init__(
        self,
        low: float,
        high: float,
        *,
        start: float,
        end: float,
        count: int = 4,
        whole: bool = False,
        snap: bool = False,
    ) -> None:
        wide_low, wide_high = _widened(float(low), float(high))
        span = high - low if (low, high) == (wide_low, wide_high) else max(abs(low), abs(high))
        low, high = wide_low, wide_high
        mantissa, exponent = _step(low, high, count, whole, snap)
        ticks = _multiples(mantissa, exponent, low, high, snap)
        if snap and ticks and low / 2 - ticks[0] / 2 > MAX_WASTE * (high / 2 - low / 2):
            mantissa, exponent = _step(low, high, count, whole, False)
            ticks = _multiples(mantissa, exponent, low, high, False)
        low = min([low, *ticks[:1]])
        self.low, self.high, self.start, self.end = low, high, start, end
        # Compute with halves: the distance between the largest and the smallest float would be infinite.
        self._pixels_per_half = (end - start) / (high / 2 - low / 2)
        self._numbers = Numbers(ticks, mantissa, exponent, span)
        self.ticks = [Tick(tick, self.at(tick), self._numbers.short(tick)) for tick in ticks]

    def at(self, value: float) -> float:
        """Return the pixel of a value, which may be outside the scale."""
        return self.start + (value / 2 - self.low / 2) * self._pixels_per_half

    def all_at(self, values: Iterable[float]) -> list[float]:
        """Return the pixel of each value."""
        start, low, pixels = self.start, self.low / 2, self._pixels_per_half
        return [start + (value / 2 - low) * pixels for value in values]

    def text(self, value: float) -> str:
        """Return a value with a few more digits than the ticks."""
        return self._numbers.long(value)

    def texts(self, values: Sequence[float]) -> list[str]:
        """Return the text of each value."""
        return self._numbers.all_long(values)


class Log:
    """A logarithmic scale; `low` and `high` must be above zero. One tick per decade, thinned to about `count`."""

    def __init__(self, low: float, high: float, *, start: float, end: float, count: int = 4) -> None:
        if math.log10(high) - math.log10(low) < 1e-9:  # so close that they would share a pixel
            low, high = max(low / 2, float_info.min), min(high * 2, float_info.max)
        self.low, self.high, self.start, self.end = low, high, start, end
        self._low = math.log10(low)
        self._digits = min(max(4, 3 - _exponent((high - low) / high)), 15)
        self._pixels = (end - start) / ((math.log10(high) - self._low) or 1.0)
        ticks = _decades(low, high, count)
        self.ticks = [Tick(tick, self.at(tick), self._short(tick)) for tick in ticks]

    def at(self, value: float) -> float:
        """Return the pixel of a value; zero and negative values are far below the low end."""
        exponent = math.log10(value) if value > 0 else -400.0
        return self.start + (exponent - self._low) * self._pixels

    def all_at(self, values: Iterable[float]) -> list[float]:
        """Return the pixel of each value."""
        start, low, pixels = self.start, self._low, self._pixels
        if min(values := list(values), default=0.0) > 0:
            return [start + (exponent - low) * pixels for exponent in map(math.log10, values)]
        return [self.at(value) for value in values]

    def text(self, value: float) -> str:
        """Return a value with four digits, or as many as the scale's span needs."""
        return significant(value, self._digits)

    def texts(self, values: Sequence[float]) -> list[str]:
        """Return the text of each value."""
        return [self.text(value) for value in values]

    def _short(self, value: float) -> str:
        return f"{value:,g}" if 1e-2 <= value < 1e5 else power(value)


class Category:
    """Names at equal distances from pixel `start` to pixel `end`; a single name is in the middle."""

    def __init__(self, names: Sequence[str], *, start: float, end: float) -> None:
        self.names, self.start, self.end = tuple(names), start, end
        self.ticks = [Tick(name, self.at(index), name) for index, name in enumerate(self.names)]

    def at(self, index: int) -> float:
        """Return the pixel of the name at this index."""
        if len(self.names) < 2:
            return (self.start + self.end) / 2
        return self.start + (self.end - self.start) * index / (len(self.names) - 1)

    def text(self, index: int) -> str:
        return self.names[index]


class Time:
    """A time scale. Ticks are round clock times in the time zone of `low`."""

    SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
    DAY = 86400

    def __init__(self, low: datetime, high: datetime, *, start: float, end: float, count: int = 4) -> None:
        if high <= low:
            high = low + timedelta(minutes=1)
        self.low, self.high, self.start, self.end = low, high, start, end
        self._span = (high - low).total_seconds()
        self._step = self._round_step(self._span / count)
        self.ticks = [Tick(moment, self.at(moment), self._short(moment)) for moment in self._round()]

    def at(self, moment: datetime) -> float:
        return self.start + (self.end - self.start) * ((moment - self.low).total_seconds() / self._span)

    def text(self, moment: datetime) -> str:
        return f"{moment:%Y-%m-%d %H:%M:%S}"

    def _round_step(self, rough: float) -> int:
        days = max(1, math.ceil(rough / self.DAY))
        return next((step for step in self.SECONDS if step >= rough), days * self.DAY)

    def _round(self) -> list[datetime]:
        midnight = self.low.replace(hour=0, minute=0, second=0, microsecond=0)
        first = math.ceil((self.low - midnight).total_seconds() / self._step)
        last = math.floor((self.high - midnight).total_seconds() / self._step)
        return [midnight + timedelta(seconds=index * self._step) for index in range(first, last + 1)]

    def _short(self, moment: datetime) -> str:
        if self._step >= self.DAY:
            return f"{moment.day} {moment:%b}"
        return f"{moment:%H:%M:%S}" if self._step < 60 else f"{moment:%H:%M}"


class Numbers:
    """The number format of an axis: all ticks have the same digits, all values the same larger number of digits (whole
    numbers none). Values are precise to a thousandth of `span`, or of themselves when all are equal.
    """

    def __init__(self, ticks: Sequence[float], mantissa: int, exponent: int, span: float) -> None:
        last_digit = exponent - (mantissa == 25)  # the place of the step's last digit: 0.25 has -2
        size = _exponent(min(span, float_info.max)) if span > float_info.min else 0
        span_digit = 4 if size == 0 else 3 - size  # accuracies and most losses: four decimals
        self.largest = max((abs(tick) for tick in ticks), default=1.0)
        first_digit = _exponent(self.largest) if self.largest else last_digit
        self.digits = max(0, first_digit - last_digit)
        is_huge = self.largest >= 1e6 and (self.digits <= 3 or self.largest >= 1e12)
        self.is_power = is_huge or self.largest < 1e-3
        self.decimals = max(0, -last_digit)
        self.more_decimals = min(max(self.decimals, span_digit), 15)
        self.more_digits = min(max(self.digits, first_digit + span_digit), 15)

    def short(self, value: float) -> str:
        """Return a tick's label: 0.25, 1,200, 1.5e-4."""
        if not self.is_power:
            return _plain(value, self.decimals)
        return power(value, self.digits) if value else "0"

    def long(self, value: float) -> str:
        """Return a mark's label: 0.2513, 1, 1,204.5, 1.513e-4."""
        if not value and self.is_power:
            return "0"
        is_far = abs(value) >= 1e6 and abs(value) > 1e3 * self.largest
        if self.largest < 1e-3 or abs(value) >= 1e12 or is_far:
            return power(value, 3 if is_far else self.more_digits)
        written = _plain(value, 0 if value == round(value) else self.more_decimals)
        return power(value, 3) if value and not any(digit in written for digit in "123456789") else written

    def all_long(self, values: Sequence[float]) -> list[str]:
        """Return `long` of each value, in half the time if nearly all are plain fractions."""
        if self.largest < 1e-3:
            return [self.long(value) for value in values]
        decimals, least = self.more_decimals, 10.0**-self.more_decimals
        return [
            f"{value:,.{decimals}f}"
            if (least <= value < 1e6 or -1e6 < value <= -least) and value % 1
            else self.long(value)
            for value in values
        ]


def linear_or_log(
    values: Sequence[float], *, keep: Iterable[float] = (), gain: float = 2.0
) -> tuple[float, float, bool]:
    """Return (low, high, is_log) of an axis for these values (at least one).

    The axis is logarithmic when all values are above zero and span more than three decades without outliers.
    Otherwise it is linear, and outliers are outside (to be drawn at the border) when that makes the rest at least
    `gain` times as tall. The values in `keep` are always inside.
    """
    keep = list(keep)
    every = [*values, *keep]
    if min(values) > 0 and max(every) > 0.99 * 10.0**DECADES_FOR_LOG * min(every):
        logs = [math.log10(value) for value in values]
        low, high = _without_outliers(logs, [math.log10(value) for value in keep], gain)
        if high - low > DECADES_FOR_LOG:
            inside = [value for value, log in zip(values, logs, strict=True) if low <= log <= high]
            return min(inside), max(inside), True
    low, high = _without_outliers(values, keep, gain)
    return low, high, False


def significant(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits: 0.8147, 1,235, 1.2e-5."""
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    decimals = max(0, digits - 1 - _exponent(value)) if value else 0
    return _trimmed(_plain(value, decimals))


def power(value: float, digits: int | None = None) -> str:
    """Return a number such as 1e-4, with `digits` after the decimal point (None: as many as needed)."""
    if digits is None:
        mantissa, exponent = f"{value:.15e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def finite(value: float | None) -> float | None:
    """Return the value as a float, or None for None, infinities and NaN."""
    return float(value) if value is not None and math.isfinite(value) else None


def _widened(low: float, high: float) -> tuple[float, float]:
    # Widen the interval when the bounds are equal, or so close that there is no float for a tick between them.
    size = max(abs(low), abs(high))
    if high - low > 64 * math.ulp(size) and (high - low) > float_info.min * 1e3:
        return low, high
    margin = 0.05 * size if size > 1e-300 else 1.0
    return max(low - margin, -float_info.max), min(high + margin, float_info.max)


def _step(low: float, high: float, count: int, is_whole: bool, snap: bool) -> tuple[int, int]:
    # Of the steps 1, 2, 2.5 and 5 times a power of ten, choose the one with the number of ticks closest to `count`.
    rough = max((high / 2 - low / 2) / count * 2, float_info.min)
    best, best_distance = (1, _exponent(rough)), math.inf
    for exponent in range(_exponent(rough) - 1, _exponent(rough) + 2):
        for mantissa, extra in STEPS:
            step = _float(mantissa, exponent - extra)
            if not 0 < step < math.inf or (is_whole and (step < 1 or step != round(step))):
                continue
            first = math.floor(low / step) if snap else math.ceil(low / step)
            more = math.floor(high / step) - first + 1 - count
            distance = max(more, -1.6 * more) + (0.5 if extra else 0)  # prefer five lines over three
            if distance < best_distance:
                best, best_distance = (mantissa, exponent), distance
    if is_whole and best_distance == math.inf:
        return 1, 0
    return best


def _multiples(mantissa: int, exponent: int, low: float, high: float, snap: bool) -> list[float]:
    power_of_ten = exponent - (mantissa == 25)
    step = _float(mantissa, power_of_ten)
    tolerance = 1e-9
    first = math.floor(low / step + tolerance) if snap else math.ceil(low / step - tolerance)
    last = math.floor(high / step + tolerance)
    ticks = [_float(index * mantissa, power_of_ten) for index in range(first, last + 1)]
    return [tick for tick in ticks if math.isfinite(tick)]


def _decades(low: float, high: float, count: int) -> list[float]:
    # With a tolerance at the ends, because 10**log10(x) is not exactly x.
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    ticks = [_float(1, exponent) for exponent in range(first, last + 1)]
    if len(ticks) > count + 1:
        return ticks[:: math.ceil(len(ticks) / (count + 1))]
    if len(ticks) > 2:
        return ticks
    between = [_float(m, e) for e in range(first - 1, last + 1) for m in (1, 2, 5)]
    between = [tick for tick in between if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
    if len(between) > 1:
        return between
    return [tick.value for tick in Linear(low, high, start=0, end=1, count=count).ticks]


def _without_outliers(values: Sequence[float], keep: Sequence[float], gain: float) -> tuple[float, float]:
    # Tukey's outer fences: three interquartile ranges beyond the quartiles (Exploratory Data Analysis, 1977, 2D). At
    # most a tenth of the values on either side (or one of five) may be outside.
    ordered = sorted(values)
    low, high = min([*keep, ordered[0]]), max([*keep, ordered[-1]])
    if len(ordered) < 5:
        return low, high
    middle_low, middle_high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    half = 3 * (middle_high / 2 - middle_low / 2)
    below, above = middle_low / 2 - half, middle_high / 2 + half  # halves, to avoid overflow
    few = max(1, len(ordered) // 10)
    begin, end = bisect_left(ordered, below, key=_half), bisect_right(ordered, above, key=_half)
    if begin >= end or middle_low == middle_high:
        return low, high
    near_low = ordered[begin] if begin <= few else ordered[0]
    near_high = ordered[end - 1] if len(ordered) - end <= few else ordered[-1]
    near_low, near_high = min([*keep, near_low]), max([*keep, near_high])
    if high / 2 - low / 2 < gain * (near_high / 2 - near_low / 2):
        return low, high
    return near_low, near_high


def _half(value: float) -> float:
    return value / 2


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _float(mantissa: int, exponent: int) -> float:
    # Parse decimal notation: 3 * 0.1 would be 0.30000000000000004.
    return float(f"{mantissa}e{exponent}")


def _plain(value: float, decimals: int) -> str:
    written = f"{value:,.{decimals}f}"
    return (
        written[1:]
        if written.startswith("-") and not any(digit in written for digit in "123456789")
        else written
    )


def _trimmed(written: str) -> str:
    return written.rstrip("0").rstrip(".") if "." in written else written
