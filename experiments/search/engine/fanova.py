"""Functional ANOVA: how much of the variance of the results each parameter explains alone.

Source: Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", 2014, as in
`optuna.importance.FanovaImportanceEvaluator`. Optuna grows its forest with scikit-learn, whose 150 MB (SciPy included)
nothing else here needs. These trees grow side by side, one level of all trees at a time, so that numpy does the work.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TREES = 64
DEEPEST = 64
TIED = 1e-9  # relative difference below which two splits are equally good; one of them is then drawn


@dataclass(frozen=True)
class Leaves:
    """The leaves of all trees: tree (leaves), lower and upper corner (leaves × columns), mean of the results in it."""

    tree: Integers
    low: Floats
    high: Floats
    value: Floats


def shares(rows: Floats, values: Floats, choices: list[int | None], *, seed: int = 0) -> list[float]:
    """Return the share of the variance of `values` (trials) that each column of `rows` (trials × parameters) explains
    alone; they add up to 1, unless no column explains anything: then all are 0.

    `choices` has, by column, the number of choices whose positions it holds, or None for numbers between 0 and 1. As in
    Optuna, a choice becomes a column of zeros and ones per option.
    """
    columns: list[Floats] = []
    groups: list[list[int]] = []
    for place, count in enumerate(choices):
        column = rows[:, place]
        parts = [column] if count is None else [(column == option).astype(float) for option in range(count)]
        groups.append(list(range(len(columns), len(columns) + len(parts))))
        columns += parts
    random = np.random.default_rng(seed)
    drawn = random.integers(len(values), size=(TREES, len(values)))
    weights = np.stack([np.bincount(tree, minlength=len(values)) for tree in drawn])
    leaves = grow(np.stack(columns, axis=1), values, weights, random=random)
    means, total = moments(leaves)
    varied = total > 0
    if not varied.any():
        return [0.0] * len(choices)
    fractions = []
    for group, count in zip(groups, choices, strict=True):
        alone = of_number(leaves, means, group[0]) if count is None else of_choice(leaves, means, group)
        fractions.append(float((alone[varied] / total[varied]).mean()))
    whole = sum(fractions)
    return [fraction / whole for fraction in fractions] if whole else fractions


def grow(columns: Floats, values: Floats, weights: Integers, *, random: np.random.Generator) -> Leaves:
    """Return the leaves of regression trees, one per row of `weights` (trees × trials: how often each trial counts).
    Each split reduces the squared error most; `columns` (trials × columns) are between 0 and 1."""
    tree, trial = np.nonzero(weights)
    weight = weights[tree, trial].astype(float)
    ranks = np.stack([np.unique(column, return_inverse=True)[1] for column in columns.T])
    node = tree.copy()  # of each row, numbered by level; at first one node per tree
    tree_of = np.arange(len(weights))
    low, high = np.zeros((len(weights), columns.shape[1])), np.ones((len(weights), columns.shape[1]))
    done: list[tuple[Integers, Floats, Floats, Floats]] = []
    for depth in range(DEEPEST + 1):
        sums = _sums(node, weight * values[trial], len(tree_of))
        counts = _sums(node, weight, len(tree_of))
        column, threshold = _best_splits(
            columns, values, ranks, trial, weight, node, sums, counts, random=random
        )
        if depth == DEEPEST:
            column[:] = -1
        ends = column < 0
        done.append((tree_of[ends], low[ends], high[ends], sums[ends] / counts[ends]))
        if ends.all():
            break
        # The left child of the n-th node that is split becomes node 2n, the right one 2n + 1.
        split = np.flatnonzero(~ends)
        numbers = np.full(len(tree_of), -1)
        numbers[split] = 2 * np.arange(len(split))
        stays = numbers[node] >= 0
        trial, weight, node = trial[stays], weight[stays], node[stays]
        node = numbers[node] + (columns[trial, column[node]] > threshold[node])
        tree_of, low, high = (
            tree_of[split].repeat(2),
            low[split].repeat(2, axis=0),
            high[split].repeat(2, axis=0),
        )
        left = 2 * np.arange(len(split))
        high[left, column[split]] = low[left + 1, column[split]] = threshold[split]
    return Leaves(*(np.concatenate(parts) for parts in zip(*done, strict=True)))


def _best_splits(
    columns: Floats,
    values: Floats,
    ranks: Integers,
    trial: Integers,
    weight: Floats,
    node: Integers,
    sums: Floats,
    counts: Floats,
    *,
    random: np.random.Generator,
) -> tuple[Integers, Floats]:
    """Return, for each node, the column and the threshold of its best split; column -1 where there is none."""
    sizes = np.bincount(node, minlength=len(sums))
    starts = np.cumsum(sizes) - sizes
    by_node = np.repeat(np.arange(len(sums)), sizes)
    gains = np.empty((len(ranks), len(sums)))
    places = np.empty((len(ranks), len(sums)), dtype=np.int64)
    orders = []
    for number, rank in enumerate(ranks):
        order = np.argsort(node * len(columns) + rank[trial])
        orders.append(order)
        ordered, position = trial[order], rank[trial[order]]
        weights = np.cumsum(weight[order])
        results = np.cumsum(weight[order] * values[ordered])
        left_weight = weights - (weights[starts] - weight[order][starts])[by_node]
        left = results - (results[starts] - (weight[order] * values[ordered])[starts])[by_node]
        right_weight = counts[by_node] - left_weight
        right = sums[by_node] - left
        possible = np.zeros(len(order), dtype=bool)
        possible[:-1] = (by_node[1:] == by_node[:-1]) & (position[1:] > position[:-1])
        gain = np.full(len(order), -np.inf)
        gain[possible] = (left**2)[possible] / left_weight[possible] + (right**2)[possible] / right_weight[
            possible
        ]
        gains[number] = best = np.maximum.reduceat(gain, starts)
        at = np.flatnonzero(gain >= best[by_node])
        places[number] = at[np.searchsorted(by_node[at], np.arange(len(sums)))]
    best = gains.max(axis=0)
    ordered_values = values[trial[orders[0]]]
    varies = np.maximum.reduceat(ordered_values, starts) > np.minimum.reduceat(ordered_values, starts)
    is_split = varies & np.isfinite(best)
    tied = gains >= best - TIED * np.abs(best)
    chosen = np.where(tied, random.random(tied.shape), -1.0).argmax(axis=0)
    column, threshold = np.full(len(sums), -1), np.zeros(len(sums))
    for number, order in enumerate(orders):
        nodes = np.flatnonzero(is_split & (chosen == number))
        place = places[number, nodes]
        column[nodes] = number
        threshold[nodes] = (
            columns[trial[order[place]], number] + columns[trial[order[place + 1]], number]
        ) / 2
    return column, threshold


def moments(leaves: Leaves) -> tuple[Floats, Floats]:
    """Return the mean and the variance of each tree over the whole space."""
    volume = (leaves.high - leaves.low).prod(axis=1)
    means = _sums(leaves.tree, volume * leaves.value)
    return means, _sums(leaves.tree, volume * (leaves.value - means[leaves.tree]) ** 2)


def of_number(leaves: Leaves, means: Floats, column: int) -> Floats:
    """Return the variance of each tree's marginal along a column of numbers.

    The marginal is a step function. Each leaf adds to it at its lower end, and takes away at its upper end, its part of
    the mean per unit of length; the ends of tree n lie between n and n + 1.
    """
    low, high = leaves.low[:, column], leaves.high[:, column]
    volume = (leaves.high - leaves.low).prod(axis=1)
    part = leaves.value * volume / (high - low)
    ends = np.concatenate((leaves.tree + low, leaves.tree + high))
    order = np.argsort(ends, kind="stable")
    level = np.cumsum(np.concatenate((part, -part))[order])[:-1]
    length = np.diff(ends[order])
    tree = np.minimum(ends[order][:-1].astype(np.int64), len(means) - 1)
    return _sums(tree, length * (level - means[tree]) ** 2, len(means))


def of_choice(leaves: Leaves, means: Floats, group: list[int]) -> Floats:
    """Return the variance of each tree's marginal over all combinations of the zeros and ones of a choice."""
    low, high = leaves.low[:, group], leaves.high[:, group]
    volume = (leaves.high - leaves.low).prod(axis=1)
    part = leaves.value * volume / (high - low).prod(axis=1)
    variance = np.zeros(len(means))
    for combination in np.ndindex(*[2] * len(group)):
        is_one = np.array(combination) == 1
        fits = np.where(is_one, high > 0.5, low < 0.5).all(axis=1)  # noqa: PLR2004
        marginal = _sums(leaves.tree, part * fits, len(means))
        variance += (marginal - means) ** 2 / 2 ** len(group)
    return variance


def _sums(index: Integers, parts: Floats, length: int = 0) -> Floats:
    """Return the sum of the parts with each index, for the indexes 0 to at least `length` - 1."""
    return np.bincount(index, parts, length).astype(np.float64)
