"""Celery's app. Its settings are the CELERY_ ones in console/settings.py."""

import os
import sys
import threading
import warnings
from pathlib import Path

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_ready, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

# Else Celery runs Django's checks before its tasks are imported, and these import every page and the API: a second of
# start and tens of megabytes in each worker, which serves neither.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

# Celery warns root because a pickled message could run code. Ours are JSON only (CELERY_ACCEPT_CONTENT), and
# in a container root is the usual user: the warning would greet everybody and help nobody.
warnings.filterwarnings("ignore", category=SecurityWarning)

SHUTDOWN_S = 3.8  # a trial gets 3 s of grace at shutdown, then its result is written; `up` is gone after 5 s

# Celery puts the working directory first where there are Django's settings, but a package there may have the name of
# one of ours: whoever starts this process has seen to it that ours are found.
_path = sys.path[:]
app = Celery("trialdeck")
sys.path[:] = _path
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["experiments"])


@setup_logging.connect
def keep_djangos_logging(**_: object) -> None:
    """Celery leaves logging alone when somebody answers this signal: LOGGING in the settings is enough."""


@worker_ready.connect
def say_ready(**_: object) -> None:
    """Touches the file named by TRIALDECK_READY, for whoever started this worker and waits for it."""
    path = os.environ.get("TRIALDECK_READY")
    if path:
        Path(path).touch()


@worker_shutting_down.connect
def end_in_time(**_: object) -> None:
    """A task that hangs must not keep the worker: what it has not written yet is found again in the rows."""
    timer = threading.Timer(SHUTDOWN_S, os._exit, [0])
    timer.daemon = True
    timer.start()
