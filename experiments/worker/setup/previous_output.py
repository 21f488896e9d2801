"""The output of an earlier attempt, from which a rerun or a retry can continue."""

from __future__ import annotations

from pathlib import Path

from experiments.models import Part, Source, Trial
from experiments.models.trial.base import TrialBase
from experiments.runner.dialects import nni
from experiments.runner.safe_files import OutsideFolder, list_names
from experiments.runner.trial_folder import TrialFolder


def previous_output(trial: Trial, trials_folder: Path) -> Path | None:
    """Return the output folder of the latest earlier attempt that left files on this machine, so that a rerun or a
    retry can continue from its checkpoint. Attempts that ended before they saved anything are skipped."""
    attempt: TrialBase = trial
    while attempt.source in (Source.RERUN, Source.RETRY, Source.RESUMED) and attempt.rerun_of:
        attempt = attempt.rerun_of
        if attempt.removed.get(Part.FOLDER):  # it is removed, or about to be
            continue
        folder = TrialFolder(trials_folder, trial.experiment.public_id, attempt.number)
        if _has_anything(folder):
            return folder.output
    return None


def removed_attempt(trial: Trial) -> TrialBase | None:
    """Return the attempt that this one repeats if retention has removed its folder, so that there is no checkpoint to
    continue from."""
    earlier = trial.rerun_of if trial.source in (Source.RERUN, Source.RETRY, Source.RESUMED) else None
    return earlier if earlier and earlier.removed.get(Part.FOLDER) else None


def _has_anything(folder: TrialFolder) -> bool:
    try:
        return any(name != nni.LOG_NAME for name in list_names(folder.output, below=folder.root))
    except (OSError, OutsideFolder):  # not on this machine, not readable, or a link
        return False
