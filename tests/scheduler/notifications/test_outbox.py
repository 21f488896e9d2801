"""TD-D5: the beat makes and sends messages beside its other work."""

from __future__ import annotations

import threading

import pytest

from experiments.models import Delivery, Occurrence
from experiments.scheduler.beat import Beat
from experiments.scheduler.notifications import fan_out, outbox
from tests.people import end_all
from tests.support.waiting import eventually


@pytest.mark.django_db(transaction=True)
def test_the_beat_delivers_in_a_thread_of_its_own(running, rule, http):
    """TD-D5: a few seconds after the cause; a receiver that hangs does not stop the beat."""
    rule()
    end_all(running(max_trials=1))
    released = threading.Event()
    http.before_answer = released.wait
    beat = Beat()
    assert beat.tick()
    eventually(lambda: http.requests)
    assert beat.tick(), "while the receiver hangs"
    released.set()
    eventually(lambda: Delivery.objects.get().status == "sent")
    assert len(http.requests) == 1
    beat.outbox.join()


def test_without_work_no_thread_starts(db):
    box = outbox.Outbox()
    box.tick()
    assert box._thread is None


def test_what_cannot_become_a_message_holds_up_nothing(running, rule, http, monkeypatch):
    """A bug in one kind of message must not stop all others."""
    rule()
    end_all(running("bad", max_trials=1))
    end_all(running("good", max_trials=1))
    made = fan_out.content.subject

    def subject(occurrence: Occurrence) -> str:
        if occurrence.experiment.name == "bad":
            raise ZeroDivisionError
        return made(occurrence)

    monkeypatch.setattr(fan_out.content, "subject", subject)
    fan_out.expand()
    assert list(Delivery.objects.values_list("subject", flat=True)) == ["good: completed"]
    assert not Occurrence.objects.filter(expanded_at=None).exists()
