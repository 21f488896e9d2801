"""Celery's app. Its settings are the CELERY_ ones in console/settings.py."""

import os
import sys
import warnings
from pathlib import Path

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_ready

from console.garbage_collection import exempt_loaded_code

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

# Celery would run Django's checks before it imports its tasks. They import every page and the API, which workers do not
# need: a second of startup time and tens of megabytes each.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

# Celery warns when it runs as root, because a pickled message could run code. Only JSON messages are accepted
# (CELERY_ACCEPT_CONTENT), and root is the usual user in a container.
warnings.filterwarnings("ignore", category=SecurityWarning)

# Celery inserts the working directory into sys.path, but a package there may have the name of one of ours. Whoever
# started this process has already set up the path.
_path = sys.path[:]
app = Celery("trialdeck")
sys.path[:] = _path
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["experiments"])


def outlive_the_broker() -> None:
    """Make this process's Celery worker reconnect whenever its broker dies.

    Kombu (5.6) uses a channel that it has just closed: to restore the message that was being processed, and to continue
    reading. The AttributeError would end the process. A lost message only delays work by a second, so it is not
    restored, and a closed channel raises an error that Celery handles as a lost connection.
    """
    from kombu.transport.redis import Channel
    from redis.exceptions import ConnectionError

    kombus_parameters = Channel._connparams

    def connection_parameters(channel: Channel, asynchronous: bool = False) -> dict[str, object]:
        if channel.connection is None:
            raise ConnectionError("The channel to the broker is closed.")
        return kombus_parameters(channel, asynchronous)

    Channel.do_restore = False
    setattr(Channel, "_connparams", connection_parameters)  # noqa: B010  mypy takes it for a method


@setup_logging.connect
def keep_djangos_logging(**_: object) -> None:
    """Keep Django's LOGGING: Celery does not configure logging when this signal has a receiver."""


@worker_ready.connect
def say_ready(**_: object) -> None:
    """Touch the file TRIALDECK_READY, for which the process that started this worker waits."""
    path = os.environ.get("TRIALDECK_READY")
    if path:
        Path(path).touch()
    exempt_loaded_code()
