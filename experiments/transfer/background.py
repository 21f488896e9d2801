"""Work on imports beside the beat: read a file for its preview, and import it when its choices are confirmed."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections

from experiments.models import HistoryImport, ImportPiece, ImportState, Invalid, Overtaken
from experiments.runner.tool_process import is_disk_full
from experiments.runner.work_folder import sweep, work_folder
from experiments.search.imports import ReadError, Staging, read_file
from experiments.search.imports.preview import summary

from .choices import OWN, RESERVED
from .files import write_files
from .revisions import revisions_of
from .writer import Writer

logger = logging.getLogger(__name__)

PREFIX = "import-"  # of the folders in the data folder
PAUSE_S = 0.01  # between two transactions, so that others get SQLite's lock
FAILED = "The import failed because of an error in Trialdeck. See the log of the control process."
DISK_FULL = "The disk of the control process is full. Free some disk space, then upload the file again."


class Ending(Exception):
    """The control process is ending; the next one continues the work."""


class Background:
    """Works on one import at a time in a thread."""

    def __init__(self) -> None:
        self.ending = threading.Event()
        self.holder = uuid.uuid4().hex
        self._thread: threading.Thread | None = None
        self._has_swept = False

    def tick(self) -> bool:
        """Start with the next import, unless one is in progress. Return whether one was started. The first call also
        removes the copies of files that a killed control process left."""
        if not self._has_swept:
            sweep(settings.DATA, PREFIX)
            self._has_swept = True
        if self._thread and self._thread.is_alive():
            return False
        row = HistoryImport.take(self.holder)
        if row is None:
            return False
        self._thread = threading.Thread(target=self._run, args=[row], name="import", daemon=True)
        self._thread.start()
        return True

    def join(self) -> None:
        """Wait until the import in progress has ended."""
        if self._thread:
            self._thread.join()

    def _run(self, row: HistoryImport) -> None:
        try:
            work_on(row, self._pause)
        except DatabaseError as error:
            logger.warning("The import of %s is interrupted: %s", row, error)
        finally:
            close_old_connections()

    def _pause(self) -> None:
        if self.ending.wait(PAUSE_S):
            raise Ending


def run_next(holder: str = "here") -> bool:
    """Work on the next import in this thread. Return False when there is none."""
    row = HistoryImport.take(holder)
    if row is None:
        return False
    work_on(row, lambda: None)
    return True


def work_on(row: HistoryImport, pause: Callable[[], None]) -> None:
    """Take the step that is due for an import: read its file, or import it. What fails is stored on the row."""
    try:
        with _spooled(row) as path, _staged(row, path) as staging:
            if row.state == ImportState.READING:
                _preview(row, staging)
            else:
                writer = Writer(row, staging, pause=pause)
                experiment = writer.write()
                if row.format == OWN:
                    write_files(row, experiment, path, pause=pause)
                writer.publish(experiment)
                logger.info("Imported %s as %s", row, experiment)
    except (Overtaken, Ending) as reason:
        logger.info("The import of %s does not continue here: %s", row, reason)
    except (ReadError, Invalid) as error:
        _fail(row, str(error))
    except DatabaseError:
        raise
    except Exception as error:  # a bug here must not end the process that schedules experiments
        if is_disk_full(str(error)):
            logger.error("The import of %s failed: %s", row, error)
            _fail(row, DISK_FULL)
            return
        logger.exception("The import of %s failed", row)
        _fail(row, FAILED)


def _fail(row: HistoryImport, error: str) -> None:
    try:
        row.fail(error)
    except Overtaken as reason:
        logger.info("%s", reason)


def _preview(row: HistoryImport, staging: Staging) -> None:
    studies = []
    for study in staging.studies():
        document = summary(staging, study, reserved=RESERVED)
        if row.format == OWN:
            space = study.document["revisions"][-1]["settings"].get("space_document")
            document["parameters"] = _own_parameters(space if isinstance(space, dict) else {})
            revisions_of(study.document["revisions"])  # checks the settings
        if document["trials"] or row.format == OWN:
            studies.append(document)
    if not studies:
        raise ReadError("The file has no started trials.")
    row.hold(state=ImportState.READY, format=row.format, preview={"studies": studies})


def _own_parameters(space: dict) -> list[dict]:
    return [
        {
            "source": name,
            "name": name,
            "definition": definition,
            "is_guessed": False,
            "in_space": True,
            "why": "",
            "count": 0,
        }
        for name, definition in space.items()
    ]


@contextmanager
def _spooled(row: HistoryImport) -> Iterator[Path]:
    """Copy the pieces of the file into a folder of its own, which is deleted at the end."""
    settings.DATA.mkdir(parents=True, exist_ok=True)
    with work_folder(settings.DATA, PREFIX) as folder:
        path = folder / "file"
        offset = 0
        with path.open("wb") as file:
            for key in list(row.pieces.order_by("offset").values_list("pk", flat=True)):
                piece = ImportPiece.objects.filter(pk=key).first()
                if piece is None or piece.offset != offset:
                    raise Overtaken("its file is gone")
                file.write(piece.data)
                offset += len(piece.data)
        if offset != row.size:
            raise ReadError("The upload is incomplete. Upload the file again.")
        yield path


@contextmanager
def _staged(row: HistoryImport, path: Path) -> Iterator[Staging]:
    staging = Staging(path.with_name("staging"))
    try:
        row.format = read_file(path, staging, file_name=row.file_name, roles=row.choices.get("roles"))
        yield staging
    finally:
        staging.close()
