"""What `make test` leaves out of the whole suite, so that it takes minutes; `make soak` runs all.

Many tests with a database go through dozens of cases alike. Of each, a few cases are drawn; on PostgreSQL also only a
half of the tests of pages, which SQLite has seen all. The draw depends on the seed alone.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

import pytest

CASES, CASES_POSTGRES = 3, 2
PAGES = ("admin", "web")
DATABASE = {"db", "transactional_db"}


def left_out(items: Iterable[pytest.Item], *, seed: str, on_postgres: bool) -> list[pytest.Item]:
    """Return the items that this draw leaves out."""
    by_function: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if DATABASE & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("django_db"):
            by_function[item.nodeid.partition("[")[0]].append(item)

    def drawn(name: str) -> str:
        return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()

    skipped = []
    for name, cases in by_function.items():
        is_page = name.split("/")[1] in PAGES
        if on_postgres and is_page and int(drawn(name), 16) % 2:
            skipped += cases
        else:
            skipped += sorted(cases, key=lambda item: drawn(item.nodeid))[
                CASES_POSTGRES if on_postgres else CASES :
            ]
    return skipped
