"""Pages travel compressed; files as they are."""

from __future__ import annotations

import gzip

import brotli
import pytest
from django.test import Client

from experiments.web.ui.middleware import _brotli

pytestmark = pytest.mark.once

GZIP = {"Accept-Encoding": "gzip, deflate"}
BROTLI = {"Accept-Encoding": "gzip, deflate, br, zstd"}
FRAGMENT = {"HX-Request": "true", "HX-Target": "list"}


def browser_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_page_travels_compressed_and_is_the_same_page(running, alice):
    running("the run")
    for number in range(5):
        running(f"run {number}")
    client, url = browser_of(alice), "/w/lab/experiments/"
    sent = client.get(url, headers=GZIP)
    assert sent["Content-Encoding"] == "gzip" and "Accept-Encoding" in sent["Vary"]
    page = gzip.decompress(sent.content)
    assert b"the run" in page and len(sent.content) == int(sent["Content-Length"]) < len(page) / 4
    plain = client.get(url)
    assert "Content-Encoding" not in plain and b"the run" in plain.content


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=1.0, gzip;q=0.5", "br"),
        ("gzip, br;q=0", "gzip"),
        ("br;q=0.0, gzip", "gzip"),
        ("brotli, gzip", "gzip"),
        ("identity", ""),
        ("", ""),
    ],
)
def test_the_browser_says_how_a_page_is_compressed(running, alice, accepted, encoding):
    running("the run")
    sent = browser_of(alice).get("/w/lab/experiments/", headers={"Accept-Encoding": accepted})
    assert sent.get("Content-Encoding", "") == encoding and "Accept-Encoding" in sent["Vary"]


def test_brotli_sends_the_same_page_in_a_size_that_nobody_can_foresee(running, alice):
    """Against guessing the page's secrets by its size (BREACH)."""
    running("the run")
    client, url = browser_of(alice), "/w/lab/experiments/"
    sent = client.get(url, headers=BROTLI)
    page = brotli.decompress(sent.content)
    assert b"the run" in page and len(sent.content) == int(sent["Content-Length"]) < len(page) / 4
    text = b"<p>the same text</p>" * 500
    for quality in (4, 5):
        sizes = {len(_brotli(text, quality)) for _ in range(50)}
        assert len(sizes) > 5 and all(brotli.decompress(_brotli(text, quality)) == text for _ in range(5))


def test_an_unchanged_fragment_is_not_sent_again_whether_it_was_compressed_or_not(running, alice):
    running("the run")
    client, url = browser_of(alice), "/w/lab/experiments/"
    sent = client.get(url, headers=GZIP | FRAGMENT)
    assert sent["ETag"].startswith('W/"')
    assert client.get(url, headers=BROTLI | FRAGMENT)["ETag"].startswith('W/"')
    for headers in (GZIP, BROTLI, {}):
        again = client.get(url, headers=headers | FRAGMENT | {"If-None-Match": sent["ETag"]})
        assert again.status_code == 304 and again.content == b""


@pytest.mark.parametrize("address", ["trials.csv", "trials.json"])
@pytest.mark.parametrize("accepted", [GZIP, BROTLI])
def test_exports_are_whole_whatever_the_browser_accepts(running, alice, address, accepted):
    experiment = running("the run")
    client, url = browser_of(alice), f"/w/lab/experiments/{experiment.public_id}/{address}"
    plain, sent = client.get(url), client.get(url, headers=accepted)
    assert plain.status_code == sent.status_code == 200
    body = b"".join(sent.streaming_content) if sent.streaming else sent.content
    whole = b"".join(plain.streaming_content) if plain.streaming else plain.content
    decompress = {"gzip": gzip.decompress, "br": brotli.decompress}.get(
        sent.get("Content-Encoding", ""), bytes
    )
    assert decompress(body) == whole
