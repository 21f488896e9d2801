"""The outcome bar: what became of an experiment's trials, and how many are left."""

from collections.abc import Mapping

from experiments.charts.svg import Svg, element

# State, colour role, word; in this order from the left. What is left shows the track below.
PARTS = (
    ("succeeded", "good", "succeeded"),
    ("early_stopped", "cut", "stopped early"),
    ("failed", "bad", "failed"),
    ("stopped", "quiet", "stopped"),
    ("stopping", "moving", "stopping"),
    ("running", "active", "running"),
    ("waiting", "quiet", "waiting"),
)

LEAST = 2.0  # a part is never thinner, in pixels of a bar of the width below
GAP = 1.0
WIDTH, BIG_WIDTH = 120.0, 480.0


def outcome(counts: Mapping[str, int], *, left: int = 0, is_big: bool = False) -> Svg:
    """Draw a bar of trial counts by state; `left` are those of the budget that do not exist yet.

    It fills the width it is given. `is_big` is for the head of a page, the other for a row of a table.
    """
    parts = [(role, count, state) for state, role, _ in PARTS if (count := counts.get(state, 0)) > 0]
    width, height = (BIG_WIDTH, 10) if is_big else (WIDTH, 6)
    numbers = [count for _, count, _ in parts] + ([left] if left > 0 else [])
    bars, x = [], 0.0
    for (role, _, state), length in zip(
        parts, _lengths(numbers, width - GAP * (len(numbers) - 1)), strict=False
    ):
        faint = 0.5 if state == "waiting" else None
        size = {"x": x, "width": length, "height": height}
        bars.append(element("rect", data_role=role, fill_opacity=faint, **size))
        x += length + GAP
    said = sentence(counts, left=left)
    return element(
        "svg",
        element("title", said),
        *bars,
        class_="outcome is-big" if is_big else "outcome",
        viewBox=f"0 0 {width:g} {height}",
        preserveAspectRatio="none",
        role="img",
        aria_label=said,
    )


def sentence(counts: Mapping[str, int], *, left: int = 0) -> str:
    """Say the same: "62 succeeded, 7 failed, 30 left"."""
    said = [f"{count:,} {word}" for state, _, word in PARTS if (count := counts.get(state, 0)) > 0]
    if left > 0:
        said.append(f"{left:,} left")
    return ", ".join(said) or "No trials yet"


def _lengths(numbers: list[int], width: float) -> list[float]:
    # Thin parts get the least width, the others share what remains; which in turn may make another one thin.
    thin: set[int] = set()
    while True:
        rest = sum(number for place, number in enumerate(numbers) if place not in thin)
        room = width - LEAST * len(thin)
        now = {place for place, number in enumerate(numbers) if place in thin or number * room < LEAST * rest}
        if now == thin:
            return [LEAST if place in thin else number * room / rest for place, number in enumerate(numbers)]
        thin = now
