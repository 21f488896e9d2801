"""Celery's app. Its settings are the CELERY_ ones in console/settings.py."""

import os
import warnings
from pathlib import Path

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

# Celery warns root because a pickled message could run code. Ours are JSON only (CELERY_ACCEPT_CONTENT), and
# in a container root is the usual user: the warning would greet everybody and help nobody.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("trialdeck")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["experiments"])


@worker_ready.connect
def say_ready(**_: object) -> None:
    """Touches the file named by TRIALDECK_READY, for whoever started this worker and waits for it."""
    path = os.environ.get("TRIALDECK_READY")
    if path:
        Path(path).touch()
