"""TD-X6: the files of a table are offered while it has rows, on every page alike."""

from __future__ import annotations

import re

import pytest

from experiments.models import Worker
from tests.people import as_, end_all

PAGES = (
    "/w/lab/experiments/",
    "/w/lab/models/",
    "/w/lab/dashboards/",
    "/w/lab/leaderboard/",
    "/w/lab/usage/",
    "/w/lab/members/",
    "/w/lab/audit/",
    "/w/lab/notifications/",
    "/tokens/",
    "/queues/",
    "/workers/",
)
FILE = re.compile(r'href="[^"]*[./-](?:csv|json)["?]')
ROW = re.compile(r"<tbody.*?<t[dh][ >]", re.DOTALL)


def offers_files(page: str) -> bool:
    return FILE.search(page) is not None


@pytest.mark.parametrize("path", PAGES)
def test_a_page_without_rows_offers_no_files(path, lab, alice):
    Worker.objects.all().delete()
    page = as_(alice).get(path).content.decode()
    assert offers_files(page) == bool(ROW.search(page)), path


def test_pages_with_rows_offer_files(running, lab, alice):
    end_all(running(max_trials=1))
    experiment = lab.experiments.get()
    for path in ("/w/lab/experiments/", "/workers/", f"/w/lab/experiments/{experiment.public_id}/trials/"):
        assert offers_files(as_(alice).get(path).content.decode()), path
