"""Early stopping: the choice of a rule is checked, and Medianstop ends what falls behind."""

import math
import warnings

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.search.early_stopping import (
    EARLY_STOPPING,
    Curve,
    Peer,
    RunningTrial,
    canonical,
    check_early_stopping,
    reason_to_stop,
)
from experiments.search.early_stopping.curve_fitting import predict

optuna.logging.set_verbosity(optuna.logging.ERROR)


def finished(*curves):
    """Succeeded trials 1, 2, … that reported these values at steps 0, 1, 2, …, and ended with the last."""
    return [
        Peer(n, Curve(enumerate(values)), has_succeeded=True, value=values[-1])
        for n, values in enumerate(curves, start=1)
    ]


def says(name, arguments=None, *, mine, others=(), direction="maximize", judged=None, number=99):
    """The judgement of a trial that reported `mine`: values, or (step, value) pairs."""
    points = mine if mine and isinstance(mine[0], tuple) else enumerate(mine)
    case = RunningTrial("exp", number, direction, Curve(points), judged, others)
    return reason_to_stop(name, arguments or {}, case)


def test_it_ends_a_trial_whose_best_is_below_the_median_of_averages():
    """NNI-S2: Medianstop, maximising."""
    others = finished([0.2, 0.4, 0.6], [0.4, 0.6, 0.8], [0.6, 0.8, 1.0])
    # Averages at step 1 are 0.3, 0.5, 0.7.
    assert says("Medianstop", mine=[0.1, 0.49], others=others) == "behind the median at step 1"
    assert not says("Medianstop", mine=[0.1, 0.5], others=others)
    assert not says("Medianstop", mine=[0.5, 0.1], others=others)


def test_it_ends_a_trial_whose_lowest_is_above_the_median_when_minimising():
    """NNI-S2: Medianstop, minimising."""
    others = finished([0.2, 0.4], [0.4, 0.6], [0.6, 0.8])
    assert says("Medianstop", mine=[0.9, 0.51], others=others, direction="minimize")
    assert not says("Medianstop", mine=[0.9, 0.5], others=others, direction="minimize")


def test_an_even_number_takes_the_milder_middle():
    """NNI-S2: NNI takes the lower middle when maximising, the upper when minimising."""
    others = finished([1], [2], [3], [4])
    assert not says("Medianstop", mine=[2], others=others)
    assert says("Medianstop", mine=[1.9], others=others)
    assert not says("Medianstop", mine=[3], others=others, direction="minimize")
    assert says("Medianstop", mine=[3.1], others=others, direction="minimize")


def test_it_waits_for_the_start_step():
    """NNI-S2: fewer results than start_step are not judged."""
    others = finished([5, 5, 5])
    assert not says("Medianstop", {"start_step": 3}, mine=[1, 1], others=others)
    assert says("Medianstop", {"start_step": 3}, mine=[1, 1, 1], others=others)


def test_only_trials_that_got_as_far_count():
    """NNI-S2: a short finished trial says nothing of later steps."""
    assert not says("Medianstop", mine=[1, 1], others=finished([9], [9]))
    assert says("Medianstop", mine=[1, 1], others=finished([9], [9], [2, 2]))


def test_trials_are_compared_at_the_same_step():
    """NNI-S2: a trial that reports every tenth step is compared at step 20, not at its third result."""
    others = [Peer(1, Curve([(0, 0.0), (10, 1.0), (20, 2.0), (30, 9.0)]), has_succeeded=True)]
    assert not says("Medianstop", mine=[(19, 0.5)], others=others)
    assert says("Medianstop", mine=[(20, 0.99)], others=others)
    assert not says("Percentile", {"n_startup_trials": 1}, mine=[(19, 1.0)], others=others)
    assert says("Percentile", {"n_startup_trials": 1}, mine=[(19, 0.99)], others=others)


def test_values_that_are_no_numbers_do_not_count():
    """NNI-S2: NaN is neither good nor bad."""
    assert not says("Medianstop", mine=[(0, math.nan), (1, None)], others=finished([1, 1]))
    curve = Curve([(0, 1.0), (1, math.nan), (2, math.inf), (3, None), (4, 3.0)]).finite
    assert (list(curve.steps), curve.mean_at(4)) == ([0, 4], 2.0)


def test_a_step_that_comes_twice_counts_once():
    """NNI-S2: the later value stands, as in the table of results."""
    curve = Curve([(1, 5.0), (0, 1.0), (1, 3.0)])
    assert (list(curve.steps), list(curve.values)) == ([0, 1], [1.0, 3.0])


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
    assert bool(says("Medianstop", mine=mine, others=finished(*others), direction=direction)) == expected


# --- Optuna's pruners, with Optuna as the oracle -----------------------------------------------------------------

VALUES = st.one_of(st.integers(-5, 5).map(float), st.floats(-3, 3), st.just(math.nan))
COURSES = st.lists(st.lists(VALUES, min_size=1, max_size=12), min_size=1, max_size=9)
PRUNERS = {
    "Percentile": st.fixed_dictionaries(
        {
            "percentile": st.sampled_from([0.0, 10.0, 25.0, 50.0, 100.0]),
            "n_startup_trials": st.integers(0, 3),
            "n_warmup_steps": st.integers(0, 3),
            "interval_steps": st.integers(1, 3),
            "n_min_trials": st.integers(1, 2),
        }
    ),
    "SuccessiveHalving": st.fixed_dictionaries(
        {
            "min_resource": st.integers(1, 3),
            "reduction_factor": st.integers(2, 4),
            "min_early_stopping_rate": st.integers(0, 1),
            "bootstrap_count": st.integers(0, 1),
        }
    ),
    "Hyperband": st.fixed_dictionaries(
        {
            "min_resource": st.just(1),
            "max_resource": st.sampled_from([1, 7, 20]),
            "reduction_factor": st.integers(2, 3),
            "bootstrap_count": st.integers(0, 1),
        }
    ),
    "Patience": st.fixed_dictionaries(
        {"patience": st.integers(0, 3), "min_delta": st.sampled_from([0.0, 0.5])}
    ),
    "Threshold": st.fixed_dictionaries(
        {
            "lower": st.sampled_from([None, -2.0]),
            "upper": st.just(2.0),
            "n_warmup_steps": st.integers(0, 3),
            "interval_steps": st.integers(1, 3),
        }
    ),
    "Wilcoxon": st.fixed_dictionaries(
        {"p_threshold": st.sampled_from([0.1, 0.4]), "n_startup_steps": st.integers(0, 3)}
    ),
}


@pytest.mark.parametrize("name", PRUNERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), courses=COURSES, direction=st.sampled_from(["minimize", "maximize"]))
def test_it_ends_the_trials_that_optunas_pruner_ends(name, data, courses, direction):
    """NNI-S2: a whole experiment, trial by trial and result by result; ours has only rows, Optuna its study."""
    arguments = data.draw(PRUNERS[name])
    if name == "Percentile":  # where one of the others has NaN, ours takes its value before
        courses = [[0.0 if math.isnan(value) else value for value in values] for values in courses]
    ours, theirs = [], []
    peers: list[Peer] = []
    pruner = {"Patience": "Patient"}.get(name, name)
    pruner_arguments = {"wrapped_pruner": None, **arguments} if name == "Patience" else arguments
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            study_name="exp",
            direction=direction,
            pruner=getattr(optuna.pruners, f"{pruner}Pruner")(**pruner_arguments),
        )
        for number, values in enumerate(courses):
            trial, ended, reported = study.ask(), "", []
            for step, value in enumerate(values):
                trial.report(value, step)
                reported.append((step, value))
                wanted = EARLY_STOPPING[name].peers
                seen = [peer for peer in peers if peer.has_succeeded or wanted == "all"]
                judged = step - 1 if step else None
                ended = says(
                    name,
                    arguments,
                    mine=reported,
                    others=seen,
                    direction=direction,
                    judged=judged,
                    number=number,
                )
                ours.append(bool(ended))
                theirs.append(trial.should_prune())
                if ended:
                    break
            value = reported[-1][1]
            is_done = not ended and not math.isnan(value)
            study.tell(trial, value if is_done else None, state=_study_state(optuna, is_done, bool(ended)))
            peers.append(
                Peer(number, Curve(reported), has_succeeded=is_done, value=value if is_done else None)
            )
            if (
                not is_done and not ended
            ):  # failed: does not count, here; a rung that it reached does in Optuna
                peers.pop()
                if wanted == "all":
                    break
    assert ours == theirs


def _study_state(optuna, is_done, is_ended):
    states = optuna.trial.TrialState
    return states.COMPLETE if is_done else states.PRUNED if is_ended else states.FAIL


def test_a_rung_is_decided_once_and_several_are_caught_up_in_order():
    """NNI-S2: results come in batches; a trial that passed three rungs at once is judged at the first it fails."""
    others = finished([0, 5, 5, 5, 5], [0, 6, 6, 6, 6])
    rungs = {"min_resource": 1, "reduction_factor": 2}
    assert says("SuccessiveHalving", rungs, mine=[0, 6, 1, 1, 1], others=others) == (
        "not in the best 1 of 2 at step 2, among 3 trials"
    )
    assert says("SuccessiveHalving", rungs, mine=[0, 6, 1, 1, 1], others=others, judged=3) == (
        "not in the best 1 of 2 at step 4, among 3 trials"
    )
    assert not says("SuccessiveHalving", rungs, mine=[0, 6, 1, 1, 1], others=others, judged=4)
    assert says("SuccessiveHalving", rungs, mine=[(0, 9), (3, 1)], others=others, judged=0).endswith(
        "step 1, among 3 trials"
    )


def test_a_result_beyond_a_bound_ends_a_trial_even_when_later_ones_came_with_it():
    """NNI-S2: Threshold sees every result since it was last judged; results come in batches."""
    assert says("Threshold", {"upper": 1}, mine=[0, 7, 0.5], judged=0) == "7 at step 1 is above 1"
    assert not says("Threshold", {"upper": 1}, mine=[0, 7, 0.5], judged=1)
    close = says("Threshold", {"lower": 0.5}, mine=[0.4999999999])
    assert close == "0.4999999999 at step 0 is below 0.5"  # TD-V10: not "0.5 is below 0.5"
    assert says("Threshold", {"lower": 0}, mine=[0, None, 0.5]) == "not a number at step 1"


# --- Curvefitting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "course"),
    [
        ("power", lambda x: 0.9 - 0.6 * x**-0.7),
        ("exponential", lambda x: 0.9 - 0.6 * math.exp(-0.2 * x)),
        ("hill", lambda x: 0.9 * x**2 / (25 + x**2)),
        ("logarithmic", lambda x: 0.9 - 0.3 / math.log(x + 1)),
        ("level", lambda x: 0.5),
    ],
)
def test_it_predicts_where_a_curve_ends(name, course):
    """NNI-S2: ten of forty results, of curves of every family, foretell the last within a twentieth."""
    curve = Curve((step, course(step + 1)) for step in range(10))
    assert predict(curve, at=39) == pytest.approx(course(40), rel=0.05)


def test_it_ends_a_trial_that_will_fall_short_of_the_best():
    """NNI-S2: Curvefitting, in both directions, also where values are below zero."""

    def course(limit):
        return [limit - 0.5 / (step + 1) for step in range(20)]

    for shift in (0.0, -3.0):
        up = finished([value + shift for value in course(0.9)])
        bad, good = ([value + shift for value in course(limit)[:8]] for limit in (0.4, 0.9))
        message = says("Curvefitting", mine=bad, others=up)
        assert message.startswith("predicted to end at") and message.endswith(
            f"the best ended at {0.875 + shift:g}"
        )
        assert not says("Curvefitting", mine=good, others=up)
        down = finished([-value for value in [peer + shift for peer in course(0.9)]])
        assert says("Curvefitting", mine=[-v for v in bad], others=down, direction="minimize")
        assert not says("Curvefitting", mine=[-v for v in good], others=down, direction="minimize")


def test_it_predicts_from_the_start_step_on_at_every_gap():
    """NNI-S2: six results by default; then a result is judged when `gap` more have come, once."""
    up = finished([0.9] * 20)
    bad = [0.1, 0.2, 0.25, 0.27, 0.28, 0.281, 0.282, 0.283, 0.284]
    judged_at = [
        len(bad[:n])
        for n in range(1, 10)
        if says("Curvefitting", {"gap": 2}, mine=bad[:n], others=up, judged=n - 2 if n > 1 else None)
    ]
    assert judged_at == [6, 8]
    assert not says("Curvefitting", {"epoch_num": 9}, mine=bad, others=up)
    assert not says("Curvefitting", mine=bad, others=[])


# --- the choice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "path", "word"),
    [
        ("Mediansotp", {}, "early_stopping", "Did you mean Medianstop?"),
        ("?", {}, "early_stopping", "Use one of none, Medianstop, Curvefitting,"),
        ("Medianstop", {"start_stp": 1}, "start_stp", "Did you mean start_step?"),
        ("Medianstop", {"start_step": -1}, "start_step", "between 0 and 9999"),
        ("Medianstop", {"start_step": 1.5}, "start_step", "whole number"),
        ("Medianstop", {"start_step": True}, "start_step", "whole number"),
        ("Curvefitting", {"threshold": 1.5}, "threshold", "between 0 and 1"),
        ("Curvefitting", {"threshold": "x"}, "threshold", "Must be a number between 0 and 1."),
        ("Curvefitting", {"start_step": 20}, "start_step", "must be less than epoch_num (20)"),
        ("Patience", {"min_delta": -1}, "min_delta", "at or above 0"),
        ("Patience", {"min_delta": math.inf}, "min_delta", "a number at or above 0"),
        ("Threshold", {}, "arguments", "lower, upper, or both"),
        ("Threshold", {"lower": 2, "upper": 1}, "lower", "must not be greater than upper"),
        ("Hyperband", {"min_resource": 9, "max_resource": 3}, "max_resource", "at least min_resource"),
        ("none", {"start_step": 1}, "start_step", "No arguments are supported"),
        ("none", [], "arguments", "must be an object"),
    ],
)
def test_a_wrong_choice_is_named(name, arguments, path, word):
    """TD-F7: early stopping and its arguments are checked with a sentence each."""
    (fault,) = check_early_stopping(name, arguments)
    assert fault.path == path and word in fault.message


def test_right_choices_pass():
    """TD-F7: the defaults and NNI's argument are fine."""
    assert check_early_stopping("none", {}) == []
    assert check_early_stopping("Medianstop", {"start_step": 9999}) == []
    assert check_early_stopping("Threshold", {"upper": 10, "lower": None}) == []


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("medianstop", "Medianstop"),
        ("ASHA", "SuccessiveHalving"),
        ("HyperbandPruner", "Hyperband"),
        ("NONE", "none"),
    ],
)
def test_a_rule_is_known_by_its_other_names(typed, name):
    """NNI-S2: NNI's names in any case, and Optuna's classes."""
    assert canonical(typed) == name


def test_what_nobody_knows_stays_as_it_was_typed():
    assert canonical("Mediansotp") == "Mediansotp"
