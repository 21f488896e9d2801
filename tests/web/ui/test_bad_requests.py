"""Requests that Django itself turns away: people get a page with a sentence."""

from collections.abc import Callable

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.urls import reverse

from experiments.models import Experiment, Queue, User, Workspace
from tests.web.experiment.create.test_create import FILLED

pytestmark = pytest.mark.once

SAYS = "Bad request"


@pytest.fixture
def new(client: Client, lab: Workspace, bob: User) -> Callable[..., object]:
    """Sends Create experiment."""
    client.force_login(bob)
    return lambda data, **options: client.post(reverse("experiment-new", args=[lab.slug]), data, **options)


def test_what_is_too_large_is_told_and_changes_nothing(new: Callable[..., object]) -> None:
    """TD-F1: the limit that the page names is the limit that holds."""
    assert settings.DATA_UPLOAD_MAX_MEMORY_SIZE == 16 * 1024 * 1024
    answer = new("description=" + "x" * 17_000_000, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400
    assert SAYS in answer.content.decode() and "16 MB" in answer.content.decode()
    assert not Experiment.objects.exists()


def test_too_many_fields_are_told(new: Callable[..., object]) -> None:
    answer = new({f"field{number}": "1" for number in range(10_001)})
    assert answer.status_code == 400 and SAYS in answer.content.decode()


def test_a_name_that_is_not_its_own_is_told(client: Client) -> None:
    answer = client.get("/", headers={"host": "elsewhere.example"})
    assert answer.status_code == 400 and "TRIALDECK_HOSTS" in answer.content.decode()


def test_a_page_from_before_somebody_signed_in_is_told(lab: Workspace, bob: User) -> None:
    """Two tabs: one signs in again, the other still has the form from before."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob)
    answer = client.post(reverse("experiment-new", args=[lab.slug]), {"csrfmiddlewaretoken": "x" * 64})
    assert answer.status_code == 403 and "Page expired" in answer.content.decode()
    assert not Experiment.objects.exists()


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_a_full_disk_is_named(client: Client, lab: Workspace, bob: User) -> None:
    """503 with what to do, instead of "something broke"; a page that only reads is drawn all the same."""
    client.force_login(bob)
    client.raise_request_exception = False
    where = {"project": lab.projects.get().pk, "queue": Queue.default().pk}
    typed = {**FILLED, **where, "description": "x" * 99_000, "draft": "1"}
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        before = cursor.execute("PRAGMA max_page_count").fetchone()[0]
        cursor.execute("PRAGMA max_page_count = 1")  # no less than it has: the file cannot grow
        try:
            answer = client.post(reverse("experiment-new", args=[lab.slug]), typed)
            page = client.get(reverse("experiments", args=[lab.slug]))
        finally:
            cursor.execute(f"PRAGMA max_page_count = {before}")
    assert answer.status_code == 503 and answer["Retry-After"]
    assert "The database disk is full" in answer.content.decode()
    assert page.status_code == 200
    assert not Experiment.objects.exists()
