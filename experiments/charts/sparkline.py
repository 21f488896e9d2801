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


def level(points: Sequence[tuple[float, float | None]], *, most: float) -> Svg:
    """Draw how full something was: (place from 0 to 1, amount of 0 to `most`) in order; None is a gap.

    Twice as wide as a best so far. Hidden from screen readers: what it is now stands beside it in words.
    """
    path, is_down = "", False
    for place, amount in points:
        amount = finite(amount)
        if amount is None or most <= 0:
            is_down = False
            continue
        x, y = min(max(place, 0), 1) * 2 * WIDTH, LOW - min(max(amount / most, 0), 1) * (LOW - HIGH)
        path += f"{'L' if is_down else 'M'}{x:.1f},{y:.1f}"
        is_down = True
    floor = f'<path class="floor" d="M0,{LOW + 1:g}H{2 * WIDTH}"/>'
    inside = floor + (f'<path d="{path}"/>' if path else "")
    return Svg(f'<svg class="spark is-long" viewBox="0 0 {2 * WIDTH} 18" aria-hidden="true">{inside}</svg>')


def _spark(inside: str) -> Svg:
    return Svg(f'<svg class="spark" viewBox="0 0 {WIDTH} 18" aria-hidden="true">{inside}</svg>')
