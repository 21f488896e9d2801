"""TD-C10: what the results so far suggest to change."""

from __future__ import annotations

import pytest

from experiments.search import advice
from experiments.search.advice import Region
from experiments.search.space import parse

LR = {"_type": "loguniform", "_value": [1e-5, 1e-2]}


def space_of(piece: advice.Advice) -> dict:
    return dict(piece.change["space_document"])


def best(name: str, *values: object) -> list[dict]:
    return [{name: value} for value in values]


@pytest.mark.parametrize(
    ("declaration", "values", "wider", "end"),
    [
        (LR, [9e-3, 9.5e-3, 1e-2, 9.9e-3, 8.8e-3], [1e-5, 0.1], "upper"),
        (LR, [1.1e-5, 1e-5, 1.2e-5, 1e-5, 1.05e-5], [1e-6, 1e-2], "lower"),
        ({"_type": "loguniform", "_value": [1, 10]}, [9.9] * 5, [1, 20], "upper"),
        ({"_type": "uniform", "_value": [2, 4]}, [3.95] * 5, [2, 5], "upper"),
        ({"_type": "uniform", "_value": [-2, 2]}, [-2, -1.9, -1.95, -2, -1.99], [-4, 2], "lower"),
        ({"_type": "uniform", "_value": [0.1, 5]}, [0.1] * 5, [0, 5], "lower"),
        ({"_type": "quniform", "_value": [0, 100, 5]}, [100] * 5, [0, 150, 5], "upper"),
        ({"_type": "randint", "_value": [1, 33]}, [32, 31, 32, 32, 31], [1, 49], "upper"),
        ({"_type": "randint", "_value": [10, 42]}, [10] * 5, [0, 42], "lower"),
        ({"_type": "lograndint", "_value": [16, 257]}, [256, 250, 256, 256, 256], [16, 513], "upper"),
    ],
)
def test_a_range_whose_end_has_the_best_trials_is_extended(declaration, values, wider, end) -> None:
    (piece,) = advice.at_the_edge({"x": declaration, "y": LR}, best("x", *values))
    assert piece.key == f"extend:x:{end}" and f"at the {end} end of its range" in piece.text
    assert space_of(piece) == {"x": {**declaration, "_value": wider}, "y": LR}
    parse(space_of(piece))


@pytest.mark.parametrize(
    ("declaration", "values"),
    [
        (LR, [9e-3] * 4),
        (LR, [9e-3, 1e-4, 9e-3, 2e-4, 1e-3]),
        ({"_type": "uniform", "_value": [0, 1]}, [0.99] * 5),
        ({"_type": "uniform", "_value": [0, 5]}, [0.0] * 5),
        ({"_type": "randint", "_value": [0, 2]}, [1] * 5),
        ({"_type": "randint", "_value": [0, 10]}, [0] * 5),
        ({"_type": "lograndint", "_value": [1, 100]}, [1] * 5),
        ({"_type": "uniform", "_value": [1, 1]}, [1] * 5),
        ({"_type": "normal", "_value": [0, 1]}, [4] * 5),
        ({"_type": "choice", "_value": [1, 2, 3]}, [3] * 5),
        (LR, ["high"] * 5),
        (LR, [float("nan")] * 5),
    ],
)
def test_no_range_is_extended_by_chance_or_beyond_what_it_means(declaration, values) -> None:
    """Few trials, both sides, probabilities, counts below zero, and what has no range."""
    assert advice.at_the_edge({"x": declaration}, best("x", *values)) == []


def test_most_at_the_end_are_enough() -> None:
    values = [9.5e-3] * 8 + [1e-4, 3e-4]
    (piece,) = advice.at_the_edge({"lr": LR}, best("lr", *values))
    assert piece.text.startswith("8 of the 10 best trials have lr")


def test_choices_that_no_trial_had_are_named() -> None:
    space = {
        "opt": {"_type": "choice", "_value": ["sgd", "adam", "lamb"]},
        "deep": {"_type": "choice", "_value": [True, 2]},
    }
    (piece,) = advice.never_tried(space, {"opt": {"sgd", "adam"}, "deep": {"true", "2"}}, 30)
    assert piece.text == "None of the 30 trials used opt = lamb." and not piece.change
    assert advice.never_tried(space, {"opt": {"sgd", "adam"}, "deep": {"true", "2"}}, 29) == []


def test_parameters_without_influence_are_held_at_the_best_value() -> None:
    space = {"lr": LR, "momentum": LR, "decay": LR}
    shares = {"lr": 0.98, "momentum": 0.009, "decay": 0.001}
    (piece,) = advice.without_influence(space, shares, {"lr": 1e-3, "momentum": 0.9, "decay": 1e-4}, {})
    assert piece.text == "momentum and decay explain less than 1% of the variance in the results each."
    assert piece.change == {"fixed": {"momentum": 0.9, "decay": 1e-4}}
    assert advice.without_influence(space, {}, {"lr": 1e-3}, {}) == []
    assert (
        advice.without_influence(
            space, shares, {"lr": 1, "momentum": 1, "decay": 1}, {"momentum": 1, "decay": 1}
        )
        == []
    )


@pytest.mark.parametrize(
    ("declaration", "region", "smaller"),
    [
        (LR, Region("x", ">=", 0.00307), [1e-5, 0.00307]),
        (LR, Region("x", ">=", 0.003079), [1e-5, 0.00307]),
        (LR, Region("x", "<=", 0.003071), [0.00308, 1e-2]),
        ({"_type": "randint", "_value": [1, 65]}, Region("x", ">=", 32), [1, 32]),
        ({"_type": "randint", "_value": [1, 65]}, Region("x", "<=", 8), [9, 65]),
        ({"_type": "quniform", "_value": [0, 100, 5]}, Region("x", ">=", 60), [0, 60, 5]),
        ({"_type": "choice", "_value": ["a", "b", 1, True]}, Region("x", "=", 1), ["a", "b", True]),
    ],
)
def test_a_failing_region_is_left_out(declaration, region, smaller) -> None:
    change = advice.exclude({"x": declaration, "y": LR}, region)
    assert change == {"space_document": {"x": {**declaration, "_value": smaller}, "y": LR}}
    parse(change["space_document"])


@pytest.mark.parametrize(
    ("declaration", "region"),
    [
        (LR, Region("z", ">=", 0.003)),
        (LR, Region("x", "=", 0.003)),
        (LR, Region("x", ">=", 1e-5)),
        (LR, Region("x", "<=", 1e-2)),
        ({"_type": "choice", "_value": ["a"]}, Region("x", "=", "a")),
        ({"_type": "choice", "_value": [1, 2, 3]}, Region("x", ">=", 2)),
        ({"_type": "choice", "_value": [{"_name": "a"}, {"_name": "b"}]}, Region("x", "=", "a")),
        ({"_type": "normal", "_value": [0, 1]}, Region("x", ">=", 2)),
    ],
)
def test_what_would_leave_nothing_or_cannot_be_left_out_stays(declaration, region) -> None:
    assert advice.exclude({"x": declaration}, region) is None


def test_cells_of_a_grid_beyond_the_budget_are_counted() -> None:
    (piece,) = advice.grid_left(125, 60, 100)
    assert "25 of them" in piece.text and piece.change == {"max_trials": 125}
    assert (
        advice.grid_left(125, 60, 125)
        == advice.grid_left(None, 60, 100)
        == advice.grid_left(125, 0, 100)
        == []
    )


def test_repeated_proposals_are_counted() -> None:
    (piece,) = advice.repeated(["a"] * 10 + [str(number) for number in range(40)])
    assert piece.text.startswith("9 of the latest 50 proposals")
    assert advice.repeated(["a", "a"] + [str(number) for number in range(40)]) == []
