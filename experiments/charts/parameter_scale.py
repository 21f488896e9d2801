"""A parameter's first samples on its scale, for a row of the search space."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from experiments.charts.drawing.scale import finite
from experiments.charts.drawing.svg import Svg, clip, element

WIDTH, HEIGHT = 120, 24
LEFT, RIGHT, MIDDLE, BASE = 4.0, 116.0, 9.0, 23.0
MAX_CHOICES = 8  # of a choice that are drawn
MAX_LABELS = 3
LABEL_LENGTH = 12
MAX_DECADES = 12


def parameter_scale(
    kind: str, values: Sequence[Any], samples: Sequence[Any], default: float | None = None
) -> Svg:
    """Draw the samples of a parameter of NNI's type `kind` with these `values`: dots on its scale, linear or
    logarithmic; or one dot per choice, sized by its number of samples. `default` is a tall mark. Return an empty text
    if the values cannot be drawn.
    """
    if kind == "choice":
        return _choices(values, samples)
    bounds = _bounds(kind, values)
    if bounds is None:
        return Svg("")
    low, high = bounds
    is_log = "log" in kind and low > 0
    numbers = [number for sample in samples if (number := _number(sample)) is not None]
    marks = [
        element("circle", cx=_at(number, low, high, is_log=is_log), cy=MIDDLE, r=2.6) for number in numbers
    ]
    if (number := finite(default)) is not None and low <= number <= high:
        at = _at(number, low, high, is_log=is_log)
        marks.append(element("path", class_="default", d=f"M{at:.1f},3.5v11"))
    ticks = [
        element("path", class_="tick", d=f"M{_at(tick, low, high, is_log=is_log):.1f},6v6")
        for tick in (_decades(low, high) if is_log else ())
    ]
    labels = [
        element("text", _short(low), x=2, y=BASE),
        element("text", _short(high), x=118, y=BASE, text_anchor="end"),
    ]
    return _drawing([*ticks, *marks, *labels], ", ".join(map(_short, numbers)))


def _choices(values: Sequence[Any], samples: Sequence[Any]) -> Svg:
    shown = [_name(value) for value in values[:MAX_CHOICES]]
    counts = Counter(map(_name, samples))
    elements = []
    for place, name in enumerate(shown):
        at = LEFT + (RIGHT - LEFT) * (place + 0.5) / len(shown)
        elements.append(element("circle", cx=at, cy=MIDDLE, r=2.0 + math.sqrt(counts[name]) * 1.2))
        if len(shown) <= MAX_LABELS:
            elements.append(element("text", clip(name, LABEL_LENGTH), x=at, y=BASE, text_anchor="middle"))
    if len(shown) > MAX_LABELS:
        elements += [
            element("text", clip(shown[0], LABEL_LENGTH), x=2, y=BASE),
            element("text", clip(shown[-1], LABEL_LENGTH), x=118, y=BASE, text_anchor="end"),
        ]
    return _drawing(elements, ", ".join(map(_name, samples)))


def _drawing(elements: Sequence[Svg], samples: str) -> Svg:
    title = f"First samples: {samples}"
    line = element("line", x1=LEFT, x2=RIGHT, y1=MIDDLE, y2=MIDDLE)
    return element(
        "svg",
        element("title", title),
        line,
        *elements,
        class_="scale",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
    )


def _bounds(kind: str, values: Sequence[Any]) -> tuple[float, float] | None:
    """Return the ends of the scale: the bounds, or three deviations around the mean."""
    numbers = [_number(value) for value in values[:2]]
    if len(numbers) < 2 or numbers[0] is None or numbers[1] is None:
        return None
    first, second = numbers[0], numbers[1]
    if kind.endswith("normal"):
        first, second = first - 3 * second, first + 3 * second
        if "log" in kind:
            if max(abs(first), abs(second)) > 700:  # exp would overflow
                return None
            first, second = math.exp(first), math.exp(second)
    elif kind in ("randint", "lograndint"):
        second -= 1  # exclusive
    return (first, second) if first < second and math.isfinite(second - first) else None


def _at(number: float, low: float, high: float, *, is_log: bool) -> float:
    if is_log and number > 0:
        share = (math.log(number) - math.log(low)) / (math.log(high) - math.log(low))
    else:
        share = (number - low) / (high - low)
    return LEFT + min(1.0, max(0.0, share)) * (RIGHT - LEFT)


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1)] if last - first <= MAX_DECADES else []


def _short(number: float) -> str:
    text = f"{number:.3g}"
    return (
        text.replace("e-0", "e-").replace("e+0", "e+").replace("-", "−")
        if "e" in text
        else text.replace("-", "−")
    )


def _name(value: object) -> str:
    return (
        {True: "true", False: "false", None: "null"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )


def _number(value: object) -> float | None:
    return finite(value) if isinstance(value, int | float) else None
