"""A parameter as an axis: linear, logarithmic, or one place for each choice."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from sys import float_info

from experiments.charts.drawing.scale import Category, Linear, Log, Tick, finite, power
from experiments.charts.drawing.svg import clip

MOST_CHOICES = 40  # on an axis; the last place is for all others
OTHERS = "others"
LONGEST_CHOICE = 24  # characters of a label
MOST = float_info.max


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the search space: `choices` as text, or a range (`low` and `high`; None: as observed)."""

    name: str
    low: float | None = None
    high: float | None = None
    is_log: bool = False
    is_whole: bool = False
    choices: tuple[str, ...] | None = None

    def covering(self, values: Iterable[object]) -> Parameter:
        """Return the parameter with its range or choices extended to these values, which may be of earlier
        revisions."""
        values = list(values)
        kinds = set(map(type, values))
        if len(kinds) == 1 and kinds <= {str, int, float, bool}:  # without duplicates
            values = list(set(values))
        if self.choices is not None:
            unknown_values = sorted({text_of(value) for value in values} - set(self.choices))
            every = [*self.choices, *unknown_values]
            if len(every) > MOST_CHOICES:
                every = [*every[: MOST_CHOICES - 1], OTHERS]
            return replace(self, choices=tuple(every))
        numbers = _numbers_of(values)
        ends = [*numbers, *(end for end in (self.low, self.high) if end is not None)]
        if not ends:
            return replace(self, low=0.0, high=1.0, is_log=False)
        low, high = min(ends), max(ends)
        return replace(self, low=low, high=high, is_log=self.is_log and low > 0)

    def scale(self, *, start: float, end: float, count: int = 4) -> ParameterScale:
        """Return the scale from pixel `start` to pixel `end`. Only for a parameter that covers its values."""
        if self.choices is not None:
            return ParameterScale(self, Category(self.choices, start=start, end=end))
        low, high = self.low or 0.0, self.high or 0.0
        if self.is_log:
            return ParameterScale(self, Log(low, high, start=start, end=end, count=count))
        return ParameterScale(self, Linear(low, high, start=start, end=end, count=count, whole=self.is_whole))


class ParameterScale:
    """Maps a parameter's values to pixels."""

    def __init__(self, parameter: Parameter, scale: Linear | Log | Category) -> None:
        self.parameter, self.scale = parameter, scale
        self._places = {text: place for place, text in enumerate(parameter.choices or ())}

    @property
    def ticks(self) -> list[Tick]:
        if isinstance(self.scale, Category):
            return [Tick(tick.value, tick.at, clip(tick.label, LONGEST_CHOICE)) for tick in self.scale.ticks]
        return self.scale.ticks

    def at(self, value: object) -> float | None:
        """Return the pixel of a value; None if it is missing or not on this axis."""
        if isinstance(self.scale, Category):
            if value is None and "null" not in self._places:
                return None
            place = self._places.get(text_of(value), self._places.get(OTHERS))
            return None if place is None else self.scale.at(place)
        number = number_of(value)
        if number is None or (isinstance(self.scale, Log) and number <= 0):
            return None
        return self.scale.at(number)

    def all_at(self, values: Sequence[object]) -> list[float | None]:
        """Return the pixel of each value. Takes a fraction of the time of a call of `at` for each."""
        kinds = set(map(type, values))
        if isinstance(self.scale, Category):
            if kinds <= {str} or kinds <= {int}:
                places = {value: self.at(value) for value in set(values)}
                return [places[value] for value in values]
            return [self.at(value) for value in values]
        if not kinds <= {int, float}:
            return [self.at(value) for value in values]
        numbers = _numbers_of(values)
        if len(numbers) < len(values) or (isinstance(self.scale, Log) and min(numbers, default=1.0) <= 0):
            return [self.at(value) for value in values]
        return list(self.scale.all_at(numbers))

    def ends(self) -> tuple[str, str]:
        """Return the labels of the low and the high end."""
        if isinstance(self.scale, Category):
            names = [tick.label for tick in self.ticks]
            return (names[0], names[-1]) if names else ("", "")
        return short(self.parameter.low or 0.0), short(self.parameter.high or 0.0)


def _numbers_of(values: Sequence[object]) -> list[float]:
    """Return the values that are finite numbers, as `number_of` does."""
    numbers = [
        value if value.__class__ is float and -MOST <= value <= MOST else number_of(value) for value in values
    ]
    return [number for number in numbers if number is not None]


def number_of(value: object) -> float | None:
    """Return a finite number; None for texts, booleans, NaN and infinities."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is not int:
        return None
    try:
        return finite(float(value))
    except OverflowError:
        return None


def text_of(value: object) -> str:
    """Return a choice as text: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short(number: float) -> str:
    """Return a number in at most four digits: 0.001 as 1e-3, 12,800."""
    if not number:
        return "0"
    if number == round(number) and abs(number) < 1e6:
        return f"{number:,.0f}"
    if 1e-2 <= abs(number) < 1e6:
        return f"{number:.4g}"
    return power(float(f"{number:.3g}"))
