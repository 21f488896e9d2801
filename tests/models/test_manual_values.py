"""What people and programs may give by hand: a trial's values, and an earlier revision again."""

from __future__ import annotations

import pytest

from experiments.models import Invalid, Refused, Trial
from tests.people import make_settings

KINDS = {
    "lr": {"_type": "loguniform", "_value": [1e-4, 1e-1]},
    "units": {"_type": "randint", "_value": [1, 9]},
    "opt": {"_type": "choice", "_value": ["sgd", 1, True, [3, 4]]},
}
GOOD = {"lr": 0.01, "units": 3, "opt": "sgd"}


@pytest.mark.parametrize(
    "values",
    [GOOD, {**GOOD, "lr": 7}, {**GOOD, "units": -3}, {**GOOD, "opt": True}, {**GOOD, "opt": [3, 4]}],
)
def test_numbers_may_lie_outside_of_the_space(running, bob, values):
    """TD-A16: kept as they were given; what does not fit does not inform the search."""
    experiment = running(space_document=KINDS, command="x ${lr} ${units} ${opt}")
    trial = Trial.add(experiment, values, by=bob)
    trial.refresh_from_db()
    assert trial.params == values and type(trial.params["opt"]) is type(values["opt"])
    assert (trial.raw is None) == (values["lr"] == 7 or values["units"] == -3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": "fast"}, "lr must be a finite number."),
        ({"lr": True}, "lr must be a finite number."),
        ({"lr": None}, "lr must be a finite number."),
        ({"lr": float("nan")}, "lr must be a finite number."),
        ({"lr": float("inf")}, "lr must be a finite number."),
        ({"lr": 10**400}, "lr must be between -1e+300 and 1e+300."),
        ({"lr": -1e308}, "lr must be between -1e+300 and 1e+300."),
        ({"lr": {"a": [1]}}, "lr must be a finite number."),
        ({"units": 1.5}, "units must be a whole number between -2**53 and 2**53."),
        ({"units": 2**54}, "units must be a whole number between -2**53 and 2**53."),
        ({"opt": "adam"}, "opt must be one of the choices in the search space."),
        ({"opt": 1.0}, "opt must be one of the choices in the search space."),
        ({"opt": float("nan")}, "opt must be one of the choices in the search space."),
        ({"decay": 1}, "Unknown parameter decay."),
    ],
)
def test_what_no_trial_could_try_is_refused_with_a_sentence(running, bob, change, message):
    """TD-A16: nothing is made."""
    experiment = running(space_document=KINDS, command="x ${lr} ${units} ${opt}")
    before = experiment.last_number
    with pytest.raises(Invalid) as refused:
        Trial.add(experiment, {**GOOD, **change}, by=bob)
    assert refused.value.errors == {"params": [message]}
    assert experiment.trials.count() == before


def test_all_that_is_wrong_is_told_at_once(running, bob):
    with pytest.raises(Invalid) as refused:
        Trial.add(running(space_document=KINDS), {"lr": "x", "layers": 1}, by=bob)
    assert refused.value.errors["params"] == [
        "Parameter units is missing.",
        "Parameter opt is missing.",
        "Unknown parameter layers.",
        "lr must be a finite number.",
    ]


def test_a_revision_is_restored_as_one_more_revision(running, bob):
    """TD-X1: an Update like any other."""
    experiment = running()
    experiment.update(make_settings(max_trials=9), by=bob, seen=1)
    first = experiment.revisions.get(number=1)
    with pytest.raises(Refused, match="bob changed this experiment .*you edited revision 1"):
        first.restore(by=bob, seen=1)
    assert first.restore(by=bob, seen=2) is True
    experiment.refresh_from_db()
    assert (experiment.revision.number, experiment.revision.note) == (3, "revision 1 again")
    assert experiment.max_trials == 6
    assert first.restore(by=bob, seen=3) is False, "it is so already"


def test_what_is_locked_under_way_stays(draft, running, bob, alice, worker):
    """TD-U9: the objective of a draft's first revision does not come back while it runs."""
    experiment = draft(metric="loss", direction="minimize")
    experiment.edit(make_settings(max_trials=9), by=bob, seen=1)
    first = experiment.revisions.get(number=1)
    experiment.enqueue(by=alice)
    with pytest.raises(Refused, match="while the experiment is pending"):
        first.restore(by=bob, seen=2)
    experiment.dequeue(by=alice)
    assert first.restore(by=bob, seen=2) is True
    experiment.refresh_from_db()
    assert (experiment.metric, experiment.max_trials) == ("loss", 6)
    other = running("other")
    other.update(make_settings(max_trials=9), by=bob, seen=1)
    kept = other.revisions.get(number=1)
    type(kept).objects.filter(pk=kept.pk).update(document={**kept.document, "metric": "loss"})
    kept = other.revisions.get(number=1)
    assert kept.restore(by=bob, seen=2) is True
    other.refresh_from_db()
    assert (other.metric, other.max_trials) == ("accuracy", 6)
