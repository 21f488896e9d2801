import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.charts.curve import Series, curve, thinned
from tests.charts.reading import having_class, read_chart, texts, titled

points = st.lists(
    st.tuples(
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 1000), st.none() | st.floats()
    ),
    max_size=40,
)
series = st.builds(Series, st.integers(1, 50), points, st.booleans())


def draw(own, **options):
    given_options = {"direction": "maximize", "metric": "val_accuracy", "step_name": "epoch", "width": 640}
    return curve(own, **(given_options | {"href": "/t/{}/".format} | options))


def rising(number, count=10, top=0.8, is_live=False):
    return Series(number, [(step, top * step / count) for step in range(1, count + 1)], is_live)


def path(root, class_):
    (element,) = having_class(root, class_)
    return element.get("d")


def places(data):
    return [tuple(map(float, each.split(","))) for each in data.replace("M", " ").replace("h0", "").split()]


def test_the_line_goes_through_its_steps_and_values():
    root = read_chart(draw(Series(3, [(0, 0.0), (5, 0.5), (10, 1.0)])).svg)
    drawn = places(path(root, "own"))
    grid = {
        text.text: float(text.get("y")) - 4 for text in root.iter("text") if text.get("text-anchor") == "end"
    }
    assert [y for _, y in drawn] == pytest.approx([grid["0.00"], grid["0.50"], grid["1.00"]], abs=0.2)
    assert [x for x, _ in drawn] == pytest.approx([44, 335, 626], abs=0.2)


def test_steps_may_come_in_any_order():
    ordered = [(0, 0.1), (1, 0.5), (2, 0.3)]
    assert draw(Series(1, ordered[::-1])).svg == draw(Series(1, ordered)).svg


def test_a_gap_breaks_the_line_and_a_lone_point_is_seen():
    data = [(0, 0.1), (1, 0.2), (2, math.nan), (3, 0.4), (4, None), (5, 0.6), (6, 0.7)]
    drawn = path(read_chart(draw(Series(1, data)).svg), "own")
    assert drawn.count("M") == 3
    assert drawn.count("h0") == 1
    assert len(places(drawn)) == 5


def test_the_end_tells_the_trial_its_value_and_the_step():
    root = read_chart(draw(rising(89, is_live=True)).svg)
    assert "#89, 0.8000 at epoch 10" in texts(root)
    ring = having_class(root, "is-live")[0]
    assert (float(ring.get("cx")), float(ring.get("cy"))) == places(path(root, "own"))[-1]


def test_its_best_point_is_marked():
    root = read_chart(draw(Series(1, [(1, 0.2), (2, 0.9), (3, 0.4)])).svg)
    mark = titled(root, "Best: 0.9000 at epoch 2").find("circle")
    assert (float(mark.get("cx")), float(mark.get("cy"))) == places(path(root, "own"))[1]
    falling = draw(Series(1, [(1, 0.2), (2, 0.9), (3, 0.4)]), direction="minimize")
    assert titled(read_chart(falling.svg), "Best: 0.2000 at epoch 1") is not None


def test_siblings_are_faded_linked_and_at_most_twenty():
    root = read_chart(draw(rising(1), siblings=[rising(number) for number in range(1, 60)]).svg)
    assert len(having_class(root, "sibling")) == 20
    assert titled(root, "#2, 0.8").get("href") == "/t/2/"
    assert not [a for a in root.iter("a") if a.get("href") == "/t/1/"], "the trial among its own siblings"


def test_the_best_trial_stands_among_them_with_its_name():
    chart = draw(rising(1), siblings=[rising(2), rising(74)], best=rising(74, top=0.9))
    root = read_chart(chart.svg)
    assert "#74 best, 0.9000" in texts(root)
    assert len(having_class(root, "sibling")) == 1
    assert "The best trial is 74, 0.9000." in chart.description


def test_the_best_trial_itself_is_drawn_as_the_best():
    chart = draw(rising(74), best=rising(74))
    root = read_chart(chart.svg)
    assert having_class(root, "best-line")
    assert not having_class(root, "own")
    assert "#74 best, 0.8000 at epoch 10" in texts(root)
    assert "This is the best trial." in chart.description


def test_two_labels_at_one_height_do_not_lie_on_each_other():
    for direction in ("maximize", "minimize"):
        root = read_chart(draw(rising(1), best=rising(2), direction=direction).svg)
        heights = [float(text.get("y")) for text in having_class(root, "strong")]
        assert abs(heights[0] - heights[1]) >= 13


@pytest.mark.parametrize("width", [640, 360])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_label_of_the_best_stands_at_its_own_line(direction, width):
    """The other trial runs on above (or below) the end of the best one: its label does not move to that line."""
    sign = 1 if direction == "maximize" else -1
    best = Series(3, [(step, sign * step * 0.1) for step in range(1, 6)])  # ends early
    own = Series(8, [(step, sign * 0.09 * step) for step in range(1, 21)])
    root = read_chart(draw(own, best=best, direction=direction, width=width).svg)
    end_of_best, end_of_own = (places(path(root, name))[-1] for name in ("best-line", "own"))
    (best_label,) = (text for text in having_class(root, "strong") if "#3 best" in text.text)
    y = float(best_label.get("y"))
    assert abs(y - end_of_best[1]) < 40 and abs(y - end_of_best[1]) < abs(y - end_of_own[1])


def test_the_label_and_the_end_of_its_line_agree():
    """A best trial that got worse at last: the number at the end is that of the end, the peak has a dot."""
    best = Series(3, [(1, 0.2), (2, 0.9), (3, 0.6)])
    root = read_chart(draw(rising(1, count=3), best=best).svg)
    assert "#3 best, 0.6000" in texts(root)
    assert titled(root, "Best of #3: 0.9000 at epoch 2") is not None


def test_the_label_at_the_end_does_not_lie_on_a_falling_line():
    data = [(step, 3 - step / 40) for step in range(101)]
    root = read_chart(draw(Series(1, data), direction="minimize").svg)
    label = having_class(root, "strong")[0]
    left = float(label.get("x"))
    assert all(y > float(label.get("y")) for x, y in places(path(root, "own")) if x >= left)


def test_there_is_room_for_the_steps_to_come():
    root = read_chart(draw(rising(1, count=10), last_step=40).svg)
    assert places(path(root, "own"))[-1][0] < 220
    assert "40" in texts(root)


def test_an_explosion_does_not_flatten_the_curve():
    data = [(step, 1e9 if step == 50 else 1 + step / 100) for step in range(100)]
    chart = draw(Series(1, data), direction="minimize")
    root = read_chart(chart.svg)
    heights = [y for x, y in places(path(root, "own"))]
    assert heights[0] - heights[-1] > 100
    assert "1 of its points is outside the axis range." in chart.description
    window = root.find(".//clipPath")
    clipped = [g for g in root.iter("g") if g.get("clip-path")]
    assert [g.get("clip-path") for g in clipped] == [f"url(#{window.get('id')})"]


def test_long_series_are_thinned_and_keep_their_extremes():
    data = [(step, math.sin(step / 50)) for step in range(100_000)]
    data[31_234], data[77_777] = (31_234, 3.0), (77_777, -3.0)
    chart = draw(Series(1, data))
    drawn = places(path(read_chart(chart.svg), "own"))
    assert len(drawn) <= 600
    kept = thinned(data, 600)
    assert (31_234, 3.0) in kept
    assert (77_777, -3.0) in kept
    assert kept[0] == data[0]
    assert kept[-1] == data[-1]
    assert len(chart.rows) == 100_000
    assert "100,000 points" in chart.description


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(5, 60))
@settings(deadline=None)
def test_thinning_keeps_order_ends_extremes_and_gaps(values, most):
    data = list(enumerate(values))
    kept = thinned(data, most)
    assert len(kept) <= max(most, 0)
    assert kept == sorted(set(kept), key=lambda point: point[0])
    assert (kept[0], kept[-1]) == (data[0], data[-1])
    reported = [value for value in values if value is not None]
    kept_values = [value for _, value in kept if value is not None]
    assert (min(reported, default=0), max(reported, default=0)) == (
        min(kept_values, default=0),
        max(kept_values, default=0),
    )
    assert any(value is None for _, value in kept) == (None in values)


@pytest.mark.parametrize("data", [[], [(1, None)], [(1, math.nan), (2, math.inf)]])
def test_without_values_it_says_so(data):
    chart = draw(Series(7, data))
    assert texts(read_chart(chart.svg)) == ["No values yet"]
    assert chart.description == "Trial 7 has no values yet."


def test_the_others_are_drawn_before_the_first_value_comes():
    chart = draw(Series(7, []), best=rising(2), siblings=[rising(3)])
    root = read_chart(chart.svg)
    assert having_class(root, "sibling")
    assert having_class(root, "best-line")
    assert chart.description == "Trial 7 has no values yet."


def test_the_table_has_all_points():
    chart = draw(Series(7, [(2, math.nan), (1, 0.5)]))
    assert chart.columns == ("Epoch", "val_accuracy")
    assert chart.rows == [(1, 0.5), (2, None)]


def test_it_is_drawn_for_wide_and_for_narrow_panels():
    wide, narrow = read_chart(draw(rising(1), width=None).svg)
    assert [wide.get("class"), narrow.get("class")] == ["chart is-wide", "chart is-narrow"]


@given(
    series,
    st.lists(series, max_size=4),
    st.none() | series,
    st.sampled_from(["minimize", "maximize"]),
    st.sampled_from(["<script>", "'\"><x y='", "\x00\ud800", "m" * 10_000, "loss"]),
    st.none() | st.floats(),
    st.sampled_from([None, 640, 360, 200]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_was_reported_it_is_a_chart_and_twice_the_same(
    own, others, best, direction, text, last, width
):
    options = {"siblings": others, "best": best, "direction": direction, "last_step": last, "width": width}
    chart = draw(own, metric=text, step_name=text, **options)
    root = read_chart(chart.svg)
    assert chart.svg == draw(own, metric=text, step_name=text, **options).svg
    assert "<script" not in chart.svg
    assert len(root) == (2 if width is None else 1)
