"""Early stopping: the choice of a rule is checked, and Medianstop ends what falls behind."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.search.early import check_early_stopping, median_stop, running_averages


def curve(*values):
    return list(enumerate(values))


def finished(*curves):
    return [running_averages(curve(*values)) for values in curves]


def test_it_ends_a_trial_whose_best_is_below_the_median_of_averages():
    """NNI-S2: Medianstop, maximising."""
    others = finished([0.2, 0.4, 0.6], [0.4, 0.6, 0.8], [0.6, 0.8, 1.0])
    # Averages at step 1 are 0.3, 0.5, 0.7.
    assert median_stop(direction="maximize", curve=curve(0.1, 0.49), finished=others)
    assert not median_stop(direction="maximize", curve=curve(0.1, 0.5), finished=others)
    assert not median_stop(direction="maximize", curve=curve(0.5, 0.1), finished=others)


def test_it_ends_a_trial_whose_lowest_is_above_the_median_when_minimising():
    """NNI-S2: Medianstop, minimising."""
    others = finished([0.2, 0.4], [0.4, 0.6], [0.6, 0.8])
    assert median_stop(direction="minimize", curve=curve(0.9, 0.51), finished=others)
    assert not median_stop(direction="minimize", curve=curve(0.9, 0.5), finished=others)


def test_an_even_number_takes_the_milder_middle():
    """NNI-S2: NNI takes the lower middle when maximising, the upper when minimising."""
    others = finished([1], [2], [3], [4])
    assert not median_stop(direction="maximize", curve=curve(2), finished=others)
    assert median_stop(direction="maximize", curve=curve(1.9), finished=others)
    assert not median_stop(direction="minimize", curve=curve(3), finished=others)
    assert median_stop(direction="minimize", curve=curve(3.1), finished=others)


def test_it_waits_for_the_start_step():
    """NNI-S2: fewer results than start_step are not judged."""
    others = finished([5, 5, 5])
    assert not median_stop(direction="maximize", curve=curve(1, 1), finished=others, start_step=3)
    assert median_stop(direction="maximize", curve=curve(1, 1, 1), finished=others, start_step=3)


def test_only_trials_that_got_as_far_count():
    """NNI-S2: a short finished trial says nothing of later steps."""
    short = finished([9], [9])
    assert not median_stop(direction="maximize", curve=curve(1, 1), finished=short)
    assert median_stop(direction="maximize", curve=curve(1, 1), finished=[*short, *finished([2, 2])])


def test_trials_are_compared_at_the_same_step():
    """NNI-S2: a trial that reports every tenth step is compared at step 20, not at its third result."""
    others = [running_averages([(0, 0.0), (10, 1.0), (20, 2.0), (30, 9.0)])]
    assert not median_stop(direction="maximize", curve=[(19, 0.5)], finished=others)
    assert median_stop(direction="maximize", curve=[(20, 0.99)], finished=others)


def test_values_that_are_no_numbers_do_not_count():
    """NNI-S2: NaN is neither good nor bad."""
    assert not median_stop(direction="maximize", curve=[(0, math.nan), (1, None)], finished=finished([1, 1]))
    assert running_averages([(0, 1.0), (1, math.nan), (2, math.inf), (3, None), (4, 3.0)]).means == (1.0, 2.0)


def test_a_step_that_comes_twice_counts_once():
    """NNI-S2: the later value stands, as in the table of results."""
    assert running_averages([(1, 5.0), (0, 1.0), (1, 3.0)]).means == (1.0, 2.0)


@given(
    st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=6), min_size=1, max_size=7),
    st.lists(st.integers(-9, 9), min_size=1, max_size=6),
    st.sampled_from(["minimize", "maximize"]),
)
def test_it_agrees_with_the_rule_written_out(others, mine, direction):
    """NNI-S2: NNI's rule, step by step, over results at steps 0, 1, 2, …"""
    far = sorted(sum(values[: len(mine)]) / len(mine) for values in others if len(values) >= len(mine))
    if not far:
        expected = False
    elif direction == "maximize":
        expected = max(mine) < far[(len(far) - 1) // 2]
    else:
        expected = min(mine) > far[len(far) // 2]
    assert median_stop(direction=direction, curve=curve(*mine), finished=finished(*others)) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "path", "word"),
    [
        ("Mediansotp", {}, "early_stopping", "Did you mean Medianstop?"),
        ("?", {}, "early_stopping", "Use one of none, Medianstop."),
        ("Medianstop", {"start_stp": 1}, "start_stp", "Did you mean start_step?"),
        ("Medianstop", {"start_step": -1}, "start_step", "between 0 and 9999"),
        ("Medianstop", {"start_step": 1.5}, "start_step", "whole number"),
        ("Medianstop", {"start_step": True}, "start_step", "whole number"),
        ("none", {"start_step": 1}, "start_step", "takes no arguments"),
        ("none", [], "arguments", "as an object"),
    ],
)
def test_a_wrong_choice_is_named(name, arguments, path, word):
    """TD-F F7: early stopping and its arguments are checked with a sentence each."""
    (fault,) = check_early_stopping(name, arguments)
    assert fault.path == path and word in fault.sentence


def test_right_choices_pass():
    """TD-F F7: the defaults and NNI's argument are fine."""
    assert check_early_stopping("none", {}) == []
    assert check_early_stopping("Medianstop", {"start_step": 9999}) == []
