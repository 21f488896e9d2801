"""How many requests somebody may send: counted by the broker, for all web processes together.

One window begins with the first request in it. Three commands in one round trip; no row is written. While the
broker is away each process counts alone, so that the limit is looser, not gone.
"""

from __future__ import annotations

import re
import time
from functools import cache

import redis
from django.conf import settings
from django.core.cache import cache as own
from redis.backoff import NoBackoff
from redis.retry import Retry

from .error_response import TooMany

PERIODS_S = {"s": 1, "min": 60, "h": 3600}
PATIENCE_S = 0.2  # a request does not wait longer for its own limit
AWAY_S = 5  # for so long nobody asks a broker that did not answer

_away_until = 0.0  # of the monotonic clock


def count(who: str) -> None:
    """Counts one request of `who`. Raises `TooMany` when the limit is passed."""
    most, period_s = limit(settings.API_RATE)
    if not most:
        return
    number, wait_s = _shared(who, period_s) or _alone(who, period_s)
    if number > most:
        raise TooMany(
            f"More than {most:,} requests in {period_s:,} s. Wait {wait_s} s; an administrator can raise "
            "TRIALDECK_API_RATE.",
            wait_s=wait_s,
        )


def limit(told: str) -> tuple[int, int]:
    """(requests, seconds) of a setting such as `600/min`; (0, …): no limit."""
    number, _, period = told.partition("/")
    return int(number), PERIODS_S[period or "min"]


def _shared(who: str, period_s: int) -> tuple[int, int] | None:
    global _away_until
    if time.monotonic() < _away_until:
        return None
    try:
        client = _client(settings.CELERY_BROKER_URL)
        if client is None:
            return None
        with client.pipeline() as commands:
            key = f"trialdeck:rate:{who}"
            commands.set(key, 0, ex=period_s, nx=True).incr(key).ttl(key)
            _, number, left_s = commands.execute()
        return number, max(1, left_s)
    except (redis.RedisError, OSError):
        _away_until = time.monotonic() + AWAY_S
        return None


def _alone(who: str, period_s: int) -> tuple[int, int]:
    now = time.time()
    key = f"api-rate:{who}:{int(now // period_s)}"
    own.add(key, 0, timeout=period_s)
    try:
        number = own.incr(key)
    except ValueError:  # it ran out between the two
        number = 1
    return number, max(1, int(period_s - now % period_s))


@cache
def _client(url: str) -> redis.Redis | None:
    """One pool of connections per process; None for a broker that is no Redis."""
    url = re.sub(r"^redis\+socket://", "unix://", url).replace("?virtual_host=", "?db=")
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return None
    return redis.Redis.from_url(
        url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, retry=Retry(NoBackoff(), 0)
    )
