"""Messages to Celery, sent after commit. One may get lost: the rows are the truth, and the beat looks again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

STALE_S = 10  # the beat has sent another one long before


def experiment(pk: int) -> None:
    """Have the conductor look at this experiment, once this transaction is committed."""
    _after_commit(f"schedule {pk}", lambda: _send("schedule", [pk], queue="control"))


def queue(routing_key: str) -> None:
    """Tell the workers of a queue that there is work, once this transaction is committed.

    At most one such message is outstanding.
    """
    _after_commit(routing_key, lambda: _send_once("work", queue=routing_key))


class _Message:
    """A message that waits for the commit. Its name tells whether the transaction sends it already."""

    def __init__(self, name: str, send: Callable[[], None]) -> None:
        self.name, self.send = name, send
        self.__qualname__ = f"message {name}"  # Django's log of a failed callback asks for it

    def __call__(self) -> None:
        self.send()


def _after_commit(name: str, send: Callable[[], None]) -> None:
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        send()
        return
    # One transaction may touch an experiment many times; one message is enough.
    waiting = (callback for _, callback, *_ in connection.run_on_commit)
    if any(isinstance(message, _Message) and message.name == name for message in waiting):
        return
    transaction.on_commit(_Message(name, send), robust=True)


def _send(task: str, args: list[int], *, queue: str) -> None:
    try:
        current_app.send_task(task, args=args, queue=queue, expires=STALE_S, ignore_result=True, retry=False)
    except (OperationalError, OSError, RedisError) as error:
        logger.warning("The broker is unavailable. Message %s %s was not sent: %s", task, args, error)


def _send_once(task: str, *, queue: str) -> None:
    try:
        with current_app.connection_for_write() as connection:
            if connection.default_channel.queue_declare(queue).message_count:
                return
    except (OperationalError, OSError, RedisError) as error:
        logger.warning("The broker is unavailable. Message %s to %s was not sent: %s", task, queue, error)
        return
    _send(task, [], queue=queue)
