"""Scales: from values to pixels, with the few ticks that are worth a grid line and one precision an axis."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from sys import float_info
from typing import NamedTuple

DECADES_FOR_LOG = 3
MOST_WASTE = 0.25  # of the values' span, to make an axis begin at a grid line
STEPS = ((1, 0), (2, 0), (5, 0), (25, 1))  # 1, 2, 5 and 2.5, which costs a digit more


class Tick(NamedTuple):
    """A value worth a grid line, its pixel, and its label."""

    value: object
    at: float
    label: str


class Linear:
    """A straight scale from `low` at pixel `start` to `high` at pixel `end`.

    About `count` ticks, `whole` for whole numbers only. `snap` moves `low` down to a tick, so that the axis
    begins at a grid line, unless that would waste too much. A single value gets room on both sides. Both are
    finite.
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
        wide_low, wide_high = _apart(float(low), float(high))
        span = high - low if (low, high) == (wide_low, wide_high) else max(abs(low), abs(high))
        low, high = wide_low, wide_high
        mantissa, exponent = _step(low, high, count, whole, snap)
        ticks = _multiples(mantissa, exponent, low, high, snap)
        if snap and ticks and low / 2 - ticks[0] / 2 > MOST_WASTE * (high / 2 - low / 2):
            mantissa, exponent = _step(low, high, count, whole, False)
            ticks = _multiples(mantissa, exponent, low, high, False)
        low = min([low, *ticks[:1]])
        self.low, self.high, self.start, self.end = low, high, start, end
        # Halves: the distance between the two ends of the floats would be infinite.
        self._pixels_per_half = (end - start) / (high / 2 - low / 2)
        self._numbers = Numbers(ticks, mantissa, exponent, span)
        self.ticks = [Tick(tick, self.at(tick), self._numbers.short(tick)) for tick in ticks]

    def at(self, value: float) -> float:
        """The pixel of a value, also outside the scale."""
        return self.start + (value / 2 - self.low / 2) * self._pixels_per_half

    def text(self, value: float) -> str:
        """A value as its mark says it: a few digits more than the ticks show."""
        return self._numbers.long(value)


class Log:
    """A logarithmic scale; `low` and `high` are above zero. A tick a decade, thinned to about `count`."""

    def __init__(self, low: float, high: float, *, start: float, end: float, count: int = 4) -> None:
        if math.log10(high) - math.log10(low) < 1e-9:  # so near that they fall on one pixel
            low, high = max(low / 2, float_info.min), min(high * 2, float_info.max)
        self.low, self.high, self.start, self.end = low, high, start, end
        self._low = math.log10(low)
        self._pixels = (end - start) / ((math.log10(high) - self._low) or 1.0)
        ticks = _decades(low, high, count)
        self.ticks = [Tick(tick, self.at(tick), self._short(tick)) for tick in ticks]

    def at(self, value: float) -> float:
        """The pixel of a value; zero and below lie far beyond the low end."""
        exponent = math.log10(value) if value > 0 else -400.0
        return self.start + (exponent - self._low) * self._pixels

    def text(self, value: float) -> str:
        """A value to four digits."""
        return significant(value)

    def _short(self, value: float) -> str:
        return f"{value:,g}" if 1e-2 <= value < 1e5 else power(value)


class Category:
    """Names at even distances from pixel `start` to pixel `end`; a single one stands in the middle."""

    def __init__(self, names: Sequence[str], *, start: float, end: float) -> None:
        self.names, self.start, self.end = tuple(names), start, end
        self.ticks = [Tick(name, self.at(place), name) for place, name in enumerate(self.names)]

    def at(self, place: int) -> float:
        """The pixel of the name at this place of the list."""
        if len(self.names) < 2:
            return (self.start + self.end) / 2
        return self.start + (self.end - self.start) * place / (len(self.names) - 1)

    def text(self, place: int) -> str:
        return self.names[place]


class Time:
    """A scale of moments. Ticks are round on the clock of `low`'s own time zone."""

    SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
    DAY = 86400

    def __init__(self, low: datetime, high: datetime, *, start: float, end: float, count: int = 4) -> None:
        if high <= low:
            high = low + timedelta(minutes=1)
        self.low, self.high, self.start, self.end = low, high, start, end
        self._span = (high - low).total_seconds()
        self._step = self._nice(self._span / count)
        self.ticks = [Tick(moment, self.at(moment), self._short(moment)) for moment in self._round()]

    def at(self, moment: datetime) -> float:
        return self.start + (self.end - self.start) * ((moment - self.low).total_seconds() / self._span)

    def text(self, moment: datetime) -> str:
        return f"{moment:%Y-%m-%d %H:%M:%S}"

    def _nice(self, rough: float) -> int:
        days = max(1, math.ceil(rough / self.DAY))
        return next((step for step in self.SECONDS if step >= rough), days * self.DAY)

    def _round(self) -> list[datetime]:
        midnight = self.low.replace(hour=0, minute=0, second=0, microsecond=0)
        first = math.ceil((self.low - midnight).total_seconds() / self._step)
        last = math.floor((self.high - midnight).total_seconds() / self._step)
        return [midnight + timedelta(seconds=turn * self._step) for turn in range(first, last + 1)]

    def _short(self, moment: datetime) -> str:
        if self._step >= self.DAY:
            return f"{moment.day} {moment:%b}"
        return f"{moment:%H:%M:%S}" if self._step < 60 else f"{moment:%H:%M}"


class Numbers:
    """How the numbers of one axis are written: all ticks with the same digits, all values with the same more
    (whole ones with none).

    Values are told to a thousandth of `span`, or of themselves when all are equal.
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
        """A tick's label: 0.25, 1,200, 1.5e-4."""
        if not self.is_power:
            return _plain(value, self.decimals)
        return power(value, self.digits) if value else "0"

    def long(self, value: float) -> str:
        """A mark's label: 0.2513, 1, 1,204.5, 1.513e-4."""
        if not value and self.is_power:
            return "0"
        is_far = abs(value) >= 1e6 and abs(value) > 1e3 * self.largest
        if self.largest < 1e-3 or abs(value) >= 1e12 or is_far:
            return power(value, 3 if is_far else self.more_digits)
        written = _plain(value, 0 if value == round(value) else self.more_decimals)
        return power(value, 3) if value and not any(digit in written for digit in "123456789") else written


def linear_or_log(
    values: Sequence[float], *, keep: Iterable[float] = (), gain: float = 2.0
) -> tuple[float, float, bool]:
    """Say from where to where an axis for these values goes, and whether it is logarithmic.

    Logarithmic when all are above zero and what remains without outliers spans more than three decades.
    Otherwise straight, and outliers stay outside (draw them at the border) when leaving them out makes the
    rest at least `gain` times as tall; the values in `keep` are always inside. Needs at least one value.
    """
    if min(values) > 0:
        logs = [math.log10(value) for value in values]
        low, high = _without_outliers(logs, [math.log10(value) for value in keep], gain)
        if high - low > DECADES_FOR_LOG:
            inside = [value for value, log in zip(values, logs, strict=True) if low <= log <= high]
            return min(inside), max(inside), True
    low, high = _without_outliers(values, list(keep), gain)
    return low, high, False


def significant(value: float, digits: int = 4) -> str:
    """Write a number to so many digits: 0.8147, 1,235, 1.2e-5."""
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    decimals = max(0, digits - 1 - _exponent(value)) if value else 0
    return _trimmed(_plain(value, decimals))


def power(value: float, digits: int | None = None) -> str:
    """Write a number as 1e-4, with `digits` after the point (None: those it needs)."""
    if digits is None:
        mantissa, exponent = f"{value:.15e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def finite(value: float | None) -> float | None:
    """The value as a float, or None for none, infinities and not-a-number."""
    return float(value) if value is not None and math.isfinite(value) else None


def _apart(low: float, high: float) -> tuple[float, float]:
    # Equal, or so near that floats have no ticks between them.
    size = max(abs(low), abs(high))
    if high - low > 64 * math.ulp(size) and (high - low) > float_info.min * 1e3:
        return low, high
    room = 0.05 * size if size > 1e-300 else 1.0
    return max(low - room, -float_info.max), min(high + room, float_info.max)


def _step(low: float, high: float, count: int, whole: bool, snap: bool) -> tuple[int, int]:
    # Of the steps 1, 2, 2.5, 5 times a power of ten: the one with nearest to `count` ticks.
    rough = max((high / 2 - low / 2) / count * 2, float_info.min)
    best, best_distance = (1, _exponent(rough)), math.inf
    for exponent in range(_exponent(rough) - 1, _exponent(rough) + 2):
        for mantissa, extra in STEPS:
            step = _float(mantissa, exponent - extra)
            if not 0 < step < math.inf or (whole and (step < 1 or step != round(step))):
                continue
            first = math.floor(low / step) if snap else math.ceil(low / step)
            more = math.floor(high / step) - first + 1 - count
            distance = max(more, -1.6 * more) + (0.5 if extra else 0)  # rather five lines than three
            if distance < best_distance:
                best, best_distance = (mantissa, exponent), distance
    if whole and best_distance == math.inf:
        return 1, 0
    return best


def _multiples(mantissa: int, exponent: int, low: float, high: float, snap: bool) -> list[float]:
    power_of_ten = exponent - (mantissa == 25)
    step = _float(mantissa, power_of_ten)
    nudge = 1e-9
    first = math.floor(low / step + nudge) if snap else math.ceil(low / step - nudge)
    last = math.floor(high / step + nudge)
    ticks = [_float(turn * mantissa, power_of_ten) for turn in range(first, last + 1)]
    return [tick for tick in ticks if math.isfinite(tick)]


def _decades(low: float, high: float, count: int) -> list[float]:
    # To the side of the axis by a hair's breadth still counts: 10**log10(x) is not x.
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
    # Tukey's far-out fences: three times the middle half beyond it (Exploratory Data Analysis, 1977, 2D). Not
    # more than a tenth of the values on either side (or one of five) may stay outside.
    ordered = sorted(values)
    low, high = min([*keep, ordered[0]]), max([*keep, ordered[-1]])
    if len(ordered) < 5:
        return low, high
    middle_low, middle_high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    half = 3 * (middle_high / 2 - middle_low / 2)
    below, above = middle_low / 2 - half, middle_high / 2 + half  # halves, for the largest floats
    few = max(1, len(ordered) // 10)
    inside = [value for value in ordered if below <= value / 2 <= above]
    if not inside or middle_low == middle_high:
        return low, high
    near_low = inside[0] if sum(value / 2 < below for value in ordered) <= few else ordered[0]
    near_high = inside[-1] if sum(value / 2 > above for value in ordered) <= few else ordered[-1]
    near_low, near_high = min([*keep, near_low]), max([*keep, near_high])
    if high / 2 - low / 2 < gain * (near_high / 2 - near_low / 2):
        return low, high
    return near_low, near_high


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _float(mantissa: int, exponent: int) -> float:
    # Through the decimal notation: 3 * 0.1 would be 0.30000000000000004.
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
