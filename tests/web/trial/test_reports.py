"""What a trial's page shows of its files: plots, tables, images, and what a ClearML script says about itself."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote

import pytest
from django.urls import reverse

from experiments.models import Artifact
from tests.people import as_
from tests.web.files import leave, path_of
from tests.web.trial.test_page import page_of

pytestmark = pytest.mark.once

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
FIGURE = {
    "title": "roc",
    "series": "train",
    "data": [{"type": "scatter", "x": [0, 1], "y": [0.25, 0.5]}],
    "layout": {},
}
SUMMARY = {
    "properties": {"seed": "7", "<b>": ""},
    "models": [
        {"file": "models/net.pt", "name": "net", "framework": "PyTorch", "tags": ["x"], "labels": {"cat": 1}}
    ],
}


@pytest.fixture
def trial(running):
    return running().trials.get(number=1)


def image_url(trial, artifact) -> str:
    return reverse("artifact-image", args=["lab", trial.experiment.public_id, artifact.pk])


def test_plots_tables_images_models_and_properties_are_shown(trial, carol):
    """TD-C7: the latest of each series; a plot that is not drawn is a file."""
    for step in (1, 2):
        leave(trial, f"plots/roc/train/{step:08d}.json", json.dumps(FIGURE).encode())
    leave(trial, "plots/mesh/s/00000001.json", b'{"data": [{"type": "surface", "z": [[1]]}]}')
    leave(trial, "tables/scores/t/00000003.csv", b"name,score\r\n<i>cat</i>,0.5\r\n")
    leave(trial, "debug_samples/img/s/img_s_00000000.png", PNG)
    image = leave(trial, "figure.png", PNG)
    leave(trial, "models/net.pt", b"weights")
    leave(trial, "clearml.json", json.dumps(SUMMARY).encode())
    html = page_of(carol, trial)
    assert "roc / train, iteration 2" in html and "roc / train, iteration 1" not in html
    assert "cat-line-1" in html and "No preview for this plot type." in html
    assert "scores / t, iteration 3" in html and "&lt;i&gt;cat&lt;/i&gt;" in html
    assert "img / s" in html and image_url(trial, image) in html
    assert "User properties" in html and "<dt>seed</dt>" in html and "<dt>&lt;b&gt;</dt>" in html
    assert "PyTorch" in html and "Labels: cat" in html


def test_a_trial_without_such_files_shows_none(trial, carol):
    leave(trial, "model.pt")
    html = page_of(carol, trial)
    assert 'id="plots"' not in html and 'id="images"' not in html


@pytest.mark.parametrize("data", [b"junk", b"[]", b'{"data": 7}', b"\xff", b'"a', b"[" * 5000, None])
def test_files_that_cannot_be_read_harm_nothing(trial, carol, data):
    """TD-C7: a script may have left anything there, and the file may be on another machine."""
    for name in ("plots/a/b/00000001.json", "tables/a/b/00000001.csv", "clearml.json"):
        leave(trial, name, data)
    assert "a / b, iteration 1" in page_of(carol, trial)


def test_only_images_are_sent_to_be_shown(trial, carol, dave):
    """TD-C7: by their content, with nothing that could run; to nobody else."""
    image = leave(trial, "figure.png", PNG)
    response = as_(carol).get(image_url(trial, image))
    assert (response.status_code, response.content, response["Content-Type"]) == (200, PNG, "image/png")
    assert (
        response["X-Content-Type-Options"] == "nosniff" and "sandbox" in response["Content-Security-Policy"]
    )
    assert as_(dave).get(image_url(trial, image)).status_code == 404
    page = leave(trial, "page.png", b"<script>alert(1)</script>")
    drawing = leave(trial, "drawing.svg", b"<svg/>")
    link = leave(trial, "link.png", PNG)
    path_of(link).unlink()
    path_of(link).symlink_to(path_of(image))
    gone = leave(trial, "gone.png", None)
    for artifact in (page, drawing, link, gone):
        assert as_(carol).get(image_url(trial, artifact)).status_code == 404


def test_however_many_files_the_page_is_a_fixed_number_of_queries(
    trial, carol, django_assert_max_num_queries
):
    """TD-X7: and shows a bounded number of them."""
    counts = []
    for count in (1, 30):
        for number in range(count):
            leave(trial, f"plots/p{count}/s{number}/00000001.json", json.dumps(FIGURE).encode())
            leave(trial, f"debug_samples/p{count}/s{number}/a_00000001.png", PNG)
        page_of(carol, trial)
        with django_assert_max_num_queries(60) as queries:
            html = page_of(carol, trial)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert html.count("<figcaption>") == 24 and "38 more files in the output files." in html


class ObjectStore(BaseHTTPRequestHandler):
    """An S3-compatible service with these objects, by path."""

    objects: ClassVar[dict[str, bytes]] = {}
    requested: ClassVar[list[str]] = []

    def do_GET(self):
        path = unquote(self.path.partition("?")[0])
        self.requested.append(path)
        content = self.objects.get(path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 12:00:00 GMT")
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *args):
        pass


@pytest.fixture
def store(monkeypatch):
    """The address of a destination in an S3-compatible service."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(ObjectStore, "objects", {})
    monkeypatch.setattr(ObjectStore, "requested", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), ObjectStore) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"s3://127.0.0.1:{server.server_port}/bucket"
        server.shutdown()


def test_files_in_an_object_store_are_shown(trial, carol, store):
    """TD-C7: fetched once; of a file that is gone there, its name is left."""

    def stored(name, content=None):
        artifact = leave(trial, name, None, keeping="stored", destination=store)
        if content is not None:
            ObjectStore.objects[f"/bucket/{artifact.key}"] = content
        return artifact

    stored("plots/roc/train/00000002.json", json.dumps(FIGURE).encode())
    stored("tables/scores/t/00000003.csv", b"name,score\r\ncat,0.5\r\n")
    stored("plots/gone/x/00000001.json")
    image = stored("figure.png", PNG)
    for _ in range(2):
        html = page_of(carol, trial)
        assert "cat-line-1" in html and "scores / t, iteration 3" in html
        assert html.count("No preview for this plot type.") == 1
    requested = [path for path in ObjectStore.requested if "gone" not in path]
    assert len(requested) == len(set(requested)) == 2
    assert as_(carol).get(image_url(trial, image)).content == PNG


def test_a_file_that_is_still_on_this_machine_is_not_fetched(trial, carol, store):
    """TD-C7: unchanged since it was stored."""
    artifact = leave(trial, "plots/roc/train/00000002.json", json.dumps(FIGURE).encode())
    Artifact.objects.filter(pk=artifact.pk).update(keeping="stored", destination=store)
    assert "cat-line-1" in page_of(carol, trial) and not ObjectStore.requested
    path_of(artifact).write_text("changed")
    assert "No preview" in page_of(carol, trial) and ObjectStore.requested
