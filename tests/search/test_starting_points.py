"""Values that a person gives to the search: held ones, and points to try first."""

import pytest

from experiments.search.engine import ALGORITHMS, Exhausted, PastTrial, Problem
from experiments.search.space import parse
from experiments.search.starting_points import check_values, fix_parameters, propose

SPACE = parse(
    {
        "lr": {"_type": "uniform", "_value": [0, 1]},
        "layers": {"_type": "choice", "_value": [1, 2, 3]},
        "mode": {"_type": "choice", "_value": ["a", "b"]},
    }
)
FINITE = parse(
    {"layers": {"_type": "choice", "_value": [1, 2, 3]}, "mode": {"_type": "choice", "_value": ["a", "b"]}}
)


def search(space, points, *, rounds, algorithm="Random", at_once=1, state="done"):
    """What is proposed in so many rounds, each trial ending before the next round."""
    problem = Problem(space, algorithm, {}, 3, "minimize")
    past, shown = [], []
    for start in range(1, rounds * at_once + 1, at_once):
        try:
            made = propose(problem, past, range(start, start + at_once), points=points)
        except Exhausted:
            break
        for proposal in made:
            past.append(
                PastTrial(
                    proposal.ordinal, proposal.ordinal, proposal.raw, space.key(proposal.shown), state, 0.5
                )
            )
            shown.append(proposal.shown)
    return shown


@pytest.mark.parametrize("algorithm", [name for name in ("TPE", "Random") if name in ALGORITHMS])
@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_points_are_tried_first_each_once_and_in_order(algorithm, at_once):
    """NNI-S2: whole ones as they are; of partial ones the algorithm proposes the rest; whatever became of them."""
    points = [{"lr": 0.25, "layers": 2, "mode": "a"}, {"lr": 0.5}, {"layers": 3, "mode": "b"}]
    tried = search(SPACE, points, rounds=10 // at_once, algorithm=algorithm, at_once=at_once, state="void")
    assert tried[0] == points[0]
    assert tried[1]["lr"] == 0.5 and (tried[2]["layers"], tried[2]["mode"]) == (3, "b")
    assert len({trial["lr"] for trial in tried}) == 10


def test_a_point_that_a_fuller_one_brings_along_is_not_tried_again():
    """NNI-S2: it has been tried with it; and the text 0.5 elsewhere is not lr = 0.5."""
    points = [{"lr": 0.5, "layers": 1, "mode": "a"}, {"mode": "a"}, {"lr": 0.5}]
    assert [point["lr"] == 0.5 for point in search(SPACE, points, rounds=1, at_once=3)] == [
        True,
        False,
        False,
    ]


def test_a_finite_space_with_points_is_exhausted_all_the_same():
    """NNI-S2: no point twice, and the end."""
    points = [{"mode": "b"}, {"layers": 3, "mode": "a"}, {"layers": 2}, {"layers": 2, "mode": "a"}]
    for algorithm in ("TPE", "GridSearch"):
        tried = search(FINITE, points, rounds=20, algorithm=algorithm)
        assert tried[1] == {"layers": 3, "mode": "a"}
        assert sorted((trial["layers"], trial["mode"]) for trial in tried) == [
            (layers, mode) for layers in (1, 2, 3) for mode in "ab"
        ]


def test_a_point_outside_a_space_that_was_changed_is_left_out():
    assert search(FINITE, [{"lr": 0.5}, {"layers": 9}, {"layers": 3}], rounds=1)[0]["layers"] == 3


def test_fixed_values_hold_and_count():
    """NNI-S2: what is held makes a space smaller; the types stay."""
    held = fix_parameters(SPACE, {"lr": 0.5, "mode": "b"})
    assert held.size == 3
    tried = search(held, [{"layers": 2}], rounds=9)
    assert {(trial["lr"], trial["mode"]) for trial in tried} == {(0.5, "b")}
    assert [tried[0]["layers"], *sorted(trial["layers"] for trial in tried)] == [2, 1, 2, 3]
    assert fix_parameters(SPACE, {}) is SPACE


def test_values_are_taken_as_trials_get_them_or_refused_with_the_path():
    """TD-F5: 1 is 1.0 where floats are drawn."""
    values, faults = check_values(SPACE, {"lr": 1, "layers": 2})
    assert (repr(values), faults) == ("{'lr': 1.0, 'layers': 2}", [])
    _, faults = check_values(SPACE, {"lr": 2, "layers": True, "moed": "a"})
    assert [str(fault) for fault in faults] == [
        "lr: 2 is outside the search space: uniform [0, 1].",
        "layers: true is outside the search space: choice [1, 2, 3].",
        "moed: Unknown parameter. Did you mean mode?",
    ]
