"""Messages to Celery, sent after commit. One may get lost: the rows are the truth, and the beat looks again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from celery import current_app
from django.db import transaction
from kombu import Connection, pools
from kombu.exceptions import LimitExceeded, OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

STALE_S = 10  # the beat has sent another one long before
SEND_S = 1.0  # that a sender waits for the broker
PAUSE_S = 5.0  # without another try after a failure
UNAVAILABLE = (OperationalError, OSError, RedisError, LimitExceeded)
PATIENCE = {"socket_timeout": SEND_S, "socket_connect_timeout": SEND_S}

_paused_until = 0.0  # of the monotonic clock


def experiment(pk: int) -> bool:
    """Have the conductor look at this experiment, once this transaction is committed. Return False when it is known
    that no message was sent."""
    return _after_commit(f"schedule {pk}", lambda: _send("schedule", [pk], queue="control"))


def queue(routing_key: str) -> bool:
    """Tell the workers of a queue that there is work, once this transaction is committed.

    At most one such message is outstanding. Return False when it is known that no message was sent.
    """
    return _after_commit(routing_key, lambda: _send_once("work", queue=routing_key))


class _Message:
    """A message that waits for the commit. Its name tells whether the transaction sends it already."""

    def __init__(self, name: str, send: Callable[[], bool]) -> None:
        self.name, self.send = name, send
        self.__qualname__ = f"message {name}"  # Django's log of a failed callback asks for it

    def __call__(self) -> None:
        self.send()


def _after_commit(name: str, send: Callable[[], bool]) -> bool:
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        return send()
    # One transaction may touch an experiment many times; one message is enough.
    waiting = (callback for _, callback, *_ in connection.run_on_commit)
    if any(isinstance(message, _Message) and message.name == name for message in waiting):
        return True
    transaction.on_commit(_Message(name, send), robust=True)
    return True


def _send(task: str, args: list[int], *, queue: str) -> bool:
    """Send a message, and return whether it was sent."""
    return _try(lambda connection: _publish(connection, task, args, queue=queue))


def _send_once(task: str, *, queue: str) -> bool:
    """Send a message unless one is outstanding. Return whether there is one now."""

    def send(connection: Connection) -> None:
        if not connection.default_channel.queue_declare(queue).message_count:
            _publish(connection, task, [], queue=queue)

    return _try(send)


def _publish(connection: Connection, task: str, args: list[int], *, queue: str) -> None:
    current_app.send_task(
        task,
        args=args,
        queue=queue,
        expires=STALE_S,
        ignore_result=True,
        retry=False,
        connection=connection,
    )


def _try(send: Callable[[Connection], None]) -> bool:
    """Send with a connection to the broker, unless it did not answer a moment ago: who clicks does not wait for it
    again. Return whether it was sent."""
    global _paused_until
    if time.monotonic() < _paused_until:
        return False
    try:
        _with_connection(send)
        return True
    except UNAVAILABLE as error:
        _paused_until = time.monotonic() + PAUSE_S
        logger.warning(
            "The broker is unavailable: %s. No messages are sent for %.0f s; workers and control look at the database.",
            error,
            PAUSE_S,
        )
        return False


def _with_connection(send: Callable[[Connection], None]) -> None:
    pool = pools.connections[current_app.connection_for_write(transport_options=PATIENCE)]
    connection = pool.acquire(block=True, timeout=SEND_S)
    try:
        send(connection)
    except BaseException:
        pool.replace(connection)  # what is left of an answer must not be read as the next one's
        raise
    connection.release()
