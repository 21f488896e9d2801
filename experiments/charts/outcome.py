"""The outcome bar: the trials of an experiment by state, and the remaining budget."""

from collections.abc import Mapping

from experiments.charts.drawing.svg import Svg, element

# (state, color role, label), from left to right. The remaining budget is the uncovered track.
PARTS = (
    ("succeeded", "good", "succeeded"),
    ("early_stopped", "cut", "stopped early"),
    ("failed", "bad", "failed"),
    ("stopped", "quiet", "stopped"),
    ("stopping", "moving", "stopping"),
    ("running", "active", "running"),
    ("waiting", "quiet", "waiting"),
)

MIN_LENGTH = 2.0  # of a part, in pixels of a bar with the width below
GAP = 1.0
WIDTH, BIG_WIDTH = 120.0, 480.0


def outcome(counts: Mapping[str, int], *, left: int = 0, is_big: bool = False) -> Svg:
    """Draw a bar of trial counts by state; `left` is the number of trials in the budget that do not exist yet.

    The bar fills the available width. `is_big` is for the head of a page, the default for a table row.
    """
    segments = [(role, count, state) for state, role, _ in PARTS if (count := counts.get(state, 0)) > 0]
    width, height = (BIG_WIDTH, 10) if is_big else (WIDTH, 6)
    numbers = [count for _, count, _ in segments] + ([left] if left > 0 else [])
    bars, x = [], 0.0
    for (role, _, state), length in zip(
        segments, _lengths(numbers, width - GAP * (len(numbers) - 1)), strict=False
    ):
        faint = 0.5 if state == "waiting" else None
        size = {"x": x, "width": length, "height": height}
        bars.append(element("rect", data_role=role, fill_opacity=faint, **size))
        x += length + GAP
    text = summary(counts, left=left)
    return element(
        "svg",
        element("title", text),
        *bars,
        class_="outcome is-big" if is_big else "outcome",
        viewBox=f"0 0 {width:g} {height}",
        preserveAspectRatio="none",
        role="img",
        aria_label=text,
    )


def summary(counts: Mapping[str, int], *, left: int = 0) -> str:
    """Return the counts as text: "62 succeeded, 7 failed, 30 remaining"."""
    labels = [f"{count:,} {label}" for state, _, label in PARTS if (count := counts.get(state, 0)) > 0]
    if left > 0:
        labels.append(f"{left:,} remaining")
    return ", ".join(labels) or "No trials yet"


def _lengths(numbers: list[int], width: float) -> list[float]:
    # Thin segments get the minimum length and the others share the rest, which may make another segment thin in turn.
    thin: set[int] = set()
    while True:
        wide_total = sum(number for index, number in enumerate(numbers) if index not in thin)
        available = width - MIN_LENGTH * len(thin)
        now = {
            index
            for index, number in enumerate(numbers)
            if index in thin or number * available < MIN_LENGTH * wide_total
        }
        if now == thin:
            return [
                MIN_LENGTH if index in thin else number * available / wide_total
                for index, number in enumerate(numbers)
            ]
        thin = now
