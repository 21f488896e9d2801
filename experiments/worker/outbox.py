"""Outcomes of trials that could not be settled yet: each waits in a file, and survives the worker's process."""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import asdict
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import close_old_connections

from experiments.models import Outcome, Refused, Trial

logger = logging.getLogger(__name__)

RETRY_S = 1.0


class Outbox:
    """Settles the trials of one worker, as soon as the database is available."""

    def __init__(self, folder: Path, *, ending: threading.Event) -> None:
        self.folder, self._ending = folder, ending

    def deliver(self, trial: Trial, outcome: Outcome) -> None:
        """Settle the trial. While the database is not available, keep the outcome in a file and try again until the
        worker ends."""
        file = self.folder / f"{trial.pk}.json"
        is_kept = False
        while True:
            try:
                trial.settle(outcome)
                file.unlink(missing_ok=True)
                return
            except DatabaseError as error:
                logger.warning("Cannot settle %s yet: %s", trial, error)
                close_old_connections()
                if not is_kept:
                    _write_atomically(file, json.dumps(asdict(outcome)))
                    is_kept = True
                if self._ending.wait(RETRY_S):
                    return  # the next start delivers it

    def deliver_kept(self) -> None:
        """Settle the trials whose outcomes an earlier process of this worker left."""
        for file in sorted(self.folder.glob("*.json")):
            content = json.loads(file.read_text())
            content.pop("claim", None)  # of an earlier version
            content["survivors"] = tuple(content["survivors"])
            trial = Trial.objects.filter(pk=file.stem).select_related("experiment").first()
            try:
                if trial and trial.settle(Outcome(**content)):
                    logger.info("Delivered the outcome of %s from before this worker started", trial)
            except Refused as refused:  # its experiment is in the trash
                logger.warning("The outcome of %s is no longer needed: %s", trial, refused)
            file.unlink()


def _write_atomically(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
