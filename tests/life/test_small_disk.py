"""A disk that is full in the middle of an upload, and one that is read-only: one sentence each, and nothing half-done.
Real file systems of a megabyte."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from experiments.messages import database_away
from experiments.models import Artifact, Experiment, HistoryImport, Model, User, Workspace
from experiments.runner.keeper.logs import CappedLog, RotatingLog
from experiments.runner.trial_folder import TrialFolder
from experiments.transfer.background import DISK_FULL as IMPORT_FAILED
from experiments.transfer.background import run_next
from experiments.worker.output.artifacts import Collector
from tests.people import as_
from tests.support.crew import ROOT
from tests.support.processes import free_port
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.waiting import eventually

pytestmark = [pytest.mark.small_disk, pytest.mark.django_db]

WEIGHTS = bytes(3 << 20)  # more than the disk has, and more than Django keeps in memory


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk() as disk:
        yield disk


def add_model(lab: Workspace, alice: User) -> object:
    fields = {"name": "net", "project": lab.projects.get().pk, "file": SimpleUploadedFile("net.pt", WEIGHTS)}
    browser = as_(alice)
    browser.raise_request_exception = False
    return browser.post(reverse("model-add", args=["lab"]), fields)


@pytest.mark.parametrize("where", ["data folder", "destination"])
def test_an_upload_that_does_not_fit_leaves_nothing(
    lab: Workspace, alice: User, disk: SmallDisk, settings: object, where: str
) -> None:
    """TD-S2 CML-M1: the form says why; neither a model nor a part of its file is there."""
    if where == "destination":
        lab.projects.update(destination=str(disk.path))
    else:
        settings.DATA = disk.path
    response = add_model(lab, alice)
    assert response.status_code == 422 and "No space left on device" in response.content.decode()
    assert not Model.objects.exists()
    assert [path for path in disk.path.rglob("*") if path.is_file()] == []
    assert list((disk.path / "models").glob("*/*")) == []


def test_an_upload_that_cannot_be_received_gets_a_page_with_the_reason(
    lab: Workspace, alice: User, disk: SmallDisk, settings: object, caplog: pytest.LogCaptureFixture
) -> None:
    """TD-S2: the disk of temporary files is full while the browser sends; the log has one sentence, no traceback."""
    settings.FILE_UPLOAD_TEMP_DIR = str(disk.path)
    with caplog.at_level(logging.ERROR, "django.request"):
        response = add_model(lab, alice)
    page = response.content.decode()
    assert response.status_code == 507 and "The disk of the web server is full. Nothing was stored." in page
    assert not Model.objects.exists() and list(disk.path.iterdir()) == []
    handler = logging.getLogger("django").handlers[0]
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    assert handler.filter(record)
    assert handler.format(record).count("\n") == 0 and "No space left on device" in handler.format(record)


def test_an_import_without_space_for_its_file_says_so(
    lab: Workspace, alice: User, disk: SmallDisk, settings: object, caplog: pytest.LogCaptureFixture
) -> None:
    """TD-S2 TD-D8: on its row, without a traceback in the log."""
    content = b"x,value\n" + b"0.5,1\n" * 400_000
    HistoryImport.receive(lab, by=alice, file_name="runs.csv", chunks=[content], size=len(content))
    settings.DATA = disk.path
    assert run_next()
    assert HistoryImport.objects.get().error == IMPORT_FAILED
    assert not any(record.exc_info for record in caplog.records)
    assert list(disk.path.iterdir()) == []


def test_an_artifact_that_does_not_fit_is_stored_when_there_is_space(
    running: Callable[..., Experiment], disk: SmallDisk
) -> None:
    """TD-S2 CML-O1: its row says why in one line; no part of the file is left; the next try stores it."""
    trial = running(destination=str(disk.path)).trials.get(number=1)
    trials = Path(django_settings.DATA) / "trials"
    collector = Collector(trials_folder=trials, row=lambda: trial.worker, ending=threading.Event())
    folder = TrialFolder(trials, trial.experiment.public_id, trial.number)
    folder.create()
    (folder.output / "model.pt").write_bytes(bytes(1 << 19))
    disk.fill()
    assert collector.see(trial) == []
    collector.store_all()
    artifact = Artifact.objects.get()
    assert "No space left on device" in artifact.fault and "\n" not in artifact.fault
    assert [path.name for path in disk.path.rglob("*") if path.is_file()] == ["filler"]
    disk.free()
    Artifact.objects.update(retry_at=None)
    collector.store_all()
    assert (disk.path / artifact.key).stat().st_size == 1 << 19


def test_a_log_goes_on_when_there_is_space_again(disk: SmallDisk) -> None:
    """TD-S2: the process that prints is not disturbed; the offset of the next segment shows what is missing."""
    log, service = CappedLog(str(disk.path / "log"), 4096), RotatingLog(str(disk.path / "web.log"), 4096)
    log.write(b"before\n")
    disk.fill()
    log.write(bytes(1 << 16))
    service.write(bytes(1 << 16))
    disk.free()
    log.write(b"after\n")
    service.write(b"after\n")
    log.close()
    service.close()
    segments = {path.name: path.read_bytes() for path in disk.path.glob("log.*")}
    assert segments["log.head"].startswith(b"before\n")
    assert segments[f"log.{len(b'before') + 1 + (1 << 16)}"] == b"after\n"
    assert (disk.path / "web.log").read_bytes().endswith(b"after\n")


@pytest.mark.parametrize("interface", ["wsgi", "rsgi"])
def test_a_web_server_on_an_empty_read_only_folder_ends_with_one_sentence(
    fresh: dict[str, str], disk: SmallDisk, interface: str
) -> None:
    """TD-S1: no secret can be made there."""
    disk.make_read_only()
    done = subprocess.run(
        granian(free_port(), interface), cwd=ROOT, env=fresh | {"TRIALDECK_DATA": str(disk.path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
    assert f"The data folder {disk.path} cannot be used: Read-only file system." in done.stderr


def test_a_web_server_whose_folder_became_read_only_says_so(migrated: dict[str, str]) -> None:
    """TD-S1: one sentence in the log; /healthz says it, too."""
    with small_disk(megabytes=16) as disk:
        env = migrated | {"TRIALDECK_DATA": str(disk.path)}
        (disk.path / "secret").write_text("s" * 64)
        if (database := Path(migrated["TRIALDECK_DATA"]) / "db.sqlite3").exists():
            (disk.path / "db.sqlite3").write_bytes(database.read_bytes())
        disk.make_read_only()
        port = free_port()
        with (Path(migrated["TRIALDECK_DATA"]) / "web.log").open("w+") as log:
            process = subprocess.Popen(granian(port, "wsgi"), cwd=ROOT, env=env, stdout=log, stderr=log)
            try:
                eventually(
                    lambda: "Started worker" in Path(log.name).read_text(), within=60, what="the web server"
                )
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz")
                assert refused.value.code == 503
                assert "the data folder cannot be written" in refused.value.read().decode()
            finally:
                process.terminate()
                process.wait(30)
            text = Path(log.name).read_text()
    assert f"The data folder {disk.path} cannot be written: Read-only file system. Make it writable" in text
    assert text.count("ERROR console.wsgi") == 1 and "Traceback" not in text


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_that_became_read_only_is_not_called_silent(disk: SmallDisk, mode: str) -> None:
    """TD-S1: pages say what SQLite's own words mean."""
    file = disk.path / "db.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute("CREATE TABLE t (x)")
    disk.make_read_only()
    with closing(sqlite3.connect(file)) as database, pytest.raises(sqlite3.OperationalError) as refused:
        database.execute("INSERT INTO t VALUES (1)")
    assert database_away(refused.value).startswith(
        "The database file cannot be written: its folder is read-only"
    )


def granian(port: int, interface: str) -> list[str]:
    argv = [sys.executable, "-m", "granian", "--interface", interface, "--port", str(port), "--no-ws"]
    argv += ["--workers-kill-timeout", "10"]
    return [*argv, f"console.{interface}:application"]
