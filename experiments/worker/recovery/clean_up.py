"""Clean up after an earlier process of a worker: processes, containers, control groups, outcomes, secrets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.db.models import F

from experiments.models import Trial, TrialState
from experiments.runner import cgroup
from experiments.runner.process import await_orphans, is_alive, sweep
from experiments.runner.trial_folder import TrialFolder
from experiments.worker.errors import CannotRun
from experiments.worker.recovery import reported_results
from experiments.worker.trial_run import clear

if TYPE_CHECKING:
    from experiments.worker.worker import LocalWorker

logger = logging.getLogger(__name__)


def clean_up(worker: LocalWorker) -> None:
    """Clean up after an earlier process of this worker, before the worker registers. Raise `CannotRun` if its
    container engine cannot be used."""
    await_orphans(installation=worker.installation)
    swept = sweep(installation=worker.installation)
    if swept:
        logger.warning("Ended %s processes that an earlier worker left: %s", len(swept), swept)
    _sweep_containers(worker)
    _settle_cgroup(worker)
    worker.outbox.deliver_kept()
    _clear(worker)
    reported_results.settle(
        name=worker.name,
        boots=worker.boots.earlier,
        trials_folder=worker.trials_folder,
    )


def _sweep_containers(worker: LocalWorker) -> None:
    engine = worker.shelf.engine
    if not engine:
        return
    if problem := engine.check():
        raise CannotRun(problem)
    if container_names := engine.sweep():
        logger.warning("Removed %s containers that an earlier worker left", len(container_names))


def _settle_cgroup(worker: LocalWorker) -> None:
    """Prepare control groups for memory limits. With containers, the engine limits memory."""
    if worker.shelf.engine:
        return
    try:
        worker.home = cgroup.CgroupParent.prepare(worker.installation)
    except cgroup.CgroupError as why:
        logger.info("Memory is not limited here, only reserved: %s", why)
        return
    if group_names := worker.home.sweep(is_alive=is_alive):
        logger.warning("Removed %s control groups that an earlier worker left", len(group_names))


def _clear(worker: LocalWorker) -> None:
    """Delete code and secrets that trials of a killed earlier process left, before its boot is replaced."""
    its = Trial.everything.filter(worker__name=worker.name, boot=F("worker__boot"))
    its = its.exclude(state=TrialState.SUCCEEDED).select_related("experiment", "revision")
    for trial in its.iterator(chunk_size=100):
        clear(trial, TrialFolder(worker.trials_folder, trial.experiment.public_id, trial.number))
