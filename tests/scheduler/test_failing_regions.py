"""TD-V1: which failures inform the search, the setting that decides it, and the breaker that looks at a share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse

from experiments.models import Experiment, Failure, Outcome, Settings, Trial, User, Worker
from experiments.scheduler import experiment_cache
from experiments.scheduler.past_trials import past_trials
from tests.people import as_, look_at, make_settings
from tests.scheduler.test_experiment_outcome import GOOD, settle_each
from tests.web.filled import filled

OWN = ["exit_code", "signal", "timeout", "out_of_memory", "no_metric", "bad_metric"]


def states(experiment: Experiment) -> dict[int, str]:
    """What the search is told of the trials that ended, by number; the same after a restart."""
    experiment.refresh_from_db()
    seen = {first.number: first.state for first in past_trials(experiment)}
    experiment_cache.caches.clear()
    assert {first.number: first.state for first in past_trials(experiment)} == seen
    return {number: state for number, state in seen.items() if state != "running"}


def test_what_a_trial_did_itself_is_infeasible_and_nothing_else(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-V1: its worker, its setup, a person and early stopping are not its own doing."""
    experiment = running(taken=0, concurrency=1, max_trials=30, breaker=0, retries=0, algorithm="TPE")
    failures = [Outcome(failure=kind, detail="x") for kind in Failure.values]
    settle_each(experiment, worker, *failures, GOOD, "early", "stop")
    wanted = ["infeasible" if kind in OWN else "void" for kind in Failure.values] + ["done", "done", "void"]
    assert list(states(experiment).values()) == wanted
    assert len(OWN) == wanted.count("infeasible") == 6


def test_a_rerun_with_a_result_clears_its_values(
    running: Callable[..., Experiment], worker: Worker, alice: User
) -> None:
    """TD-V1: the failure was not the values'; a rerun that fails as well changes nothing."""
    experiment = running(taken=2, concurrency=2, max_trials=9, breaker=0, algorithm="TPE")
    first, two = experiment.trials.filter(state="running").order_by("number")
    for trial in (first, two):
        trial.settle(Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail="no"))
    mended, again = first.rerun(by=alice), two.rerun(by=alice)
    for trial, outcome in ((mended, GOOD), (again, Outcome(failure=Failure.EXIT_CODE, detail="no"))):
        Trial.objects.filter(pk=trial.pk).update(state="running", worker=worker, boot=worker.boot)
        trial.refresh_from_db()
        trial.settle(outcome)
    experiment.refresh_from_db()
    for _ in range(2):
        retried = {trial.number: trial.is_retried for trial in past_trials(experiment)}
        assert retried[first.number] and not retried[two.number]
        experiment_cache.caches.clear()


def test_the_setting_is_on_and_is_changed_under_way(
    running: Callable[..., Experiment], worker: Worker, alice: User, api: Callable
) -> None:
    """TD-V1, TD-U6: by page and API, and restored; what was suggested before is made anew."""
    experiment = running(taken=2, concurrency=2, max_trials=30, breaker=0, algorithm="TPE")
    assert experiment.settings.avoid_failing_regions
    failed, _ = experiment.trials.filter(state="running").order_by("number")
    failed.settle(Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail="no"))
    look_at(experiment)
    assert states(experiment) == {1: "infeasible"}
    before = list(experiment.suggestions.values_list("ordinal", flat=True))

    url = reverse("experiment-edit", args=["lab", experiment.public_id])
    page = as_(alice).get(url)
    values = filled(page)
    assert values["avoid_failing_regions"] == "on" and "Avoid failing regions" in page.content.decode()
    del values["avoid_failing_regions"]
    assert as_(alice).post(url, values | {"submit": "1"}).status_code == 302
    experiment.refresh_from_db()
    assert not experiment.settings.avoid_failing_regions and experiment.revision.number == 2
    look_at(experiment)
    assert states(experiment) == {1: "void"}
    after = list(experiment.suggestions.values_list("ordinal", flat=True))
    assert not set(before) & set(after)

    path = f"/experiments/{experiment.public_id}"
    answer = api(alice).patch(path, {"settings": {"avoid_failing_regions": True}})
    assert answer.status_code == 200, answer.content
    experiment.refresh_from_db()
    assert states(experiment) == {1: "infeasible"}
    wrong = api(alice).patch(path, {"settings": {"avoid_failing_regions": "yes"}})
    assert wrong.json()["fields"] == {"avoid_failing_regions": ["This must be true or false."]}
    assert experiment.clone(by=alice).settings.avoid_failing_regions


def test_a_page_that_does_not_know_the_checkbox_changes_nothing(
    running: Callable[..., Experiment], alice: User
) -> None:
    """TD-V1: a page from before an upgrade, or a program that posts the form, keeps what is stored."""
    for is_on in (True, False):
        experiment = running(f"{is_on}", concurrency=1, avoid_failing_regions=is_on)
        url = reverse("experiment-edit", args=["lab", experiment.public_id])
        values = filled(as_(alice).get(url)) | {"max_trials": "9"}
        for name in ("avoid_failing_regions", "avoid_failing_regions-shown"):
            values.pop(name, None)
        assert as_(alice).post(url, values | {"submit": "1"}).status_code == 302
        experiment.refresh_from_db()
        assert (experiment.max_trials, experiment.settings.avoid_failing_regions) == (9, is_on)


def test_settings_from_before_learn_from_failures() -> None:
    """TD-V1: on by default, for revisions that were stored without it too."""
    document = make_settings().document()
    del document["avoid_failing_regions"]
    assert Settings.stored(document).avoid_failing_regions
    assert Settings.checked(document).avoid_failing_regions


@pytest.mark.parametrize(
    ("ends", "is_paused"),
    [
        ("ffgffffgff", True),  # 8 of 10
        ("ffgfgffgff", False),  # 7 of 10
        ("fffffffff", False),  # nine, and no tenth yet
        ("ggggffffffff", True),  # the last ten begin with two that succeeded
        ("dfdfdfdfdf", False),  # five of each kind
        ("nnnnnnnnnn", True),  # alike, but for the number in the sentence
    ],
)
def test_the_breaker_looks_at_a_share_of_the_last(
    running: Callable[..., Experiment], worker: Worker, ends: str, is_paused: bool
) -> None:
    """TD-V1, TD-X3: eight of the last ten alike."""
    kinds = {"f": "ValueError: no", "d": "MemoryError", "n": "ValueError: lr is {}"}
    outcomes = [
        GOOD
        if end == "g"
        else Outcome(failure=Failure.EXIT_CODE, exit_code=1, detail=kinds[end].format(place))
        for place, end in enumerate(ends)
    ]
    experiment = running(taken=0, concurrency=1, max_trials=50, breaker=10, algorithm="Random")
    for outcome in outcomes:
        assert experiment.state in ("pending", "running"), "not before the end"
        settle_each(experiment, worker, outcome)
    assert (experiment.state == "paused") == is_paused
    if is_paused:
        count = max(ends[-10:].count(end) for end in "fdn")
        share = "10 trials in a row" if count == 10 else f"{count} of the last 10 trials"
        assert experiment.reason.startswith(f"{share} failed with the same error (exit code): ")


def test_the_breaker_fires_before_the_next_trial_starts(
    running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-V1: suggestions made ahead must not keep a slot going until the scheduler looks again."""
    experiment = running(taken=1, concurrency=1, max_trials=50, breaker=1, algorithm="Random")
    assert experiment.suggestions.count() > 1
    trial = experiment.trials.get(state="running")
    assert trial.settle(Outcome(failure=Failure.EXIT_CODE, exit_code=3, detail="Exit code 3, no output"))
    experiment.refresh_from_db()
    assert experiment.state == "paused"
    assert not experiment.trials.exclude(pk=trial.pk).exists()
