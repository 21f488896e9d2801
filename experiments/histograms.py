"""Durations, counted in histograms that all processes of the installation share, for `GET /metrics`.

An observation only adds to a dictionary. Once a second, a thread adds the observations to the counts in the broker. If
the broker is down or full, they are lost. A broker that starts again begins at 0, which Prometheus expects of counters.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

FLUSH_S = 1.0
PAUSE_S = 5.0  # pause after a failure
BROKER_TIMEOUT_S = 1.0
SUM = "sum"  # in place of the index of a bucket
SEPARATOR = "\x1f"  # in no label

SHORT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
LONG_S = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 86400)


@dataclass(frozen=True)
class Histogram:
    """A histogram of seconds. `bounds` are the upper bounds of its buckets, followed by one without a bound."""

    name: str
    text: str
    bounds: tuple[float, ...]
    labels: tuple[str, ...] = ()  # their names

    def observe(self, seconds: float, *values: str) -> None:
        """Count one duration, with the values of its labels."""
        seconds = max(0.0, seconds)
        _pending.add(self, values, bisect_left(self.bounds, seconds), seconds)

    @property
    def key(self) -> str:
        return f"trialdeck:histogram:{self.name}"


@dataclass(frozen=True)
class Counts:
    """The counts for one combination of labels. `up_to[i]` durations were at most `bounds[i]`; the last of them
    are all."""

    up_to: tuple[int, ...]
    sum_s: float


CLAIM_TO_START = Histogram(
    "trialdeck_claim_to_start_seconds",
    "Time from the claim of a trial to the start of its process, including fetching code and packages.",
    SHORT_S,
)
END_TO_NEXT_START = Histogram(
    "trialdeck_end_to_next_start_seconds",
    "Time from the end of a process to the start of the next one in the same slot, where a trial was waiting.",
    SHORT_S,
)
QUEUE_WAIT = Histogram(
    "trialdeck_queue_wait_seconds",
    "Time from enqueueing an experiment to the start of its first trial.",
    LONG_S,
    ("queue",),
)
REQUEST = Histogram(
    "trialdeck_request_seconds",
    "Time from a request to the start of its response.",
    SHORT_S,
    ("kind", "status"),
)
TICK = Histogram(
    "trialdeck_scheduler_tick_seconds",
    "Time between two ticks of the scheduler, which ticks every two seconds.",
    (2.25, 2.5, 3, 4, 6, 10, 30, 60, 300),
)
ALL = (CLAIM_TO_START, END_TO_NEXT_START, QUEUE_WAIT, REQUEST, TICK)


class _Pending:
    """Observations of this process that are not yet added to the counts in the broker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_new = threading.Event()
        self._thread: threading.Thread | None = None
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sums: Counter[tuple[str, str]] = Counter()

    def add(self, histogram: Histogram, values: tuple[str, ...], bucket: int, seconds: float) -> None:
        with self._lock:
            self._counts[histogram.key, SEPARATOR.join((*values, str(bucket)))] += 1
            self._sums[histogram.key, SEPARATOR.join((*values, SUM))] += seconds  # type: ignore[assignment]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="histograms", daemon=True)
                self._thread.start()
        self._is_new.set()

    def take(self) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
        with self._lock:
            taken = self._counts, self._sums
            self._counts, self._sums = Counter(), Counter()
        return taken

    def _run(self) -> None:
        while True:
            self._is_new.wait()
            time.sleep(FLUSH_S)  # others that come meanwhile go with it
            self._is_new.clear()
            if not flush():
                time.sleep(PAUSE_S)


_pending = _Pending()


def flush() -> bool:
    """Add the observations of this process to the counts in the broker. Return False if that fails; they are lost
    then."""
    counts, sums = _pending.take()
    client = _client(settings.CELERY_BROKER_URL)
    if client is None:
        return False
    try:
        with client.pipeline(transaction=False) as commands:
            for (key, field), number in counts.items():
                commands.hincrby(key, field, number)
            for (key, field), seconds in sums.items():
                commands.hincrbyfloat(key, field, seconds)
            commands.execute()
    except (redis.RedisError, OSError) as error:
        logger.debug("Durations are not counted: %s", error)
        return False
    return True


def read() -> dict[Histogram, dict[tuple[str, ...], Counts]] | None:
    """Return the counts of all histograms by the values of their labels, or None while the broker is unreachable."""
    client = _client(settings.CELERY_BROKER_URL)
    if client is None:
        return None
    try:
        with client.pipeline(transaction=False) as commands:
            for histogram in ALL:
                commands.hgetall(histogram.key)
            answers = commands.execute()
    except (redis.RedisError, OSError):
        return None
    return {histogram: _counts(histogram, fields) for histogram, fields in zip(ALL, answers, strict=True)}


def _counts(histogram: Histogram, fields: dict[bytes, bytes]) -> dict[tuple[str, ...], Counts]:
    """Return what is in the broker's hash. Buckets of an earlier version, which had more of them, are the last one."""
    last = len(histogram.bounds)
    buckets: dict[tuple[str, ...], list[int]] = {}
    sums: dict[tuple[str, ...], float] = {}
    for field, value in fields.items():
        *labels, bucket = field.decode().split(SEPARATOR)
        if len(labels) != len(histogram.labels):  # of an earlier version
            continue
        if bucket == SUM:
            sums[tuple(labels)] = float(value)
        else:
            buckets.setdefault(tuple(labels), [0] * (last + 1))[min(int(bucket), last)] += int(value)
    return {
        labels: Counts(tuple(accumulate(numbers)), sums.get(labels, 0.0))
        for labels, numbers in buckets.items()
    }


@cache
def _client(url: str) -> redis.Redis | None:
    """Return the process's connections, or None for a broker that is not Redis."""
    url = re.sub(r"^redis\+socket://", "unix://", url).replace("?virtual_host=", "?db=")
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return None
    return redis.Redis.from_url(
        url,
        socket_timeout=BROKER_TIMEOUT_S,
        socket_connect_timeout=BROKER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
