"""NNI-S2, TD-U5: what is proposed next, given what has been tried."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from statistics import median

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.search.constrained_space import constrain
from experiments.search.engine import (
    ALGORITHMS,
    Exhausted,
    PastTrial,
    Problem,
    StoredTrial,
    check_algorithm,
    clear_caches,
    count_informing,
    count_outside,
    needs_past,
    propose,
)
from experiments.search.space import parse

from .spaces import documents, small_documents

# GP has no place here: it needs PyTorch, which is not among what the console needs. See test_algorithms.
# Hyperband and BOHB are Random and TPE with another face.
NAMES = [name for name, algorithm in ALGORITHMS.items() if name != "GP" and not algorithm.early_stopping]


def problem(document, algorithm="TPE", *, seed=1, direction="minimize", **arguments):
    return Problem(parse(document), algorithm, arguments, seed, direction)


def uniform(low=0, high=1):
    return {"_type": "uniform", "_value": [low, high]}


def choice(*values):
    return {"_type": "choice", "_value": list(values)}


def nested(*bare, **objects):
    inner = [{"_name": name} for name in bare] + [
        {"_name": name, **branch} for name, branch in objects.items()
    ]
    return {"_type": "choice", "_value": inner}


def past_of(space, raw, number, *, state="done", value=0.0, attrs=None):
    key = space.key(space.shown(raw))
    return PastTrial(number, number, raw, key, state, value if state == "done" else None, attrs or {})


def stored(past):
    """The trial as the database has it."""
    raw, shown = json.dumps(past.raw), json.dumps(past.ran)
    return StoredTrial(
        past.ordinal,
        past.number,
        raw,
        raw if raw == shown else shown,
        past.state,
        past.value,
        json.dumps(past.attrs) if past.attrs else None,
        past.is_retried,
        past.further_values,
    )


def random_past(space, count, *, seed=5, value=lambda raw, rng: rng.random()):
    rng = Random(seed)
    drawn = [space.draw(rng) for _ in range(count)]
    return [past_of(space, raw, n, value=value(raw, rng)) for n, raw in enumerate(drawn, start=1)]


def run(search_problem, rounds, objective):
    """Search one at a time, and return the values that came."""
    past = []
    for n in range(1, rounds + 1):
        (proposal,) = propose(search_problem, past, [n], cache_key=None)
        value = objective(proposal.shown)
        past.append(past_of(search_problem.space, proposal.raw, n, value=value, attrs=proposal.attrs))
    return [trial.value for trial in past]


def bowl(shown):
    return (shown["x"] - 0.3) ** 2 + (math.log10(shown["lr"]) + 2) ** 2 + (shown["c"] != "b")


BOWL = {"x": uniform(-5, 5), "lr": {"_type": "loguniform", "_value": [1e-5, 1]}, "c": choice("a", "b", "c")}


@given(documents, st.integers(0, 2**63), st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_proposals_fit_the_space(document, seed, finished):
    """NNI-S2: before and after it starts to learn, what is proposed is of the space."""
    few = {
        "TPE": {"n_startup_trials": 5},
        "BOHB": {"n_startup_trials": 5},
        "Evolution": {"population_size": 5},
    }
    for name in (name for name in NAMES if ALGORITHMS[name].for_nested and name != "Batch"):
        search_problem = problem(document, name, seed=seed, **few.get(name, {}))
        past = random_past(search_problem.space, finished)
        try:
            proposals = propose(search_problem, past, [101, 102])
        except Exhausted:
            assert search_problem.space.size <= finished
            continue
        for proposal in proposals:
            assert search_problem.space.fits(proposal.raw)
            assert proposal.shown == search_problem.space.shown(proposal.raw)
            assert json.loads(json.dumps(proposal.raw)) == proposal.raw


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_give_the_same_proposals(name):
    """NNI-S2: an experiment is reproducible from its seed, and another seed is another search."""
    document = {f"p{n}": choice(*range(9)) for n in range(8)}
    past = random_past(parse(document), 30)
    first = propose(problem(document, name), past, [31, 32, 33])
    assert propose(problem(document, name), past, [31, 32, 33]) == first
    assert propose(problem(document, name), past[::-1], [31, 32, 33]) == first
    if name not in ("GridSearch", "Batch"):
        assert propose(problem(document, name, seed=2), past, [31, 32, 33]) != first


@pytest.mark.parametrize("name", ["TPE", "Random"])
@pytest.mark.parametrize("finished", [0, 30])
def test_parallel_proposals_differ(name, finished):
    """NNI-S2: a rebuilt sampler with one seed would propose the same point over and over."""
    past = random_past(parse(BOWL), finished)
    proposals = propose(problem(BOWL, name), past, range(31, 47))
    assert len({json.dumps(proposal.raw) for proposal in proposals}) == 16


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_what_one_by_one_would_be(name):
    """NNI-S2: proposing ahead changes nothing."""
    document = {"x": {"_type": "quniform", "_value": [0, 9, 1]}, "c": choice("a", "b", None)}
    search_problem = problem(document, name, n_startup_trials=5) if name == "TPE" else problem(document, name)
    past = random_past(search_problem.space, 12)
    batch = propose(search_problem, past, [13, 14, 15])
    for n, proposal in enumerate(batch, start=13):
        assert propose(search_problem, past, [n]) == [proposal]
        past.append(past_of(search_problem.space, proposal.raw, n, state="running", attrs=proposal.attrs))


def test_random_proposes_what_the_page_showed():
    """TD-F4: the first draws on the page are the first trials of a random search."""
    search_problem = problem(BOWL, "Random", seed=77)
    shown = [proposal.shown for proposal in propose(search_problem, [], [1, 2, 3, 4, 5])]
    assert shown == search_problem.space.draws(5, seed=77)


def test_tpe_starts_with_nnis_distributions():
    """NNI-S1: before it learns, TPE draws as NNI does, normals, q and whole numbers included."""
    search_problem = problem(
        {
            "n": {"_type": "normal", "_value": [5, 2]},
            "q": {"_type": "quniform", "_value": [2, 10, 5]},
            "r": {"_type": "randint", "_value": [0.5, 3.2]},
            "l": {"_type": "loguniform", "_value": [1e-4, 1]},
        }
    )
    drawn = [propose(search_problem, [], [n])[0].shown for n in range(1, 601)]
    assert sum(proposal["n"] for proposal in drawn) / 600 == pytest.approx(5, abs=0.35)
    assert sum(proposal["q"] == 5.0 for proposal in drawn) / 600 == pytest.approx(0.625, abs=0.08)
    assert sum(proposal["q"] == 2.0 for proposal in drawn) / 600 == pytest.approx(0.0625, abs=0.04)
    assert {proposal["q"] for proposal in drawn} == {2.0, 5.0, 10.0}
    assert {proposal["r"] for proposal in drawn} == {1, 2, 3}
    assert median(proposal["l"] for proposal in drawn) == pytest.approx(1e-2, rel=0.5)


def test_tpe_beats_random():
    """NNI-S2: learning helps, in the median over seeds."""
    best = {
        name: median(min(run(problem(BOWL, name, seed=seed), 50, bowl)) for seed in range(5))
        for name in ("TPE", "Random")
    }
    assert best["TPE"] < best["Random"] / 2


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_tpe_goes_where_the_direction_says(direction, sign):
    """NNI-S2: lower is better when minimising, higher when maximising."""
    document = {"x": uniform(-1, 1)}
    past = random_past(parse(document), 40, value=lambda raw, rng: raw["x"])
    proposals = propose(problem(document, direction=direction), past, range(41, 51))
    assert median(sign * proposal.raw["x"] for proposal in proposals) < -0.7


def test_tpe_finds_the_middle_of_a_normal_and_the_chosen_value():
    """NNI-S1: types that Optuna does not have are learned like others."""
    document = {"n": {"_type": "normal", "_value": [5, 2]}, "c": choice(1, 1.0, True)}

    def distance(shown):
        return abs(shown["n"] - 2.7) + (shown["c"] is not True)

    assert median(run(problem(document), 80, distance)[-40:]) < 1
    assert median(run(problem(document, "Random"), 80, distance)[-40:]) > 1.5


@pytest.mark.parametrize("name", ["TPE", "CMA-ES", "NSGA-II"])
@pytest.mark.parametrize("low", [1e-300, 0.001, 100_000.0])
def test_it_proposes_between_bounds_with_one_logarithm(name, low):
    high = math.nextafter(low, math.inf)
    assert math.log(low) == math.log(high)
    bounds = problem({"x": {"_type": "loguniform", "_value": [low, high]}, "y": uniform()}, name)
    proposed = set()
    run(bounds, 15, lambda shown: proposed.add(shown["x"]) or shown["y"])
    assert proposed <= {low, high}


def test_running_trials_are_kept_away_from():
    """NNI-S2: parallel proposals spread out because the running ones count as poor."""
    document = {"x": uniform(), "y": uniform()}
    finished = random_past(parse(document), 40, value=lambda raw, rng: (raw["x"] - 0.5) ** 2)
    running = [
        past_of(parse(document), {"x": 0.5 + n / 1000, "y": n / 20}, 50 + n, state="running")
        for n in range(20)
    ]
    alone = propose(problem(document), finished, [99])
    beside = propose(problem(document), finished + running, [99])
    lies_ignored = propose(problem(document, constant_liar=False), finished + running, [99])
    assert beside != alone
    assert lies_ignored == propose(problem(document, constant_liar=False), finished, [99])


def test_void_trials_and_values_that_are_no_numbers_do_not_inform():
    """NNI-S2: stopped trials, and NaN, teach the search nothing and do not break it."""
    space = parse(BOWL)
    finished = random_past(space, 20)
    rng = Random(8)
    useless = [
        *(past_of(space, space.draw(rng), 30 + n, state="void") for n in range(5)),
        *(past_of(space, space.draw(rng), 40 + n, value=v) for n, v in enumerate([math.nan, math.inf, None])),
    ]
    assert propose(problem(BOWL), finished + useless, [50, 51]) == propose(problem(BOWL), finished, [50, 51])
    assert count_informing(problem(BOWL), finished + useless) == 20


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_space_is_never_tried_twice(name):
    """NNI-S2: whatever the algorithm, every point once, and then it is exhausted."""
    document = {"x": {"_type": "quniform", "_value": [0, 10, 3]}, "c": choice(1, 1.0, True)}
    search_problem = problem(document, name)
    past, keys = [], []
    states = ["done", "void", "running", "infeasible"]
    while len(past) < search_problem.space.size:
        n = len(past) + 1
        for proposal in propose(search_problem, past, [n, n + 1]):
            key = search_problem.space.key(proposal.shown)
            keys.append(key)
            state = states[len(keys) % 4]
            past.append(
                past_of(
                    search_problem.space,
                    proposal.raw,
                    len(keys),
                    state=state,
                    value=1.0,
                    attrs=proposal.attrs,
                )
            )
    assert len(set(keys)) == len(keys) == search_problem.space.size
    with pytest.raises(Exhausted, match="All 12 points"):
        propose(search_problem, past, [99])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", ["running", "done", "infeasible", "void"])
def test_the_last_points_are_found_whatever_became_of_the_others(name, state):
    """NNI-S2: tried is tried; a batch beyond the end gives what there is."""
    search_problem = problem({"r": {"_type": "randint", "_value": [0, 500]}}, name)
    past = [
        past_of(search_problem.space, {"r": r}, r + 1, state=state) for r in range(500) if r not in (123, 321)
    ]
    proposals = propose(search_problem, past, [501, 502, 503])
    assert sorted(proposal.shown["r"] for proposal in proposals) == [123, 321]
    assert propose(search_problem, past, []) == []


@given(small_documents, st.sampled_from(NAMES), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_any_finite_space_is_walked_through(document, name, seed):
    """NNI-S2: all points, each once, in one batch too."""
    search_problem = problem(document, name, seed=seed)
    size = search_problem.space.size
    assume(size <= 60)
    proposals = propose(search_problem, [], range(size + 1))
    assert len({search_problem.space.key(proposal.shown) for proposal in proposals}) == len(proposals) == size


def test_grid_search_goes_through_in_order():
    """NNI-S2: GridSearch enumerates, and goes on where gaps are."""
    search_problem = problem(
        {"b": choice("x", "y"), "a": {"_type": "randint", "_value": [0, 2]}}, "GridSearch"
    )
    shown = [proposal.shown for proposal in propose(search_problem, [], range(9))]
    assert [(proposal["a"], proposal["b"]) for proposal in shown] == [(0, "x"), (0, "y"), (1, "x"), (1, "y")]
    past = [
        past_of(search_problem.space, {"a": 0, "b": "x"}, 1),
        past_of(search_problem.space, {"a": 1, "b": "x"}, 2),
    ]
    assert [proposal.shown for proposal in propose(search_problem, past, [3])] == [{"a": 0, "b": "y"}]


def test_points_run_out_of_a_space_too_big_to_list():
    """NNI-S2: the next untried point is found by arithmetic, in a space of 10 to the 30 points too."""
    document = {f"p{n:02}": choice(*range(1000)) for n in range(10)}
    search_problem = problem(document, "GridSearch")
    past = [past_of(search_problem.space, search_problem.space.point(n), n + 1) for n in range(50)]
    assert propose(search_problem, past, [51])[0].raw == search_problem.space.point(50)


CHANGES = {
    "a choice less": ({"c": choice("a", "b", "c")}, {"c": choice("c", "a")}),
    "a choice more, in front": ({"c": choice("a", "b")}, {"c": choice("z", "a", "b")}),
    "scale": ({"c": uniform(0.01, 1)}, {"c": {"_type": "loguniform", "_value": [0.01, 1]}}),
    "narrower": ({"c": uniform(0, 1)}, {"c": uniform(0.2, 0.6)}),
    "type": (
        {"c": {"_type": "randint", "_value": [0, 9]}},
        {"c": {"_type": "quniform", "_value": [0, 5, 0.5]}},
    ),
    "to a choice": ({"c": {"_type": "randint", "_value": [0, 9]}}, {"c": choice(2, 4, 6)}),
    "a normal": ({"c": uniform(-1, 1)}, {"c": {"_type": "normal", "_value": [0, 0.1]}}),
    "to text": ({"c": uniform(-1, 1)}, {"c": choice("a", "b")}),
    "one dropped": ({"c": uniform(), "d": uniform()}, {"c": uniform()}),
    "one added": ({"c": uniform()}, {"c": uniform(), "d": choice(1, 2)}),
    "all other": ({"c": uniform()}, {"d": uniform()}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["TPE", "Random", "Evolution", "CMA-ES", "NSGA-II", "Anneal"])
@pytest.mark.parametrize("count", [4, 40])
def test_the_space_may_change_under_way(change, name, count):
    """TD-U5: bounds, choices, type, scale, added and dropped parameters: proposals are of the new space."""
    before, after = (parse(document | {"x": uniform()}) for document in CHANGES[change])
    past = random_past(before, count)
    past += [past_of(before, before.draw(Random(n)), count + n, state="running") for n in range(1, 4)]
    search_problem = Problem(after, name, {}, 1, "minimize")
    proposals = propose(search_problem, past, [100, 101, 102, 103])
    assert len(proposals) == 4 and all(after.fits(proposal.raw) for proposal in proposals)
    assert (
        count_outside(search_problem, past) + sum(after.fits(proposal.raw) for proposal in past[:count])
        >= count
    )


def test_values_of_a_choice_keep_what_was_learned_when_the_list_changes():
    """TD-U5: what counts is the value, not its place in the list."""
    before, after = (parse({"c": choice(*values), "x": uniform()}) for values in ("abc", "zcba"))
    past = random_past(before, 60, value=lambda raw, rng: 0.0 if raw["c"] == "c" else 1.0 + rng.random())
    search_problem = Problem(after, "TPE", {}, 1, "minimize")
    assert (count_informing(search_problem, past), count_outside(search_problem, past)) == (60, 0)
    picked = [propose(search_problem, past, [n])[0].raw["c"] for n in range(61, 81)]
    assert picked.count("c") >= 15


def test_trials_that_do_not_fit_whole_stop_informing_when_enough_fit():
    """TD-U5: until the start-up number fits, the fitting part of the others informs."""
    before, after = (
        parse({"x": uniform(0, 1), "old": uniform()}),
        parse({"x": uniform(0, 1), "new": uniform()}),
    )
    partial = random_past(before, 20, value=lambda raw, rng: abs(raw["x"] - 0.9))
    search_problem = Problem(after, "TPE", {}, 1, "minimize")
    assert (count_informing(search_problem, partial), count_outside(search_problem, partial)) == (20, 20)
    assert median(proposal.raw["x"] for proposal in propose(search_problem, partial, range(21, 41))) > 0.7

    fitting = [
        past_of(after, {"x": n / 20, "new": n / 20}, 100 + n, value=abs(n / 20 - 0.1)) for n in range(1, 21)
    ]
    assert (
        count_informing(search_problem, partial + fitting[:9]),
        count_outside(search_problem, partial + fitting[:9]),
    ) == (
        29,
        20,
    )
    assert (
        count_informing(search_problem, partial + fitting[:10]),
        count_outside(search_problem, partial + fitting[:10]),
    ) == (
        10,
        20,
    )
    proposed = propose(search_problem, partial + fitting, range(200, 220))
    assert proposed == propose(search_problem, fitting, range(200, 220))
    assert median(proposal.raw["x"] for proposal in proposed) < 0.4


def test_nothing_informs_an_algorithm_that_does_not_learn():
    """TD-U5: the page does not promise what Random ignores."""
    past = random_past(parse(BOWL), 5)
    assert count_informing(problem(BOWL, "Random"), past) == 0
    assert count_outside(problem(BOWL, "Random"), past) == 0


def test_what_ran_counts_when_the_rounding_changes():
    """TD-U5: a trial drawn at 7.4 and run with 5.0 informs a space without q at 5.0."""
    before, after = parse({"x": {"_type": "quniform", "_value": [0, 10, 5]}}), parse({"x": uniform(0, 6)})
    past = [past_of(before, {"x": 7.4}, n, value=1.0) for n in range(1, 4)]
    search_problem = Problem(after, "TPE", {}, 1, "minimize")
    assert count_outside(search_problem, past) == 0
    assert count_outside(Problem(parse({"x": uniform(6, 10)}), "TPE", {}, 1, "minimize"), past) == 3


def test_a_point_that_ran_as_another_type_is_not_tried_again():
    """NNI-S2: 3 of a randint is 3.0 of the quniform that takes its place."""
    before = parse({"x": {"_type": "randint", "_value": [0, 4]}})
    search_problem = problem({"x": {"_type": "quniform", "_value": [0, 4, 1]}}, "GridSearch")
    past = [past_of(before, {"x": n}, n + 1) for n in range(4)]
    assert [proposal.shown for proposal in propose(search_problem, past, [5, 6])] == [{"x": 4.0}]


actions = st.sampled_from(
    ["propose", "propose", *["done"] * 3, "void", "infeasible", "drop", "space", "direction"]
)
histories = st.lists(st.tuples(actions, st.integers(0, 9)), min_size=12, max_size=25)


@pytest.mark.parametrize("name", NAMES)
@given(histories, st.integers(0, 10**9))
@settings(max_examples=5, deadline=None)
def test_keeping_the_past_changes_no_proposal(name, history, salt):
    """NNI-S2: through any life of an experiment, a process that kept its past proposes what a new one would."""
    spaces = [
        parse({"c": choice(1, 2, "x"), "x": {"_type": "quniform", "_value": [0, 1, 0.25]}}),
        parse({"c": choice("x", True, 2), "x": {"_type": "quniform", "_value": [0, 1, 0.5]}}),
        parse({"x": {"_type": "randint", "_value": [0, 40]}, "y": uniform()}),
    ]
    if ALGORITHMS[name].for_nested:
        spaces.append(parse({"c": nested("x", one={"k": choice(1, 2)}, two={"y": uniform()})}))
    few = {"population_size": 4, "n_startup_trials": 3}
    arguments = {
        argument.name: few[argument.name] for argument in ALGORITHMS[name].arguments if argument.name in few
    }
    space, direction, past, cache_key = spaces[0], "minimize", [], f"{name}-{salt}"
    for n, (action, choice_) in enumerate(history, start=1):
        running = [position for position, trial in enumerate(past) if trial.state == "running"]
        if action == "space":
            space = spaces[choice_ % len(spaces)]
        elif action == "direction":
            direction = "maximize"
        elif action == "drop" and past:
            del past[choice_ % len(past)]
        elif action in ("done", "void", "infeasible") and running:
            position = running[choice_ % len(running)]
            old = past[position]
            value = choice_ / 3 if action == "done" else None
            past[position] = PastTrial(old.ordinal, old.number, old.raw, old.key, action, value, old.attrs)
        search_problem = Problem(space, name, arguments, salt, direction)
        answers = []
        for key in (cache_key, None):
            if key is None:
                clear_caches()
            try:
                answers.append(propose(search_problem, past, [n * 2, n * 2 + 1], cache_key=key))
            except Exhausted as error:
                answers.append(str(error))
        assert answers[0] == answers[1]
        if action == "propose" and isinstance(answers[0], list):
            past += [
                past_of(space, proposal.raw, proposal.ordinal, state="running", attrs=proposal.attrs)
                for proposal in answers[0]
            ]


def test_many_threads_propose_what_one_does():
    """NNI-S2: several experiments, several threads, one process."""
    past = random_past(parse(BOWL), 40)

    def ask(n):
        return propose(problem(BOWL), past[: 20 + n % 20], [99], cache_key=f"threads-{n % 2}")

    expected = [propose(problem(BOWL), past[: 20 + n % 20], [99]) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == expected


def test_it_proposes_after_a_thousand_trials():
    """TD-X7: a long search goes on as a short one does."""
    document = {f"p{n}": uniform() for n in range(9)} | {"c": choice("a", "b")}
    past = random_past(parse(document), 1000, value=lambda raw, rng: sum(raw[f"p{n}"] for n in range(9)))
    proposals = propose(problem(document), past, [1001, 1002], cache_key="a thousand")
    assert propose(problem(document), past, [1001, 1002], cache_key="a thousand") == proposals
    assert all(sum(proposal.raw[f"p{n}"] for n in range(9)) < 4.5 for proposal in proposals)


@pytest.mark.parametrize(
    ("name", "arguments", "path", "word"),
    [
        ("TPPE", {}, "algorithm", "Did you mean TPE?"),
        ("GridSerch", {}, "algorithm", "Did you mean GridSearch?"),
        ("?", {}, "algorithm", "Use one of TPE, Random, GridSearch, "),
        ("TPE", {"n_startup": 3}, "n_startup", "Did you mean n_startup_trials?"),
        ("TPE", {"zzz": 3}, "zzz", "Supported: n_startup_trials, "),
        ("TPE", {"n_ei_candidates": 0}, "n_ei_candidates", "between 1 and 10000"),
        ("TPE", {"n_ei_candidates": "24"}, "n_ei_candidates", "whole number"),
        ("TPE", {"group": 1}, "group", "true or false"),
        ("TPE", {"group": True, "multivariate": False}, "group", "multivariate"),
        ("Random", {"sed": 3}, "sed", "No arguments are supported"),
        ("Random", {"seed": 3}, "seed", "Set the seed in the experiment's settings"),
        ("Evolution", {"optimize_mode": "maximize"}, "optimize_mode", "Set the direction in the objective"),
        ("TPE", {"gamma": 0.3}, "gamma", "best tenth"),
        ("TPE", {"linear_forgetting": 30}, "linear_forgetting", "25 latest results"),
        ("TPE", {"prior_weight": 2}, "prior_weight", "set it to 1"),
        ("TPE", {"constant_liar_type": "nicest"}, "constant_liar_type", "best, worst, mean, or null"),
        ("TPE", {"tpe_args": 3}, "tpe_args", "Must be an object"),
        ("TPE", {"parallel_optimize": "yes"}, "parallel_optimize", "true or false"),
        ("Anneal", {"parallel_optimize": True}, "parallel_optimize", "finished trials only"),
        ("CMA-ES", {"sigma0": 2}, "sigma0", "between 0.001 and 1.0"),
        ("CMA-ES", {"sigma0": "wide"}, "sigma0", "a number between"),
        ("QMC", {"sequence": "niederreiter"}, "sequence", "one of sobol, halton"),
        ("Batch", {}, "algorithm", "a single parameter"),
        ("PBT", {}, "algorithm", "Select Evolution"),
        ("SMAC", {}, "algorithm", "TPE is the closest alternative"),
        ("ppo_tuner", {}, "algorithm", "nested choices"),
        ("TPE", None, "arguments", "must be an object"),
    ],
)
def test_a_wrong_choice_of_algorithm_is_named(name, arguments, path, word):
    """TD-F5: the algorithm and its arguments are checked with a sentence each."""
    (fault,) = check_algorithm(name, arguments, parse(BOWL | {"x": choice(1)}))
    assert fault.path == path and word in fault.message


@pytest.mark.filterwarnings("ignore:Argument ``group`` is an experimental feature")
@pytest.mark.parametrize("name", [name for name in NAMES if ALGORITHMS[name].arguments])
def test_every_argument_reaches_the_sampler(name):
    """TD-F5: each default, and each argument at its bounds, is accepted by the table and by Optuna."""
    past = random_past(parse(BOWL), 12)
    for argument in ALGORITHMS[name].arguments:
        for value in (
            {argument.default, argument.low, argument.high}
            if argument.type in (int, float)
            else argument.options or (True, False)
        ):
            search_problem = problem(BOWL, name, **{argument.name: value})
            assert check_algorithm(name, search_problem.arguments, search_problem.space) == []
            assert propose(search_problem, past, [13])


@pytest.mark.parametrize("name", ["Random", "Hyperband", "QMC"])
def test_what_learns_nothing_does_not_look_at_the_past_of_an_endless_space(name):
    """What it proposes is the same, and costs the same with 10,000 trials behind it."""
    endless = problem({"a": uniform(), "b": choice(1, 2)}, name)
    past = random_past(endless.space, 30)

    class Unread(list):
        def __iter__(self):
            raise AssertionError("the past was read")

    assert not needs_past(endless)
    assert propose(endless, Unread(past), [31, 32]) == propose(endless, [], [31, 32])


@pytest.mark.parametrize("name", NAMES)
def test_in_a_finite_space_every_algorithm_needs_the_past(name):
    assert needs_past(problem({"a": choice(1, 2)}, name))
    assert needs_past(problem({"a": uniform()}, name)) == (name not in ("Random", "QMC"))


def test_with_constraints_qmc_needs_the_past():
    """The points of the sequence that broke them are not tried again."""
    space = constrain(parse({"a": uniform()}), ["a < 0.5"])
    assert needs_past(replace(problem({"a": uniform()}, "QMC"), space=space))
