import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.charts.drawing.scale import Linear
from experiments.charts.history import Edit, Point, history
from tests.charts.reading import having_class, read_chart, texts, titled

NASTY = (
    "<script>alert(1)</script>",
    "\"' onload='x",
    "&lt;",
    "]]>",
    "\x00\x1b\ud800\ufffe",
    "x" * 10_000,
    "",
    "ünï 🦊",
)
words = st.one_of(st.sampled_from(NASTY), st.text(max_size=30))
values = st.one_of(st.none(), st.floats())
states = st.sampled_from(
    ["succeeded", "early_stopped", "stopped", "failed", "running", "stopping", "waiting"]
)


def draw(points, **options):
    given_options = {"direction": "maximize", "metric": "val_accuracy", "width": 640, "href": "/t/{}/".format}
    return history(points, **(given_options | options))


def succeeded(*values):
    return [Point(number, value, "succeeded") for number, value in enumerate(values, 1)]


def centre(mark):
    circle = mark.find("circle")
    return float(circle.get("cx")), float(circle.get("cy"))


def test_marks_stand_at_their_number_and_value():
    root = read_chart(draw(succeeded(0.5, 0.6, 0.7, 0.8)).svg)
    grid = {
        text.text: float(text.get("y")) - 4 for text in root.iter("text") if text.get("text-anchor") == "end"
    }
    places = [centre(titled(root, f"#{number}, {value}")) for number, value in [(1, 0.5), (2, 0.6), (3, 0.7)]]
    assert [y for _, y in places] == pytest.approx([grid["0.5"], grid["0.6"], grid["0.7"]], abs=0.2)
    steps = [places[1][0] - places[0][0], places[2][0] - places[1][0]]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)
    assert places[0][0] - 44 == pytest.approx(steps[0], abs=0.2)  # number 0 is where the axis begins


def test_every_state_has_a_shape_of_its_own():
    points = [
        Point(1, 0.5, "succeeded"),
        Point(2, 0.6, "early_stopped"),
        Point(3, None, "failed"),
        Point(4, 0.4, "running"),
        Point(5, 0.3, "stopped"),
        Point(6, None, "waiting"),
        Point(7, 0.9, "succeeded"),
    ]
    root = read_chart(draw(points).svg)
    assert titled(root, "#1, 0.5").find("circle").get("class") == "dot"
    assert titled(root, "#7, 0.9").find("circle").get("class") == "dot is-best"
    assert titled(root, "#2, 0.6000, stopped early").find("path").get("class") == "cut"
    assert titled(root, "#3, failed").find("path").get("class") == "bad"
    assert titled(root, "#4, 0.4000, running").find("circle").get("class") == "dot is-live"
    assert titled(root, "#5, 0.3000, stopped").find("path").get("class") == "gone"
    assert not [e for e in root.iter("title") if (e.text or "").startswith("#6")]


def test_failed_trials_have_a_lane_below_the_axis():
    root = read_chart(draw([*succeeded(0.1, 0.9), Point(3, 0.5, "failed"), Point(4, None, "failed")]).svg)
    assert "failed" in texts(root)
    lowest = max(float(line.get("y1")) for line in having_class(root, "grid-line"))
    heights = {mark.get("d").split(",")[1].split("l")[0] for mark in having_class(root, "bad")}
    assert len(heights) == 1
    assert float(heights.pop()) > lowest


def test_each_mark_links_to_its_trial_and_only_the_best_is_a_tab_stop():
    root = read_chart(draw(succeeded(0.5, 0.9, 0.7)).svg)
    assert [a.get("href") for a in root.iter("a")] == ["/t/1/", "/t/3/", "/t/2/"]
    assert [a.get("href") for a in root.iter("a") if a.get("tabindex") != "-1"] == ["/t/2/"]


def test_the_best_is_marked_and_labelled_and_its_line_climbs_in_steps():
    root = read_chart(draw(succeeded(0.5, 0.4, 0.8, 0.6)).svg)
    assert "0.8000" in texts(root)
    line = having_class(root, "best-line")[0].get("d")
    x, y = centre(titled(root, "#3, 0.8000, the best"))
    assert f"H{x:g}V{y:g}H" in line
    assert line.count("V") == 1


def test_when_less_is_better_the_best_is_the_least():
    chart = draw(succeeded(0.5, 0.4, 0.8), direction="minimize")
    assert titled(read_chart(chart.svg), "#2, 0.4000, the best") is not None
    assert "falls from 0.5000 at trial 1 to 0.4000 at trial 2" in chart.description


def test_the_best_so_far_may_come_from_trials_that_were_not_drawn():
    chart = draw(succeeded(0.5, 0.6)[1:], best_steps=[(1, 0.5), (2, 0.6), (7, 0.95)])
    assert "to 0.9500 at trial 7" in chart.description
    assert titled(read_chart(chart.svg), "#7, 0.9500, the best") is not None


def test_an_outlier_stands_at_the_border_and_tells_its_true_value():
    points = [Point(number, 0.3 + number / 1000, "succeeded") for number in range(1, 60)]
    chart = draw([*points, Point(60, 1e6, "succeeded")], direction="minimize")
    root = read_chart(chart.svg)
    mark = titled(root, "#60, 1.000e6, above the axis range")
    assert mark.find("path").get("class") == "dot"
    assert float(mark.find("path").get("d").split(",")[1].split("l")[0]) < 30
    assert "1 trial far from the others is outside the axis range" in chart.description
    assert texts(root)[0].startswith("0.3")


def test_values_over_many_decades_get_a_logarithmic_axis():
    root = read_chart(draw(succeeded(*[10.0**exponent for exponent in range(-4, 3)])).svg)
    heights = [centre(mark)[1] for mark in root.iter("a")]
    steps = [height - other for height, other in zip(heights, heights[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=0.2)


def test_an_edit_is_a_rule_with_its_revision_and_name():
    """TD-X1: edits under way stand in the chart, between the trials before and after."""
    edit = Edit(after=2, revision=4, by="alice", note="lr narrowed", href="/edits/4/")
    chart = draw(succeeded(0.5, 0.6, 0.7, 0.8), edits=[edit])
    root = read_chart(chart.svg)
    rule = float(having_class(root, "edit-rule")[0].get("x1"))
    before, after = centre(titled(root, "#2"))[0], centre(titled(root, "#3"))[0]
    assert rule == pytest.approx((before + after) / 2, abs=0.2)
    assert titled(root, "Revision 4, alice, after trial 2: lr narrowed").get("href") == "/edits/4/"
    assert "Revision 4, alice" in texts(root)
    assert "edited after trial 2." in chart.description


def test_labels_of_crowded_edits_do_not_lie_on_each_other():
    edits = [Edit(after=number, revision=number + 1, by="alice") for number in range(1, 60)]
    root = read_chart(draw(succeeded(*[0.5] * 60), edits=edits).svg)
    assert len(having_class(root, "edit-rule")) == 59
    assert len([text for text in texts(root) if text.startswith("Revision")]) < 5


def test_budget_that_is_not_spent_is_a_wash_up_to_the_end():
    root = read_chart(draw(succeeded(0.5, 0.6, 0.7), left=7).svg)
    wash = having_class(root, "left-over")[0]
    assert float(wash.get("x")) == pytest.approx(centre(titled(root, "#3"))[0], abs=0.1)
    assert float(wash.get("x")) + float(wash.get("width")) == pytest.approx(626, abs=0.2)
    assert "7 remaining" in texts(root)
    assert not having_class(read_chart(draw(succeeded(0.5), left=0).svg), "left-over")


def test_no_grid_line_strikes_the_remaining_budget_through():
    """For both directions, and wherever the ticks are."""
    for direction in ("maximize", "minimize"):
        for top in range(1, 60):
            root = read_chart(draw(succeeded(0.5, 0.5 + top / 100, 0.51), left=7, direction=direction).svg)
            text = next(each for each in root.iter() if each.text == "7 remaining")
            middle = float(text.get("y")) - 4
            lines = [float(line.get("y1")) for line in having_class(root, "grid-line")]
            assert all(abs(y - middle) > 5 for y in lines)


def test_a_large_budget_does_not_press_the_first_trials_against_the_axis():
    root = read_chart(draw(succeeded(*[0.5, 0.6] * 20), left=100_000).svg)
    assert centre(titled(root, "#40"))[0] > 300
    assert "100,000 remaining →" in texts(root)


def test_a_trial_may_have_a_label_of_its_own():
    assert "this trial" in texts(read_chart(draw(succeeded(0.5, 0.9, 0.6), marks={1: "this trial"}).svg))


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([], "No trials started yet"),
        ([Point(1, None, "waiting")], "No trials started yet"),
        ([Point(1, None, "failed"), Point(2, None, "running")], "No values yet"),
        ([Point(1, float("nan"), "running")], "No values yet"),
    ],
)
def test_without_a_value_it_says_so(points, sentence):
    chart = draw(points)
    assert sentence in texts(read_chart(chart.svg))
    assert sentence in chart.description


def test_it_is_drawn_for_wide_and_for_narrow_panels():
    wide, narrow = read_chart(draw(succeeded(*range(1, 121)), width=None).svg)
    assert [wide.get("class"), narrow.get("class")] == ["chart is-wide", "chart is-narrow"]
    assert [wide.get("viewBox")[:8], narrow.get("viewBox")[:8]] == ["0 0 640 ", "0 0 320 "]
    assert [len(having_class(each, "grid-line")) for each in (wide, narrow)] == [5, 5]
    assert len(list(narrow.iter("text"))) < len(list(wide.iter("text")))


def test_the_table_has_the_plain_values_of_all_trials():
    chart = draw([Point(2, 0.75, "succeeded", "note"), Point(1, None, "failed"), Point(3, None, "waiting")])
    assert chart.columns == ("Trial", "val_accuracy", "State", "New best")
    assert chart.rows == [(1, None, "failed", False), (2, 0.75, "succeeded", True)]


def test_texts_of_users_stay_texts():
    nasty = "<script>alert(1)</script>\"'><a href='javascript:x'>"
    edits = [Edit(1, 2, nasty, nasty, "/e?a=1&b='\"")]
    chart = draw(
        [Point(1, 0.5, "stopped", nasty), Point(2, 0.6, "running", nasty)], metric=nasty, edits=edits
    )
    root = read_chart(chart.svg)
    assert "<script" not in chart.svg
    assert titled(root, "#1, 0.5").findtext("title").endswith(nasty)
    assert "/e?a=1&b='\"" in [a.get("href") for a in root.iter("a")]


def test_long_names_are_cut_and_the_drawing_stays_small():
    long = "n" * 10_000
    chart = draw(
        [Point(1, 0.5, "succeeded", long)], metric=long, edits=[Edit(1, 2, long, long)], marks={1: long}
    )
    assert len(chart.svg) < 5_000


def test_two_thousand_trials_make_two_thousand_marks():
    points = [Point(number, (number * 7919) % 1000 / 1000, "succeeded") for number in range(1, 2001)]
    chart = draw(points)
    assert len(having_class(read_chart(chart.svg), "dot")) == 2000
    assert len(chart.svg) < 300_000


@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), values, states, words), max_size=30, unique_by=lambda point: point[0]
    ),
    st.sampled_from(["minimize", "maximize"]),
    words,
    st.lists(st.builds(Edit, st.integers(0, 10**6), st.integers(1, 99), words, words), max_size=4),
    st.integers(0, 10**6),
    st.sampled_from([None, 640, 360, 200]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_trials_are_it_is_a_chart_and_twice_the_same(
    given_points, direction, metric, edits, left, width
):
    points = [Point(*each) for each in given_points]
    options = {"direction": direction, "metric": metric, "edits": edits, "left": left, "width": width}
    options["marks"] = {point.number: point.note for point in points[:2]}
    chart = draw(points, **options)
    root = read_chart(chart.svg)
    assert chart.svg == draw(points[::-1], **options).svg
    assert len(having_class(root, "edit-rule")) == len(edits) * len(root)
    high = float(root[0].get("viewBox").split()[3])
    for mark in having_class(root[0], "dot"):
        if mark.tag == "circle":
            assert 0 <= float(mark.get("cy")) <= high


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=30, unique=True))
@settings(deadline=None)
def test_higher_values_stand_higher(numbers):
    root = read_chart(draw(succeeded(*numbers)).svg)
    marks = [mark for mark in root.iter("a") if mark.find("circle") is not None]
    value = {f"/t/{number}/": value for number, value in enumerate(numbers, 1)}
    ordered = sorted(marks, key=lambda mark: value[mark.get("href")])
    heights = [centre(mark)[1] for mark in ordered]
    assert heights == sorted(heights, reverse=True)


def test_the_scale_of_the_numbers_is_the_one_of_the_axis():
    root = read_chart(draw(succeeded(*range(1, 101))).svg)
    axis = Linear(0, 100, start=44, end=626, whole=True)
    assert centre(titled(root, "#50, "))[0] == pytest.approx(axis.at(50), abs=0.1)


def test_the_best_is_said_as_the_page_says_it() -> None:
    points = [Point(number, 0.98221 + number / 1e5, "succeeded") for number in (1, 2, 3)]
    drawn = str(history(points, direction="maximize", metric="accuracy", best_text="0.9822", width=600).svg)
    assert ">0.9822</text>" in drawn
