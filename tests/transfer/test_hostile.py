"""Hostile, damaged and foreign files: one clear sentence, and nothing is left."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from experiments.models import (
    Experiment,
    HistoryImport,
    ImportPiece,
    Invalid,
    LogPiece,
    Overtaken,
    Refused,
    Trial,
    User,
    Workspace,
)
from experiments.scheduler.expired_rows import purge
from experiments.search.imports import package
from experiments.transfer import background
from experiments.transfer.choices import checked
from tests.people import as_

from .test_formats import mlflow_files, mlflow_sqlite, optuna_study
from .test_round_trip import exported, full, members, uploaded  # noqa: F401  (a fixture)


def repacked(data: bytes, change: Callable[[dict[str, bytes]], None], *, signs: bool = True) -> bytes:
    """The archive with changed members; with `signs` its digests are those of the changed ones."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if signs and package.MANIFEST in files:
        import hashlib

        manifest = json.loads(files[package.MANIFEST])
        for name in package.MEMBERS:
            if name in files and isinstance(manifest.get("members"), dict):
                manifest["members"][name]["sha256"] = hashlib.sha256(files[name]).hexdigest()
        files[package.MANIFEST] = json.dumps(manifest).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def replaced(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        assert old in files[name], (name, old, files[name][:2000])
        files[name] = files[name].replace(old, new, 1)

    return change


def in_manifest(**values: Any) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        files[package.MANIFEST] = json.dumps({**json.loads(files[package.MANIFEST]), **values}).encode()

    return change


def why(workspace: Workspace, by: User, data: bytes, name: str = "x.zip") -> str:
    """The sentence with which a file is refused. Nothing of it may be left."""
    before = Experiment.everything.count()
    row = uploaded(workspace, by, data, name)
    assert row.state == "failed", row.preview
    assert Experiment.everything.count() == before and not ImportPiece.objects.exists()
    assert not list(Path(django_settings.DATA).glob("import-*"))
    assert "Traceback" not in row.error and "\n" not in row.error
    return row.error


EXPERIMENT, TRIALS, POINTS, LOGS = "experiment.json", "trials.jsonl", "points.jsonl", "logs.jsonl"

# (what is changed, part of the sentence)
CHANGES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "a newer version": (in_manifest(version=2), "format version 2; this console reads version 1"),
    "a version of another type": (in_manifest(version=True), "format version True"),
    "another format": (in_manifest(format="x"), "has another format"),
    "no members": (in_manifest(members=[]), "lacks the field members"),
    "NaN": (replaced(TRIALS, b'"value":0.25', b'"value":NaN'), "trials.jsonl, line 1 contains NaN"),
    "a huge number": (
        replaced(TRIALS, b'"value":0.25', b'"value":1' + b"0" * 400),
        "invalid value in the field value",
    ),
    "too many digits": (replaced(TRIALS, b'"value":0.25', b'"value":1' + b"0" * 5000), "too many digits"),
    "a text as number": (
        replaced(TRIALS, b'"value":0.25', b'"value":"0.25"'),
        "invalid value in the field value",
    ),
    "true as number": (
        replaced(TRIALS, b'"attempt":1', b'"attempt":true'),
        "invalid value in the field attempt",
    ),
    "a succeeded trial without value": (replaced(TRIALS, b'"value":0.25', b'"value":null'), "has no value"),
    "an unknown state": (
        replaced(TRIALS, b'"state":"succeeded"', b'"state":"running"'),
        "in the field state",
    ),
    "an unknown field": (replaced(TRIALS, b'{"number":1,', b'{"pid":1,"number":1,'), "unknown field: 'pid'"),
    "a number twice": (replaced(TRIALS, b'{"number":2,', b'{"number":1,'), "must be ordered by number"),
    "a revision that is missing": (
        replaced(TRIALS, b'"revision":1', b'"revision":9'),
        "refers to a revision or trial",
    ),
    "a point of no trial": (
        replaced(POINTS, b'[1,"accuracy"', b'[99,"accuracy"'),
        "points.jsonl, line 1 is not a point",
    ),
    "a step beyond 64 bits": (
        replaced(POINTS, b'"accuracy",0,', b'"accuracy",9223372036854775808,'),
        "is not a point",
    ),
    "no JSON": (replaced(POINTS, b"[1,", b"[1 "), "points.jsonl, line 1 is not valid JSON"),
    "nesting": (
        replaced(EXPERIMENT, b'"properties":{', b'"properties":{"x":' + b"[" * 90_000 + b"]" * 90_000 + b","),
        "experiment.json",
    ),
    "a NUL": (replaced(EXPERIMENT, b'"name":"first"', b'"name":"a\\u0000b"'), "in the field name"),
    "a lone surrogate": (replaced(EXPERIMENT, b'"name":"first"', b'"name":"\\ud800"'), "in the field name"),
    "a foreign state": (
        replaced(EXPERIMENT, b'"state":"completed"', b'"state":"gone"'),
        "in the field state",
    ),
    "invalid settings": (
        replaced("revisions.jsonl", b'"direction":"maximize"', b'"direction":"up"'),
        "revisions.jsonl",
    ),
    "an unknown setting": (
        replaced("revisions.jsonl", b'"command":', b'"extra":1,"command":'),
        "revisions.jsonl, revision 1",
    ),
    "an invalid space": (
        replaced("revisions.jsonl", b'"loguniform"', b'"nope"'),
        "revisions.jsonl, revision 1",
    ),
    "a sealed secret of nobody": (
        replaced("revisions.jsonl", b'"key":{"value":""', b'"key":{"secret":"x"'),
        "revisions.jsonl",
    ),
    "a member that is missing": (lambda files: files.pop(POINTS) and None, "points.jsonl is missing"),
}


@pytest.fixture
def archive(full: Experiment) -> bytes:  # noqa: F811
    return exported(full, logs=True, artifacts=True)


def test_what_is_wrong_in_an_export_is_named(archive: bytes, lab: Workspace, bob: User) -> None:
    """TD-D8: every kind of fault gives one sentence with its place, and leaves nothing."""
    wrong = {}
    for what, (change, sentence) in CHANGES.items():
        error = why(lab, bob, repacked(archive, change))
        if sentence not in error:
            wrong[what] = error
    assert wrong == {}
    changed = repacked(archive, replaced(TRIALS, b"0.25", b"0.75"), signs=False)
    assert "trials.jsonl has changed since the export" in why(lab, bob, changed)


def test_a_file_that_is_cut_off_is_refused(archive: bytes, lab: Workspace, bob: User) -> None:
    """TD-D8: at whatever byte it ends."""
    for share in (0.1, 0.5, 0.9, 0.999):
        assert "damaged or truncated" in why(lab, bob, archive[: int(len(archive) * share)])
    middle = bytearray(archive)
    middle[len(middle) // 3] ^= 0xFF
    assert why(lab, bob, bytes(middle))


def packed(*entries: tuple[str, bytes], link: bool = False, encrypted: bool = False) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o600) << 16
            archive.writestr(info, content)
    data = bytearray(target.getvalue())
    if encrypted:  # the bit in the central directory
        data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def test_archives_that_leave_their_folder_are_refused(lab: Workspace, bob: User) -> None:
    """TD-D8, TD-Z2: names with .., absolute ones, links, encryption; names that occur twice."""
    for name in ("../x", "a/../../x", "/etc/passwd", "C:\\x", "a\\b"):
        assert "outside its folder" in why(lab, bob, packed((name, b"x")))
    assert "has a link" in why(lab, bob, packed(("manifest.json", b"/etc/passwd"), link=True))
    assert "encrypted" in why(lab, bob, packed(("manifest.json", b"{}"), encrypted=True))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = packed(("manifest.json", b"{}"), ("manifest.json", b"{}"))
    assert "in the archive twice" in why(lab, bob, twice)
    assert "neither a Trialdeck export" in why(lab, bob, packed(("a.txt", b"x")))


def test_artifacts_stay_below_their_trial(archive: bytes, lab: Workspace, bob: User) -> None:
    """TD-D8, TD-Z2: a name of an artifact that leads elsewhere is refused before anything is written."""

    def move(files: dict[str, bytes]) -> None:
        files["artifacts.jsonl"] = files["artifacts.jsonl"].replace(b"sub/model.bin", b"../../../model.bin")

    data = repacked(archive, move)
    row = uploaded(lab, bob, data, "x.zip")
    if row.state == "ready":
        row.confirm(
            choices=checked(row.preview, file_format=row.format), project=lab.projects.get(name="Default")
        )
        assert background.run_next()
        row.refresh_from_db()
    assert row.state == "failed" and "artifacts.jsonl, line 1" in row.error
    assert not Experiment.objects.filter(imported_from="trialdeck").exists()


def test_a_bomb_is_refused_before_it_is_unpacked(
    lab: Workspace, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-D8: by the sizes in its directory, and an entry never gives more than that."""
    monkeypatch.setattr("experiments.search.imports.archive.MAX_UNPACKED", 1 << 20)
    assert "unpacks to more than" in why(lab, bob, packed(("manifest.json", b" " * (2 << 20))))
    monkeypatch.setattr("experiments.search.imports.archive.MAX_ENTRIES", 3)
    many = packed(*((f"{n}", b"") for n in range(5)))
    assert "more than 3 files" in why(lab, bob, many)


def test_other_files_are_refused_with_a_sentence(tmp_path: Path, lab: Workspace, bob: User) -> None:
    """TD-D8: empty ones, pictures, databases of something else, damaged databases, broken tables."""
    path = tmp_path / "x.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE cats (name TEXT)")
    db.close()
    other = path.read_bytes()
    for data, sentence in (
        (b"   \n", "The file is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "format of the file is not supported"),
        (other, "neither an Optuna storage nor"),
        (b"SQLite format 3\0" + b"\xff" * 5000, "cannot be read"),
        (b"lr,value\n1,2,3\n", "Line 2: 3 cells instead of 2"),
        (b"lr,lr,value\n1,2,3\n", "the column lr occurs twice"),
        (b"lr,value\n", "no rows below its header"),
        (b'lr,value\n"1,2\n', "invalid CSV"),
        (b"[1, 2]", "must be an object such as"),
        (b'{"op_code": 99}\n', "newer Optuna"),
        (b'{"op_code": 4, "study_id": 0}\n{"op_code"', "Line 2 is not a JSON operation"),
        (b'{"op_code": 0}\n', "Line 1 is not a known operation"),
        (b"[" * 100_000, "nested too deeply"),
    ):
        assert sentence in why(lab, bob, data), data[:40]


@pytest.mark.parametrize(
    ("source", "change", "sentence"),
    [
        (
            "optuna",
            "ALTER TABLE trials RENAME COLUMN state TO s",
            "The table trials of the SQLite file lacks",
        ),
        (
            "optuna",
            "ALTER TABLE trial_values RENAME COLUMN value TO v",
            "lacks the column value; this version",
        ),
        ("mlflow", "ALTER TABLE metrics RENAME COLUMN value TO v", "lacks the column value; this version"),
        ("mlflow", "ALTER TABLE params RENAME COLUMN key TO k", "lacks the column key; this version"),
        ("mlflow", "DELETE FROM runs", "no started trials"),
        ("mlflow", "DELETE FROM experiments", "no study, experiment or run"),
    ],
)
def test_a_database_of_another_schema_is_refused(
    source: str, change: str, sentence: str, tmp_path: Path, lab: Workspace, bob: User
) -> None:
    """TD-D8: instead of an experiment without values."""
    path = tmp_path / "source.db"
    if source == "optuna":
        optuna_study(f"sqlite:///{path}", direction="minimize")
    else:
        mlflow_sqlite(path)
    db = sqlite3.connect(path)
    db.execute(change)
    db.commit()
    db.close()
    assert sentence in why(lab, bob, path.read_bytes(), "source.db")


@pytest.mark.parametrize("meta", [None, b"- 1\n", b"{: [\xff"])
def test_runs_without_their_meta_data_are_counted(meta: bytes | None, lab: Workspace, bob: User) -> None:
    """TD-D8: they are left out, and the preview says so."""
    source, packed = zipfile.ZipFile(io.BytesIO(mlflow_files())), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            data = meta if name == "mlruns/1/a1/meta.yaml" else source.read(name)
            if data is not None:
                target.writestr(name, data)
    row = uploaded(lab, bob, packed.getvalue(), "mlruns.zip")
    (preview,) = row.preview["studies"]
    assert preview["trials"] == 3 and dict(preview["left_out"])["runs without a valid meta.yaml"] == 1


@pytest.fixture
def ready(archive: bytes, lab: Workspace, bob: User) -> HistoryImport:
    """An import whose choices are confirmed."""
    row = uploaded(lab, bob, archive, "x.zip")
    row.confirm(
        choices=checked(row.preview, file_format=row.format), project=lab.projects.get(name="Default")
    )
    return row


def steps(row: HistoryImport, count: int) -> None:
    """Work on an import until it has paused so many times; then control is killed."""
    left = iter(range(count))

    def pause() -> None:
        if next(left, None) is None:
            raise background.Ending

    taken = HistoryImport.take("control")
    assert taken is not None
    background.work_on(taken, pause)
    row.refresh_from_db()


def test_an_interrupted_import_stays_hidden_and_is_resumed(
    archive: bytes, ready: HistoryImport, lab: Workspace, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-D8, TD-S2: wherever control is killed; the result is the same as without."""
    monkeypatch.setattr("experiments.transfer.writer.ROWS_AT_ONCE", 5)
    page = as_(alice)

    def listed(path: str) -> int:
        return page.get(f"/w/lab/{path}").content.decode().count('class="name"')

    visible, rows = Experiment.objects.count(), {path: listed(path) for path in ("experiments/", "trash/")}
    for count in range(1, 60, 2):  # later each time
        steps(ready, count)
        if ready.state == "imported":
            break
        assert ready.state == "importing"
        assert Experiment.objects.count() == visible
        for path in rows if count < 4 else ():
            assert listed(path) == rows[path]
    assert ready.state == "imported" and ready.experiment is not None
    assert listed("experiments/") == rows["experiments/"] + 1
    assert members(exported(ready.experiment, logs=True, artifacts=True)) == members(archive)


def test_a_canceled_import_leaves_nothing(
    ready: HistoryImport, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-D8: the process that works on it notices, and the retention deletes what it wrote."""
    monkeypatch.setattr("experiments.transfer.writer.ROWS_AT_ONCE", 5)
    before = Experiment.everything.exclude(is_importing=True).count()
    steps(ready, 2)
    assert ready.experiment is not None and Trial.everything.filter(experiment=ready.experiment).exists()
    hidden = ready.experiment
    assert not hidden.restore(by=bob)
    assert ready.cancel(by=bob)
    with pytest.raises(Overtaken):
        ready.hold(done=5)
    while purge():
        pass
    assert Experiment.everything.count() == before and not ImportPiece.objects.exists()
    assert not LogPiece.objects.filter(trial__experiment__pk=hidden.pk).exists()


def test_two_processes_do_not_import_at_once(ready: HistoryImport) -> None:
    """TD-S2: whoever takes it last goes on; the other one stops at its next step."""
    first, second = HistoryImport.take("one"), HistoryImport.take("two")
    assert first and second
    with pytest.raises(Overtaken):
        first.hold(done=1)
    second.hold(done=1)


def test_an_upload_that_breaks_off_leaves_nothing(
    lab: Workspace, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-D8: neither one whose connection ends, nor one that is too large."""

    def chunks() -> Iterator[bytes]:
        yield b"x" * (2 << 20)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        HistoryImport.receive(lab, by=bob, file_name="a", chunks=chunks())
    monkeypatch.setattr("experiments.models.history_import.MAX_BYTES", 10)
    with pytest.raises(Invalid, match="larger than"):
        HistoryImport.receive(lab, by=bob, file_name="a", chunks=[b"x" * 11])
    assert not HistoryImport.objects.exists() and not ImportPiece.objects.exists()
    monkeypatch.setattr("experiments.models.history_import.MOST_UNFINISHED", 0)
    with pytest.raises(Refused, match="are unfinished"):
        HistoryImport.receive(lab, by=bob, file_name="a", chunks=[b"x"])


def test_a_batch_does_not_grow_with_the_number_of_trials(
    lab: Workspace, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-D8, TD-X7: as many queries per transaction, however many trials the file has."""
    counts = []
    for trials in (400, 800):
        table = "lr,opt,loss\n" + "".join(f"{n / 1000},adam,{n}\n" for n in range(1, trials + 1))
        row = uploaded(lab, bob, table.encode(), "t.csv")
        chosen = checked(row.preview, file_format=row.format, direction="minimize")
        row.confirm(choices=chosen, project=lab.projects.get(name="Default"))
        pauses: list[int] = []
        taken = HistoryImport.take("here")
        assert taken is not None
        with CaptureQueriesContext(connection) as queries:
            background.work_on(taken, lambda pauses=pauses: pauses.append(1))
        row.refresh_from_db()
        assert row.state == "imported" and row.done == trials
        counts.append(len(queries) / max(len(pauses), 1))
    assert counts[1] <= counts[0] * 1.2


def test_every_role_is_checked(lab: Workspace, alice: User, bob: User, carol: User, dave: User) -> None:
    """TD-D8, TD-Z4: viewers cannot import; another operator does not see my import; owners do."""
    row = uploaded(lab, bob, b"lr,value\n1,2\n", "a.csv")
    url = f"/w/lab/imports/{row.public_id}/"
    assert [as_(person).get(url).status_code for person in (alice, bob, carol, dave)] == [200, 200, 403, 404]
