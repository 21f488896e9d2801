"""TD-C3, TD-X7: the trials of a filter, combined in memory, are those that a single statement selects."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.filters import matches
from experiments.filters.matches import states_of_matches
from experiments.filters.trials import TrialFields
from experiments.models import Experiment, MetricValue, Trial, TrialParameter, User, status
from experiments.models.trial.parameter import digest

SPACE = {
    "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
    "size": {"_type": "choice", "_value": [16, "16", 2**53, 2**53 + 1, "big", True, None]},
}
COUNT = 60
TERMS = [
    "lr<0.5",
    "lr!=0.2..0.4",
    "lr~2",
    "size=16",
    'size="16"',
    f"size={2**53}",
    f"size={2**53 + 1}",
    f'size="{2**53 + 1}"',
    "size=big,True",
    "size!=None",
    "metric.f1>2",
    "metric.f1=none",
    "best:7",
    "value>0.5",
    "value=none",
    "value!=none",
    "partial>0.3",
    "state:failed",
    "state!=failed",
    "number<40",
    "duration>20",
    "detail~nan",
    "worker=none",
    "created>2d",
]


def add_trials(experiment: Experiment, *, first: int) -> None:
    rng = random.Random(first)
    for number in range(first, first + COUNT):
        params: dict[str, Any] = {"size": rng.choice(SPACE["size"]["_value"])}  # type: ignore[arg-type]
        if number % 7:
            params["lr"] = rng.choice([0.1, 0.2, 0.4, rng.random()])
        state = rng.choice(["succeeded", "succeeded", "succeeded", "failed", "early_stopped", "stopped"])
        trial = Trial(
            experiment=experiment,
            revision=experiment.revision,
            number=number,
            params=params,
            values_digest=digest(params, "x"),
            state=state,
            value=rng.choice([None, 0.1, rng.random()]),
            duration_s=rng.random() * 40,
            detail="loss is NaN" if state == "failed" and number % 2 else "",
        )
        trial.save(force_insert=True)
        TrialParameter.objects.bulk_create([TrialParameter.of(trial, *pair) for pair in params.items()])
        if number % 3:
            f1 = None if number % 5 == 0 else number % 6
            MetricValue.objects.create(trial=trial, experiment=experiment, name="f1", number=f1)
        setattr(experiment, f"{state}_count", getattr(experiment, f"{state}_count") + 1)
    counts = {f"{state}_count": experiment.count(state) for state in status.TRIAL_STATES}
    Experiment.objects.filter(pk=experiment.pk).update(**counts)


@pytest.fixture
def experiment(draft: Callable[..., Experiment]) -> Experiment:
    add_trials(draft(space_document=SPACE), first=1)  # of another experiment
    made = draft(space_document=SPACE, direction="maximize")
    add_trials(made, first=1)
    return made


def selected_by_one_statement(experiment: Experiment, text: str) -> dict[int, str]:
    selected = TrialFields(experiment, ["f1"]).filter(experiment.trials.all(), text)
    return dict(selected.order_by().values_list("pk", "state"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=250)
@given(
    terms=st.lists(st.sampled_from(TERMS), min_size=1, max_size=4, unique=True),
    shape=st.sampled_from(["{}", "not ({})", "({}) lr>0.15", "({}) or size=16", "not ({}) state:succeeded"]),
    joint=st.sampled_from([" ", " or ", " not "]),
    limit=st.sampled_from([0, 5, 30, 1000]),
    most_read=st.sampled_from([0, 5, 1000]),
)
def test_the_matches_of_every_filter_are_those_of_one_statement(
    experiment: Experiment, terms: list[str], shape: str, joint: str, limit: int, most_read: int
) -> None:
    text = shape.format(joint.join(terms))
    expected = selected_by_one_statement(experiment, text)
    condition = TrialFields(experiment, ["f1"]).condition(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matches, "READ_EACH", most_read)
        patch.setattr(matches, "_most_read", lambda own: most_read)
        states = states_of_matches(experiment, condition, limit=limit)
    assert states == (expected if len(expected) <= limit else None), text


@pytest.mark.parametrize(
    "text", ["lr<0.9", "lr<0.9 value>0.2", "size!=16", "state!=failed lr<0.9", "value!=none"]
)
def test_trials_from_before_a_reset_are_not_counted(experiment: Experiment, alice: User, text: str) -> None:
    Experiment.objects.filter(pk=experiment.pk).update(state="completed", last_number=COUNT)
    experiment.refresh_from_db()
    assert experiment.reset(by=alice)
    condition = TrialFields(experiment, ["f1"]).condition(text)
    assert states_of_matches(experiment, condition, limit=1000) == {}
    add_trials(experiment, first=COUNT + 1)
    expected = selected_by_one_statement(experiment, text)
    assert states_of_matches(experiment, condition, limit=1000) == expected
    assert 0 < len(expected) <= COUNT


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("lr<0.5", 1),
        ("lr<0.5 metric.f1>2", 2),
        ("lr<0.5 or size=big", 2),
        ("size!=16", 2),
        ("not (lr<0.1)", 1),
    ],
)
def test_more_matches_than_are_counted_need_one_query_for_each_set(
    experiment: Experiment, text: str, sets: int
) -> None:
    condition = TrialFields(experiment, ["f1"]).condition(text)
    with CaptureQueriesContext(connection) as captured:
        assert states_of_matches(experiment, condition, limit=1) is None
    assert len(captured) == sets
