"""`trialdeck backup` and `trialdeck restore`."""

import errno
import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from experiments.management import database_rows, restore_backup
from experiments.management.backup_file import Backup, BackupError
from experiments.models import Event, LogPiece, Queue, SeenCause, Trial
from tests.support.databases import allow_more_connections, contents, database_of, settings_of
from tests.support.processes import manage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def more_connections(db, monkeypatch):
    allow_more_connections(monkeypatch)


@pytest.fixture
def filled(running, data):
    """An installation with rows of many kinds, among them values that databases like to change."""
    experiment = running(taken=2)
    trial = experiment.trials.order_by("number")[0]
    Trial.objects.filter(pk=trial.pk).update(
        value=0.1 + 0.2,
        detail="größer, 雪, \t\n'\"",
        params={"b": 1e16, "a": 1, "c": [1.0, None]},
        notes=[{"z": 1e16, "a": 1.5}],
    )
    SeenCause.objects.create(workspace=experiment.workspace, key="0123456789ab", last_at=trial.started_at)
    LogPiece.objects.create(trial=trial, offset=0, size=4, data=b"\0\xff\n~")
    yield experiment
    shutil.rmtree(data / "trials", ignore_errors=True)


def restore(path, env):
    with Backup(path) as backup, database_of(env) as other:
        restore_backup.restore(backup, Path(env["TRIALDECK_DATA"]), other)


@pytest.fixture
def backup(filled, tmp_path):
    call_command("backup", str(tmp_path / "b.zip"), verbosity=0)
    return tmp_path / "b.zip"


def rewritten(path, member, change):
    """The backup with one member changed, or left out where `change` returns None."""
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = change(source.read(name)) if name == member else source.read(name)
            if content is not None:
                archive.writestr(name, content)
    return target


def test_all_rows_are_restored_as_they_were(backup, filled, migrated):
    """TD-S1: a backup, restored and checked."""
    before = contents(connection)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    restore(backup, migrated)
    with database_of(migrated) as other:
        assert contents(other) == before
        assert SeenCause.objects.using("other").get().key == "0123456789ab", "no cause is new after it"
        trial = Trial.objects.using("other").get(value=0.1 + 0.2)
        assert json.dumps(trial.params) == '{"b": 1e+16, "a": 1, "c": [1.0, null]}'
        assert trial.result is None
        new = Queue.objects.using("other").create(name="new")  # numbers go on
        assert new.pk > max(Queue.objects.values_list("pk", flat=True))
        event = Event.objects.using("other").latest("pk")
        assert event.experiment_id == filled.pk
    assert (Path(migrated["TRIALDECK_DATA"]) / "secret").read_text().strip() == json.loads(
        zipfile.ZipFile(backup).read("secret.json")
    )["key"]


def test_a_number_that_was_used_is_not_used_again(filled, tmp_path, migrated):
    gone = Queue.objects.create(name="gone").pk
    Queue.objects.filter(pk=gone).delete()
    call_command("backup", str(tmp_path / "b.zip"))
    restore(tmp_path / "b.zip", migrated)
    with database_of(migrated):
        assert Queue.objects.using("other").create(name="new").pk > gone


def test_it_is_the_state_of_one_moment_and_locks_nobody_out(filled):
    with database_rows.snapshot() as seen:
        schema = database_rows.schema_of(database_rows.migrations_of(seen))
        list(database_rows.read(schema, "experiments_queue", seen))
        Queue.objects.create(name="later")  # while the backup reads
        names = {row[1] for row in database_rows.read(schema, "experiments_queue", seen)}
    assert "later" not in names and Queue.objects.filter(name="later").exists()


def test_files_come_along_on_request_and_links_do_not(filled, data, tmp_path, migrated):
    folder = data / "trials" / filled.public_id / "1" / "output"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"\0weights")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    call_command("backup", str(tmp_path / "b.zip"), with_files=True)
    restore(tmp_path / "b.zip", migrated)
    restored = Path(migrated["TRIALDECK_DATA"]) / folder.relative_to(data)
    assert sorted(os.listdir(restored)) == ["model.bin", "run.sh"]
    assert (restored / "model.bin").read_bytes() == b"\0weights"
    assert os.access(restored / "run.sh", os.X_OK) and not os.access(restored / "model.bin", os.X_OK)


def test_the_command_does_it_once(backup, migrated):
    done = manage("restore", str(backup), env=migrated)
    assert done.returncode == 0, done.stderr
    assert "Restored and checked" in done.stdout
    with database_of(migrated) as other:
        assert contents(other) == contents(connection)
    with pytest.raises(SystemExit, match="The database is not empty"):
        restore(backup, migrated)


def damaged_row(content):
    return content.replace(b'"lab"', b'"lib"')


@pytest.mark.once
@pytest.mark.parametrize(
    ("member", "change", "says"),
    [
        ("manifest.json", lambda content: None, "not a complete backup"),
        ("manifest.json", lambda content: b"[]", "not a complete backup"),
        ("manifest.json", lambda content: content.replace(b'"format": 1', b'"format": 2'), "newer version"),
        ("manifest.json", lambda content: content.replace(b"0001_initial", b"9999_initial"), "newer version"),
        ("secret.json", lambda content: None, "secret.json is missing"),
        ("secret.json", lambda content: b"{}", "no secret key"),
        ("rows/experiments_workspace.jsonl", lambda content: None, "is missing"),
        ("rows/experiments_workspace.jsonl", lambda content: b"", "has 0 rows, not"),
        ("rows/experiments_workspace.jsonl", damaged_row, "are not those that were written"),
        ("rows/experiments_workspace.jsonl", lambda content: b"{", "cannot be read"),
    ],
)
def test_a_damaged_backup_is_refused_with_one_sentence_and_nothing_changes(
    backup, migrated, member, change, says
):
    changed = rewritten(backup, member, change)
    with database_of(migrated) as other:
        before = contents(other)
        with pytest.raises(BackupError) as caught, Backup(changed) as opened:
            restore_backup.restore(opened, Path(migrated["TRIALDECK_DATA"]), other)
        assert contents(other) == before
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.once
@pytest.mark.parametrize("content", [None, b"", b"text", "cut"])
def test_what_is_no_backup_gets_one_sentence(backup, tmp_path, content):
    path = tmp_path / "other"
    if content is not None:
        path.write_bytes(backup.read_bytes()[:-100] if content == "cut" else content)
    with pytest.raises(BackupError, match=r"No such file|not a complete backup"):
        Backup(path)


@pytest.mark.once
def test_a_flipped_byte_is_noticed(backup, migrated):
    with zipfile.ZipFile(backup) as archive:
        info = max(archive.infolist(), key=lambda each: each.compress_size * each.filename.startswith("rows"))
    content = bytearray(backup.read_bytes())
    content[info.header_offset + 100 + info.compress_size // 2] ^= 0x10
    backup.write_bytes(content)
    with pytest.raises(BackupError, match="damaged"):
        restore(backup, migrated)


@pytest.mark.once
def test_another_secret_key_is_refused(backup, migrated, monkeypatch, settings):
    monkeypatch.setenv("TRIALDECK_SECRET_KEY", "other")
    settings.SECRET_KEY = "other"
    with pytest.raises(SystemExit, match="TRIALDECK_SECRET_KEY lacks a key that the backup needs"):
        restore(backup, migrated)


@pytest.mark.once
def test_former_keys_must_be_listed_again(filled, tmp_path, migrated, settings):
    settings.SECRET_KEY_FALLBACKS = ["former"]
    call_command("backup", str(tmp_path / "b.zip"))
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(SystemExit, match="TRIALDECK_FORMER_SECRET_KEYS lacks a key"):
        restore(tmp_path / "b.zip", migrated)
    settings.SECRET_KEY_FALLBACKS = ["former"]
    restore(tmp_path / "b.zip", migrated)


@pytest.mark.once
def test_a_folder_with_trials_is_refused(filled, data, tmp_path, migrated):
    (data / "trials" / "x").mkdir(parents=True)
    (data / "trials" / "x" / "log").touch()
    call_command("backup", str(tmp_path / "b.zip"), with_files=True)
    (Path(migrated["TRIALDECK_DATA"]) / "trials" / "y").mkdir(parents=True)
    with pytest.raises(SystemExit, match="trials is not empty"):
        restore(tmp_path / "b.zip", migrated)


def test_a_database_that_is_open_elsewhere_is_refused(backup, migrated):
    with (
        database_rows.another_connection("web", **settings_of(migrated)) as web,
        web.cursor() as cursor,
    ):
        cursor.execute("SELECT count(*) FROM django_migrations")
        with pytest.raises(SystemExit, match="open"):
            restore(backup, migrated)


@pytest.mark.once
def test_an_existing_file_is_left_alone(filled, tmp_path):
    path = tmp_path / "b.zip"
    path.write_text("mine")
    with pytest.raises(SystemExit, match="already exists"):
        call_command("backup", str(path))
    assert path.read_text() == "mine"


@pytest.mark.once
def test_a_full_disk_leaves_no_file(filled, tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit, match="cannot be written: No space left on device"):
        call_command("backup", str(tmp_path / "b.zip"))
    assert os.listdir(tmp_path) == []


@pytest.mark.once
def test_a_failure_at_the_end_takes_files_key_and_rows_back(filled, data, tmp_path, migrated, monkeypatch):
    (data / "trials" / "x").mkdir(parents=True)
    (data / "trials" / "x" / "log").touch()
    call_command("backup", str(tmp_path / "b.zip"), with_files=True)
    folder = Path(migrated["TRIALDECK_DATA"])
    (folder / "secret").write_text("mine\n")

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    place = restore_backup.place
    monkeypatch.setattr(restore_backup, "place", lambda *arguments: (place(*arguments), fail()))
    with database_of(migrated) as other:
        before = contents(other)
        with Backup(tmp_path / "b.zip") as opened, pytest.raises(OSError, match="Input"):
            restore_backup.restore(opened, folder, other)
        assert contents(other) == before
    assert (folder / "secret").read_text() == "mine\n"
    assert not (folder / "trials").exists() and not list(folder.glob(".restore*"))


def test_what_a_killed_backup_or_restore_left_is_removed_by_the_next(filled, tmp_path, migrated):
    """TD-S2."""
    left = [
        tmp_path / ".trialdeck-backup-abc" / "b.zip",
        Path(migrated["TRIALDECK_DATA"]) / ".restore-abc" / "secret",
    ]
    for file in left:
        file.parent.mkdir()
        file.touch()
    call_command("backup", str(tmp_path / "b.zip"), verbosity=0)
    restore(tmp_path / "b.zip", migrated)
    assert not any(file.parent.exists() for file in left)
