"""The best so far in the size of a word, for a row of a table. The number stands beside it."""

from collections.abc import Sequence

from experiments.charts.scale import finite
from experiments.charts.svg import Svg

WIDTH, LOW, HIGH = 72, 16.0, 2.0


def sparkline(best_steps: Sequence[tuple[int, float]], *, last: int) -> Svg:
    """Draw how the best so far went from its first value to trial number `last`, the smaller value lower.

    `best_steps` are (number, value) wherever it improved, in order. Without any the drawing is empty, so that
    the table keeps its shape. Hidden from screen readers: the row tells the best value in words.
    """
    steps = [(number, value) for number, value in best_steps if finite(value) is not None]
    if not steps:
        return _spark("")
    first = steps[0][0]
    per_trial = WIDTH / max(last - first, steps[-1][0] - first, 1)
    low, high = min(value for _, value in steps), max(value for _, value in steps)
    span = high / 2 - low / 2  # halves: the whole may be more than a float holds
    path, y = "", (LOW + HIGH) / 2
    for number, value in steps:
        if span:
            y = LOW - (value / 2 - low / 2) / span * (LOW - HIGH)
        path += f"H{(number - first) * per_trial:.3g}V{y:.3g}" if path else f"M0,{y:.3g}"
    return _spark(f'<path d="{path}H{WIDTH}"/><path class="end" d="M{WIDTH},{y:.3g}h0"/>')


def _spark(inside: str) -> Svg:
    return Svg(f'<svg class="spark" viewBox="0 0 {WIDTH} 18" aria-hidden="true">{inside}</svg>')
