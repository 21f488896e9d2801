"""TD-C3, TD-X7: every filter with every order and state, compared with a plain evaluation of the same rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.models import Experiment, MetricValue, Trial, TrialParameter
from experiments.models.trial.parameter import digest
from experiments.web.trial import trial_query
from experiments.web.trial.trial_query import TrialQuery
from experiments.web.ui.pagination import slice_of

SPACE = {
    "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
    "opt": {"_type": "choice", "_value": ["sgd", "adam", 7, 30]},
    "size": {"_type": "choice", "_value": [16, 32]},
}
COUNT = 70
Predicate = Callable[[Trial], bool]
TERMS: dict[str, Predicate] = {
    "value>0.5": lambda trial: trial.result is not None and trial.result > 0.5,
    "value=none": lambda trial: trial.result is None,
    "partial>0.2": lambda trial: trial.result is None and trial.value is not None and trial.value > 0.2,
    "duration<20": lambda trial: trial.duration_s is not None and trial.duration_s < 20,
    "number>30": lambda trial: trial.number > 30,
    "number:5..60": lambda trial: 5 <= trial.number <= 60,
    "state:failed": lambda trial: trial.state == "failed",
    "state!=succeeded": lambda trial: trial.state != "succeeded",
    "lr<0.5": lambda trial: "lr" in trial.params and trial.params["lr"] < 0.5,
    "lr:0.2..0.4": lambda trial: "lr" in trial.params and 0.2 <= trial.params["lr"] <= 0.4,
    "lr!=0.2..0.4": lambda trial: not ("lr" in trial.params and 0.2 <= trial.params["lr"] <= 0.4),
    "opt=sgd,7": lambda trial: trial.params["opt"] in ("sgd", 7),
    "opt=7,30": lambda trial: trial.params["opt"] in (7, 30),
    'opt="7"': lambda trial: trial.params["opt"] == 7,
    "opt!=adam": lambda trial: trial.params["opt"] != "adam",
    "metric.f1:2..4": lambda trial: trial.f1 is not None and 2 <= trial.f1 <= 4,
    "metric.f1=none": lambda trial: trial.f1 is None,
}
SORTS = ["number", "value", "state", "duration", "started", "p.lr", "p.opt", "p.size", "m.f1"]


@pytest.fixture
def experiment(draft: Callable[..., Experiment]) -> Experiment:
    """An experiment with trials in all states, many of them equal in a column or without a value in it."""
    made, rng, began = draft(space_document=SPACE, direction="maximize"), random.Random(5), timezone.now()
    for number in range(1, COUNT + 1):
        state = rng.choice(["succeeded"] * 4 + ["failed", "failed", "early_stopped", "waiting", "stopped"])
        params: dict[str, Any] = {"opt": rng.choice(["sgd", "adam", 7, 30]), "size": rng.choice([16, 32])}
        if number % 9:
            params["lr"] = rng.choice([0.1, 0.2, 0.3, rng.random()])
        waits = state == "waiting"
        value = None if waits or (state == "failed" and number % 3) else rng.choice([0.1, 0.6, rng.random()])
        trial = Trial(
            experiment=made,
            revision=made.revision,
            number=number,
            params=params,
            values_digest=digest(params, "x"),
            state=state,
            value=value,
            duration_s=None if waits else rng.choice([10, 30, rng.random() * 40]),
            started_at=None if waits else began + timedelta(seconds=rng.choice([1, 2, number])),
        )
        trial.save(force_insert=True)
        TrialParameter.objects.bulk_create([TrialParameter.of(trial, *pair) for pair in params.items()])
        if state in ("succeeded", "failed") and number % 4:
            f1 = None if number % 5 == 0 else number % 6
            MetricValue.objects.create(trial=trial, experiment=made, name="f1", number=f1)
        setattr(made, f"{state}_count", getattr(made, f"{state}_count") + 1)
    other = draft(space_document=SPACE)  # has no part in any answer
    trial = Trial(
        experiment=other, revision=other.revision, number=1, state="failed", params={"opt": "sgd"}, value=0.9
    )
    trial.save(force_insert=True)
    TrialParameter.of(trial, "opt", "sgd").save()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return made


def loaded(experiment: Experiment) -> list[Trial]:
    """All trials with their metric, without a filter or an order of the database."""
    trials = list(experiment.trials.order_by("number"))
    rows = {row.trial_id: row for row in MetricValue.objects.filter(experiment=experiment)}
    for trial in trials:
        row = rows.get(trial.pk)
        trial.has_f1, trial.f1 = row is not None, row.number if row else None  # type: ignore[attr-defined]
    return trials


def values_of(trial: Trial, key: str) -> list[object]:
    """What an order compares, the more significant first; None comes last."""
    if key.startswith("p."):
        value = trial.params.get(key[2:])
        return [None if isinstance(value, str) else value, value if isinstance(value, str) else None]
    columns = {
        "number": [trial.number],
        "value": [trial.result, trial.value],
        "state": [trial.state],
        "duration": [trial.duration_s],
        "started": [trial.started_at],
        "m.f1": [trial.f1],  # type: ignore[attr-defined]
    }
    return columns[key]


def plain(trials: list[Trial], sort: str) -> list[int]:
    """The numbers of these trials in an order, by stable sorts from the least significant value to the first."""
    falls, key = sort.startswith("-"), sort.removeprefix("-")
    is_related = key[:2] in ("p.", "m.")
    trials = sorted(trials, key=lambda trial: trial.number, reverse=falls if is_related else True)
    if key == "m.f1":
        trials.sort(key=lambda trial: not trial.has_f1)  # type: ignore[attr-defined]
    for place in reversed(range(len(values_of(trials[0], key)) if trials else 0)):
        having = [trial for trial in trials if values_of(trial, key)[place] is not None]
        without = [trial for trial in trials if values_of(trial, key)[place] is None]
        having.sort(key=lambda trial: values_of(trial, key)[place], reverse=falls)  # type: ignore[arg-type,return-value]  # noqa: B023
        trials = having + without
    return [trial.number for trial in trials]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    terms=st.lists(st.sampled_from(sorted(TERMS)), max_size=3, unique=True),
    joint=st.sampled_from([" ", " or "]),
    state=st.sampled_from(["", "failed", "succeeded", "early_stopped"]),
    sort=st.sampled_from(SORTS).flatmap(lambda key: st.sampled_from([key, f"-{key}"])),
    limit=st.sampled_from([0, 5, 1000]),
)
def test_every_order_of_every_selection_is_that_of_a_plain_evaluation(
    experiment: Experiment, terms: list[str], joint: str, state: str, sort: str, limit: int
) -> None:
    """The limits decide whether the rows are sorted, or read in the order of an index."""
    combined = any if joint == " or " and terms else all
    matching = [
        trial
        for trial in loaded(experiment)
        if combined(TERMS[term](trial) for term in terms) and state in ("", trial.state)
    ]
    address = QueryDict(mutable=True)
    address.update({"filter": joint.join(terms), "state": state, "sort": sort})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_query, "EXACT_TO", limit)
        patch.setattr(trial_query, "SORTED_TO", limit // 2)
        query = TrialQuery.of(address, experiment)
        assert query.selection.error is None
        parts = [part.values_list("number", flat=True) for part in query.parts]
        expected = plain(matching, sort)
        assert slice_of(parts, 0, COUNT) == expected
        backward = [part.reverse() for part in reversed(parts)]
        assert slice_of(backward, 0, COUNT)[::-1] == expected
