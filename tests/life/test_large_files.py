"""A file of 2 GB in a trial's output folder: hashed, stored, downloaded, by processes that do not grow with it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from experiments.models import Artifact, Experiment, Keeping, User
from experiments.runner.destination import Store
from tests.runner.test_destination import s3  # noqa: F401  the fixture
from tests.support.crew import Crew
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.soak,
    pytest.mark.once,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(1500),
]

SIZE = 2 * 1024**3
MARK = b"the end of it"
MOST_GROWTH = 300 * 1024**2  # of the worker's peak memory
CHUNK = 1 << 20

# Sparse: it takes the disk no time. What is behind the hole is not lost.
LEAVES = f"""
import os, pathlib, trialdeck
with open(pathlib.Path(os.environ["TRIALDECK_OUTPUT_DIR"], "large.bin"), "wb") as file:
    file.write(b"the beginning")
    file.truncate({SIZE - len(MARK)})
    file.seek(0, 2)
    file.write({MARK!r})
trialdeck.report_final_result(0.5)
"""


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_two_gigabytes_are_stored_and_downloaded(
    kind: str,
    crew: Crew,
    started: Callable[..., Experiment],
    live_server: LiveServer,
    carol: User,
    tmp_path: Path,
    s3: str,  # noqa: F811
) -> None:
    """CML-O1, TD-X10: in constant memory, with its size and hash; the page gives it while other pages
    answer, and a download that broke off goes on."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    crew.control()
    worker = crew.worker()
    before = peak_bytes(worker.pid)
    destination = s3 if kind == "s3" else str(tmp_path / "share")
    experiment = started(command=f"{sys.executable} {script}", max_trials=1, destination=destination)
    stored = Artifact.objects.filter(experiment=experiment, keeping=Keeping.STORED)
    eventually(stored.exists, within=900, every=0.5, what="2 GB stored")
    assert peak_bytes(worker.pid) - before < MOST_GROWTH
    artifact = stored.select_related("trial", "experiment").get()
    assert (artifact.size, artifact.sha256) == (SIZE, wanted_digest())

    address = live_server.url + reverse("artifact-download", args=["lab", experiment.public_id, artifact.pk])
    begun = fetch(address, carol)
    beginning = begun.read(CHUNK)
    assert int(begun.headers["Content-Length"]) == SIZE and beginning.startswith(b"the beginning")
    files = fetch(
        live_server.url + reverse("experiment-artifacts", args=["lab", experiment.public_id]), carol
    )
    page = files.read().decode()  # while the other is under way
    assert "large.bin" in page and artifact.sha256 in page and f"{SIZE:,} bytes" in page
    etag = begun.headers["ETag"]
    begun.close()  # the line breaks
    rest = fetch(address, carol, Range=f"bytes={CHUNK}-", **{"If-Range": etag})
    assert rest.status == 206 and int(rest.headers["Content-Length"]) == SIZE - CHUNK
    digest = hashlib.sha256(beginning)
    while piece := rest.read(CHUNK):
        digest.update(piece)
    assert digest.hexdigest() == artifact.sha256
    Store(destination).delete(artifact.key)


def fetch(address: str, user: User, **headers: str) -> HTTPResponse:
    """As a browser of this person; signed addresses are followed."""
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    request = Request(address, headers=headers)  # noqa: S310  our own server
    request.add_unredirected_header("Cookie", f"{name}={client.cookies[name].value}")
    return urlopen(request, timeout=60)  # noqa: S310


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def wanted_digest() -> str:
    digest, beginning, hole = hashlib.sha256(), b"the beginning", bytes(CHUNK)
    digest.update(beginning)
    left = SIZE - len(beginning) - len(MARK)
    for size in [CHUNK] * (left // CHUNK) + [left % CHUNK]:
        digest.update(hole[:size])
    digest.update(MARK)
    return digest.hexdigest()
