"""Celery's entry points. A task is one call; signals start and end what runs beside the tasks."""

from __future__ import annotations

import os
import signal
import threading

from celery import shared_task
from celery.signals import worker_shutting_down

from experiments.scheduler import conductor
from experiments.scheduler.beat import Beat
from experiments.worker.worker import LocalWorker

_worker: LocalWorker | None = None
_beat_ending = threading.Event()


@shared_task(name="schedule")
def schedule(pk: int) -> None:
    conductor.schedule(pk)


@shared_task(name="work")
def work() -> None:
    assert _worker is not None, "the command `worker` calls serve() before Celery starts"
    _worker.work()


def serve(worker: LocalWorker) -> None:
    """Makes this process the trial worker: `trialdeck worker` says so before Celery starts."""
    global _worker
    _worker = worker
    worker.start_slot = lambda: threading.Thread(target=worker.work, name="slot", daemon=True).start()
    worker.end_process = lambda: os.kill(os.getpid(), signal.SIGTERM)
    worker.start()


def why_ended() -> str:
    """Return why the trial worker of this process has ended by itself, or ""."""
    return _worker.why_ended if _worker else ""


def keep_beat() -> None:
    """Makes this process keep the beat: `trialdeck control` says so before Celery starts."""
    threading.Thread(target=Beat().run, args=[_beat_ending], name="beat", daemon=True).start()


@worker_shutting_down.connect
def shut_down(**_: object) -> None:
    """Celery waits for its tasks, so the trials are ended beside it, now; the process ends after both."""
    _beat_ending.set()
    if _worker:
        threading.Thread(target=_worker.end, name="shutdown").start()
