"""Two at once on two connections: a project is deleted while somebody puts something into it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection, transaction

from experiments.models import Experiment, Invalid, Model, Project, Refused, User, Workspace
from tests.people import make_settings
from tests.support.threads import Thread
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

GONE = "The project vision was just deleted"


def test_who_comes_too_late_is_told_so_whoever_it_is(
    lab: Workspace, draft: Callable[..., Experiment], alice: User, broker: Valkey
) -> None:
    """CML-N1: it was a foreign key's error at the end of the transaction (500). Now each side gets a sentence."""
    vision = Project.create(lab, name="vision")
    experiment, stale = draft(), Project.objects.get(pk=vision.pk)
    model = Model.register(lab.projects.get(name="Default"), by=alice, name="m", address="s3://bucket/m")
    puts: list[Callable[[], object]] = [
        lambda: Experiment.draft(lab, by=alice, name="new", settings=make_settings(), project=stale),
        lambda: Experiment.objects.get(pk=experiment.pk).describe(by=alice, project=stale),
        lambda: Model.register(stale, by=alice, name="n", address="s3://bucket/n"),
        lambda: Model.objects.get(pk=model.pk).change(project=stale),
    ]
    with transaction.atomic():
        vision.delete_empty()
        threads = [Thread(put) for put in puts]
        eventually(lambda: all(thread.is_alive() for thread in threads) and waiting() >= 1, what="one waits")
    for thread in threads:
        with pytest.raises(Invalid, match=GONE):
            thread.outcome()
    stale.delete_empty()  # already so
    with pytest.raises(Refused, match="just deleted"):
        stale.change(name="other", description="", destination="")
    assert Experiment.objects.count() == Model.objects.count() == 1


def test_what_was_put_into_it_first_keeps_it(lab: Workspace, alice: User, broker: Valkey) -> None:
    """CML-N1: the other order: the deletion waits, looks, and refuses."""
    vision = Project.create(lab, name="vision")
    with transaction.atomic():
        Experiment.draft(lab, by=alice, name="new", settings=make_settings(), project=vision)
        deletes = Thread(lambda: Project.objects.get(pk=vision.pk).delete_empty())
        eventually(lambda: deletes.is_alive() and waiting() >= 1, what="it waits")
    with pytest.raises(Refused, match="1 experiment is in it"):
        deletes.outcome()
    assert Experiment.objects.get().project == vision


def waiting() -> int:
    """Connections that wait for a lock; on SQLite, where nobody tells, all that may."""
    if connection.vendor == "sqlite":
        return 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]
