"""What control reads and computes when it sees an experiment with many finished trials for the first time."""

from __future__ import annotations

import cProfile
from collections.abc import Callable
from random import Random

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, Point, Trial
from experiments.models.trial.parameter import digest
from experiments.scheduler import early_stopping, experiment_cache, past_trials
from experiments.scheduler.experiment_cache import EarlyStoppingCache, cache_of
from experiments.search import early_stopping as early_stopping_rules
from experiments.search import engine
from experiments.search.engine import PastTrial, Problem, propose
from tests.people import look_at

SPACE = {
    "lr": {"_type": "loguniform", "_value": [1e-5, 1e-1]},
    "units": {"_type": "quniform", "_value": [8, 64, 8]},
    "layers": {"_type": "randint", "_value": [1, 9]},
    "optimizer": {"_type": "choice", "_value": ["adam", "sgd", 1, 1.0, True]},
}


def finish(experiment: Experiment, count: int, *, points: int = 0, are_drawn: bool = False) -> None:
    """Write so many further trials of every kind that have ended. `are_drawn`: all were drawn from the space."""
    rng, settings = Random(7), experiment.settings
    space, first = settings.space, experiment.trials.count() + 1
    trials = []
    for number in range(first, first + count):
        raw = space.draw(rng)
        state = rng.choice(["succeeded"] * 5 + ["early_stopped", "stopped", "failed"])
        params = space.shown(raw)
        trials.append(
            Trial(
                experiment=experiment,
                revision=experiment.revision,
                number=number,
                ordinal=rng.choice([number, number, None]),
                params=params,
                raw=raw if are_drawn else rng.choice([raw, raw, raw, None]),
                sampler_attrs=rng.choice([{}, {}, {"qmc": ["a", number]}]),
                values_digest=digest(params, settings.command),
                state=state,
                failure=rng.choice(["exit_code", "lost"]) if state == "failed" else "",
                value=rng.choice([rng.random(), rng.random(), None]) if state != "failed" else None,
                settled_rank=10_000 - number,
            )
        )
    Trial.objects.bulk_create(trials)
    Point.keep(
        [
            Point(
                trial=trial,
                name=name,
                step=2 * step,
                value=rng.choice([rng.random(), rng.random(), None]),
            )
            for trial in trials
            for name in (settings.metric, "other")
            for step in range(points if trial.number % 3 else 0)
        ]
    )


def forget(experiment: Experiment) -> None:
    """Control restarts."""
    experiment_cache.caches.clear()
    engine.clear_caches()


def as_once_read(experiment: Experiment) -> list[PastTrial]:
    """The settled trials as their rows are, each made by hand."""
    space, seen = experiment.settings.space, []
    for trial in experiment.trials.exclude(settled_rank=None).order_by("number"):
        state = "infeasible" if trial.is_infeasible else "done" if trial.informs else "void"
        value = trial.value if state == "done" else None
        key = space.key(trial.params)
        seen.append(
            PastTrial(
                trial.ordinal, trial.number, trial.raw or {}, key, state, value, trial.sampler_attrs or {}
            )
        )
    return seen


FIELDS = ["ordinal", "number", "raw", "key", "state", "value", "attrs", "is_retried", "further_values"]


@pytest.mark.parametrize("algorithm", ["TPE", "Evolution", "CMA-ES", "NSGA-II", "Anneal", "GridSearch"])
def test_what_is_read_together_is_what_the_rows_are(
    algorithm: str, running: Callable[..., Experiment]
) -> None:
    """Trials of every kind; the proposals are those for trials that were read one by one."""
    experiment = running(taken=0, space_document=SPACE, algorithm=algorithm, max_trials=1000)
    finish(experiment, 150)
    forget(experiment)
    seen = [trial for trial in past_trials.past_trials(experiment) if trial.state != "running"]
    once = as_once_read(experiment)
    assert {trial.state for trial in once} == {"done", "infeasible", "void"}
    for name in FIELDS:
        assert [getattr(trial, name) for trial in seen] == [getattr(trial, name) for trial in once]
    problem = Problem(experiment.settings.searched, algorithm, {}, 5, "maximize")
    proposals = propose(problem, once, [501, 502])
    assert propose(problem, seen, [501, 502]) == proposals
    assert propose(problem, seen, [501, 502], cache_key="first look") == proposals


def test_the_first_look_reads_and_computes_little_per_trial(running: Callable[..., Experiment]) -> None:
    """More trials take no more queries, up to those that one query reads, and each of them a few calls."""

    def look(count: int) -> tuple[int, int]:
        finish(experiment, count - experiment.trials.count(), are_drawn=True)
        forget(experiment)
        problem = Problem(experiment.settings.searched, "TPE", {}, 5, "maximize")
        profile = cProfile.Profile()
        with CaptureQueriesContext(connection) as captured, profile:
            propose(problem, past_trials.past_trials(experiment), [5001], cache_key="look")
        return len(captured), sum(entry.callcount for entry in profile.getstats())

    experiment = running(taken=0, space_document=SPACE, max_trials=9000, algorithm="TPE")
    look(100)
    queries, calls = look(1100)
    more_queries, more_calls = look(3100)
    assert queries == more_queries
    assert (more_calls - calls) / 2000 < 12


def test_chunks_overlap_nowhere(running: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = running(taken=0, space_document=SPACE, algorithm="TPE", max_trials=1000)
    finish(experiment, 48, points=2)
    whole = past_trials.past_trials(experiment)
    peers = early_stopping.Peers(experiment, EarlyStoppingCache()).finished
    for module, statement in (
        (past_trials, past_trials._of_one_objective[1]),
        (early_stopping, early_stopping._settled),
    ):
        monkeypatch.setattr(module, "CHUNK", 16)
        monkeypatch.setattr(statement, "_compiled", None)
    forget(experiment)
    assert past_trials.past_trials(experiment) == whole
    again = early_stopping.Peers(experiment, EarlyStoppingCache()).finished
    assert [peer.number for peer in again] == [peer.number for peer in peers]


@pytest.mark.parametrize("algorithm", ["Random", "QMC", "Hyperband", "TPE"])
def test_only_an_algorithm_that_needs_the_past_reads_it(
    algorithm: str, running: Callable[..., Experiment]
) -> None:
    rule = "Hyperband" if algorithm == "Hyperband" else "none"
    space = {"lr": SPACE["lr"]}
    experiment = running(
        taken=0, space_document=space, algorithm=algorithm, early_stopping=rule, max_trials=1000
    )
    finish(experiment, 20)
    experiment.trials.filter(state="waiting").delete()
    experiment.suggestions.all().delete()
    Experiment.objects.filter(pk=experiment.pk).update(
        waiting_count=0, last_ordinal=20_000, last_number=20_000
    )
    forget(experiment)
    look_at(experiment)
    assert experiment.trials.filter(state="waiting").exists(), "it proposed something"
    assert (cache_of(experiment).last_rank > 0) is (algorithm == "TPE")


def test_early_stopping_reads_the_curves_of_all_trials_together(running: Callable[..., Experiment]) -> None:
    """Those with results that are no numbers, with results of other metrics, and without any."""
    experiment = running(taken=0, space_document=SPACE, max_trials=1000)

    def peers() -> tuple[list, int]:
        with CaptureQueriesContext(connection) as captured:
            finished = early_stopping.Peers(experiment, EarlyStoppingCache()).finished
        return finished, len(captured)

    finish(experiment, 40, points=4)
    _, queries = peers()
    finish(experiment, 100, points=4)
    finished, more_queries = peers()
    assert queries == more_queries
    rows = experiment.trials.filter(state__in=("succeeded", "early_stopped")).order_by("settled_rank")
    assert [(peer.number, peer.has_succeeded, peer.value) for peer in finished] == [
        (trial.number, trial.state == "succeeded", trial.value) for trial in rows
    ]
    metric = experiment.metric
    alone = [early_stopping_rules.Curve(early_stopping._points(trial.pk, metric)) for trial in rows]
    for curve, expected in zip([peer.curve for peer in finished], alone, strict=True):
        assert (curve.steps, repr(curve.values)) == (expected.steps, repr(expected.values))
        finite, expected = curve.finite, expected.finite
        assert (finite.steps, finite.values) == (expected.steps, expected.values)
    assert any(len(curve) > len(curve.finite) > 0 for curve in alone)
    assert any(not curve for curve in alone)
