"""The table of algorithms and their arguments.

Seeds: an algorithm that draws uses `seed_of(experiment's seed, proposal's ordinal)` for each proposal, so that no
proposal repeats another and a restart changes nothing. QMC uses one seed, `seed_of(seed, 0)`, and the ordinal as its
position. GridSearch and Batch need no seed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.search.constrained_space import ConstrainedSpace
from experiments.search.space import Space
from experiments.search.validation import Argument

from . import cma, evolution, model_free, optuna_study
from .history import History
from .problem import Problem, Suggestion


@dataclass(frozen=True)
class Algorithm:
    """An algorithm that users can choose.

    `suggest(problem, history, ordinal, arguments)` returns raw values and the attrs to store with them.
    `start_up(arguments)` returns the number of results needed before it learns; None for an algorithm that uses no
    results. `uses_past(space)`: its next proposal in an infinite space depends on earlier trials. `takes_parts`: until
    it has started up it learns from partly fitting trials too. `for_nested`: supports nested choices.
    `for_several_objectives`: searches for the Pareto front of several objectives, or uses no results. `is_light`: cheap
    enough to preview its first proposals on a page. `redraws`: attempts to get a suggestion that meets the constraints.
    `early_stopping`: the rule that the algorithm requires. `renamed` maps NNI's argument names to ours.
    """

    summary: str
    suggest: Callable[[Problem, History, int, dict[str, Any]], Suggestion]
    arguments: tuple[Argument, ...] = ()
    start_up: Callable[[dict], int] | None = None
    uses_past: Callable[[Space], bool] = lambda space: True
    takes_parts: bool = False
    for_nested: bool = True
    for_several_objectives: bool = False
    redraws: int = 30
    is_light: bool = False
    early_stopping: str = ""
    aliases: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


_TPE = (
    Argument("n_startup_trials", int, 10, "Random trials before the model is used.", 0, 100000),
    Argument("n_ei_candidates", int, 24, "Candidates compared for each proposal.", 1, 10000),
    Argument("multivariate", bool, True, "Model the parameters jointly, not independently."),
    Argument("group", bool, False, "Model groups of parameters that occur together in trials jointly."),
    Argument("constant_liar", bool, True, "Avoid the values of running trials."),
)

ALGORITHMS: dict[str, Algorithm] = {
    "TPE": Algorithm(
        "Uses earlier results to model where good values lie. A good default for most experiments.",
        optuna_study.by_tpe,
        _TPE,
        start_up=lambda arguments: arguments["n_startup_trials"],
        takes_parts=True,
        aliases=("TPE_legacy",),
        renamed={"n_startup_jobs": "n_startup_trials"},
        for_several_objectives=True,
    ),
    "Random": Algorithm(
        "Draws every trial at random, independent of the results.",
        model_free.at_random,
        uses_past=lambda space: False,
        is_light=True,
        for_several_objectives=True,
    ),
    "GridSearch": Algorithm(
        "Tries every combination in order; continuous ranges from the middle outward, in ever finer steps.",
        model_free.next_of_grid,
        is_light=True,
        aliases=("Grid",),
        for_several_objectives=True,
    ),
    "Batch": Algorithm(
        "Tries the values of a single choice in the listed order.",
        model_free.next_of_grid,
        is_light=True,
        for_several_objectives=True,
    ),
    "Evolution": Algorithm(
        "Copies the better of two good trials and mutates one of its values. For hundreds of short trials.",
        evolution.by_evolution,
        (
            Argument(
                "population_size",
                int,
                32,
                "Random trials at the start, and size of the population.",
                2,
                10000,
            ),
        ),
        start_up=lambda arguments: arguments["population_size"],
        aliases=("Evolutionary", "NaiveEvolution"),
    ),
    "CMA-ES": Algorithm(
        "Adapts a normal distribution toward better numbers. For many trials; choices are drawn at random.",
        cma.by_cma_es,
        (
            Argument(
                "population_size",
                int,
                None,
                "Results per generation. Default: derived from the number of parameters.",
                4,
                10000,
            ),
            Argument("sigma0", float, 0.2, "Initial step size, as a fraction of each range.", 0.001, 1.0),
        ),
        start_up=lambda arguments: 1,
        for_nested=False,
        aliases=("CMA",),
        renamed={"popsize": "population_size"},
    ),
    "NSGA-II": Algorithm(
        "Crosses and mutates the best trials of each generation (Optuna's sampler). For many trials.",
        optuna_study.by_nsga,
        (
            Argument("population_size", int, 50, "Trials per generation.", 2, 10000),
            Argument("crossover_prob", float, 0.9, "Probability of crossing two parents.", 0.0, 1.0),
            Argument(
                "swapping_prob", float, 0.5, "Probability of taking a value from the second parent.", 0.0, 1.0
            ),
            Argument(
                "mutation_prob",
                float,
                None,
                "Probability of mutating a value. Default: one mutation per trial.",
                0.0,
                1.0,
            ),
        ),
        start_up=lambda arguments: arguments["population_size"],
        for_nested=False,
        aliases=("NSGA2",),
        for_several_objectives=True,
    ),
    "Anneal": Algorithm(
        "Draws near the best trials, closer and closer as results come in.",
        evolution.by_annealing,
        (
            Argument("avg_best_idx", float, 2.0, "Mean rank of the trial to draw near.", 1.0, 1000.0),
            Argument(
                "shrink_coef",
                float,
                0.1,
                "How fast the width shrinks with the number of results.",
                0.0,
                100.0,
            ),
        ),
        start_up=lambda arguments: 1,
        aliases=("Annealing", "SimulatedAnnealing"),
    ),
    "QMC": Algorithm(
        "Spreads the trials more evenly than random draws, independent of the results.",
        model_free.by_qmc,
        (
            Argument(
                "sequence",
                str,
                "sobol",
                "Low-discrepancy sequence: sobol or halton.",
                options=("sobol", "halton"),
            ),
            Argument("scramble", bool, True, "Scramble the sequence with the seed."),
        ),
        uses_past=lambda space: isinstance(space, ConstrainedSpace),  # the points skipped before
        aliases=("QuasiMonteCarlo", "QuasiRandom"),
        renamed={"qmc_type": "sequence"},
        for_several_objectives=True,
    ),
    "GP": Algorithm(
        "Models the objective with a Gaussian process. For few, long trials; requires PyTorch and SciPy.",
        optuna_study.by_gp,
        (
            Argument("n_startup_trials", int, 10, "Random trials before the model is used.", 1, 100000),
            Argument("deterministic_objective", bool, False, "The same values always give the same result."),
        ),
        start_up=lambda arguments: arguments["n_startup_trials"],
        for_nested=False,
        redraws=3,  # each attempt is slow and mostly ends at the same values
        aliases=("GaussianProcess",),
        renamed={"cold_start_num": "n_startup_trials"},
    ),
    "Hyperband": Algorithm(
        "Random search with Hyperband early stopping, which spends most of the time on promising trials.",
        model_free.at_random,
        uses_past=lambda space: False,
        is_light=True,
        early_stopping="Hyperband",
    ),
    "BOHB": Algorithm(
        "TPE with Hyperband early stopping, which spends most of the time on promising trials.",
        optuna_study.by_tpe,
        _TPE,
        start_up=lambda arguments: arguments["n_startup_trials"],
        takes_parts=True,
        early_stopping="Hyperband",
        renamed={"num_samples": "n_ei_candidates", "min_points_in_model": "n_startup_trials"},
    ),
}
