"""`trialdeck worker` and `trialdeck control`: what they refuse, and that they outlive their broker."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.processes import ROOT, free_port, manage
from tests.support.valkey import Valkey


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--slots", "none"], "--slots must be a whole number from 1 to 512, not 'none'."),
        (["--slots", "0"], "--slots must be a whole number from 1 to 512, not '0'."),
        (["--name", "a b"], "--name 'a b' is invalid"),
    ],
)
def test_a_wrong_option_gets_one_sentence(fresh, options, says):
    done = manage("worker", *options, env=fresh)
    assert done.returncode != 0
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["worker", "control", "demo"])
def test_it_does_not_start_on_an_empty_database_and_says_whose_it_is(fresh, command):
    """Who forgets --data is in another folder than the console."""
    done = manage(command, env=fresh)
    assert done.returncode != 0
    of = "DATABASE_URL" if "DATABASE_URL" in fresh else f"the data folder {fresh['TRIALDECK_DATA']}"
    assert f"The database of {of} is empty" in done.stderr and "trialdeck manage migrate" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["worker", "control", "up"])
def test_a_newer_database_is_refused_with_one_sentence(migrated, command):
    """TD-S2: after a downgrade; the older code would write rows that the newer one cannot read."""
    code = (
        "from django.db.migrations.recorder import MigrationRecorder; from django.db import connection;"
        "MigrationRecorder(connection).record_applied('experiments', '9999_of_the_future')"
    )
    assert manage("shell", "-c", code, env=migrated).returncode == 0
    options = ["--port", str(free_port())] if command == "up" else []
    done = manage(command, *options, env=migrated)
    assert done.returncode != 0
    assert done.stderr.strip() == (
        "The database is of a newer version of Trialdeck (it has 9999_of_the_future). Install that version, or "
        "restore a backup from before the upgrade."
    )


def test_an_unknown_queue_is_refused_and_the_known_ones_are_named(migrated):
    done = manage("worker", "--queue", "default", "--queue", "gpu", env=migrated)
    assert done.returncode != 0
    assert done.stderr.strip() == (
        "There is no queue 'gpu'; queues: default. An administrator can create it on the Queues page."
    )


@pytest.mark.parametrize("command", ["worker", "control", "up"])
def test_sqlite_is_refused_with_a_broker_on_another_machine(fresh, command):
    """TD-X8: SQLite serves one machine."""
    fresh.pop("DATABASE_URL", None)
    done = manage(command, env={**fresh, "REDIS_URL": "redis://broker.example/0"})
    assert done.returncode != 0
    assert "Set DATABASE_URL to a PostgreSQL" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.once
def test_up_refuses_a_lease_that_is_none_before_it_starts_anything(fresh):
    """It started all, and its worker four times, and ended with the name of a log."""
    done = manage("up", "--port", str(free_port()), env={**fresh, "TRIALDECK_LEASE_S": "soon"})
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.strip() == "TRIALDECK_LEASE_S must be a whole number from 4 to 3600, not 'soon'."


def killed(valkey):
    valkey.kill()
    valkey.start()


def failed_over(valkey):
    """As when a primary becomes a replica: who waits for a message gets an error on a connection that works."""
    valkey.refuse("stale")
    valkey.accept()


WORKER = ["worker", "--slots", "2", "--name", "w1"]


@pytest.mark.parametrize(
    ("command", "is_broken"), [(WORKER, killed), (["control"], killed), (["control"], failed_over)]
)
def test_it_outlives_its_broker_and_ends_at_once_when_told(migrated, command, is_broken):
    """TD-X8 TD-S2: a broker that was killed is found again, also when a message was in hand; one that answers with
    errors is left and asked again."""
    from celery import Celery
    from kombu import pools

    data = Path(migrated["TRIALDECK_DATA"])
    valkey = Valkey(data)
    valkey.start()
    ready = data / "ready"
    with (data / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env={**migrated, "TRIALDECK_READY": str(ready)},
            stdout=log,
            stderr=log,
        )
    try:
        eventually(ready.exists, within=60, what="the worker's readiness")
        with Celery(broker=valkey.url, set_as_current=False) as asker:
            lines = eventually(asker.control.inspect(timeout=0.5).active_queues, within=30, what="its lines")
            line = next(iter(lines.values()))[0]["name"]
            asker.send_task("schedule", [0], queue=line, countdown=3600)
            eventually(lambda: asker.control.inspect(timeout=0.5).scheduled(), what="its taking the message")
        is_broken(valkey)
        pools.reset()  # the test's own connection has died as well
        with Celery(broker=valkey.url, set_as_current=False) as asker:
            eventually(
                lambda: asker.control.ping(timeout=0.5, limit=1), within=30, what="the worker's answer"
            )
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, (data / "worker.log").read_text()
    finally:
        process.kill()
        process.wait(10)
        valkey.stop()


@pytest.mark.once
@pytest.mark.parametrize("command", [WORKER, ["control"]])
def test_it_waits_for_a_broker_that_still_loads(migrated, command):
    """TD-S2: Redis answers LOADING after a start with much data. That is one sentence, no traceback, and then it is
    ready."""
    data = Path(migrated["TRIALDECK_DATA"])
    valkey, ready = Valkey(data), data / "ready"
    valkey.start_loading()
    out = data / "out.log"
    try:
        with out.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *command],
                cwd=ROOT,
                env={**migrated, "TRIALDECK_READY": str(ready)},
                stdout=log,
                stderr=log,
            )
        try:
            celery, ours = "Cannot connect to", "Waiting for the broker"
            eventually(
                lambda: out.read_text().count(celery) > 2 and ours in out.read_text(), what="its tries"
            )
            valkey.kill()
            valkey.start()  # it has loaded
            eventually(ready.exists, within=60, what="readiness")
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait(10)
    finally:
        valkey.stop()
    text = out.read_text()
    assert f"{ours}: Valkey is loading the dataset in memory" in text and "Traceback" not in text, text
    assert text.count(ours) <= 3, "once for each thread"


@pytest.mark.once
def test_a_worker_does_not_load_the_pages_and_the_api():
    """They would cost a second of its start and tens of megabytes for good."""
    asks = (
        "import sys; from console.celery import app; app.loader.import_default_modules();"
        "print('experiments.tasks' in sys.modules,"
        " [name for name in ('ninja', 'experiments.api', 'experiments.web.urls') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asks], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True []\n", done.stderr


@pytest.mark.once
def test_a_web_process_does_not_load_numpy_and_optuna_before_they_are_needed():
    """They would take a fifth of the memory of an idle one."""
    asks = (
        "import sys; from console import wsgi; wsgi.import_pages();"
        "print('experiments.web.urls' in sys.modules, [name for name in ('numpy', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asks], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True []\n", done.stderr
