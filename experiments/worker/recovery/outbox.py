"""Outcomes of trials that could not be settled yet: each is kept in a file, which survives the worker's process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from dataclasses import asdict
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import close_old_connections

from experiments.models import Outcome, Overtaken, Refused, Trial

logger = logging.getLogger(__name__)

RETRY_S = 1.0


class Outbox:
    """Settles the trials of one worker, as soon as the database is available."""

    def __init__(self, folder: Path, *, ending: threading.Event) -> None:
        self.folder, self._ending = folder, ending

    def deliver(self, trial: Trial, outcome: Outcome) -> None:
        """Settle the trial. While the database is not available, keep the outcome and try again until the worker ends.

        It is kept in memory and, so that it survives this process, in a file. A disk without room for the file loses
        nothing as long as the process lives.
        """
        letter = _Letter(self.folder / f"{trial.pk}.json", outcome)
        while True:
            try:
                trial.settle(outcome)
            except (DatabaseError, Overtaken) as error:
                logger.warning("Cannot settle %s yet: %s", trial, error)
                close_old_connections()
                letter.write()
                if self._ending.wait(RETRY_S):
                    return  # the next start delivers it
                continue
            except Refused as refused:  # its experiment is in the trash
                logger.warning("The outcome of %s is no longer needed: %s", trial, refused)
            letter.remove()
            return

    def deliver_kept(self) -> None:
        """Settle the trials whose outcomes an earlier process of this worker left behind."""
        for file in sorted(self.folder.glob("*.json")):
            trial = Trial.objects.filter(pk=file.stem).select_related("experiment").first()
            try:
                if trial and trial.settle(_read(file)):
                    logger.info("Delivered the outcome of %s from before this worker started", trial)
            except Refused as refused:  # its experiment is in the trash
                logger.warning("The outcome of %s is no longer needed: %s", trial, refused)
            except (OSError, ValueError, TypeError, KeyError) as error:  # of a failing disk
                logger.error("%s cannot be read, %s is retried: %s", file, trial, error)
            file.unlink(missing_ok=True)


def _read(file: Path) -> Outcome:
    content = json.loads(file.read_text())
    content.pop("claim", None)  # of an earlier version
    content["survivors"] = tuple(content["survivors"])
    return Outcome(**content)


class _Letter:
    """The file with an outcome that could not be delivered yet."""

    def __init__(self, path: Path, outcome: Outcome) -> None:
        self.path, self._outcome = path, outcome
        self._is_written = self._has_failed = False

    def write(self) -> None:
        """Write the file, once. The first failure is logged; the next call tries again."""
        if self._is_written:
            return
        try:
            _write_atomically(self.path, json.dumps(asdict(self._outcome)))
            self._is_written = True
        except OSError as error:
            if not self._has_failed:
                logger.error("%s cannot be written, its outcome is in memory only: %s", self.path, error)
            self._has_failed = True

    def remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:  # the next start finds the trial settled
            logger.warning("%s cannot be removed: %s", self.path, error)


def _write_atomically(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    try:
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
