"""TD-C9: settings with several objectives, what a trial's result must have, and the Pareto front kept on write."""

from __future__ import annotations

from random import Random

import optuna
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, FrontTrial, Invalid, Outcome, Settings, Trial
from experiments.scheduler import experiment_cache
from experiments.scheduler.past_trials import past_trials
from tests.people import look_at, make_settings

TWO = {"further_objectives": {"latency_ms": "minimize"}}


def result(*values: float, names: tuple[str, ...] = ("latency_ms", "size", "energy")) -> Outcome:
    """A succeeded trial with these values of the objectives in order."""
    further = dict(zip(names, values[1:], strict=False))
    return Outcome(value=values[0], exit_code=0, final_metrics=further)


def settle(experiment: Experiment, worker, *outcomes: Outcome) -> list[Trial]:
    """Let trials of the experiment end so, one after another."""
    trials = []
    for outcome in outcomes:
        look_at(experiment)
        trial = Trial.take(worker, ["default"])
        assert trial and trial.experiment_id == experiment.pk
        assert trial.settle(outcome)
        trials.append(trial)
    experiment.refresh_from_db()
    return trials


# --- settings ------------------------------------------------------------------------------------------------


def test_one_objective_is_as_before():
    settings = make_settings()
    assert settings.further_objectives == {} and not settings.is_multi_objective
    assert settings.objective == "maximize accuracy" and settings.objectives == {"accuracy": "maximize"}
    old = {name: value for name, value in settings.document().items() if name != "further_objectives"}
    assert Settings.stored(old) == settings, "of a revision from before"


def test_up_to_four_objectives_each_with_a_direction():
    further = {"latency_ms": "minimize", "size": "minimize", "f1": "maximize"}
    settings = make_settings(further_objectives=further, algorithm="NSGA-II")
    assert list(settings.objectives.items()) == [("accuracy", "maximize"), *further.items()]
    assert settings.objective == "maximize accuracy, minimize latency_ms, minimize size, maximize f1"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("further_objectives", ["latency_ms"], "This must be a JSON object"),
        ("further_objectives", {"latency_ms": "down"}, "“latency_ms” must be one of: maximize, minimize."),
        ("further_objectives", {"latency_ms": None}, "“latency_ms” must be one of: maximize, minimize."),
        ("further_objectives", {"accuracy": "minimize"}, "“accuracy” is already the first objective."),
        ("further_objectives", {"default": "minimize"}, "“default” is already the first objective."),
        ("further_objectives", {"": "minimize"}, "not a valid metric"),
        ("further_objectives", {" a": "minimize"}, "not a valid metric"),
        ("further_objectives", {"a\nb": "minimize"}, "not a valid metric"),
        ("further_objectives", {"m" * 101: "minimize"}, "not a valid metric"),
        ("further_objectives", dict.fromkeys("abcd", "minimize"), "5 objectives; the maximum is 4"),
        ("weights", {"accuracy": 1, "latency_ms": -0.1}, "Weights combine metrics into one objective."),
        ("selection", "best", "choose final, or remove the additional objectives"),
        ("selection", "average", "choose final, or remove the additional objectives"),
        ("goal", 0.9, "A goal requires a single objective."),
        ("early_stopping", "Medianstop", "Early stopping compares one metric."),
        ("keeps_best", 5, "Keeping the best trials requires a single objective."),
        ("warm_start", "abcd2345", "A warm start requires a single objective."),
        ("algorithm", "CMA-ES", "CMA-ES optimizes one objective. These optimize several: TPE,"),
        ("algorithm", "Hyperband", "Hyperband optimizes one objective."),
    ],
)
def test_what_several_objectives_exclude_says_so(field, value, sentence):
    with pytest.raises(Invalid) as refused:
        make_settings(**{**TWO, field: value})
    assert list(refused.value.errors) == [field]
    assert len(refused.value.errors[field]) == 1 and sentence in refused.value.errors[field][0]


def test_a_metric_with_spaces_around_is_the_same():
    with pytest.raises(Invalid) as refused:
        make_settings(metric=" accuracy ", further_objectives={"accuracy": "minimize"})
    assert list(refused.value.errors) == ["further_objectives"]


def test_standard_output_has_one_metric():
    with pytest.raises(Invalid) as refused:
        make_settings(**TWO, source="stdout", pattern="accuracy: {number}")
    assert list(refused.value.errors) == ["source"]
    assert make_settings(**TWO, source="file", metric_path="${output_dir}/r.json").is_multi_objective


@pytest.mark.django_db
def test_an_update_cannot_change_the_objectives(running, alice):
    """TD-U9"""
    experiment = running(**TWO)
    for further in ({}, {"latency_ms": "maximize"}, {"latency_ms": "minimize", "size": "minimize"}):
        with pytest.raises(Invalid) as refused:
            changed = make_settings(further_objectives=further)
            experiment.update(changed, by=alice, seen=1)
        assert list(refused.value.errors) == ["further_objectives"]
        assert "Clone the experiment" in refused.value.errors["further_objectives"][0]
    assert experiment.update(make_settings(**TWO, concurrency=3), by=alice, seen=1)


# --- results ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("final", [{}, {"size": 3}, {"latency_ms": "nan"}, {"latency_ms": True}])
def test_a_result_without_all_objectives_fails_the_trial(running, final):
    experiment = running(**TWO)
    trial = experiment.trials.get(state="running")
    trial.settle(Outcome(value=0.5, exit_code=0, final_metrics=final))
    trial.refresh_from_db()
    assert (trial.state, trial.failure) == ("failed", "no_metric")
    assert trial.detail == "No final result reported for latency_ms."
    experiment.refresh_from_db()
    assert experiment.front_size == 0 and not FrontTrial.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "directions", [("minimize",), ("maximize",), ("minimize", "minimize", "maximize")], ids=" ".join
)
def test_the_front_is_optunas(draft, directions):
    """After every result, ties, duplicates and zeros included."""
    further = dict(zip(("latency_ms", "size", "energy"), directions, strict=False))
    experiment = draft(further_objectives=further)
    study = optuna.create_study(directions=["maximize", *directions])
    rng = Random(len(directions))
    columns = [[float(rng.randrange(6)) for _ in range(1 + len(directions))] for _ in range(25)]
    with experiment.locked():
        for trial, values in zip(succeeded(experiment, 25), columns, strict=True):
            study.add_trial(optuna.trial.create_trial(values=values))
            experiment.succeeded_count += 1
            FrontTrial.learn(trial, values)
            best = [trial.number + 1 for trial in study.best_trials]
            front = FrontTrial.current(experiment)
            assert sorted(front.values_list("number", flat=True)) == best
            assert experiment.front_size == len(best)
    ways = ["maximize", *directions]
    for bound, column, way in zip(experiment.objective_bounds, zip(*columns, strict=True), ways, strict=True):
        best, worst = (max, min) if way == "maximize" else (min, max)
        assert bound == [best(column), column.index(best(column)) + 1, worst(column)]
    assert (experiment.best_value, experiment.best_number, experiment.trace) == (None, None, [])


@pytest.mark.django_db
def test_only_succeeded_trials_are_on_it(running, worker, alice):
    experiment = running(taken=2, concurrency=2, **TWO)
    failed, stopped = experiment.trials.filter(state="running")
    failed.settle(Outcome(value=9.0, final_metrics={"latency_ms": 0.1}, failure="exit_code", detail="x"))
    stopped.stop(by=alice)
    stopped.settle(result(9.0, 0.1))
    experiment.refresh_from_db()
    assert (experiment.front_size, experiment.objective_bounds) == (0, [])


@pytest.mark.django_db
def test_a_reset_empties_it(running, worker, alice):
    experiment = running(taken=0, **TWO)
    settle(experiment, worker, result(0.5, 3), result(0.6, 4))
    assert experiment.front_size == 2
    experiment.stop(by=alice)
    look_at(experiment)
    experiment.reset(by=alice)
    experiment.refresh_from_db()
    assert (experiment.front_size, experiment.objective_bounds) == (0, [])
    assert not FrontTrial.objects.exists()


@pytest.mark.django_db
def test_the_search_learns_all_values_also_after_a_restart(running, worker):
    experiment = running(taken=0, algorithm="TPE", **TWO)
    settle(experiment, worker, result(0.5, 3), result(0.6, 4), Outcome(failure="exit_code", detail="x"))
    seen = [(each.state, each.value, each.further_values) for each in past_trials(experiment)]
    assert seen[:3] == [("done", 0.5, (3.0,)), ("done", 0.6, (4.0,)), ("infeasible", None, ())]
    experiment_cache.caches.clear()
    assert [(each.state, each.value, each.further_values) for each in past_trials(experiment)] == seen


@pytest.mark.django_db
def test_settling_costs_the_same_queries_among_10000_trials(running):
    """And at most four more than with a single objective."""

    def cost(experiment: Experiment) -> int:
        trial = experiment.trials.filter(state="running").first()
        with CaptureQueriesContext(connection) as queries:
            trial.settle(result(0.99, 0.01))
        return len(queries)

    single = running("single", concurrency=1)
    few = running("few", concurrency=1, **TWO)
    lots = running("lots", concurrency=1, **TWO)
    fill(lots, 10_000)
    assert cost(lots) <= cost(few) <= cost(single) + 4
    lots.refresh_from_db()
    assert lots.front_size == 1 and FrontTrial.current(lots).count() == 1


def succeeded(experiment: Experiment, count: int) -> list[Trial]:
    """Trials 1 to `count`, which have succeeded, straight into the table."""
    return Trial.objects.bulk_create(
        Trial(
            experiment=experiment,
            revision=experiment.revision,
            number=number,
            params={"lr": 0.05, "layers": 1},
            values_digest=str(number),
            state="succeeded",
            value=0.5,
            settled_rank=number,
        )
        for number in range(1, count + 1)
    )


def fill(experiment: Experiment, count: int, *, on_front: int = 100) -> None:
    """`count` succeeded trials with two objectives, `on_front` of them on the front: a hundred as they are, and the
    others as copies of them, made by the database."""
    first = experiment.last_number + 1
    rows = [
        Trial(
            experiment=experiment,
            revision=experiment.revision,
            number=first + place,
            params={"lr": 0.01 + place / 2000, "layers": place % 3 + 1},
            values_digest=str(place),
            state="succeeded",
            value=place / 100,
            final_metrics={"latency_ms": 5 + place / 10},
            settled_rank=first + place,
            duration_s=1.0,
            started_at=experiment.created_at,
            ended_at=experiment.created_at,
        )
        for place in range(min(100, count))
    ]
    Trial.objects.bulk_create(rows)
    FrontTrial.objects.bulk_create(
        FrontTrial(
            experiment=experiment,
            trial=row,
            number=row.number,
            joined_result=place + 1,
            loss_1=-row.value,
            loss_2=row.final_metrics["latency_ms"],
        )
        for place, row in enumerate(rows[-on_front:])
    )
    table = Trial._meta.db_table
    names = [column.column for column in Trial._meta.concrete_fields if not column.generated]
    quoted = [f'"{name}"' for name in names if name != "id"]
    made = len(rows)
    while made < count:
        more = min(made, count - made)
        changed = {name: f"{name} + {made}" for name in ('"number"', '"settled_rank"')}
        changed['"value"'] = '"value" / 4'
        cells = ", ".join(changed.get(name, name) for name in quoted)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(quoted)}) SELECT {cells} FROM {table} "
                f"WHERE experiment_id = %s AND number >= {first} AND number < {first + more}",
                [experiment.pk],
            )
        made += more
    with experiment.locked():
        experiment.succeeded_count += count
        experiment.last_number = experiment.proposed_count = experiment.settled_count = first + count - 1
        experiment.front_size = min(on_front, len(rows))
        last = rows[-1]
        experiment.objective_bounds = [[last.value, last.number, 0.0], [5.0, first, 5 + len(rows) / 10]]
