"""The broker is a convenience: without it, work starts a little later."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from experiments import dispatch
from experiments.models import Experiment, User, Worker
from experiments.scheduler.beat import Beat
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_hung_broker_is_waited_for_once_and_then_left_alone_for_seconds(
    broker: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-S2: each click waited seven seconds."""
    assert dispatch.experiment(1)
    tries, add = [], dispatch._add
    monkeypatch.setattr(dispatch, "PATIENCE", {"socket_timeout": 0.1, "socket_connect_timeout": 0.1})
    monkeypatch.setattr(dispatch, "SEND_S", 0.1)
    monkeypatch.setattr(dispatch, "_add", lambda *args: tries.append(args) or add(*args))
    broker.process.send_signal(signal.SIGSTOP)
    try:
        assert [dispatch.experiment(1), dispatch.experiment(2), dispatch.queue("q")] == [False] * 3
        assert len(tries) == 1
        assert dispatch._paused_until > time.monotonic() + dispatch.PAUSE_S - 3
    finally:
        broker.process.send_signal(signal.SIGCONT)
    assert not dispatch.experiment(1), "the pause is not over"
    dispatch._paused_until = 0.0
    assert dispatch.experiment(1) and dispatch.queue("q")


def test_a_restarted_broker_costs_no_pause(broker: Valkey) -> None:
    """TD-X8: the pooled connection is dead, the next one is not."""
    assert dispatch.experiment(1)
    broker.kill()
    broker.start()
    assert dispatch.experiment(1)


def test_the_beat_schedules_itself_where_no_message_can_be_sent(
    draft: Callable[..., Experiment], alice: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-S2: the broker did not answer a moment ago."""
    experiment = draft(concurrency=2)
    experiment.enqueue(by=alice)
    monkeypatch.setattr(dispatch, "_paused_until", time.monotonic() + 60)
    beat = Beat()
    try:
        assert beat.tick()
        eventually(lambda: experiment.trials.filter(state="waiting").count() == 2)
        assert beat.tick(), "again, while the sender pauses"
    finally:
        beat.fallback.end()
