"""TD-C9: what is proposed with several objectives, and the hypervolume, are Optuna's own."""

from dataclasses import replace
from random import Random

import numpy
import optuna
import pytest
from optuna._hypervolume import compute_hypervolume

from experiments.search import hypervolume
from experiments.search.engine import ALGORITHMS, check_algorithm, clear_caches, optuna_study, propose
from experiments.search.space import parse

from .test_engine import choice, past_of, problem, uniform
from .test_optuna_study import proposals_of_optuna

SPACE = {"x": uniform(0, 5), "y": uniform(0, 3), "kind": choice("a", "b", "c")}


def two_objectives(algorithm):
    arguments = {"population_size": 20} if algorithm == "NSGA-II" else {}
    return replace(problem(SPACE, algorithm, seed=3, **arguments), further_directions=("maximize",))


def past(count, *, seed=1):
    """Trials with two values; some run, some failed."""
    space, rng, trials = parse(SPACE), Random(seed), []
    for number, raw in enumerate(space.draws(count, seed=seed), start=1):
        state = rng.choice(["done"] * 6 + ["running", "infeasible"])
        value = raw["x"] ** 2 + raw["y"] if state == "done" else None
        further = (-((raw["x"] - 5) ** 2),) if state == "done" else ()
        trial = past_of(space, raw, number, state=state, value=value, attrs={"nsga": 0})
        trials.append(replace(trial, further_values=further))
    return trials


@pytest.mark.parametrize("algorithm", ["TPE", "NSGA-II"])
@pytest.mark.parametrize("count", [0, 8, 70])
def test_proposals_are_optunas_own_and_the_same_after_a_restart(algorithm, count):
    ours, trials = two_objectives(algorithm), past(count)
    kept = [propose(ours, trials, [count + 1, count + 2], cache_key="kept") for _ in range(2)]
    clear_caches()
    plain = proposals_of_optuna(ours, trials, [count + 1, count + 2])
    assert kept == [plain, plain]


def test_a_proposal_is_what_a_study_with_directions_asks_for():
    """The same sampler in a study that was made by Optuna's public interface alone."""
    trials = [trial for trial in past(60) if trial.state == "done"]
    ours = two_objectives("TPE")
    (proposal,) = propose(ours, trials, [61])
    sampler = optuna.samplers.TPESampler(
        multivariate=True,
        group=False,
        constant_liar=True,
        n_startup_trials=10,
        n_ei_candidates=24,
        seed=optuna_study.seed_of(ours.seed, 61),
    )
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    distributions = {
        "x": optuna.distributions.FloatDistribution(0, 5),
        "y": optuna.distributions.FloatDistribution(0, 3),
        "kind": optuna.distributions.CategoricalDistribution(range(3)),
    }
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(
                params={**trial.raw, "kind": "abc".index(trial.raw["kind"])},
                distributions=distributions,
                values=[trial.value, *trial.further_values],
            )
        )
    trial_of_study = study.ask()
    assert proposal.raw["x"] == trial_of_study.suggest_float("x", 0, 5)
    assert proposal.raw["y"] == trial_of_study.suggest_float("y", 0, 3)
    assert proposal.raw["kind"] == "abc"[trial_of_study.suggest_categorical("kind", range(3))]


def test_the_further_objectives_count():
    """Other values of the second objective lead elsewhere."""
    trials = past(60)
    others = [
        replace(trial, further_values=tuple(-value for value in trial.further_values)) for trial in trials
    ]
    for algorithm in ("TPE", "NSGA-II"):
        ours = two_objectives(algorithm)
        assert propose(ours, trials, [61]) != propose(ours, others, [61])


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_only_some_algorithms_take_several_objectives(name):
    faults = [
        fault.message
        for fault in check_algorithm(name, {}, parse({"kind": choice(1, 2, 3)}), objectives=2)
        if "optimizes one objective" in fault.message
    ]
    if name in ("TPE", "NSGA-II", "Random", "GridSearch", "Batch", "QMC"):
        assert not faults
    else:
        assert faults == [
            f"{name} optimizes one objective. These optimize several: TPE, Random, GridSearch, Batch, NSGA-II, QMC."
        ]


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_hypervolume_of_every_time_is_optunas(objectives):
    """For each number of results that of the results until then; trials that joined the front suffice for it."""
    rng = Random(objectives)
    losses = [[rng.random() for _ in range(objectives)] for _ in range(40)]
    reference = [max(column) for column in zip(*losses, strict=True)]
    rows, front = [], []
    for result, each in enumerate(losses, start=1):
        if any(all(a <= b for a, b in zip(row[2:], each, strict=True)) for row in front):
            continue
        for row in [*front]:
            if all(a <= b for a, b in zip(each, row[2:], strict=True)):
                row[1] = result
                front.remove(row)
        front.append([result, None, *each])
        rows.append(front[-1])
    steps = hypervolume.history(rows, reference)
    assert [result for result, _ in steps][0] == 1 and len(steps) <= len(rows)
    for result, volume in steps:
        own = compute_hypervolume(numpy.array(losses[:result]), numpy.array(reference))
        assert volume == pytest.approx(own, rel=1e-9)
    volumes = [volume for _, volume in steps]
    assert volumes == sorted(volumes) and volumes[-1] > volumes[0]


def test_a_long_history_is_thinned_and_keeps_its_ends():
    rows = [[result, None, float(result), -float(result)] for result in range(1, 1001)]
    steps = hypervolume.history(rows, [1001.0, 0.0])
    assert len(steps) == 100 and steps[0][0] == 1 and steps[-1][0] == 1000
