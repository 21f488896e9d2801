"""Busy slots of a day: bars by the quarter of an hour, and the slots that were there."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from experiments.charts.drawing.axes import FULL_WIDTHS
from experiments.charts.utilization import Bar, busy, share
from tests.charts.reading import having_class, read_chart, texts

END = datetime(2026, 11, 21, 13, 48, tzinfo=UTC)
START = END - timedelta(hours=24)
QUARTER = timedelta(minutes=15)


def bar(quarters_ago: float, held: float, slots: float) -> Bar:
    return Bar(END - quarters_ago * QUARTER, END - (quarters_ago - 1) * QUARTER, held, slots)


def draw(*bars: Bar, **more: object):
    return busy(bars, start=START, end=END, **{"slots": 8, "widths": (640,), **more})


def test_bars_are_as_high_as_slots_were_busy_and_the_line_as_many_as_there_were():
    chart = draw(bar(4, 4, 8), bar(3, 8, 8), bar(1, 0, 4), height=124)  # a pixel a hundredth: 10 to 100
    root = read_chart(chart)
    (bars,), (there,) = having_class(root, "bar"), having_class(root, "there")
    tops = [float(part.split("h")[0]) for part in bars.get("d").split("V")[1::2]]
    assert tops == [55, 10], "nothing is drawn where nothing was busy"
    assert there.get("d").count("M") == 2, "the line has a gap where nothing was measured"
    assert {"0", "8"} <= set(texts(root)) and "12:00" in texts(root)


def test_it_says_the_same_in_words_and_in_a_table():
    chart = draw(bar(4, 4, 8), bar(3, 8, 8))
    assert "3.0 of 4.0 slot hours, peak 8 slots at Sat 13:03." in chart.description
    assert chart.columns[0] == "From" and chart.rows == [
        ("Sat 12:48", "4", "8"),
        ("Sat 13:03", "8", "8"),
    ]
    assert share([bar(4, 4, 8), bar(3, 8, 8)]) == (3, 4)


def test_without_anything_measured_it_says_so():
    chart = draw(widths=FULL_WIDTHS)
    assert len(read_chart(chart)) == 3, "for full-width, wide and narrow panels"
    assert "No data yet" in texts(read_chart(chart))
    assert "none of 2.0 slot hours" in draw(bar(1, 0, 8)).description


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=97),
    st.integers(0, 10**6),
    st.sampled_from([None, 320, 640]),
)
def test_whatever_was_measured_is_drawn(measured, slots, width):
    bars = [bar(len(measured) - place, held, there) for place, (held, there) in enumerate(measured)]
    read_chart(draw(*bars, slots=slots, widths=(width,) if width else FULL_WIDTHS).svg)


def test_text_keeps_its_size_on_a_wide_and_on_a_narrow_panel():
    """TD-D2: the whole width of a dashboard shows a drawing of its own, not an enlarged smaller one."""
    drawings = re.findall(
        r'class="chart ([^"]*)"[^>]*viewBox="0 0 (\d+) ', str(draw(bar(4, 4, 8), widths=FULL_WIDTHS).svg)
    )
    assert drawings == [("is-wide is-whole", "1070"), ("is-mid", "640"), ("is-narrow", "320")]
