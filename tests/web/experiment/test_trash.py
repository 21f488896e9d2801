"""The trash: what was deleted is gone from everywhere else; owners find it for 30 days and restore it."""

from __future__ import annotations

from datetime import timedelta
from html import unescape

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import timezone

from experiments.models import Event, Experiment, Workspace
from tests.people import as_

TRASH = reverse("trash", args=["lab"])


def restore_url(experiment: Experiment, workspace: str = "lab") -> str:
    return reverse("trash-restore", args=[workspace, experiment.public_id])


@pytest.fixture
def gone(in_state, bob) -> Experiment:
    """A completed experiment that bob deleted."""
    experiment = in_state("completed", name="old search")
    experiment.delete_to_trash(by=bob)
    return experiment


def test_a_deleted_experiment_is_nowhere_but_in_the_trash(gone, alice):
    """PAI-D2: gone from list, search, details, trials, logs, acts, files and counts (404), also for its owner."""
    client = as_(alice)
    args = ["lab", gone.public_id]
    for page in ("experiment", "experiment-trials", "trials-csv", "trials-json", "experiment-add"):
        assert client.get(reverse(page, args=args)).status_code == 404, page
    for page in ("trial", "trial-log", "trial-stop", "trial-rerun", "trial-replicate"):
        assert client.get(reverse(page, args=[*args, 1])).status_code == 404, page
    for verb in ("clone", "resume", "delete"):
        assert client.post(reverse("experiment-action", args=[*args, verb])).status_code == 404, verb
    for query in ("", "?q=old", f"?q={gone.public_id}", "?status=completed"):
        page = client.get(reverse("experiments", args=["lab"]) + query).content.decode()
        assert "old search" not in page and reverse("experiment", args=args) not in page, query
    assert client.post(reverse("trials-bulk", args=[*args, "rerun"]), {"trial": "1"}).status_code == 404
    client.post(reverse("experiments-bulk", args=["lab", "delete"]), {"pick": gone.public_id})
    assert Event.objects.filter(experiment=gone, verb="delete").count() == 1


def test_an_owner_sees_who_deleted_it_and_how_long_it_stays(gone, alice):
    """PAI-D2."""
    Experiment.everything.filter(pk=gone.pk).update(trashed_at=timezone.now() - timedelta(days=3.5))
    page = unescape(as_(alice).get(TRASH).content.decode())
    assert "old search" in page and "by bob" in page and "27 days" in page and "Completed" in page


def test_an_owner_restores_it_as_it_was(gone, alice):
    """PAI-D2: with its trials; the history says who did it."""
    client = as_(alice)
    response = client.post(restore_url(gone))
    assert response.url == reverse("experiment", args=["lab", gone.public_id])
    assert "old search" in client.get(response.url).content.decode()
    gone.refresh_from_db()
    assert (gone.state, gone.trashed_at, gone.trials.count()) == ("completed", None, 1)
    assert gone.events.first().verb == "restore" and gone.events.first().by == alice
    assert "old search" not in client.get(TRASH).content.decode()


def test_restored_twice_it_says_so_and_changes_nothing(gone, alice):
    client = as_(alice)
    client.post(restore_url(gone))
    response = client.post(restore_url(gone))
    text = " ".join(str(message) for message in get_messages(response.wsgi_request))
    assert "no longer in the trash" in text
    assert gone.events.filter(verb="restore").count() == 1


@pytest.mark.parametrize(("person", "code"), [("bob", 403), ("carol", 403), ("dave", 404)])
def test_only_owners_find_the_trash(gone, person, code, request):
    """PAI-D2: others neither see it nor restore, and have no link to it."""
    client = as_(request.getfixturevalue(person))
    assert client.get(TRASH).status_code == code
    assert client.post(restore_url(gone)).status_code == code
    gone.refresh_from_db()
    assert gone.trashed_at is not None
    if code == 403:
        assert TRASH not in client.get(reverse("experiments", args=["lab"])).content.decode()


def test_an_owner_has_a_link_to_it(gone, alice):
    assert f'href="{TRASH}"' in as_(alice).get(reverse("experiments", args=["lab"])).content.decode()


def test_the_trash_of_another_workspace_is_another(gone, alice, dave):
    Workspace.open("other", owner=dave)
    client = as_(dave)
    assert "old search" not in client.get(reverse("trash", args=["other"])).content.decode()
    assert client.post(restore_url(gone, "other")).status_code == 404


def test_an_empty_trash_says_what_it_is_for(lab, alice):
    assert "30 days" in as_(alice).get(TRASH).content.decode()


def test_it_has_a_fixed_number_of_queries(draft, alice, django_assert_max_num_queries):
    client, costs = as_(alice), []
    for _ in range(2):
        for number in range(4):
            draft(f"draft {number}").delete_to_trash(by=alice)
        with django_assert_max_num_queries(10) as seen:
            assert client.get(TRASH).status_code == 200
        costs.append(len(seen))
    assert costs[0] == costs[1]
