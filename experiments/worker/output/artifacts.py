"""Output files of trials: recorded, hashed, uploaded to the output destination.

A separate thread of the worker does it: a trial is settled before its files are uploaded, and an unresponsive
destination delays no trial. Files that could not be stored stay in
place and are retried, even after a restart of the worker, because the rows record the remaining work.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from django.db import Error as DatabaseError
from django.db import close_old_connections
from django.db.models import Q

from experiments import database_clock
from experiments.models import Artifact, Experiment, Keeping, Trial, Worker, status
from experiments.models.trial.artifact import LONGEST_NAME, MOST_ARTIFACTS
from experiments.models.workspace.retention import TRASH_KEPT_FOR
from experiments.runner.destination import DestinationError, Store, StoreError
from experiments.runner.safe_files import (
    OutsideFolder,
    Root,
    list_files,
    list_names,
    open_regular,
    remove,
    remove_tree,
)
from experiments.runner.trial_folder import TrialFolder, size_and_mtime
from experiments.worker import folder_retention
from experiments.worker.db_connection import give_back_connection

if TYPE_CHECKING:
    from experiments.worker.trial_run import TrialRun

logger = logging.getLogger(__name__)

CHUNK = 1 << 18  # bytes that are read at a time

LOOK_S = 5.0
QUIET_S = 2.0  # since the last change of a file that a running trial may still be writing
SWEEP_S = 3600.0
ABANDONED_S = 86_400.0
ODD = "Links and special files were skipped."
FIRST_OF_ID = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
MOST_DELETED = 1000  # stored files per sweep

OutputFiles = dict[str, tuple[int, datetime]]


class Collector:
    """The collector of one worker. `row` returns the worker's row, which a new boot replaces."""

    def __init__(self, *, trials_folder: Path, row: Callable[[], Worker], ending: threading.Event) -> None:
        self.trials_folder, self.row, self.ending = trials_folder, row, ending
        self._news = threading.Event()
        self._to_thin: dict[int, Trial] = {}  # by experiment, one of its settled trials
        self._with_files: set[int] = set()  # trials that have left files and are not settled yet
        self._sweep_at = 0.0

    def run(self, running: Callable[[], Sequence[TrialRun]]) -> None:
        """Run until the worker ends."""
        while not self.ending.is_set():
            self._news.clear()
            try:
                for run in running():
                    run.publish(quiet_s=QUIET_S)
                    self.see(run.trial, folder=run.folder, quiet_s=QUIET_S)
                self.store_all()
                for pk in list(self._to_thin):
                    trial = self._to_thin.pop(pk)
                    if count := trial.revision.settings.keeps_best:
                        self.keep_best(trial.experiment, count)
                folder_retention.measure(self.row(), self.trials_folder)
                folder_retention.remove(self.row(), self.trials_folder, ending=self.ending)
                self.tidy(time.monotonic())
            except DatabaseError as error:
                logger.warning("Artifacts wait for the database: %s", error)
                close_old_connections()
            except Exception:  # after a bug here the collector must continue
                logger.exception("The collector failed")
            give_back_connection()
            self._news.wait(LOOK_S)

    def settled(self, trial: Trial) -> None:
        """Upload the files of a trial that has ended, if it has any. Files of other experiments or of an earlier
        process are handled every few seconds anyway."""
        has_files = trial.pk in self._with_files
        self._with_files.discard(trial.pk)
        if trial.revision.settings.keeps_best:
            self._to_thin[trial.experiment_id] = trial
        elif not has_files:
            return
        self._news.set()

    def wake(self) -> None:
        """Wake the thread, because there is work or the worker is ending."""
        self._news.set()

    # --- recorded ------------------------------------------------------------------------------------------------

    def see(self, trial: Trial, *, folder: TrialFolder | None = None, quiet_s: float = 0) -> list[str]:
        """Record the files in the trial's output folder. Return what was skipped, as sentences. `folder`: the trial's,
        which may be open."""
        folder = folder or self._folder(trial)
        files, odd = files_in(folder.output, below=folder.below, quiet_s=quiet_s)
        if files:
            self._with_files.add(trial.pk)
            Artifact.see(trial, self.row(), files, to=destination_of(trial))
        return odd

    def _folder(self, trial: Trial) -> TrialFolder:
        return TrialFolder(self.trials_folder, trial.experiment.public_id, trial.number)

    def _output(self, trial: Trial) -> Path:
        return self._folder(trial).output

    # --- stored ----------------------------------------------------------------------------------------------

    def store_all(self) -> None:
        """Store everything that is due, one file after the other."""
        rows = Artifact.objects.select_related("trial", "experiment")
        while not self.ending.is_set():
            artifact = rows.due(self.row(), database_clock.now()).first()
            if artifact is None:
                break
            self._store(artifact)
        unread = rows.filter(worker=self.row(), keeping=Keeping.LOCAL, sha256="", fault="")
        for artifact in unread.filter(trial__state__in=status.TRIAL_SETTLED)[:100]:
            if file := self._open_unchanged(artifact):
                with file:
                    artifact.hashed(digest_of(file))

    def _store(self, artifact: Artifact) -> None:
        file = self._open_unchanged(artifact)
        if file is None:
            return
        give_back_connection()  # an upload may take minutes
        try:
            with file:
                sha256 = digest_of(file)
                file.seek(0)
                Store(artifact.destination).put(file, artifact.key)
                is_same = size_and_mtime(os.fstat(file.fileno())) == (artifact.size, artifact.changed_at)
        except (StoreError, OSError) as error:
            logger.warning("%s of %s could not be stored: %s", artifact.name, artifact.trial, error)
            artifact.failed(str(error))
            return
        if is_same:
            artifact.stored(sha256=sha256, size=artifact.size)
        else:
            self._look_again(artifact)

    def _open_unchanged(self, artifact: Artifact) -> BinaryIO | None:
        """Open the file if it has not changed since it was recorded. Links and special files are not read."""
        try:
            file = open_regular(self._output(artifact.trial) / artifact.name, below=self.trials_folder)
        except PermissionError as error:
            artifact.failed(f"The file cannot be read: {error.strerror}.")
            return None
        except (OSError, OutsideFolder):
            artifact.lost("The file no longer exists.")
            return None
        if size_and_mtime(os.fstat(file.fileno())) == (artifact.size, artifact.changed_at):
            return file
        file.close()
        self._look_again(artifact)
        return None

    def _look_again(self, artifact: Artifact) -> None:
        """Record a file again that has changed; while its trial is running, wait until it is unchanged."""
        self.see(artifact.trial)
        if not artifact.trial.is_settled:
            artifact.later(LOOK_S)

    # --- removed ---------------------------------------------------------------------------------------------

    def tidy(self, now: float) -> None:
        """Once an hour, delete the folders of deleted experiments, and stored files that have expired in the trash.
        `now` is in monotonic seconds."""
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_S
        self.empty_trash(database_clock.now())
        names = [name for name in self._trials_names() if name[0] in FIRST_OF_ID]
        existing = Experiment.everything.filter(public_id__in=names)
        for name in set(names) - set(existing.values_list("public_id", flat=True)):
            if time.time() - (self.trials_folder / name).lstat().st_mtime > ABANDONED_S:
                logger.info("Removing the files of the trials of %s, which was permanently deleted", name)
                try:
                    remove_tree(name, below=self.trials_folder)
                except (OSError, OutsideFolder) as error:
                    logger.warning("%s cannot be removed: %s", self.trials_folder / name, error)

    def _trials_names(self) -> list[str]:
        try:
            return list_names("", below=self.trials_folder)
        except FileNotFoundError:
            return []  # no trial has run yet

    def empty_trash(self, now: datetime) -> int:
        """Delete from their destinations the files of trials that have expired in the trash, except for models. Return
        their number. Any worker does it, because the one that stored them may be gone."""
        before = now - TRASH_KEPT_FOR
        expired = Q(experiment__trashed_at__lt=before) | Q(trial__trashed_at__lt=before)
        rows = Artifact.objects.filter(expired, keeping=Keeping.STORED, models=None)
        silent: set[str] = set()  # destinations that do not respond: one attempt per hour
        deleted = 0
        for artifact in rows.select_related("trial", "experiment").order_by("pk")[:MOST_DELETED]:
            if artifact.destination in silent or self.ending.is_set():
                continue
            try:
                Store(artifact.destination).delete(artifact.key)
            except (StoreError, DestinationError) as error:
                logger.warning("%s could not be deleted: %s", artifact.address, error)
                silent.add(artifact.destination)
                continue
            artifact.lost("Deleted after 30 days in the trash.")
            deleted += 1
        return deleted

    def keep_best(self, experiment: Experiment, count: int) -> int:
        """Delete the artifacts of all settled trials except for the `count` best that succeeded, and for those from
        which another attempt continues: one that waits, runs, or starts when the experiment is resumed. Return their
        number."""
        # Read before the best trials are determined: trials settled in the meantime are not among these.
        of_settled = Artifact.objects.filter(
            experiment=experiment, trial__state__in=status.TRIAL_SETTLED
        ).kept()
        candidates = list(of_settled.exclude(models__isnull=False).select_related("trial", "experiment"))
        order = "-result" if experiment.direction == "maximize" else "result"
        best = experiment.trials.exclude(result=None).order_by(order, "number").values_list("pk", flat=True)
        needed = experiment.trials.filter(state__in=status.TRIAL_ACTIVE).exclude(rerun_of=None)
        interrupted = experiment.interrupted_trials().values_list("pk", flat=True)
        trials_to_keep = {*best[:count], *needed.values_list("rerun_of", flat=True), *interrupted}
        dropped = 0
        for artifact in candidates:
            if artifact.trial_id in trials_to_keep:
                continue
            is_here = artifact.worker_id == self.row().pk
            if not (is_here or artifact.keeping == Keeping.STORED):
                continue  # deleted by its own worker
            try:
                if artifact.keeping == Keeping.STORED:
                    Store(artifact.destination).delete(artifact.key)
                if is_here:
                    remove(self._output(artifact.trial) / artifact.name, below=self.trials_folder)
            except (StoreError, OSError) as error:
                logger.warning("%s of %s could not be removed: %s", artifact.name, artifact.trial, error)
                continue
            except OutsideFolder as error:  # it is no longer in the trial's folder
                logger.warning("%s of %s was left alone: %s", artifact.name, artifact.trial, error)
            artifact.dropped()
            dropped += 1
        return dropped


def destination_of(trial: Trial) -> str:
    """Return the destination of this trial's artifacts, or "". The most specific one applies: experiment, project,
    workspace, installation. It is resolved once per revision, so that all its artifacts are in one place."""
    revision = trial.revision
    if "destination" not in revision.resolved:
        project = trial.experiment.project
        nearest = revision.settings.destination or project.destination or project.workspace.destination
        revision.resolve(destination=nearest or os.environ.get("TRIALDECK_DESTINATION", ""))
    return revision.resolved["destination"]


def files_in(folder: Path, *, below: Root, quiet_s: float = 0) -> tuple[OutputFiles, list[str]]:
    """Return the regular files in `folder` by name that have been unchanged for `quiet_s` seconds, and sentences
    about skipped ones.

    Links below `below` are not followed, because they could lead anywhere.
    """
    files: OutputFiles = {}
    odd: set[str] = set()
    if _is_link(folder):
        return {}, [ODD]
    for name, facts in list_files(folder, below=below, max_name=LONGEST_NAME):
        try:
            name.encode()
        except UnicodeEncodeError:
            odd.add("Files with a name that is not UTF-8 were skipped.")
            continue
        if len(name) > LONGEST_NAME or not name.isprintable() or stat.S_ISDIR(facts.st_mode):
            odd.add(
                f"Files with a name over {LONGEST_NAME} characters or with unprintable ones were skipped."
            )
        elif not stat.S_ISREG(facts.st_mode):
            odd.add(ODD)
        elif len(files) >= MOST_ARTIFACTS:
            odd.add(f"More than {MOST_ARTIFACTS:,} output files: only the first were kept.")
        elif time.time() - facts.st_mtime >= quiet_s:
            files[name] = size_and_mtime(facts)
    return files, sorted(odd)


def _is_link(folder: Path) -> bool:
    try:
        return stat.S_ISLNK(folder.lstat().st_mode)
    except OSError:
        return False


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of the rest of an open file in hexadecimal digits. Uses constant memory."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
