"""Pages travel compressed; files as they are."""

from __future__ import annotations

import gzip

import pytest
from django.test import Client

pytestmark = pytest.mark.once

GZIP = {"Accept-Encoding": "gzip, deflate, br"}
FRAGMENT = {"HX-Request": "true", "HX-Target": "list"}


def browser_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_page_travels_compressed_and_is_the_same_page(running, alice):
    running("the run")
    client, url = browser_of(alice), "/w/lab/experiments/"
    sent = client.get(url, headers=GZIP)
    assert sent["Content-Encoding"] == "gzip" and "Accept-Encoding" in sent["Vary"]
    page = gzip.decompress(sent.content)
    assert b"the run" in page and len(sent.content) == int(sent["Content-Length"]) < len(page) / 4
    plain = client.get(url)
    assert "Content-Encoding" not in plain and b"the run" in plain.content


def test_an_unchanged_fragment_is_not_sent_again_whether_it_was_compressed_or_not(running, alice):
    running("the run")
    client, url = browser_of(alice), "/w/lab/experiments/"
    sent = client.get(url, headers=GZIP | FRAGMENT)
    assert sent["ETag"].startswith('W/"')
    for headers in (GZIP, {}):
        again = client.get(url, headers=headers | FRAGMENT | {"If-None-Match": sent["ETag"]})
        assert again.status_code == 304 and again.content == b""


@pytest.mark.parametrize("address", ["trials.csv", "trials.json"])
def test_exports_are_whole_whatever_the_browser_accepts(running, alice, address):
    experiment = running("the run")
    client, url = browser_of(alice), f"/w/lab/experiments/{experiment.public_id}/{address}"
    plain, sent = client.get(url), client.get(url, headers=GZIP)
    assert plain.status_code == sent.status_code == 200
    body = b"".join(sent.streaming_content) if sent.streaming else sent.content
    whole = b"".join(plain.streaming_content) if plain.streaming else plain.content
    assert (gzip.decompress(body) if sent.get("Content-Encoding") == "gzip" else body) == whole
