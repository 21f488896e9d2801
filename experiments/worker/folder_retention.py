"""Trial folders on this machine: measure their size, and remove those that retention has selected."""

from __future__ import annotations

import logging
import threading
from itertools import groupby
from pathlib import Path

from django.db.models import QuerySet

from experiments import database_clock
from experiments.models import FolderRemoval, Part, Trial, Worker, plain_sql
from experiments.models.workspace.retention import note_removal
from experiments.runner.safe_files import OutsideFolder, list_files, remove_tree
from experiments.runner.trial_folder import TrialFolder

logger = logging.getLogger(__name__)

AT_ONCE = 50
BLOCK = 512  # bytes, of `st_blocks`

# Nearly always there is nothing to do, every few seconds.
_unmeasured = plain_sql.Statement(
    lambda worker: _to_measure(worker).order_by().values_list("pk")[:1], worker=-1
)
_removals = plain_sql.Statement(
    lambda worker: FolderRemoval.objects.filter(worker=worker).order_by().values_list("pk")[:1], worker=-1
)


def measure(worker: Worker, trials_folder: Path) -> int:
    """Store the size of some folders of ended trials. Return their number."""
    if not _unmeasured.rows(worker=worker.pk):
        return 0
    trials = list(_to_measure(worker.pk).select_related("experiment").order_by("pk")[:AT_ONCE])
    for trial in trials:
        folder = TrialFolder(trials_folder, trial.experiment.public_id, trial.number)
        Trial.everything.filter(pk=trial.pk).update(folder_bytes=size_of(folder))
    return len(trials)


def _to_measure(worker: int) -> QuerySet[Trial]:
    return Trial.everything.filter(worker=worker, folder_bytes=None, ended_at__isnull=False)


def size_of(folder: TrialFolder) -> int:
    """Return the disk usage of a trial's folder in bytes; 0 if it does not exist."""
    files = list_files(folder.path, below=folder.root, max_name=4096)
    return sum(status.st_blocks for _, status in files) * BLOCK


def remove(worker: Worker, trials_folder: Path, *, ending: threading.Event) -> int:
    """Remove some of the folders that retention has selected. Return their number. Failures are retried with the next
    call."""
    if not _removals.rows(worker=worker.pk):
        return 0
    rows = FolderRemoval.objects.filter(worker=worker).select_related("trial__experiment__revision", "rule")
    removals = [removal for removal in rows.order_by("trial__experiment", "trial__number")[:AT_ONCE]]
    count = 0
    for _, of_one in groupby(removals, key=lambda removal: removal.trial.experiment_id):
        done = [removal for removal in of_one if not ending.is_set() and _remove(removal, trials_folder)]
        if not done:
            continue
        count += len(done)
        trials = [removal.trial for removal in done]
        note_removal(
            trials[0].experiment,
            Part.FOLDER,
            [trial.number for trial in trials],
            size=sum(trial.folder_bytes or 0 for trial in trials),
        )
        FolderRemoval.objects.filter(pk__in=[removal.pk for removal in done]).delete()
    return count


def _remove(removal: FolderRemoval, trials_folder: Path) -> bool:
    trial = removal.trial
    if not removal.begin(database_clock.now()):
        return False
    folder = TrialFolder(trials_folder, trial.experiment.public_id, trial.number)
    try:
        remove_tree(folder.path, below=folder.root)
    except FileNotFoundError:
        pass
    except (OSError, OutsideFolder) as error:
        logger.warning("The folder of trial %s cannot be removed: %s", trial, error)
        return False
    return True
