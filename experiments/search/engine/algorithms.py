"""Which algorithms there are, with which arguments.

Seeds: an algorithm that draws gets `seed_of(experiment's seed, proposal's ordinal)` for each proposal, so that none
repeats another and a restart changes nothing. QMC keeps to one seed, `seed_of(seed, 0)`, and counts by the ordinal.
GridSearch and Batch need none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from experiments.search.validation import Argument

from . import cma, evolution, model_free, optuna_study
from .history import Seen
from .problem import Problem


@dataclass(frozen=True)
class Algorithm:
    """How to suggest raw values, and what to remember with them.

    `start_up` gives the results it needs to start; None: it looks at none. `takes_parts`: until then it learns from
    trials that fit the space in part. `for_nested`: it can search nested choices. `is_light`: its first proposals cost
    nothing, so that a page may show them. `redraws`: how often it is asked until its proposal meets the constraints.
    `early_stopping`: the rule it cannot do without. `renamed` are arguments by NNI's names; `refused` are those of NNI
    that it has not, each with the reason.
    """

    summary: str
    suggest: Callable[[Problem, Seen, int, dict], tuple[dict, dict]]
    arguments: tuple[Argument, ...] = ()
    start_up: Callable[[dict], int] | None = None
    takes_parts: bool = False
    for_nested: bool = True
    redraws: int = 30
    is_light: bool = False
    early_stopping: str = ""
    aliases: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


_TPE = (
    Argument("n_startup_trials", int, 10, "Results to collect at random before it learns.", 0, 100000),
    Argument("n_ei_candidates", int, 24, "Candidates weighed for each proposal.", 1, 10000),
    Argument("multivariate", bool, True, "Look at the parameters together, not one by one."),
    Argument("group", bool, False, "Look together at those parameters that trials have in common."),
    Argument("constant_liar", bool, True, "Keep away from the values of running trials."),
)
_OWN_WEIGHTS = "Optuna's TPE weighs the results by a rule of its own; leave this out."
_NNIS_TPE = {
    "linear_forgetting": _OWN_WEIGHTS,
    "prior_weight": _OWN_WEIGHTS,
    "gamma": "Optuna's TPE takes the best tenth of the results, at most 25, as the good ones; leave this out.",
    "constant_liar_type": "Running trials count as poor results (constant_liar=true) or not at all (false).",
    "parallel_optimize": "Keeping away from running trials is called constant_liar here.",
    "tpe_args": "Give these as arguments of their own, such as n_ei_candidates=24.",
}
_NNIS_GP = dict.fromkeys(
    ("utility", "kappa", "xi", "nu", "alpha", "selection_num_warm_up", "selection_num_starting_points"),
    "Optuna's GP chooses its kernel and how it weighs candidates by itself; leave this out.",
)
_IN_BRACKETS = "The brackets are the early stopping rule's: give its arguments there, and leave this out."

ALGORITHMS: dict[str, Algorithm] = {
    "TPE": Algorithm(
        "Learns from the results where good values lie; a sound choice for most experiments.",
        optuna_study.by_tpe,
        _TPE,
        start_up=lambda arguments: arguments["n_startup_trials"],
        takes_parts=True,
        aliases=("TPE_legacy",),
        renamed={"n_startup_jobs": "n_startup_trials"},
        refused=_NNIS_TPE,
    ),
    "Random": Algorithm(
        "Draws every trial at random, whatever the results.",
        model_free.at_random,
        is_light=True,
    ),
    "GridSearch": Algorithm(
        "Tries every combination in order; endless ranges from the middle outwards, in ever finer steps.",
        model_free.next_of_grid,
        is_light=True,
        aliases=("Grid",),
    ),
    "Batch": Algorithm(
        "Tries the values of a single choice, in the order in which they are listed.",
        model_free.next_of_grid,
        is_light=True,
    ),
    "Evolution": Algorithm(
        "Copies the better of two good trials and draws one of its values anew; for hundreds of short trials.",
        evolution.by_evolution,
        (
            Argument(
                "population_size", int, 32, "Trials at random at first, and the best that are kept.", 2, 10000
            ),
        ),
        start_up=lambda arguments: arguments["population_size"],
        aliases=("Evolutionary", "NaiveEvolution"),
    ),
    "CMA-ES": Algorithm(
        "Moves and shapes a cloud of trials towards better numbers; for many trials. Choices are drawn at random.",
        cma.by_cma_es,
        (
            Argument(
                "population_size",
                int,
                None,
                "Results to each step; left out: by the number of parameters.",
                4,
                10000,
            ),
            Argument("sigma0", float, 0.2, "How wide it looks at first: a share of each range.", 0.001, 1.0),
        ),
        start_up=lambda arguments: 1,
        for_nested=False,
        aliases=("CMA",),
        renamed={"popsize": "population_size"},
    ),
    "NSGA-II": Algorithm(
        "Crosses and changes the best of each generation of trials (Optuna's sampler); for many trials.",
        optuna_study.by_nsga,
        (
            Argument("population_size", int, 50, "Trials of a generation.", 2, 10000),
            Argument("crossover_prob", float, 0.9, "How often two parents are crossed.", 0.0, 1.0),
            Argument(
                "swapping_prob", float, 0.5, "How often a value comes from the second parent.", 0.0, 1.0
            ),
            Argument(
                "mutation_prob",
                float,
                None,
                "How often a value is drawn anew; left out: one for each trial.",
                0.0,
                1.0,
            ),
        ),
        start_up=lambda arguments: arguments["population_size"],
        for_nested=False,
        aliases=("NSGA2",),
    ),
    "Anneal": Algorithm(
        "Draws around the best trials, ever nearer to them.",
        evolution.by_annealing,
        (
            Argument(
                "avg_best_idx", float, 2.0, "How far down the ranking it looks, on average.", 1.0, 1000.0
            ),
            Argument(
                "shrink_coef", float, 0.1, "How fast it narrows with the number of results.", 0.0, 100.0
            ),
        ),
        start_up=lambda arguments: 1,
        aliases=("Annealing", "SimulatedAnnealing"),
        refused={
            name: "Anneal looks at finished trials only; leave this out."
            for name in ("parallel_optimize", "constant_liar_type")
        },
    ),
    "QMC": Algorithm(
        "Spreads the trials more evenly than chance would, whatever the results.",
        model_free.by_qmc,
        (
            Argument(
                "sequence",
                str,
                "sobol",
                "Which sequence of points: sobol or halton.",
                options=("sobol", "halton"),
            ),
            Argument("scramble", bool, True, "Let the seed decide where the points lie."),
        ),
        aliases=("QuasiMonteCarlo", "QuasiRandom"),
        renamed={"qmc_type": "sequence"},
    ),
    "GP": Algorithm(
        "Learns with a Gaussian process; for few, long trials. Needs PyTorch.",
        optuna_study.by_gp,
        (
            Argument(
                "n_startup_trials", int, 10, "Results to collect at random before it learns.", 1, 100000
            ),
            Argument("deterministic_objective", bool, False, "The same values always give the same result."),
        ),
        start_up=lambda arguments: arguments["n_startup_trials"],
        for_nested=False,
        redraws=3,  # each takes its time, and mostly ends at the same values
        aliases=("GaussianProcess",),
        renamed={"cold_start_num": "n_startup_trials"},
        refused=_NNIS_GP,
    ),
    "Hyperband": Algorithm(
        "Random, with the early stopping Hyperband, which gives most of the time to the promising trials.",
        model_free.at_random,
        is_light=True,
        early_stopping="Hyperband",
        refused=dict.fromkeys(("R", "eta", "exec_mode"), _IN_BRACKETS),
    ),
    "BOHB": Algorithm(
        "TPE, with the early stopping Hyperband, which gives most of the time to the promising trials.",
        optuna_study.by_tpe,
        _TPE,
        start_up=lambda arguments: arguments["n_startup_trials"],
        takes_parts=True,
        early_stopping="Hyperband",
        renamed={"num_samples": "n_ei_candidates", "min_points_in_model": "n_startup_trials"},
        refused={
            **dict.fromkeys(("min_budget", "max_budget", "eta"), _IN_BRACKETS),
            **dict.fromkeys(
                ("top_n_percent", "random_fraction", "bandwidth_factor", "min_bandwidth"), _OWN_WEIGHTS
            ),
        },
    ),
}
