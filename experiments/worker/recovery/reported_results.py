"""Results that trials reported before their worker was killed: they count, and the trials are not retried."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from uuid import UUID

from experiments import database_clock
from experiments.models import Artifact, Outcome, Refused, Trial, status
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.output.log import LogReader
from experiments.runner.trial_folder import TrialFolder
from experiments.worker.output import objective
from experiments.worker.output.artifacts import destination_of, files_in
from experiments.worker.output.masker import masker_of
from experiments.worker.output.reports import TrialReports, store
from experiments.worker.setup.preparation import DIALECTS

logger = logging.getLogger(__name__)

NOTE = "The worker was lost after the trial reported its final result, which counts."


def settle(*, name: str, boots: Collection[UUID], trials_folder: Path) -> None:
    """Settle the trials of earlier boots of the worker `name` that have left a final result. Their processes have
    ended. The conductor settles and retries the others."""
    held = Trial.objects.filter(worker__name=name, boot__in=boots, state__in=status.TRIAL_ALIVE)
    for trial in held.select_related("experiment", "revision", "worker"):
        try:
            outcome = outcome_of(trial, trials_folder)
            if outcome and trial.settle(outcome):
                logger.info("Settled trial %s from the final result that it had left", trial)
        except Refused as refused:
            logger.warning("What trial %s left is no longer needed: %s", trial, refused)


def outcome_of(trial: Trial, trials_folder: Path) -> Outcome | None:
    """Return the outcome of a lost trial if it has left a final result in its folder on this machine, and store its
    other reports and output."""
    if not (trials_folder / trial.experiment.public_id / str(trial.number)).is_dir():
        return None  # on another machine
    try:
        return _read(trial, trials_folder)
    except OSError as error:
        logger.warning("What trial %s left cannot be read: %s", trial, error)
        return None


def _read(trial: Trial, root: Path) -> Outcome | None:
    settings = trial.revision.settings
    folder = TrialFolder(root, trial.experiment.public_id, trial.number)
    started_at = trial.started_at or database_clock.now()
    reports = TrialReports(trial, masker_of(settings), began_at=started_at.timestamp())
    context = RunContext(
        folder=folder,
        experiment_id=trial.experiment.public_id,
        number=trial.number,
        params=settings.received(trial.params),
        objective=settings.metric,
        cwd=folder.path,
    )
    log = LogReader(folder.log, below=folder.root)
    log.position = trial.log_bytes  # what is stored already
    reports.start([dialect.listen(context) for dialect in DIALECTS], log)
    reports.has_ended = True
    before: list[int] | None = None
    while before != (before := reports.positions()):
        store([reports])
    if not objective.has_final(reports):
        return None
    value = objective.evaluate(reports, None)
    if not isinstance(value, float):
        return None
    reports.notes.append(NOTE)
    store([reports])
    files, _ = files_in(folder.output, below=root)
    if files and trial.worker:
        Artifact.see(trial, trial.worker, files, to=destination_of(trial))
    return Outcome(value=value, final_metrics=reports.other_finals())
