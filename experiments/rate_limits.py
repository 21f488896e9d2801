"""Rate limits, counted in the broker for all web processes together.

A window begins with the first request in it. Counting takes three commands in one round trip, and writes no row. While
the broker is unreachable, each process counts alone: the limit is looser, but still there.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import cache

import redis
from django.conf import settings
from django.core.cache import cache as process_cache
from redis.backoff import NoBackoff
from redis.retry import Retry

PERIODS_S = {"s": 1, "min": 60, "h": 3600}
BROKER_TIMEOUT_S = 0.2  # a request does not wait longer for its own limit
BROKER_PAUSE_S = 5  # pause after the broker failed to respond

_broker_paused_until = 0.0  # on the monotonic clock


@dataclass(frozen=True)
class Excess:
    """A limit that is exceeded: `most` requests in `period_s` seconds."""

    most: int
    period_s: int
    retry_after_s: int


def count(caller: str, *, rate: str) -> Excess | None:
    """Count one request of `caller` against a rate such as `600/min`. Return what is exceeded, or None."""
    most, period_s = limit(rate)
    if not most:
        return None
    number, retry_after_s = _count_in_broker(caller, period_s) or _count_in_process(caller, period_s)
    return Excess(most, period_s, retry_after_s) if number > most else None


def limit(rate: str) -> tuple[int, int]:
    """Return (requests, seconds) of a setting such as `600/min`; (0, …) means no limit."""
    number, _, period = rate.partition("/")
    return int(number), PERIODS_S[period or "min"]


def _count_in_broker(caller: str, period_s: int) -> tuple[int, int] | None:
    """Return (requests in this window, seconds until it ends), or None while the broker is unreachable."""
    global _broker_paused_until
    if time.monotonic() < _broker_paused_until:
        return None
    try:
        client = _client(settings.CELERY_BROKER_URL)
        if client is None:
            return None
        with client.pipeline() as commands:
            key = f"trialdeck:rate:{caller}"
            commands.set(key, 0, ex=period_s, nx=True)
            commands.incr(key)
            commands.ttl(key)
            _, number, left_s = commands.execute()
        return number, max(1, left_s)
    except (redis.RedisError, OSError):
        _broker_paused_until = time.monotonic() + BROKER_PAUSE_S
        return None


def _count_in_process(caller: str, period_s: int) -> tuple[int, int]:
    now = time.time()
    key = f"api-rate:{caller}:{int(now // period_s)}"
    process_cache.add(key, 0, timeout=period_s)
    try:
        number = process_cache.incr(key)
    except ValueError:  # the key expired between the two calls
        number = 1
    return number, max(1, int(period_s - now % period_s))


@cache
def _client(url: str) -> redis.Redis | None:
    """Return the process's one connection pool, or None for a broker that is not Redis."""
    url = re.sub(r"^redis\+socket://", "unix://", url).replace("?virtual_host=", "?db=")
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return None
    return redis.Redis.from_url(
        url,
        socket_timeout=BROKER_TIMEOUT_S,
        socket_connect_timeout=BROKER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
