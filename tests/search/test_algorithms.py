"""NNI-S2: the algorithms by their many names, and what each is good for."""

import math
from statistics import median

import pytest

from experiments.models import Invalid, Settings
from experiments.search.engine import (
    ALGORITHMS,
    PastTrial,
    Problem,
    algorithm_choice,
    canonical,
    check_algorithm,
    clear_caches,
    propose,
    received,
    received_names,
)
from experiments.search.engine.nni_arguments import REFUSED
from experiments.search.engine.problem import inherited_attrs
from experiments.search.space import parse
from experiments.search.validation import with_defaults

from .test_engine import BOWL, NAMES, bowl, choice, nested, past_of, problem, random_past, run, uniform

pytestmark = pytest.mark.once

NUMBERS = {name: uniform(-5, 5) for name in "wxyz"}
NET = {
    "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
    "drop": uniform(),
    "act": nested("relu", leaky={"slope": uniform()}),
}
TREE = {"depth": {"_type": "randint", "_value": [1, 9]}}
NESTED = {"model": nested("none", tree=TREE, net=NET), "batch": choice(*range(8))}


def sphere(shown):
    return sum((shown[name] - at) ** 2 for at, name in enumerate("wxyz"))


def best_model(shown):
    model = shown["model"]
    if model["_name"] != "net":
        return 5.0
    slope = model["act"].get("slope", 1.0)
    return (
        abs(math.log10(model["lr"]) + 2) + abs(slope - 0.3) + abs(model["drop"] - 0.7) + (shown["batch"] != 3)
    )


@pytest.mark.parametrize(
    ("name", "share"),
    [("CMA-ES", 0.2), ("Anneal", 0.3), ("Evolution", 0.6), ("NSGA-II", 0.8)],
)
def test_who_learns_finds_better_than_random(name, share):
    """NNI-S2: in the median over seeds; the numbers are the same each time, for the seeds are."""
    best = {
        algorithm: median(min(run(problem(NUMBERS, algorithm, seed=seed), 120, sphere)) for seed in range(3))
        for algorithm in (name, "Random")
    }
    assert best[name] < best["Random"] * share


@pytest.mark.parametrize(
    ("name", "arguments", "share"),
    [("TPE", {}, 0.5), ("Anneal", {}, 0.5), ("Evolution", {"population_size": 10}, 0.7)],
)
def test_who_learns_does_so_in_nested_spaces(name, arguments, share):
    """NNI-S1 NNI-S2: the object that holds the best values is found, and then its values."""

    def typical_best(name, **arguments):
        return median(
            min(run(problem(NESTED, name, seed=seed, **arguments), 60, best_model)) for seed in range(3)
        )

    assert typical_best(name, **arguments) < typical_best("Random") * share


def test_qmc_fills_the_space_more_evenly_than_chance():
    """NNI-S2: of 64 points each 64th of every axis has one, choices included; and with gaps it goes on."""
    document = {"x": uniform(), "c": choice(*range(16)), "n": {"_type": "normal", "_value": [0, 1]}}
    search_problem = problem(document, "QMC", seed=3)
    drawn = [proposal.shown for proposal in propose(search_problem, [], range(1, 65))]
    assert len({int(proposal["x"] * 64) for proposal in drawn}) == 64
    assert [sum(proposal["c"] == c for proposal in drawn) for c in range(16)] == [4] * 16
    assert sum(proposal["n"] < 0 for proposal in drawn) == 32
    assert [proposal.shown for proposal in propose(search_problem, [], [7, 40])] == [drawn[6], drawn[39]]
    halton = propose(problem(document, "QMC", sequence="halton", scramble=False), [], range(1, 33))
    assert len({proposal.shown["c"] for proposal in halton}) == 16


def test_grid_search_halves_what_is_endless():
    """NNI-S2: first the middle, then the quarters, and so on, with all combinations; as NNI's."""
    search_problem = problem({"x": uniform(0, 8), "c": choice("a", "b")}, "GridSearch")
    shown = [proposal.shown for proposal in propose(search_problem, [], range(1, 15))]
    assert [(proposal["c"], proposal["x"]) for proposal in shown] == [
        *(("a", 4.0), ("b", 4.0), ("a", 2.0), ("a", 6.0), ("b", 2.0), ("b", 6.0)),
        *((c, x) for c in "ab" for x in (1.0, 3.0, 5.0, 7.0)),
    ]


def test_an_endless_grid_fills_its_gaps_and_repeats_nothing():
    """NNI-S2: proposals that were dropped come again; values by hand need no second trial."""
    search_problem = problem({"x": {"_type": "loguniform", "_value": [1, 256]}}, "GridSearch")
    space = search_problem.space
    first = propose(search_problem, [], [1, 2, 3])
    assert [round(proposal.raw["x"], 9) for proposal in first] == [16, 4, 64]
    kept = [
        past_of(space, proposal.raw, n, attrs=proposal.attrs)
        for n, proposal in enumerate(first, start=1)
        if n != 2
    ]
    by_hand = past_of(space, {"x": first[1].raw["x"]}, 9)
    assert [round(proposal.raw["x"], 9) for proposal in propose(search_problem, kept, [4, 5])] == [4, 2]
    assert [round(proposal.raw["x"], 9) for proposal in propose(search_problem, [*kept, by_hand], [4])] == [2]


def test_a_grid_of_values_that_all_round_to_few_goes_on():
    """NNI-S2: qnormal has no end of values, though few that anybody would see."""
    search_problem = problem({"n": {"_type": "qnormal", "_value": [0, 1, 5]}}, "GridSearch")
    past = [
        past_of(search_problem.space, proposal.raw, proposal.ordinal)
        for proposal in propose(search_problem, [], range(1, 9))
    ]
    assert propose(search_problem, past, [9])


def test_a_nested_grid_takes_every_object():
    """NNI-S2: endless values halve within their object, and the rest is not tried twice."""
    search_problem = problem({"m": nested("none", net={"lr": uniform()})}, "GridSearch")
    shown = [proposal.shown["m"].get("lr") for proposal in propose(search_problem, [], range(1, 6))]
    assert shown == [None, 0.5, 0.25, 0.75, 0.125]


def test_batch_goes_through_its_list():
    """NNI-S2: in the order of the list, and then it is exhausted."""
    search_problem = problem({"c": choice("b", "c", "a")}, "Batch")
    assert [proposal.shown["c"] for proposal in propose(search_problem, [], range(1, 9))] == ["b", "c", "a"]
    assert check_algorithm("Batch", {}, search_problem.space) == []
    assert check_algorithm("Batch", {}, parse({"c": nested("a", b={"x": uniform()})}))


def test_cma_es_goes_on_where_the_results_are():
    """TD-U5 TD-A16: after an edit of the space, or beside values by hand, it starts at the best of them."""
    space = parse(NUMBERS)
    past = random_past(space, 3, value=lambda raw, rng: 9.0)
    good = past_of(space, {"w": 2.0, "x": -3.0, "y": 4.0, "z": 0.0}, 9, value=0.1)
    search_problem = problem(NUMBERS, "CMA-ES", sigma0=0.01)
    near = propose(search_problem, [*past, good], [10])[0].raw
    assert all(abs(near[name] - good.raw[name]) < 0.6 for name in NUMBERS)


def test_cma_es_judges_a_generation_once():
    """NNI-S2: a trial that ends late changes nothing that was decided; a rerun stands in for its trial."""
    search_problem = problem(NUMBERS, "CMA-ES", population_size=4)
    batch = propose(search_problem, [], [1, 2, 3, 4, 5])
    made = [
        past_of(search_problem.space, item.raw, item.ordinal, value=sphere(item.shown), attrs=item.attrs)
        for item in batch
    ]
    late = PastTrial(1, 1, made[0].raw, made[0].key, "running", None, made[0].attrs)
    (sixth,) = propose(search_problem, [late, *made[1:]], [6])
    assert sixth.attrs["cma"]["generation"] == 1 and sixth.attrs["cma"]["judged"] == [2, 3, 4, 5]
    running = past_of(search_problem.space, sixth.raw, 6, state="running", attrs=sixth.attrs)
    waiting = propose(search_problem, [late, *made[1:], running], [7])
    assert propose(search_problem, [*made, running], [7]) == waiting
    failed = [
        PastTrial(n, n, item.raw, item.key, "void", None, item.attrs)
        for n, item in enumerate(made[:1], start=1)
    ]
    again = PastTrial(None, 8, made[0].raw, made[0].key, "done", 1.0, inherited_attrs(made[0].attrs))
    (after,) = propose(search_problem, [*failed, *made[1:4], again], [9])
    assert after.attrs["cma"]["judged"] == [2, 3, 4, 8]


def test_new_arguments_start_cma_es_anew_from_the_best():
    """TD-U6: an edit of its arguments takes effect with the next proposal."""
    past = []
    search_problem = problem(NUMBERS, "CMA-ES", population_size=4)
    for n in range(1, 30):
        (proposal,) = propose(search_problem, past, [n])
        past.append(
            past_of(search_problem.space, proposal.raw, n, value=sphere(proposal.shown), attrs=proposal.attrs)
        )
    (proposal,) = propose(problem(NUMBERS, "CMA-ES", population_size=6), past, [30])
    best = min(past, key=lambda proposal: proposal.value)
    shares = [parameter.share(best.raw[parameter.name]) for parameter in search_problem.space.in_order]
    assert proposal.attrs["cma"]["generation"] == 0 and proposal.attrs["cma"]["start"] == pytest.approx(
        shares
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_new_process_at_every_proposal_changes_nothing(name):
    """NNI-S2: with trials that run side by side, fail, are added by hand, and an edit of the space in the middle."""
    spaces = [parse(BOWL), parse(BOWL | {"x": uniform(-1, 6)})]
    few = {"population_size": 5, "n_startup_trials": 6}
    arguments = {
        argument.name: few[argument.name] for argument in ALGORITHMS[name].arguments if argument.name in few
    }
    arguments = with_defaults(arguments, ALGORITHMS[name].arguments)

    def live(forgets):
        past, proposed = [], []
        for n in range(1, 46):
            space = spaces[n > 25]
            if forgets:
                clear_caches()
            key = None if forgets else f"{name} {space.digest}"
            (argument,) = propose(Problem(space, name, arguments, 4, "minimize"), past, [n], cache_key=key)
            proposed.append(argument)
            past.append(past_of(space, argument.raw, n, state="running", attrs=argument.attrs))
            if n > 3:  # the one before the last three ends
                old = past[-4]
                state = "void" if n % 7 == 0 else "done"
                value = bowl(space.shown(old.raw)) if state == "done" else None
                past[-4] = PastTrial(old.ordinal, old.number, old.raw, old.key, state, value, old.attrs)
        return proposed

    assert live(True) == live(False)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        *((spelling, "TPE") for spelling in ("tpe", "TPESampler", "TPE_legacy", "TpeTuner")),
        *((spelling, "GridSearch") for spelling in ("gridsearch", "grid_search", "Grid", "GridSearchTuner")),
        *((spelling, "Random") for spelling in ("RANDOM", "RandomSearch", "random search", "RandomSampler")),
        *((spelling, "NSGA-II") for spelling in ("nsgaii", "NSGAIISampler", "nsga2")),
        *((spelling, "CMA-ES") for spelling in ("cmaes", "CmaEsSampler", "cma_es")),
        *((spelling, "QMC") for spelling in ("qmc", "QMCSampler")),
        *((spelling, "GP") for spelling in ("gp", "GPTuner", "GPSampler")),
        *((spelling, "Hyperband") for spelling in ("hyperband", "HyperbandAdvisor")),
        *(("evolution", "Evolution"), ("anneal", "Anneal"), ("batch", "Batch"), ("bohb", "BOHB")),
    ],
)
def test_an_algorithm_is_known_by_many_names(message, name):
    """NNI-S2: as NNI, PAI and Optuna write them, in any case."""
    assert canonical(message, {}) == (name, {})


@pytest.mark.parametrize(
    ("name", "arguments", "ours"),
    [
        (
            "TPE",
            {"tpe_args": {"n_startup_jobs": 5, "n_ei_candidates": 9}},
            {"n_startup_trials": 5, "n_ei_candidates": 9},
        ),
        ("TPE", {"constant_liar_type": None}, {"constant_liar": False}),
        *(
            ("TPE", {"constant_liar_type": kind}, {"constant_liar": True})
            for kind in ("worst", "best", "mean")
        ),
        ("TPE", {"parallel_optimize": False, "constant_liar_type": "min"}, {"constant_liar": False}),
        (
            "TPE",
            {
                "tpe_args": {
                    "constant_liar_type": "best",
                    "n_startup_jobs": 20,
                    "n_ei_candidates": 24,
                    "linear_forgetting": 25,
                    "prior_weight": 1,
                    "gamma": 0.25,
                }
            },
            {"constant_liar": True, "n_startup_trials": 20, "n_ei_candidates": 24},
        ),
        ("Anneal", {"parallel_optimize": False, "constant_liar_type": "min"}, {}),
        (
            "GP",
            {"utility": "ei", "kappa": 5, "xi": 0.0, "nu": 2.5, "alpha": 1e-6, "cold_start_num": 10},
            {"n_startup_trials": 10},
        ),
        ("GP", {"selection_num_warm_up": 1e5, "selection_num_starting_points": 250}, {}),
        ("Hyperband", {"exec_mode": "parallelism"}, {}),
        (
            "BOHB",
            {"top_n_percent": 15, "num_samples": 64, "random_fraction": 1 / 3, "bandwidth_factor": 3},
            {"n_ei_candidates": 64},
        ),
        ("TPE", {"tpe_args": None}, {}),
        ("BOHB", {"min_points_in_model": None, "config_space": None}, {}),
        ("GP", {"cold_start_num": 5}, {"n_startup_trials": 5}),
        ("CMA-ES", {"popsize": 8}, {"population_size": 8}),
        ("QMC", {"qmc_type": "halton"}, {"sequence": "halton"}),
    ],
)
def test_arguments_by_nnis_names_become_ours(name, arguments, ours):
    """NNI-S2: where they mean the same."""
    assert canonical(name, arguments) == (name, ours)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("TPE", {"tpe_args": {"n_startup_jobs": -1}}, "tpe_args.n_startup_jobs: Must be between 0"),
        ("TPE", {"tpe_args": {"gamma": 2}}, "tpe_args.gamma: Optuna's TPE takes"),
        ("TPE", {"tpe_args": {"odd": 1}}, "tpe_args.odd: Unknown argument."),
        ("TPE", {"n_startup_jobs": -1}, "n_startup_jobs: Must be between 0"),
        ("TPE", {"n_startup_trials": -1}, "n_startup_trials: Must be between 0"),
        ("TPE", {"n_startup_jobs": 5, "n_startup_trials": -6}, "n_startup_trials: Must be between 0"),
        ("BOHB", {"num_samples": 0}, "num_samples: Must be between 1"),
        ("CMA-ES", {"popsize": 1}, "popsize: Must be between 4"),
    ],
)
def test_an_argument_is_refused_by_the_name_that_was_written(name, arguments, sentence):
    """NNI-S2: NNI's, within the object that holds it."""
    document = {
        "command": "true",
        "space_document": {"x": {"_type": "uniform", "_value": [0, 1]}},
        "algorithm": name,
        "algorithm_arguments": arguments,
        "early_stopping": "Hyperband" if name == "BOHB" else "none",
    }
    with pytest.raises(Invalid) as error:
        Settings.checked(document)
    assert sentence in " ".join(error.value.errors["algorithm_arguments"])


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name in REFUSED for argument in REFUSED[name]]
)
def test_each_argument_of_nni_without_equivalent_has_its_own_sentence(name, argument):
    """NNI-S2: what it would mean here, and what to do."""
    document = BOWL | {"x": choice(1)} if name != "GP" else BOWL
    beside = {"parallel_optimize": True} if name == "Anneal" else {}
    called, arguments = canonical(name, {**beside, argument: "unheard of"})
    faults = [
        fault for fault in check_algorithm(called, arguments, parse(document)) if fault.path == argument
    ]
    assert [fault.message for fault in faults] == [REFUSED[name][argument]]


def test_batch_over_objects_hands_over_the_object():
    """NNI-S2: as NNI's Batch tuner, without the name of the choice."""
    space = parse({"all": choice({"lr": 0.1, "k": 1}, {"lr": 0.2})})
    assert received("Batch", {"all": {"lr": 0.2}}) == {"lr": 0.2}
    assert received_names("Batch", space) == ["lr", "k"]
    for name, params in (
        ("TPE", {"all": {"lr": 0.2}}),
        ("Batch", {"all": 1}),
        ("Batch", {"all": {"_name": "a"}}),
    ):
        assert received(name, params) == params
    assert received_names("Random", space) == ["all"]


def test_an_argument_given_by_both_names_is_not_lost():
    """NNI-S2: one of them is told to be unknown, rather than one of them winning."""
    arguments = {"n_startup_jobs": 5, "n_startup_trials": 6}
    assert canonical("TPE", arguments) == ("TPE", arguments)
    assert [fault.path for fault in check_algorithm("TPE", arguments, parse(BOWL))] == ["n_startup_jobs"]


def test_what_an_algorithm_cannot_search_is_refused_with_a_way_out():
    """NNI-S2: nothing runs that would only pretend."""
    messages = {
        name: [fault.message for fault in check_algorithm(name, {}, parse(NESTED | NUMBERS))]
        for name in ("CMA-ES", "NSGA-II")
    }
    assert all("These do: TPE, Random, GridSearch" in sentences[0] for sentences in messages.values())
    (fault,) = check_algorithm("CMA-ES", {}, parse({"c": choice(1, 2)}))
    assert "searches numbers" in fault.message


def test_gp_says_what_it_needs(monkeypatch):
    """NNI-S2: PyTorch is not among what the console installs."""
    monkeypatch.setattr(algorithm_choice, "find_spec", lambda name: None)
    (fault,) = check_algorithm("GP", {}, parse(BOWL))
    assert "PyTorch" in fault.message and "Install torch" in fault.message
    monkeypatch.setattr(algorithm_choice, "find_spec", lambda name: name)
    assert check_algorithm("GP", {}, parse(BOWL)) == []


@pytest.mark.parametrize(("name", "base"), [("Hyperband", "Random"), ("BOHB", "TPE")])
def test_hyperband_and_bohb_are_a_search_and_a_rule(name, base):
    """NNI-S2: without the rule they would be no more than the search, so it is asked for."""
    (fault,) = check_algorithm(name, {}, parse(BOWL))
    assert fault.path == "algorithm" and base in fault.message and "early stopping Hyperband" in fault.message
    assert check_algorithm(name, {}, parse(BOWL), early_stopping="Hyperband") == []
    past = random_past(parse(BOWL), 20)
    assert propose(problem(BOWL, name), past, [21]) == propose(problem(BOWL, base), past, [21])
