"""What an Update would do: counts and ranges, from rows that are there."""

from __future__ import annotations

import pytest
from django.utils import timezone

from experiments.models import Experiment, Outcome, Queue, Trial
from experiments.scheduler import impact as module
from experiments.scheduler.estimate import estimates
from experiments.scheduler.impact import impact_of
from tests.people import look_at, make_settings

LAYERS = {"layers": {"_type": "choice", "_value": [1, 2, 3]}}


def changed(experiment: Experiment, **changes):
    experiment.refresh_from_db()
    return impact_of(experiment, make_settings(**{**experiment.settings.document(), **changes}))


def took(experiment: Experiment, *seconds: float) -> None:
    """So many finished trials, which took so long."""
    for span in seconds:
        trial = experiment.trials.filter(state="running").order_by("number").first()
        trial.settle(Outcome(value=0.5))
        Trial.objects.filter(pk=trial.pk).update(duration_s=span)
        look_at(experiment)
        assert Trial.take(trial.worker, ["default"])
    experiment.refresh_from_db()


def test_finished_trials_outside_the_new_space_are_counted(running):
    """TD-U5: out of bounds, a dropped choice, a parameter that is gone."""
    experiment = running(taken=2, max_trials=50, algorithm="TPE")
    took(experiment, 1, 1, 1)
    inside = {"lr": 0.05, "layers": 1}
    values = [inside, {"lr": 0.0002, "layers": 1}, {"lr": 0.05, "layers": 3}]
    for trial, params in zip(experiment.trials.filter(state="succeeded"), values, strict=True):
        Trial.objects.filter(pk=trial.pk).update(params=params, raw=None)
    bounds = {**experiment.settings.space_document, "lr": {"_type": "uniform", "_value": [0.01, 0.1]}}
    assert changed(experiment).outside == 0
    assert changed(experiment, space_document=bounds).outside == 1
    two = {**bounds, "layers": {"_type": "choice", "_value": [1, 2]}}
    seen = changed(experiment, space_document=two)
    assert (seen.outside, seen.checked, seen.inside, seen.is_exact, seen.needed) == (2, 3, 1, True, 10)
    assert changed(experiment, space_document=LAYERS, command="run ${layers}").outside == 3


def test_beyond_the_bound_it_says_at_least(running, monkeypatch):
    """Never 100,000 rows in a request."""
    monkeypatch.setattr(module, "MOST_CHECKED", 2)
    experiment = running(taken=2, max_trials=50)
    took(experiment, 1, 1, 1)
    seen = changed(experiment, space_document=LAYERS, command="run ${layers}")
    assert (seen.checked, seen.is_exact) == (2, False)


def test_what_waits_is_made_anew_only_when_proposals_change(running):
    """TD-U5, TD-U7."""
    experiment = running(taken=1, concurrency=3)
    assert experiment.waiting_count == 2
    assert changed(experiment, seed=5).redrawn == 2
    assert changed(experiment, command="python other.py ${lr}").redrawn == 0


def test_the_surplus_is_what_runs_beyond_the_new_number(running):
    """TD-U3."""
    experiment = running(taken=3, concurrency=3)
    assert [changed(experiment, concurrency=n).surplus for n in (1, 2, 3, 9)] == [2, 1, 0, 0]


def test_it_says_why_it_will_end(running):
    """TD-U2, TD-U4: the same words as the conductor's."""
    experiment = running(taken=2, max_trials=50)
    took(experiment, 1)
    Experiment.objects.filter(pk=experiment.pk).update(ran_s=100)
    assert changed(experiment).ending == ""
    assert changed(experiment, goal=0.4).ending == "goal reached"
    assert changed(experiment, goal=0.6).ending == ""
    assert changed(experiment, max_duration_s=50).ending == "max duration reached"
    assert changed(experiment, max_trials=2).ending == "max trials reached"
    settings = make_settings(**{**experiment.settings.document(), "max_trials": 2})
    experiment.update(settings, by=None, seen=1)
    assert experiment.why_no_more() == "max trials reached", "as foreseen"


def test_the_estimate_is_a_range_around_the_mean_duration(running):
    """TD-X4: 2 at once; 4 are done, 2 run, 14 to start, 25 s each."""
    experiment = running(taken=2, max_trials=20)
    took(experiment, 10, 20, 30, 40)
    seen = changed(experiment)
    assert seen.before == seen.after
    low, high = seen.after.end_s
    assert 0.5 < low / (8 * 25) < 1 < high / (8 * 25) < 2
    low, high = seen.after.compute_s
    assert 0.5 < low / (16 * 25) < 1 < high / (16 * 25) < 2


def test_slots_limit_what_runs_at_once(running, worker):
    """TD-U3: within worker slots."""
    experiment = running(taken=2, max_trials=20)
    took(experiment, 10, 10, 10)
    wide = changed(experiment, concurrency=500).after
    worker.slots = 3
    worker.save(update_fields=["slots"])
    narrow = changed(experiment, concurrency=500).after
    worker.cores, worker.memory_mib, worker.slots = list(range(8)), 6 << 10, 8
    worker.save(update_fields=["cores", "memory_mib", "slots"])
    three_fit = changed(experiment, concurrency=500, cores=1, memory_mib=2 << 10).after
    assert three_fit.end_s == pytest.approx(narrow.end_s, abs=20)
    assert "can run these" in changed(experiment, concurrency=500, cores=9).after.unknown
    low, high = narrow.end_s
    assert low < 60 < high, "15 + 2 trials of 10 s on 3 slots"
    assert wide.end_s[1] < low and narrow.compute_s == pytest.approx(wide.compute_s, abs=20)


def test_a_finite_space_ends_it(running):
    """NNI-S2: never tried twice, so six values are six trials at most."""
    experiment = running(taken=2, max_trials=1000)
    took(experiment, 10, 10)
    few = {"lr": {"_type": "choice", "_value": [1, 2, 3, 4, 5, 6]}}
    low, high = changed(experiment, space_document=few).after.compute_s
    assert low < 70 < high < 200


def test_a_max_duration_ends_it_at_the_latest(running):
    """TD-U4: nothing starts after it; what runs then may end."""
    experiment = running(taken=2, max_trials=1000)
    took(experiment, 100, 100)
    low, high = changed(experiment, max_duration_s=600).after.end_s
    assert low <= 600 and 690 < high <= 700


@pytest.mark.parametrize("limit_s", [None, 600])
def test_before_a_trial_has_finished_nobody_knows_but_the_latest_moment(running, limit_s):
    """TD-X4: honest when unknown."""
    after = changed(running(), max_duration_s=limit_s).after
    assert after.end_s is None and "No trial has finished yet" in after.unknown
    assert (after.latest_s is None) is (limit_s is None)


def test_without_limits_or_workers_it_says_so(running, worker):
    experiment = running(taken=2, max_trials=50)
    took(experiment, 10)
    assert "until it is stopped" in changed(experiment, max_trials=None).after.unknown
    worker.leave()
    assert "No worker in the queue can run these trials" in changed(experiment).after.unknown


def test_one_finished_trial_gives_a_wide_range(running):
    experiment = running(taken=2, max_trials=4)
    took(experiment, 100)
    low, high = changed(experiment).after.compute_s
    assert low < 300 < high and high > 1.2 * low


def test_it_only_looks(running, django_assert_max_num_queries):
    """Nothing is written, and the number of queries does not grow."""
    experiment = running(taken=2, max_trials=50)
    costs = []
    for _ in range(2):
        took(experiment, 1, 2, 3)
        fresh = Experiment.objects.select_related("queue", "revision").get(pk=experiment.pk)
        at, version = timezone.now(), fresh.version
        with django_assert_max_num_queries(8) as seen:
            impact_of(fresh, make_settings(space_document=LAYERS, command="run ${layers}"))
        costs.append(len(seen))
        assert all(query["sql"].lstrip().startswith("SELECT") for query in seen.captured_queries)
        assert not experiment.events.filter(at__gt=at).exists()
        assert Experiment.objects.get(pk=experiment.pk).version == version
    assert costs[0] == costs[1] and Queue.objects.count() == 1


def test_several_are_estimated_at_once_as_each_alone(running, worker, django_assert_num_queries):
    """TD-X4: for the wall; two queries, whatever their number."""
    took(running("one", taken=2, max_trials=50), 60, 90, 120, 240)
    running("other", taken=0, max_trials=9)
    experiments = list(Experiment.objects.select_related("revision").order_by("pk"))
    with django_assert_num_queries(2):
        estimated = estimates(experiments, serving={experiments[0].queue_id: [worker]})
    for experiment in experiments:
        alone = changed(experiment).before
        assert estimated[experiment.pk].unknown == alone.unknown
        assert estimated[experiment.pk].end_s == (alone.end_s and pytest.approx(alone.end_s, abs=20))
    assert estimated[experiments[0].pk].end_s and estimated[experiments[1].pk].unknown
    assert estimates([], serving={}) == {}


def test_what_waits_or_stops_is_no_surplus(running, alice):
    """TD-U3: what the preview says is what the Update stops."""
    experiment = running(taken=2, concurrency=5, max_trials=20)
    assert experiment.waiting_count == 3
    assert [changed(experiment, concurrency=n).surplus for n in (1, 2, 3)] == [1, 0, 0]
    experiment.trials.get(number=1).stop(by=alice)
    assert changed(experiment, concurrency=1).surplus == 0
