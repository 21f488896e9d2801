"""The charts in the size of a word: the sparkline and the outcome bar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.charts.drawing.marks import some_of
from experiments.charts.outcome import outcome, summary
from experiments.charts.sparkline import level, sparkline
from tests.charts.reading import read

STATES = ["succeeded", "early_stopped", "failed", "stopped", "stopping", "running", "waiting"]


def bars(svg):
    root = read(svg)[0]
    return [(e.get("data-role"), float(e.get("x")), float(e.get("width"))) for e in root.iter("rect")]


def test_a_sparkline_is_the_best_so_far_in_steps():
    assert sparkline([(1, 0.1), (10, 0.5), (37, 0.8)], last=73) == (
        '<svg class="spark" viewBox="0 0 72 18" aria-hidden="true">'
        '<path d="M0,16H9V8H36V2H72"/><path class="end" d="M72,2h0"/></svg>'
    )


def test_a_sparkline_falls_when_less_is_better():
    assert "M0,2H36V16H72" in sparkline([(1, 0.9), (2, 0.1)], last=3)


def test_a_sparkline_of_nothing_keeps_its_place():
    assert sparkline([], last=0) == '<svg class="spark" viewBox="0 0 72 18" aria-hidden="true"></svg>'
    assert sparkline([(1, float("nan"))], last=3) == sparkline([], last=0)


@given(st.dictionaries(st.integers(1, 10**6), st.floats(), max_size=20), st.integers(0, 10**6))
def test_any_steps_make_a_sparkline(steps, last):
    drawn = sparkline(sorted(steps.items()), last=last)
    read(drawn)
    assert drawn == sparkline(sorted(steps.items()), last=last)


def test_a_level_is_a_line_with_gaps_between_its_floor_and_its_top():
    drawn = level([(0, 0), (0.5, 32), (0.6, None), (0.7, 64), (1, 99)], most=64)
    paths = [path.get("d") for path in read(drawn).iter("path")]
    assert paths == ["M0,17H144", "M0.0,16.0L72.0,9.0M100.8,2.0L144.0,2.0"]
    assert [path.get("d") for path in read(level([(0, None)], most=0)).iter("path")] == ["M0,17H144"]


def test_the_bar_shows_each_state_in_its_share():
    parts = bars(outcome({"succeeded": 60, "early_stopped": 20, "failed": 20}, left=100))
    assert [role for role, _, _ in parts] == ["good", "cut", "bad"]
    assert parts[0][2] == pytest.approx(3 * parts[1][2], abs=0.2)
    assert parts[1][2] == parts[2][2]
    assert parts[2][1] + parts[2][2] == pytest.approx(60, abs=1)  # half of 120 is left


def test_one_failure_among_thousands_is_still_seen():
    parts = bars(outcome({"succeeded": 99_999, "failed": 1, "running": 4}))
    assert [width for _, _, width in parts[1:]] == [2, 2]
    assert parts[-1][1] + parts[-1][2] == pytest.approx(120, abs=0.1)


def test_what_is_left_is_the_track():
    assert bars(outcome({}, left=64)) == []
    assert bars(outcome({"running": 1})) == [("active", 0, 120)]


def test_the_bar_says_its_numbers_in_a_sentence():
    counts = {"running": 3, "succeeded": 62, "early_stopped": 17, "failed": 7, "stopped": 1, "waiting": 1}
    message = "62 succeeded, 17 stopped early, 7 failed, 1 stopped, 3 running, 1 waiting, 29 remaining"
    assert summary(counts, left=29) == message
    drawing = read(outcome(counts, left=29, is_big=True))[0]
    assert (drawing.get("role"), drawing.get("aria-label"), drawing.findtext("title")) == (
        "img",
        message,
        message,
    )
    assert drawing.get("class") == "outcome is-big"
    assert drawing.get("preserveAspectRatio") == "none"
    assert summary({}) == "No trials yet"


@given(st.dictionaries(st.sampled_from(STATES), st.integers(0, 10**6)), st.integers(0, 10**6), st.booleans())
def test_any_counts_fill_the_bar_side_by_side(counts, left, is_big):
    drawn = outcome(counts, left=left, is_big=is_big)
    width = float(read(drawn)[0].get("viewBox").split()[2])
    parts = bars(drawn)
    assert len(parts) == sum(count > 0 for count in counts.values())
    assert all(length >= 2 for _, _, length in parts)
    for (_, x, length), (_, next_x, _) in zip(parts, parts[1:], strict=False):
        assert next_x == pytest.approx(x + length + 1, abs=0.2)
    if parts:
        end = parts[-1][1] + parts[-1][2]
        assert end <= width - 2.8 if left else end == pytest.approx(width, abs=0.2)


def test_a_single_trial_is_counted_in_the_singular():
    counts = [
        some_of(1, 1),
        some_of(1, 1, "trials with a value"),
        some_of(2, 2, "trials with a value"),
        some_of(1, 9),
    ]
    assert counts == ["1 trial", "1 trial with a value", "2 trials with a value", "1 of 9 trials"]
