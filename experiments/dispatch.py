"""Wake-ups for control and workers, sent through the broker after commit. They may get lost: the database rows are
authoritative, and the beat checks them again.

A wake-up is a member of a sorted set in the broker: at most one is outstanding for each experiment, and for each queue.
It costs a twentieth of a Celery message. A Celery message starts a slot if wake-ups fail.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery import current_app
from django.db import transaction
from kombu import Connection, pools
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.resource import Resource
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

DUE = "trialdeck.due"  # wake-ups for the conductor: primary keys of experiments
STALE_S = 10  # the beat has sent another one long before
SEND_S = 1.0  # how long a sender waits for the broker
PAUSE_S = 5.0  # pause after a failure
UNAVAILABLE = (OperationalError, OSError, RedisError, LimitExceeded)
PATIENCE = {"socket_timeout": SEND_S, "socket_connect_timeout": SEND_S}

_paused_until = 0.0  # of the monotonic clock
_known_pool: tuple[object, Resource] | None = None


def experiment(pk: int) -> bool:
    """Wake the conductor for this experiment, after this transaction commits. Return False if the wake-up is known to
    have failed."""
    return _after_commit(f"schedule {pk}", lambda: _wake(DUE, str(pk)))


def queue(routing_key: str) -> bool:
    """Wake a worker of this queue to claim a trial, after this transaction commits. Return False if the wake-up is
    known to have failed."""
    return _after_commit(routing_key, lambda: _wake(work_of(routing_key), routing_key))


def slot(routing_key: str) -> bool:
    """Start a slot of a worker of a queue by a Celery message. The beat does so in case a wake-up has failed. At most
    one such message is outstanding. Return False if no message is known to have been sent.
    """
    return _send_once("work", queue=routing_key)


def work_of(routing_key: str) -> str:
    """Return the key of the set with the wake-ups for the workers of a queue. `DUE` is the one for the conductor."""
    return f"trialdeck.{routing_key}"


class WakeUps:
    """Receives wake-ups from some sets, with a connection of its own. For one thread."""

    def __init__(self, *sets: str) -> None:
        self._sets: Sequence[str] = sets
        self._connection: Connection | None = None

    def next(self, within_s: float) -> str | None:
        """Return the longest outstanding wake-up of the first set that has one, None when there is none within this
        time. Raise one of `UNAVAILABLE`."""
        try:
            if self._connection is None:
                self._connection = current_app.connection_for_read().clone()
            received = _client(self._connection).bzpopmin(self._sets, timeout=within_s)
        except BaseException:
            self.close()  # what is left of an answer must not be read as the next one's
            raise
        return received[1].decode() if received else None

    def close(self) -> None:
        """Close the connection; `next` opens another one."""
        connection, self._connection = self._connection, None
        if connection:
            connection.release()


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


def _wake(name: str, member: str) -> bool:
    """Add a wake-up unless one is outstanding. Return whether one is outstanding now."""
    return _try(lambda connection: _add(connection, name, member))


def _add(connection: Connection, name: str, member: str) -> None:
    _client(connection).zadd(name, {member: time.time()}, nx=True)


def _send_once(task: str, *, queue: str) -> bool:
    """Send a message unless one is outstanding. Return whether one is outstanding now."""

    def send(connection: Connection) -> None:
        if not connection.default_channel.queue_declare(queue).message_count:
            _publish(connection, task, queue=queue)

    return _try(send)


def _publish(connection: Connection, task: str, *, queue: str) -> None:
    current_app.send_task(
        task,
        queue=queue,
        expires=STALE_S,
        ignore_result=True,
        retry=False,
        connection=connection,
    )


def _try(send: Callable[[Connection], None]) -> bool:
    """Send with a connection to the broker. Skip it if the broker has just failed to respond, so that requests do not
    wait again. Return whether it was sent."""
    global _paused_until
    if time.monotonic() < _paused_until:
        return False
    try:
        _with_connection(send)
        return True
    except UNAVAILABLE as error:
        _paused_until = time.monotonic() + PAUSE_S
        logger.warning(
            "The broker is unavailable: %s. No messages are sent for %.0f s; workers and control poll the database.",
            error,
            PAUSE_S,
        )
        return False


def _pool(*, is_new: bool = False) -> Resource:
    """Return the pool of connections of this process. Getting it from Celery and Kombu takes longer than using it."""
    global _known_pool
    of = tuple(PATIENCE.values())
    if is_new or _known_pool is None or _known_pool[0] != of:
        _known_pool = of, pools.connections[current_app.connection_for_write(transport_options=PATIENCE)]
    return _known_pool[1]


def _with_connection(send: Callable[[Connection], None]) -> None:
    pool = _pool()
    try:
        connection = pool.acquire(block=True, timeout=SEND_S)
    except RuntimeError:  # Kombu has closed all pools of this process
        pool = _pool(is_new=True)
        connection = pool.acquire(block=True, timeout=SEND_S)
    try:
        send(connection)
    except BaseException:
        pool.replace(connection)  # what is left of an answer must not be read as the next one's
        raise
    connection.release()


def _client(connection: Connection) -> Any:
    """The Redis client of a connection: kombu types its channels without it."""
    return connection.default_channel.client  # type: ignore[attr-defined]
