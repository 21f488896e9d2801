"""Algorithms that vary the best trials: Evolution and Anneal.

Both use the finished trials only; the rows are the population.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from experiments.search.nested_choice import Nested, Parameter, Path
from experiments.search.parameters import Choice
from experiments.search.space import seed_of

from .fitted_trial import FittedTrial
from .history import History
from .problem import Problem, Suggestion


def by_evolution(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    """Copy the better of two of the best trials, and redraw one of its values.

    Random until `population_size` trials have been proposed. After Real et al., "Large-Scale Evolution of Image
    Classifiers" (ICML 2017), like NNI's Evolution; there the worse of the two is removed, here the population is the
    best `population_size` of all finished trials.
    """
    rng = Random(seed_of(problem.seed, ordinal))
    ranked, size = history.best_first(), arguments["population_size"]
    if len(history.columns()) < size or not ranked:
        return problem.space.draw(rng), {}
    count = min(size, len(ranked))
    parent = ranked[min(rng.randrange(count), rng.randrange(count))]
    mutated = rng.choice(list(parent.leaves))

    def pick(path: Path, parameter: Parameter) -> Any:
        return parameter.draw(rng) if path == mutated or path not in parent.leaves else parent.leaves[path]

    return problem.space.assemble(pick), {}


def by_annealing(problem: Problem, history: History, ordinal: int, arguments: dict[str, Any]) -> Suggestion:
    """Draw near one of the best trials, closer to it the more results there are.

    The rank of that trial is drawn from a geometric distribution. Each parameter is drawn within a fraction
    1 / (1 + results * shrink_coef) of its distribution; a choice is redrawn with that probability. After hyperopt's
    `anneal` (Bergstra), which NNI's Anneal calls; integers move to their neighbors here, where hyperopt treats them
    as categories.
    """
    rng = Random(seed_of(problem.seed, ordinal))
    ranked = history.best_first()
    if not ranked:
        return problem.space.draw(rng), {}
    center = _draw_ranked(ranked, rng, arguments["avg_best_idx"])

    def pick(path: Path, parameter: Parameter) -> Any:
        candidates = history.best_first(path)
        if not candidates:
            return parameter.draw(rng)
        chosen = center if path in center.leaves else _draw_ranked(candidates, rng, arguments["avg_best_idx"])
        width = 1 / (1 + len(candidates) * arguments["shrink_coef"])
        return _near(parameter, chosen.leaves[path], width, rng)

    return problem.space.assemble(pick), {}


def _draw_ranked(ranked: Sequence[FittedTrial], rng: Random, mean_rank: float) -> FittedTrial:
    rank = 0
    while rng.random() > 1 / mean_rank:
        rank += 1
    return ranked[min(rank, len(ranked) - 1)]


def _near(parameter: Parameter, leaf: Any, width: float, rng: Random) -> Any:
    if isinstance(parameter, Choice | Nested):
        return parameter.draw(rng) if rng.random() < width else leaf
    middle = min(max(parameter.share(leaf), width / 2), 1 - width / 2)
    return parameter.quantile(middle + (rng.random() - 0.5) * width)
