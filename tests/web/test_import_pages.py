"""TD-D8: the pages of imports: a fixed number of queries, whatever there is."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.people import as_
from tests.transfer.test_round_trip import imported, uploaded

pytestmark = [pytest.mark.django_db, pytest.mark.once]

TABLE = b"lr,loss\n0.1,0.5\n0.2,0.7\n"


def test_the_list_and_a_preview_have_a_fixed_number_of_queries(lab, bob) -> None:
    browser = as_(bob)

    def counts() -> list[int]:
        row = uploaded(lab, bob, TABLE, "a.csv")
        queries = []
        for page in ("/w/lab/imports/", f"/w/lab/imports/{row.public_id}/"):
            with CaptureQueriesContext(connection) as captured:
                assert browser.get(page).status_code == 200
            queries.append(len(captured))
        return queries

    counts()  # the first request of a session asks more
    first = counts()
    for number in range(4):
        imported(lab, bob, TABLE, f"{number}.csv", metric="loss", direction="minimize")
    assert counts() == first
