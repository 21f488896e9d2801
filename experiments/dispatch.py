"""Floor 1: after commit, tell Celery to look. A nudge may get lost: the rows are the truth, the beat looks again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

STALE_S = 10  # the beat has nudged again long before


def experiment(pk: int) -> None:
    """Look at this experiment, once this transaction is committed."""
    _after_commit(f"conduct {pk}", lambda: _send("conduct", [pk], queue="control"))


def queue(line: str) -> None:
    """This queue has work, once this transaction is committed. At most one such message is outstanding."""
    _after_commit(line, lambda: _send_once("work", queue=line))


def worker(line: str) -> None:
    """Wake one worker by its own line, now."""
    _send_once("work", queue=line)


def _after_commit(name: str, send: Callable[[], None]) -> None:
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        send()
        return
    # One transaction may touch an experiment many times; one message is enough.
    if any(getattr(entry[1], "nudge", None) == name for entry in connection.run_on_commit):
        return
    send.nudge = name
    transaction.on_commit(send, robust=True)


def _send(task: str, args: list, *, queue: str) -> None:
    try:
        current_app.send_task(task, args=args, queue=queue, expires=STALE_S, ignore_result=True, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("The broker is away, so nobody was told about %s %s: %s", task, args, error)


def _send_once(task: str, *, queue: str) -> None:
    try:
        with current_app.connection_for_write() as connection:
            channel = connection.default_channel
            if channel._size(queue):
                return
    except (OperationalError, OSError, *_transport_errors()) as error:
        logger.warning("The broker is away, so nobody was told about work in %s: %s", queue, error)
        return
    _send(task, [], queue=queue)


def _transport_errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return (RedisError,)
