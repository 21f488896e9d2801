"""fANOVA, against Optuna's evaluator and scikit-learn's trees."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.importance._fanova._tree import _FanovaTree
from sklearn.tree import DecisionTreeRegressor

from experiments.search.engine import fanova


@pytest.mark.parametrize(
    ("count", "choices"),
    [(200, [None, None, None]), (200, [None, 3, None]), (120, [2, None, 5]), (60, [None, 8])],
)
def test_the_shares_are_optunas(count: int, choices: list[int | None]) -> None:
    """TD-C1: within the noise of two forests of 64 trees."""
    random = np.random.default_rng(count + len(choices))
    rows = np.stack(
        [
            random.random(count) if options is None else random.integers(options, size=count)
            for options in choices
        ],
        axis=1,
    ).astype(float)
    values = (
        np.sin(5 * rows[:, 0]) + 0.6 * (rows[:, 1] == 1) + rows[:, -1] ** 2 + 0.05 * random.normal(size=count)
    )
    of = optuna.distributions
    space = {
        f"p{place}": of.FloatDistribution(0, 1)
        if options is None
        else of.CategoricalDistribution(range(options))
        for place, options in enumerate(choices)
    }
    study = optuna.create_study()
    for row, value in zip(rows, values, strict=True):
        params = {
            name: cell if options is None else int(cell)
            for name, cell, options in zip(space, row, choices, strict=True)
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    expected = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=1)
    )
    assert fanova.shares(rows, values, choices) == pytest.approx([expected[name] for name in space], abs=0.03)


def test_a_tree_and_its_variances_are_scikit_learns_and_optunas() -> None:
    """TD-C1: with one column there is one best split, so the trees are the same, and so are the exact variances."""
    random = np.random.default_rng(3)
    rows = np.float32(random.random((80, 1))).astype(float)  # scikit-learn calculates with single precision
    values = np.sin(9 * rows[:, 0])
    weights = np.stack([np.bincount(random.integers(80, size=80), minlength=80) for _ in range(5)])
    leaves = fanova.grow(rows, values, weights, random=random)
    means, total = fanova.moments(leaves)
    alone = fanova.of_number(leaves, means, 0)
    for number, weight in enumerate(weights):
        fitted = DecisionTreeRegressor().fit(rows, values, sample_weight=weight)
        tree = _FanovaTree(fitted.tree_, np.array([[0.0, 1.0]]))
        is_leaf = fitted.tree_.feature < 0
        assert sorted(leaves.value[leaves.tree == number]) == pytest.approx(
            sorted(fitted.tree_.value[is_leaf].ravel())
        )
        assert total[number] == pytest.approx(tree.variance)
        assert alone[number] == pytest.approx(tree.get_marginal_variance(np.array([0])))


def test_the_variances_of_any_tree_are_optunas() -> None:
    """TD-C1: numbers and choices, along each of them alone, and as a whole."""
    random = np.random.default_rng(4)
    choice = random.integers(3, size=60)
    rows = np.column_stack((random.random((60, 2)), *[choice == option for option in range(3)])).astype(float)
    values = rows[:, 0] * (choice == 1) + rows[:, 1]
    leaves = fanova.grow(rows, values, np.ones((1, 60), dtype=np.int64), random=random)
    means, total = fanova.moments(leaves)
    tree = _FanovaTree(_as_sklearn(leaves), np.array([[0.0, 1.0]] * 5))
    assert total[0] == pytest.approx(tree.variance)
    for column in (0, 1):
        expected = tree.get_marginal_variance(np.array([column]))
        assert fanova.of_number(leaves, means, column)[0] == pytest.approx(expected)
    expected = tree.get_marginal_variance(np.array([2, 3, 4]))
    assert fanova.of_choice(leaves, means, [2, 3, 4])[0] == pytest.approx(expected)


def test_columns_that_explain_the_same_share_it() -> None:
    """TD-C1: which of two equally good splits a tree takes is drawn, whatever the order of the columns."""
    random = np.random.default_rng(5)
    column = random.random(100)
    left, right = fanova.shares(np.stack((column, column), axis=1), column**2, [None, None])
    assert left == pytest.approx(0.5, abs=0.1) and left + right == pytest.approx(1)


def test_the_same_input_gives_the_same_shares_and_noise_gives_none_the_lead() -> None:
    """TD-C1"""
    random = np.random.default_rng(6)
    rows = random.random((300, 5))
    values = random.normal(size=300)
    shares = fanova.shares(rows, values, [None] * 5)
    assert shares == fanova.shares(rows, values, [None] * 5)
    assert max(shares) < 0.5


def test_without_any_difference_that_a_column_explains_all_shares_are_zero() -> None:
    """TD-C1: the two rows differ only in their results."""
    assert fanova.shares(np.full((12, 1), 0.5), np.arange(12.0), [None]) == [0.0]


class _as_sklearn:  # noqa: N801
    """The leaves of one tree as scikit-learn's tree: each internal node splits the box where its leaves do."""

    n_features = 5

    def __init__(self, leaves: fanova.Leaves) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.children_left: list[int] = []
        self.children_right: list[int] = []
        self.value: list[np.ndarray] = []
        self._add(leaves.low, leaves.high, leaves.value)

    @property
    def node_count(self) -> int:
        return len(self.feature)

    def _add(self, low: np.ndarray, high: np.ndarray, value: np.ndarray) -> int:
        node = len(self.feature)
        for part in (self.feature, self.threshold, self.children_left, self.children_right):
            part.append(-2)
        self.value.append(np.array([value[0]]))
        if len(value) == 1:
            return node
        for column in range(5):
            for threshold in np.unique(high[:, column])[:-1]:
                is_left = high[:, column] <= threshold
                if (is_left | (low[:, column] >= threshold)).all():
                    self.feature[node], self.threshold[node] = column, threshold
                    self.children_left[node] = self._add(low[is_left], high[is_left], value[is_left])
                    self.children_right[node] = self._add(low[~is_left], high[~is_left], value[~is_left])
                    return node
        raise AssertionError("the leaves are not those of a tree")
