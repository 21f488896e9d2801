"""Algorithms that change what did well: Evolution and Anneal.

Both look at the finished trials only: there is no population but the rows.
"""

from random import Random

from experiments.search.nested_choice import Nested, Parameter, Path
from experiments.search.parameters import Choice
from experiments.search.space import seed_of

from .history import Kept, Seen
from .problem import Problem


def by_evolution(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    """Copy the better of two of the best trials, and draw one of its values anew.

    Random until `population_size` trials are on their way. After Real et al., "Large-Scale Evolution of Image
    Classifiers" (ICML 2017), as NNI's Evolution; there the worse of the two dies, here the population is the best
    `population_size` of all finished trials.
    """
    rng = Random(seed_of(problem.seed, ordinal))
    population = seen.best_first()[: arguments["population_size"]]
    if len(seen.informing) < arguments["population_size"] or not population:
        return problem.space.draw(rng), {}
    parent = population[min(rng.randrange(len(population)), rng.randrange(len(population)))]
    mutated = rng.choice(list(parent.leaves))

    def pick(path: Path, parameter: Parameter) -> object:
        return parameter.draw(rng) if path == mutated or path not in parent.leaves else parent.leaves[path]

    return problem.space.assemble(pick), {}


def by_annealing(problem: Problem, seen: Seen, ordinal: int, arguments: dict) -> tuple[dict, dict]:
    """Draw around one of the best trials, nearer to it the more results there are.

    Which of them: the rank is drawn from a geometric distribution. How near: within a share 1 / (1 + results *
    shrink_coef) of the draws of each parameter; a choice is kept, but for that share of the times. After
    hyperopt's `anneal` (Bergstra), which NNI's Anneal calls; whole numbers move among their neighbours here, where
    hyperopt takes them for names.
    """
    rng = Random(seed_of(problem.seed, ordinal))
    ranked = seen.best_first()
    if not ranked:
        return problem.space.draw(rng), {}
    around = _one_of_the_best(ranked, rng, arguments["avg_best_idx"])

    def pick(path: Path, parameter: Parameter) -> object:
        having = (
            ranked if path in around.leaves and len(path) == 1 else [k for k in ranked if path in k.leaves]
        )
        if not having:
            return parameter.draw(rng)
        chosen = around if path in around.leaves else _one_of_the_best(having, rng, arguments["avg_best_idx"])
        width = 1 / (1 + len(having) * arguments["shrink_coef"])
        return _near(parameter, chosen.leaves[path], width, rng)

    return problem.space.assemble(pick), {}


def _one_of_the_best(ranked: list[Kept], rng: Random, mean_rank: float) -> Kept:
    rank = 0
    while rng.random() > 1 / mean_rank:
        rank += 1
    return ranked[min(rank, len(ranked) - 1)]


def _near(parameter: Parameter, leaf: object, width: float, rng: Random) -> object:
    if isinstance(parameter, Choice | Nested):
        return parameter.draw(rng) if rng.random() < width else leaf
    middle = min(max(parameter.share(leaf), width / 2), 1 - width / 2)
    return parameter.quantile(middle + (rng.random() - 0.5) * width)
