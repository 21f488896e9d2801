"""Store the logs and artifacts of an imported experiment. Each step can be repeated after an interruption."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile

from django.conf import settings
from django.db import transaction

from experiments.models import Artifact, Experiment, HistoryImport, Keeping, LogPiece, Trial
from experiments.runner import safe_files
from experiments.runner.trial_folder import TrialFolder
from experiments.search.imports import ReadError, package
from experiments.search.imports.archive import Archive, opened

PIECES_AT_ONCE = 32
CHUNK = 1 << 20


def write_files(row: HistoryImport, experiment: Experiment, path: Path, *, pause: Callable[[], None]) -> None:
    """Store logs in the database, and artifacts in the trials' output folders on this machine. Raise ReadError."""
    with opened(path) as archive:
        _write_logs(row, experiment, archive, pause)
        for document in package.artifacts(archive):
            _write_artifact(experiment, archive, document)
            row.hold()
            pause()


def _write_logs(
    row: HistoryImport, experiment: Experiment, archive: Archive, pause: Callable[[], None]
) -> None:
    pieces: list[LogPiece] = []
    key = number = 0
    for of_trial, offset, data in package.logs(archive):
        if of_trial != number:
            number, key = of_trial, _key_of(experiment, of_trial)
        pieces.append(LogPiece(trial_id=key, offset=offset, size=len(data), data=data))
        if len(pieces) == PIECES_AT_ONCE:
            _keep(row, pieces)
            pieces = []
            pause()
    if pieces:
        _keep(row, pieces)


def _keep(row: HistoryImport, pieces: list[LogPiece]) -> None:
    with transaction.atomic():
        row.hold()
        LogPiece.keep(pieces)


def _key_of(experiment: Experiment, number: int) -> int:
    key = Trial.everything.filter(experiment=experiment, number=number).values_list("pk", flat=True).first()
    if key is None:
        raise ReadError(f"The file has a log or an artifact of trial {number:,}, but not the trial itself.")
    return key


def _write_artifact(experiment: Experiment, archive: Archive, document: dict) -> None:
    key = _key_of(experiment, document["trial"])
    root: Path = settings.DATA / "trials"
    folder = TrialFolder(root, experiment.public_id, document["trial"])
    folder.create()
    digest = hashlib.sha256()
    with TemporaryFile(dir=settings.DATA) as copy:
        with archive.open(package.file_of(document)) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                copy.write(chunk)
        if digest.hexdigest() != document["sha256"]:
            raise ReadError(f"The artifact {document['name'][:60]} is damaged: its digest differs.")
        copy.seek(0)
        path = folder.output / document["name"]
        safe_files.replace(path, copy, below=root)
        with safe_files.open_regular(path, below=root) as file:
            moment = round(datetime.fromisoformat(document["changed_at"]).timestamp() * 1_000_000) * 1_000
            os.utime(file.fileno(), ns=(moment, moment))
    Artifact.objects.update_or_create(
        trial_id=key,
        name=document["name"],
        defaults={
            "experiment": experiment,
            "size": document["size"],
            "changed_at": datetime.fromisoformat(document["changed_at"]),
            "sha256": document["sha256"],
            "keeping": Keeping.LOCAL,
        },
    )
