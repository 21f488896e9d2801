"""TD-C10: advice on the overview, and Update opened with the change."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from django.urls import reverse

from experiments.models import Experiment, Failure, Importance, Trial, User
from experiments.models.trial.parameter import TrialParameter, digest
from experiments.web.experiment.advice import advice_on, advised_settings
from tests.people import as_


def finish(experiment: Experiment, rows: list[tuple[dict, float | None]]) -> None:
    """Add ended trials with these parameters and values, straight into the tables; None: failed."""
    with experiment.locked():
        for params, value in rows:
            experiment.last_number += 1
            experiment.settled_count += 1
            trial = Trial.objects.create(
                experiment=experiment,
                revision=experiment.revision,
                number=experiment.last_number,
                params=params,
                values_digest=digest(params, "x"),
                state="failed" if value is None else "succeeded",
                failure=Failure.EXIT_CODE if value is None else "",
                value=value,
                settled_rank=experiment.settled_count,
            )
            TrialParameter.objects.bulk_create(TrialParameter.of(trial, *pair) for pair in params.items())
            if value is None:
                experiment.failed_count += 1
            else:
                experiment.succeeded_count += 1


@pytest.fixture
def at_the_edge(running: Callable[..., Experiment]) -> Experiment:
    """25 more trials; the best have the highest learning rates."""
    experiment = running(max_trials=60)
    good = [({"lr": 0.095 + at / 5000, "layers": 1 + at % 2}, 0.9) for at in range(12)]
    finish(experiment, [*good, *(({"lr": 0.001 * (at + 1), "layers": 2}, 0.1) for at in range(13))])
    return experiment


def test_update_opens_with_the_advised_change(at_the_edge: Experiment, alice: User, carol: User) -> None:
    """One click; nothing is changed before it is saved; who may not update is told without the link."""
    url = reverse("experiment", args=["lab", at_the_edge.public_id])
    html = as_(alice).get(url).content.decode()
    assert "best trials have lr at the upper end of its range, 0.1." in html
    link = reverse("experiment-edit", args=["lab", at_the_edge.public_id]) + "?advice=extend%3Alr%3Aupper"
    assert link in html and "Extend to 1…" in html
    assert link not in as_(carol).get(url).content.decode()
    page = as_(alice).get(link)
    form = page.context["form"]
    assert form.shown.space_document["lr"]["_value"] == [1e-4, 1]
    at_the_edge.refresh_from_db()
    assert at_the_edge.revision.number == 1


@pytest.mark.parametrize("state", ["completed", "stopped", "failed", "published"])
def test_after_the_end_the_change_opens_a_clone(
    at_the_edge: Experiment, alice: User, carol: User, state: str
) -> None:
    """TD-C10: what was learnt helps the next search; the source stays as it is."""
    Experiment.objects.filter(pk=at_the_edge.pk).update(state=state)
    url = reverse("experiment", args=["lab", at_the_edge.public_id])
    link = (
        f"{reverse('experiment-new', args=['lab'])}?from={at_the_edge.public_id}&advice=extend%3Alr%3Aupper"
    )
    html = as_(alice).get(url).content.decode().replace("&amp;", "&")
    assert link in html and "Clone with the change" in html and "Extend to 1…" not in html
    viewers = as_(carol).get(url).content.decode().replace("&amp;", "&")
    assert "best trials have lr" in viewers and link not in viewers
    page = as_(alice).get(link)
    assert json.loads(page.context["form"].initial["space_document"])["lr"]["_value"] == [1e-4, 1]
    assert {row.name: row.values for row in page.context["form"].initial_rows()}["lr"] == "0.0001, 1.0"
    assert "Clone of" in page.content.decode()
    plain = as_(alice).get(link.split("&")[0]).context["form"]
    assert json.loads(plain.initial["space_document"])["lr"]["_value"] == [1e-4, 0.1]


def test_advice_that_no_longer_holds_opens_update_as_it_is(at_the_edge: Experiment, alice: User) -> None:
    """TD-C3: an old link, or an invented one. The page says so."""
    edit = reverse("experiment-edit", args=["lab", at_the_edge.public_id])
    for key in ("extend:lr:lower", "extend:nothing:upper", "exclude:0123", "bogus", ":", "x" * 300):
        page = as_(alice).get(edit, {"advice": key})
        assert page.status_code == 400 and page.context["form"].shown == page.context["form"].current, (
            unquote(key)
        )


def test_a_failing_region_can_be_excluded(
    running: Callable[..., Experiment], alice: User, carol: User
) -> None:
    """The range ends before the first failure."""
    experiment = running(max_trials=60)
    failed = [({"lr": 0.05 + at / 1000, "layers": 1}, None) for at in range(6)]
    finish(experiment, [*failed, *(({"lr": 0.001 * (at + 1), "layers": 1}, 0.5) for at in range(24))])
    url = reverse("experiment", args=["lab", experiment.public_id])
    html = as_(alice).get(url).content.decode()
    key = html.split("?advice=exclude:")[1].split('"')[0]
    settings = advised_settings(experiment, f"exclude:{key}")
    assert settings is not None and settings.space_document["lr"]["_value"] == [1e-4, 0.05]
    assert "Exclude region" not in as_(carol).get(url).content.decode()


def test_a_parameter_without_influence_can_be_held(at_the_edge: Experiment) -> None:
    """At the value of the best trial; not after a reset, which forgets what it was computed from."""
    Importance.objects.create(
        experiment=at_the_edge,
        epoch=0,
        succeeded_count=25,
        trial_count=25,
        shares={"lr": 0.995, "layers": 0.005},
    )
    piece = next(piece for piece in advice_on(at_the_edge) if piece.key == "hold:layers")
    settings = advised_settings(at_the_edge, piece.key)
    assert settings is not None and settings.fixed == {"layers": 1}
    Experiment.objects.filter(pk=at_the_edge.pk).update(epoch=1)
    at_the_edge.refresh_from_db()
    assert advised_settings(at_the_edge, piece.key) is None


def test_a_young_experiment_gets_no_advice(
    running: Callable[..., Experiment], django_assert_num_queries: Callable[..., object]
) -> None:
    experiment = running(max_trials=60)
    with django_assert_num_queries(0):
        assert advice_on(experiment) == []


def test_advice_reads_a_bounded_number_of_rows(
    at_the_edge: Experiment, django_assert_max_num_queries
) -> None:
    with django_assert_max_num_queries(5):
        assert advice_on(at_the_edge)
