"""Instants that are compared come from one clock, the database's."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from experiments import database_clock
from experiments.models import Experiment, Lease, Trial, Worker
from tests.people import look_at
from tests.repository_rules.repository import files, name_of


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """This process's own clock is an hour behind, until `undo`."""
    real_now, real_time = timezone.now, time.time
    monkeypatch.setattr(timezone, "now", lambda: real_now() - timedelta(hours=1))
    monkeypatch.setattr(time, "time", lambda: real_time() - 3600)
    return monkeypatch


def test_a_worker_whose_clock_is_behind_does_not_end_an_experiment(
    slow_clock: pytest.MonkeyPatch, running: Callable[..., Experiment], worker: Worker
) -> None:
    """TD-S2: its claim starts the experiment's time, and control compares it."""
    experiment = running(taken=1, max_duration_s=60)
    trial = experiment.trials.get(state="running")
    worker.heartbeat()
    slow_clock.undo()
    assert look_at(experiment).state == "running"
    before = database_clock.now() - timedelta(minutes=5)
    worker.refresh_from_db()
    event = trial.events.get(after="running")
    assert (
        min(trial.started_at, trial.created_at, worker.heard_at, event.at, experiment.ticking_since) > before
    )


def test_the_lease_of_the_beat_is_by_the_databases_clock(slow_clock: pytest.MonkeyPatch, db: None) -> None:
    """TD-S2: a control whose clock is behind neither steals it nor loses it at once."""
    assert Lease.hold("beat", "behind", for_=timedelta(seconds=10))
    slow_clock.undo()
    assert not Lease.hold("beat", "other", for_=timedelta(seconds=10))


def test_time_is_measured_again_and_counted_on_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """TD-S2: one look at the database's clock serves for seconds; when it was set, others follow."""
    steady, measured = [1000.0], [datetime(2030, 1, 1, tzinfo=UTC)]
    monkeypatch.setattr(database_clock, "connection", SimpleNamespace(vendor="postgresql"))
    monkeypatch.setattr(database_clock, "_measured", None)
    monkeypatch.setattr(database_clock, "_measure", lambda: measured[0])
    monkeypatch.setattr(database_clock, "_steady_s", lambda: steady[0])
    assert database_clock.now() == measured[0]
    steady[0] += 4
    begun, measured[0] = measured[0], datetime(2031, 1, 1, tzinfo=UTC)
    assert database_clock.now() == begun + timedelta(seconds=4)
    steady[0] += database_clock.MEASURED_FOR_S
    assert database_clock.now() == measured[0]


def test_a_row_that_is_not_stored_yet_needs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """TD-S2: its stamp follows the last measurement."""
    monkeypatch.setattr(database_clock, "connection", SimpleNamespace(vendor="postgresql", connection=None))
    monkeypatch.setattr(database_clock, "_measured", (datetime(2030, 1, 1, tzinfo=UTC), 1000.0))
    monkeypatch.setattr(database_clock, "_steady_s", lambda: 1060.0)
    assert Trial(number=1).created_at == datetime(2030, 1, 1, 0, 1, tzinfo=UTC)


def test_it_is_the_time_of_the_database(db: None) -> None:
    """TD-S2: on PostgreSQL measured there; on SQLite this machine's, whose file it is."""
    assert abs(database_clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert Trial._meta.get_field("created_at").get_default().tzinfo == UTC


def test_nothing_stores_or_compares_by_the_clock_of_its_own_machine() -> None:
    """TD-S2: the field that stamps rows names it for migrations only."""
    sources = [path for path in files(".py") if name_of(path).startswith("experiments/")]
    own = re.compile(r"timezone\.now\b|datetime\.(now|utcnow|today)\b|auto_now")
    ours = {name_of(path) for path in sources if own.search(path.read_text())}
    exempt = {"experiments/database_clock.py", "experiments/models/fields.py"}
    assert {name for name in ours - exempt if "/migrations/" not in name} == set()
