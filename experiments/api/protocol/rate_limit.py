"""The rate limit of the API; requests are counted by experiments/rate_limits.py."""

from __future__ import annotations

from django.conf import settings

from experiments import rate_limits

from .errors import TooManyRequests


def count(caller: str) -> None:
    """Count one request of `caller`. Raise `TooManyRequests` above the limit."""
    if excess := rate_limits.count(caller, rate=settings.API_RATE):
        raise TooManyRequests(
            f"Rate limit exceeded: more than {excess.most:,} requests in {excess.period_s:,} s. Retry in "
            f"{excess.retry_after_s} s; an administrator can raise TRIALDECK_API_RATE.",
            retry_after_s=excess.retry_after_s,
        )
