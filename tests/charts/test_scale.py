from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.charts.drawing.scale import Category, Linear, Log, Time, linear_or_log, power, significant

numbers = st.floats(allow_nan=False, allow_infinity=False)


def labels(scale: object) -> list[str]:
    return [tick.label for tick in scale.ticks]


def test_it_begins_at_a_grid_line_and_has_about_four():
    scale = Linear(0.563, 0.84, start=208, end=18, snap=True)
    assert labels(scale) == ["0.5", "0.6", "0.7", "0.8"]
    assert scale.low == 0.5
    assert scale.at(0.5) == 208
    assert scale.at(0.84) == pytest.approx(18)


def test_it_does_not_waste_a_quarter_of_the_height_to_begin_at_a_grid_line():
    scale = Linear(-0.1, 1000, start=200, end=0, snap=True)
    assert scale.low == -0.1
    assert labels(scale)[0] == "0"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 120, ["0", "25", "50", "75", "100"]),
        (1e-4, 5e-4, ["1e-4", "2e-4", "3e-4", "4e-4", "5e-4"]),
        (9e-6, 1.1e-5, ["9.00e-6", "9.50e-6", "1.00e-5", "1.05e-5", "1.10e-5"]),
        (1200, 1950, ["1,200", "1,400", "1,600", "1,800"]),
        (0, 4e9, ["0", "1e9", "2e9", "3e9", "4e9"]),
        (-1, 1, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_all_ticks_of_an_axis_have_one_precision(low, high, expected):
    assert labels(Linear(low, high, start=0, end=100)) == expected


def test_trial_numbers_have_whole_ticks_only():
    assert labels(Linear(0, 3, start=0, end=100, count=6, whole=True)) == ["0", "1", "2", "3"]
    assert labels(Linear(0, 120, start=0, end=100, count=6, whole=True))[-1] in ("100", "120")


def test_values_are_told_more_exactly_than_ticks():
    scale = Linear(0.56, 0.84, start=0, end=1)
    assert [scale.text(value) for value in (0.8147, 0.76, 0.0, -0.2)] == [
        "0.8147",
        "0.7600",
        "0",
        "-0.2000",
    ]
    assert scale.text(1e9) == "1.000e9"  # far outside this axis
    assert scale.text(1e-9) == "1.000e-9"  # not "0.0000": it is not zero


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(2, 7))
def test_any_trial_numbers_make_a_scale(first, more, count):
    ticks = Linear(first, first + more, start=0, end=600, count=count, whole=True).ticks
    assert all(tick.value == round(tick.value) and first <= tick.value <= first + more for tick in ticks)
    assert 1 <= len(ticks) <= count + 6
    assert len({tick.label for tick in ticks}) == len(ticks)


@given(numbers, numbers, st.booleans())
@example(5.693905879062501e-304, 5.693905879062501e-304, False)
def test_any_two_numbers_make_a_scale(first, other, snap):
    low, high = min(first, other), max(first, other)
    scale = Linear(low, high, start=200, end=0, snap=snap)
    assert -0.01 <= scale.at(high) <= scale.at(low) + 1e-6
    assert scale.at(low) <= 200.01
    assert len(scale.ticks) <= 12
    assert all(-0.01 <= tick.at <= 200.01 for tick in scale.ticks)
    assert len(set(labels(scale))) == len(scale.ticks), "two ticks with one label"
    assert all(len(label) <= 24 for label in labels(scale))
    assert len(scale.text(low)) <= 40


@given(st.floats(min_value=1e-300, max_value=1e300), st.floats(min_value=1e-300, max_value=1e300))
@example(1.0000000000000002e-300, 1e-300)
@example(3.0, 3.0000000000000004)
def test_any_two_numbers_above_zero_make_a_logarithmic_scale(first, other):
    scale = Log(min(first, other), max(first, other), start=200, end=0)
    assert all(-0.5 <= tick.at <= 200.5 for tick in scale.ticks)
    assert 1 <= len(scale.ticks) <= 12


def test_a_logarithmic_scale_has_a_tick_a_decade_and_even_steps():
    scale = Log(1e-5, 1e-1, start=0, end=400)
    assert labels(scale) == ["1e-5", "1e-4", "1e-3", "0.01", "0.1"]
    assert [round(tick.at) for tick in scale.ticks] == [0, 100, 200, 300, 400]


def test_a_logarithmic_scale_within_one_decade_has_ticks_too():
    assert labels(Log(1, 8, start=0, end=1)) == ["1", "2", "5"]
    assert len(Log(3.1, 4.2, start=0, end=1).ticks) > 1


def test_names_stand_at_even_distances():
    assert [tick.at for tick in Category(["sgd", "adam", "lamb"], start=0, end=100).ticks] == [0, 50, 100]
    assert Category(["sgd"], start=0, end=100).at(0) == 50


def test_moments_have_round_ticks():
    low = datetime(2026, 3, 1, 14, 7, 12, tzinfo=UTC)
    scale = Time(low, low + timedelta(minutes=50), start=0, end=500)
    assert labels(scale) == ["14:15", "14:30", "14:45"]
    assert scale.at(low + timedelta(minutes=25)) == 250
    assert labels(Time(low, low + timedelta(days=9), start=0, end=1)) == ["4 Mar", "7 Mar", "10 Mar"]
    assert len(Time(low, low, start=0, end=1).ticks) > 1


def test_an_outlier_does_not_flatten_the_rest():
    values = [0.3 + place / 1000 for place in range(60)] + [1e6, 2e6]
    assert linear_or_log([-1.0, *values]) == (0.3, 0.359, False)


def test_the_best_is_inside_even_when_it_is_an_outlier():
    values = [0.3 + place / 1000 for place in range(60)] + [-50.0]
    assert linear_or_log(values, keep=[-50.0])[0] == -50.0


def test_a_fifth_of_the_values_is_no_outlier():
    values = [0.9 + place / 1000 for place in range(80)] + [-0.1] * 20
    assert linear_or_log(values)[0] == -0.1


def test_only_values_above_zero_that_span_three_decades_are_logarithmic():
    wide = [10.0**exponent for exponent in range(-4, 4)]
    assert linear_or_log(wide)[2]
    assert not linear_or_log([-1.0, *wide])[2]
    assert not linear_or_log([0.1, 1.0, 10.0])[2]


@given(st.lists(numbers, min_size=1, max_size=40))
def test_the_range_lies_within_the_values(values):
    low, high, is_log = linear_or_log(values, keep=values[-1:])
    assert min(values) <= low <= values[-1] <= high <= max(values)
    assert not is_log or low > 0


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.81474, "0.8147"), (1234.56, "1,235"), (1.25e-5, "1.25e-5"), (0, "0"), (3e7, "3e7"), (-0.5, "-0.5")],
)
def test_numbers_are_written_to_four_digits(value, written):
    assert significant(value) == written


def test_powers_are_written_short():
    assert [power(value) for value in (1e-4, 2.5e10, 1e300)] == ["1e-4", "2.5e10", "1e300"]
