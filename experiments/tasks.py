"""Celery's entry points. A task is one call; signals start and end what runs beside the tasks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

from celery import shared_task
from celery.signals import worker_shutting_down

from experiments.models import driver
from experiments.scheduler import conductor
from experiments.scheduler.beat import Beat
from experiments.scheduler.conductor_threads import ConductorThreads
from experiments.worker.db_connection import share_connections
from experiments.worker.worker import LocalWorker

_worker: LocalWorker | None = None
_beat_ending = threading.Event()
_drain_s = 0.0
_shutdown: threading.Thread | None = None

LINGER_S = 1.0  # that a slot waits for further work after a trial
SHUTDOWN_S = 3.8  # a trial gets 3 s of grace at shutdown, then its result is stored; `up` ends after 5 s


@shared_task(name="schedule")
def schedule(pk: int) -> None:
    conductor.schedule(pk)


@shared_task(name="work")
def work() -> None:
    assert _worker is not None, "the command `worker` calls serve() before Celery starts"
    _worker.work()


def serve(worker: LocalWorker, *, routing_keys: Sequence[str], drain_s: float) -> None:
    """Makes this process the trial worker: `trialdeck worker` says so before Celery starts. At shutdown, its running
    trials have `drain_s` seconds to finish."""
    global _worker, _drain_s
    _worker, _drain_s = worker, drain_s
    worker.start_slot = lambda: threading.Thread(target=worker.work, name="slot", daemon=True).start()
    worker.end_process = lambda: os.kill(os.getpid(), signal.SIGTERM)
    share_connections(f"trialdeck worker {worker.name}")
    worker.linger_s = LINGER_S
    worker.start()
    threading.Thread(target=worker.calls.answer, args=[routing_keys], name="wake-ups", daemon=True).start()


def why_ended() -> str:
    """Return why the trial worker of this process has ended unexpectedly, or ""."""
    return _worker.why_ended if _worker else ""


def keep_beat() -> None:
    """Makes this process keep the beat and run the conductor: `trialdeck control` says so before Celery starts."""
    driver.prepare_here()
    ConductorThreads(_beat_ending).start()
    threading.Thread(target=Beat().run, args=[_beat_ending], name="beat", daemon=True).start()


@worker_shutting_down.connect
def shut_down(how: str = "", **_: object) -> None:
    """Celery waits for its tasks, so the trials are drained and ended beside it. The process ends after both."""
    global _shutdown
    _beat_ending.set()
    if _worker is None:
        _exit_in_time()
    elif _shutdown is None:
        drain_s = 0 if how == "Cold" or _worker.why_ended else _drain_s
        _shutdown = threading.Thread(target=_end, args=[_worker, drain_s], name="shutdown")
        _shutdown.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: _hurry())


def wait_until_ended() -> None:
    """Return when the trials of this process have been ended and it has signed off."""
    if _shutdown:
        _shutdown.join()


def _end(worker: LocalWorker, drain_s: float) -> None:
    worker.drain(drain_s)
    _exit_in_time()
    worker.end()


def _hurry() -> None:
    """In a thread of its own: the lock that it takes may be held where the signal came."""
    if _worker:
        threading.Thread(target=_worker.hurry, name="hurry", daemon=True).start()


def _exit_in_time() -> None:
    """Exit in time even when a task hangs: its unfinished work is recovered from the rows."""
    timer = threading.Timer(SHUTDOWN_S, os._exit, [0])
    timer.daemon = True
    timer.start()
