"""Sparklines for table rows: the best value so far, and levels over time."""

from collections.abc import Sequence

from experiments.charts.drawing.scale import finite
from experiments.charts.drawing.svg import Svg

WIDTH, LOW, HIGH = 72, 16.0, 2.0


def sparkline(best_steps: Sequence[tuple[int, float]], *, last: int) -> Svg:
    """Draw the best value so far, from its first value to trial number `last`; smaller values are lower.

    `best_steps` are the (number, value) pairs where it improved, in order. Without any, the drawing is empty, which
    keeps the table's layout. Hidden from screen readers, because the row contains the best value as text.
    """
    steps = [(number, value) for number, value in best_steps if finite(value) is not None]
    if not steps:
        return _spark("")
    first = steps[0][0]
    per_trial = WIDTH / max(last - first, steps[-1][0] - first, 1)
    low, high = min(value for _, value in steps), max(value for _, value in steps)
    span = high / 2 - low / 2  # halves, to avoid overflow
    path, y = "", (LOW + HIGH) / 2
    for number, value in steps:
        if span:
            y = LOW - (value / 2 - low / 2) / span * (LOW - HIGH)
        path += f"H{(number - first) * per_trial:.3g}V{y:.3g}" if path else f"M0,{y:.3g}"
    return _spark(f'<path d="{path}H{WIDTH}"/><path class="end" d="M{WIDTH},{y:.3g}h0"/>')


def level(points: Sequence[tuple[float, float | None]], *, most: float) -> Svg:
    """Draw a level over time from (position from 0 to 1, amount from 0 to `most`) in order; None is a gap.

    Twice as wide as `sparkline`. Hidden from screen readers, because the current level is beside it as text.
    """
    path, is_connected = "", False
    for position, amount in points:
        amount = finite(amount)
        if amount is None or most <= 0:
            is_connected = False
            continue
        x, y = min(max(position, 0), 1) * 2 * WIDTH, LOW - min(max(amount / most, 0), 1) * (LOW - HIGH)
        path += f"{'L' if is_connected else 'M'}{x:.1f},{y:.1f}"
        is_connected = True
    floor = f'<path class="floor" d="M0,{LOW + 1:g}H{2 * WIDTH}"/>'
    inside = floor + (f'<path d="{path}"/>' if path else "")
    return Svg(f'<svg class="spark is-long" viewBox="0 0 {2 * WIDTH} 18" aria-hidden="true">{inside}</svg>')


def _spark(inside: str) -> Svg:
    return Svg(f'<svg class="spark" viewBox="0 0 {WIDTH} 18" aria-hidden="true">{inside}</svg>')
