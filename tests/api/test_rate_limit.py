"""How many requests somebody may send."""

from __future__ import annotations

import pytest

from experiments import rate_limits


@pytest.fixture(autouse=True)
def three_an_hour(settings):
    settings.API_RATE = "3/h"
    rate_limits._broker_paused_until = 0.0
    yield
    rate_limits._broker_paused_until = 0.0
    rate_limits.process_cache.clear()
    rate_limits._client.cache_clear()


def walk(api, bob, carol):
    caller = api(bob)
    assert [caller.get("/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = caller.get("/me")
    assert 1 <= int(answer["Retry-After"]) <= 3600
    assert (
        answer.json()["error"] == "too_many_requests" and "3 requests in 3,600 s" in answer.json()["detail"]
    )
    assert api(carol).get("/me").status_code == 200  # everybody has a limit of their own


def test_the_broker_counts_for_all_web_processes(api, bob, carol, broker):
    walk(api, bob, carol)
    client = rate_limits._client(rate_limits.settings.CELERY_BROKER_URL)
    keys = client.keys("trialdeck:rate:*")
    assert len(keys) == 2 and all(client.ttl(key) > 3000 for key in keys)  # and they end by themselves
    client.delete(*keys)


def test_each_process_counts_alone_while_the_broker_is_away(api, bob, carol, settings):
    settings.CELERY_BROKER_URL = "redis+socket:///nowhere/valkey.sock?virtual_host=0"
    walk(api, bob, carol)


@pytest.mark.once
def test_a_setting_is_read_as_it_is_written():
    assert [rate_limits.limit(text) for text in ("600/min", "20/s", "5000/h", "0")] == [
        (600, 60),
        (20, 1),
        (5000, 3600),
        (0, 60),
    ]
