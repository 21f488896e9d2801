"""One trial on a worker's machine, from claim to outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings as django_settings
from django.db import Error as DatabaseError
from django.db import close_old_connections

from experiments.models import (
    Failure,
    LogPiece,
    Outcome,
    Trial,
    TrialState,
    secret,
)
from experiments.runner import cgroup, container
from experiments.runner import outcome as outcomes
from experiments.runner.boundary import BoundaryError
from experiments.runner.container import ContainerError
from experiments.runner.dialects import clearml
from experiments.runner.keeper.trial_cgroup import remove_cgroup
from experiments.runner.memory_size import format_mebibytes
from experiments.runner.output.log import LogReader, plain_text
from experiments.runner.process import Exit, Keeper, KeeperDied, LaunchError, Process, sweep
from experiments.runner.safe_files import OutsideFolder, read_text, remove, remove_tree
from experiments.runner.tool_process import Cancelled
from experiments.runner.trial_folder import TrialFolder
from experiments.worker.db_connection import release_connection
from experiments.worker.errors import SetupFailed
from experiments.worker.output import objective
from experiments.worker.output.reports import READ_BYTES, TrialReports
from experiments.worker.setup.environment import Place, Setup
from experiments.worker.setup.preparation import Preparation, Prepared

if TYPE_CHECKING:
    from experiments.worker.worker import LocalWorker

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S = 1.0
BRIEF_S = 0.5  # how long a slot keeps its connection to a file database while a trial runs
MOMENT_S = 0.1  # how long a trial runs before its start is stored, unless its end is stored by then
TAIL_BYTES = 16 * 1024  # of the log, to find the reason of a failure


class TrialRun:
    """One trial on this machine, from claim to outcome."""

    def __init__(self, trial: Trial, worker: LocalWorker) -> None:
        self.trial, self.worker = trial, worker
        self.settings = trial.revision.settings
        self.folder = TrialFolder(worker.trials_folder, trial.experiment.public_id, trial.number)
        self.process: Process | None = None
        self.began = self._claimed_at = time.monotonic()
        self.lost = ""  # why this worker lost it
        self.masker = worker.maskers.of(trial.revision)
        self.reports = TrialReports(trial, self.masker)
        self._prepared: Prepared | None = None
        self._stop_grace: float | None = None
        self._is_container_oom = False
        self._is_start_stored = False
        self.ruin = ""  # why the experiment itself cannot continue

    # --- run ---------------------------------------------------------------------------------------------

    def execute(self) -> Outcome:
        """Prepare, run and read the trial. Return its outcome, without changing the trial's state."""
        setup: Setup | None = None
        try:
            with self.worker.boundary.around(self.trial, self.folder) as boundary:
                setup = Setup(
                    self.trial,
                    self.settings,
                    self.folder,
                    self.worker.shelf,
                    is_cancelled=lambda: self._stop_grace is not None or self.worker.ending.is_set(),
                    boundary=boundary,
                    worker=self.worker.name,
                )
                release_connection(is_brief=setup.is_brief)  # code, packages and images may take minutes
                self._make_folder()
                with setup.ready() as place, self.worker.keepers.of(self.trial) as keeper:
                    return self._run(setup, place, keeper)
        except KeeperDied as gone:
            return Outcome.lost(str(gone))
        except Cancelled:
            return Outcome.lost("The worker was shut down.") if self.worker.ending.is_set() else Outcome()
        except (SetupFailed, LaunchError, BoundaryError) as failed:
            if self.worker.ending.is_set():
                return Outcome.lost("The worker was shut down.")
            tool_output = getattr(failed, "tool_output", "")
            self._log_tool_output(tool_output)
            return Outcome(failure=Failure.SETUP, detail=self.worker.blamed(str(failed), tool_output))
        finally:
            if self._prepared:
                self._prepared.close()
            self.ruin = self.masker.text(setup.ruin if setup else "")
            try:
                clear(self.trial, self.folder)
            finally:
                self.folder.close()

    def _make_folder(self) -> None:
        try:
            self.folder.make()
        except OSError as error:
            raise SetupFailed(f"The trial's folder cannot be created: {error.strerror}.") from error
        except OutsideFolder as error:
            raise SetupFailed(
                f"The trial's folder {self.folder.path} cannot be created: {str(error).rstrip('.')}. Remove the link."
            ) from error

    def _run(self, setup: Setup, place: Place, keeper: Keeper) -> Outcome:
        prepared = self._prepared = Preparation(self, setup, place).prepare()
        # From now on the writer thread reads.
        self.reports.start(prepared.readers, LogReader(self.folder.log, below=self.folder.below))
        group = self._cgroup(keeper)
        engine = setup.shelf.engine
        limited_by = self.worker.limits_memory_by if group or (engine and self.trial.memory_mib) else ""
        umask = setup.boundary.umask
        try:
            setup.boundary.give()
            process = self.process = keeper.launch(
                key=str(self.trial),
                argv=prepared.argv,
                cwd=place.cwd,
                env=prepared.env,
                log=self.folder.log,
                log_below=self.folder.root,
                last=engine.removal(setup.container) if engine else (),
                cores=() if engine else self.trial.cores,  # the engine sets them
                cgroup=group,
                umask=django_settings.TRIAL_UMASK if umask is None else umask,
            )
            self.began = time.monotonic()
            self.worker.starts.started(claimed_at=self._claimed_at, at=self.began)
            if self._stop_grace is not None:
                process.stop(self._stop_grace)
            self.trial.pid, self.trial.memory_limited_by = process.pid, limited_by
            release_connection(is_brief=True)
            ended = process.wait(MOMENT_S)
            if ended is None:
                self.store_start()
                release_connection(is_brief=True)
                ended = process.wait(BRIEF_S - MOMENT_S)
            if ended is None:
                release_connection()  # the process may run for days
                ended = process.wait()
            assert ended is not None, "waited without a timeout"
            self.worker.starts.ended()
            setup.boundary.take_back()
            prepared.close()
            if engine:
                ended = replace(ended, background=container.background_in(self._progress()))
            if engine and ended.code:
                self._is_container_oom = engine.was_out_of_memory(setup.container)
        finally:
            self._remove_container(setup)
            if group and self.process is None:
                remove_cgroup(str(group))
        if self.folder.was_removed:
            self.reports.notes.append(
                f"The folder {self.folder.path} was deleted while the trial ran. "
                "Its output, metrics and files are lost."
            )
        if ended.background:
            self.reports.notes.append(_background(ended.background))
        for report in prepared.metric_file.readable() if prepared.metric_file else ():
            self.reports.note_rounding(report)
        has_used_clearml = prepared.has_used_clearml()
        if not has_used_clearml and ended.code == 0:
            self.worker.without_clearml.add(self.trial.revision_id)
        self._keep_files(prepared, has_used_clearml=has_used_clearml)
        self._drain(ended)
        self._learn(prepared, place, has_used_clearml=has_used_clearml)
        return self.retrying(lambda: self.outcome(ended)) or Outcome.lost("The database was not available.")

    def store_start(self) -> None:
        """Store that its process has started, once. For a brief trial, it is stored together with the outcome."""
        if self.process and not self._is_start_stored:
            self._is_start_stored = True
            pid, limited_by = self.process.pid, self.trial.memory_limited_by
            self.retrying(lambda: self.trial.begun(pid=pid, memory_limited_by=limited_by))

    def _keep_files(self, prepared: Prepared, *, has_used_clearml: bool) -> None:
        """Publish and record its output files. A failure, for example because the disk is
        full, becomes a note; it does not change the outcome of the trial."""
        try:
            if has_used_clearml:
                clearml.move_uploads(prepared.run_context)
                prepared.publisher.publish()
            self.reports.notes += self.retrying(self._record_files) or []
        except OSError as error:
            logger.warning("Trial %s: its output files cannot be kept: %s", self.trial, error)
            self.reports.notes.append(f"Output files could not be kept: {error.strerror or error}.")

    def _record_files(self) -> list[str]:
        return self.worker.collector.see(self.trial, folder=self.folder)

    def publish(self, *, quiet_s: float) -> None:
        """Publish as output files what the trial has reported so far. Files that changed in the last `quiet_s` seconds
        wait."""
        if self.process and self._prepared and self._prepared.has_used_clearml():
            self._prepared.publisher.publish(quiet_s=quiet_s)

    def _cgroup(self, keeper: Keeper) -> Path | None:
        """Return the control group that limits its memory, if it has a limit and the worker can create one."""
        limit, home = self.trial.memory_mib, self.worker.home
        if not limit or home is None:
            return None
        try:
            return home.make(f"{keeper.mark}-{self.trial}", memory_mib=limit)
        except cgroup.CgroupError as why:
            self.reports.notes.append(_sentence(f"its memory was not limited: {why}"))
            return None

    def _learn(self, prepared: Prepared, place: Place, *, has_used_clearml: bool) -> None:
        """Store the parameters that the script declares, and the packages in its container, once per revision."""
        revision = self.trial.revision
        if "packages" not in revision.resolved and (listed := place.installed(self.folder)) is not None:
            self.retrying(lambda: revision.resolve(packages=listed))
        if "declared" in revision.resolved or not has_used_clearml:
            return
        if declared := clearml.declared(prepared.run_context):
            self.retrying(lambda: revision.resolve(declared=declared))

    def _remove_container(self, setup: Setup) -> None:
        """Remove the container, which may outlive its client."""
        if not setup.shelf.engine:
            return
        try:
            setup.shelf.engine.remove(setup.container)
        except ContainerError as stays:
            logger.error("Trial %s: %s", self.trial, stays)
            self.reports.notes.append(str(stays))

    def _log_tool_output(self, tool_output: str) -> None:
        """Store the output of git or the resolver as the trial's log, which is empty so far."""
        data = self.masker.data(tool_output.strip().encode())
        if data:
            self.retrying(lambda: LogPiece.keep([_piece(self.trial, data)]))
            self.retrying(lambda: self.trial.logged(len(data)))

    def outcome(self, ended: Exit) -> Outcome:
        """Return the outcome, from the exit, the end of the log, and the metrics."""
        if ended.lost:
            sweep(installation=self.worker.installation)
            self.lost = self.lost or "the worker's process supervisor was lost"
        is_stopped = self._stop_grace is not None
        if is_stopped:  # the value so far is read from what is stored
            self.store_rest()
        engine = self.worker.shelf.engine
        is_seen = engine is None or engine.sees_processes  # otherwise they are those of the engine's client
        facts: dict[str, Any] = {
            "exit_code": ended.code,
            "signal": ended.signal,
            "gone_after_s": ended.gone_after_s,
            "peak_memory": ended.peak_memory_bytes if is_seen else None,
            "cpu_s": ended.cpu_s if is_seen else None,
            "survivors": tuple(ended.survivors),
        }
        if ended.code == 0 and self.settings.source == "sdk":
            self.reports.add_implied()
        metric_file = self._prepared.metric_file if self._prepared else None
        result = objective.evaluate(self.reports, metric_file)
        value, metric_failure = (result, None) if isinstance(result, float) else (None, result)
        facts["final_metrics"] = self.reports.other_finals()
        is_lost = bool(self.lost) or ended.lease_expired or self.worker.ending.is_set()
        is_done = value is not None and (ended.code == 0 or (is_lost and objective.has_final(self.reports)))
        if is_lost and is_done:
            return Outcome(value=value, **facts)
        if is_lost:
            shut_down = "its worker was shut down"
            why = self.lost or ("its worker sent no heartbeat in time" if ended.lease_expired else shut_down)
            return Outcome(failure=Failure.WORKER_LOST, detail=_sentence(why), **facts)
        if is_stopped:  # the row has the target; the value so far may count
            return Outcome(value=value, so_far=objective.so_far(self.reports, metric_file), **facts)
        tail = b"" if ended.code == 0 else LogPiece.tail(self.trial.pk, size=TAIL_BYTES)
        progress = self._progress() if engine else []
        is_oom = self._is_container_oom or container.OUT_OF_MEMORY in progress
        if engine and ended.code and container.PREPARED not in progress and not is_oom:
            detail = container.reason(plain_text(tail)) or "The container did not start."
            return Outcome(value=value, failure=Failure.SETUP, detail=outcomes.one_line(detail), **facts)
        failure = outcomes.find_failure(
            ended,
            stopped=False,
            timed_out=False,
            log_tail=tail,
            memory=format_mebibytes(self.trial.memory_mib) if self.trial.memory_mib else "",
            container_oom=is_oom,
            pipefail=self.settings.pipefail,
            pattern=self.settings.pattern if self.settings.source == "stdout" else "",
        )
        if metric_failure and metric_failure.kind == Failure.NO_METRIC and ended.background:
            detail = f"{metric_failure.detail} {_background(ended.background)}"
            metric_failure = replace(metric_failure, detail=outcomes.one_line(detail))
        failure = failure or metric_failure
        if failure:
            return Outcome(value=value, failure=failure.kind, detail=failure.detail, **facts)
        return Outcome(value=value, **facts)

    def _progress(self) -> list[str]:
        """Return the progress that its container reports. A file that cannot be read counts as prepared."""
        try:
            return read_text(self.folder.progress, below=self.folder.below, max_bytes=READ_BYTES).splitlines()
        except (OSError, ValueError):
            return [container.PREPARED]

    # --- instructions from the row (heartbeat thread) -----------------------------------------------------

    def apply_row(self, row: dict | None) -> None:
        """Act on the trial's row; `row` is None when this worker no longer holds the trial."""
        if row is None:
            self.stop(0)
            return
        self.reports.has_rule = self.reports.has_rule or row["rule_revision"] is not None
        limit_s = row["experiment__max_trial_duration_s"]
        if row["state"] == TrialState.STOPPING:
            self.stop(row["stop_grace_s"] or 0)
        elif limit_s and self.process and time.monotonic() - self.began > limit_s:
            trial = Trial.objects.select_related("experiment").get(pk=self.trial.pk)
            if trial.time_out(limit_s=limit_s):
                self.stop(trial.stop_grace_s or 0)

    def stop(self, grace_s: float) -> None:
        """End the process tree: terminate, wait for the grace period, kill. A later call can shorten the grace."""
        if self._stop_grace is not None and self._stop_grace <= grace_s:
            return
        self._stop_grace = grace_s
        if self.process:
            self.process.stop(grace_s)

    def lose(self, why: str, *, grace_s: float) -> None:
        """Stop the trial, because this worker has lost it."""
        self.lost = self.lost or why
        self.stop(grace_s)

    def _drain(self, ended: Exit) -> None:
        """Read and store all reports and output of the trial. The rest of a succeeded trial is held back, to be stored
        together with its outcome."""
        if ended.code == 0 and self.reports.is_nearly_read() and self.worker.writer.hold_back(self.reports):
            if not objective.needs_nothing_stored(self.reports):
                self.store_rest()
            return
        has_more = True
        while has_more and not self.worker.ending.is_set():
            before, was_stored = self.reports.positions(), self.reports.is_stored
            self.retrying(lambda: self.worker.writer.flush([self.reports]))
            has_more = not was_stored or self.reports.positions() != before  # it reads only what follows
        self.reports.has_ended = True
        self.retrying(lambda: self.worker.writer.flush([self.reports]))

    def store_rest(self) -> None:
        """Store the batch that was held back, if it cannot be stored together with the outcome."""
        if self.reports.is_held_back:
            self.reports.is_held_back = False
            self.retrying(lambda: self.worker.writer.flush([self.reports]))

    def retrying(self, action: Callable[[], T]) -> T | None:
        """Call `action` until the database is available. Return None when the worker ends before."""
        while True:
            try:
                return action()
            except DatabaseError as error:
                logger.warning("Trial %s waits for the database: %s", self.trial, error)
                close_old_connections()
                if self.worker.ending.wait(RETRY_S):
                    return None


def clear(trial: Trial, folder: TrialFolder) -> None:
    """Delete everything that must not outlive a trial's process: its copies of code and model, and decrypted
    secrets."""
    for copied in (folder.code, folder.model):
        try:
            remove_tree(copied, below=folder.below)
        except (OSError, OutsideFolder) as error:
            logger.warning("Trial %s: %s cannot be removed: %s", trial, copied, error)
    hyperparameters = trial.revision.settings.hyperparameters
    if secret.hidden(hyperparameters) == hyperparameters:
        return
    try:
        remove(folder.configuration, below=folder.below)
        clearml.remove_task(folder, trial.public_id)
    except (OSError, OutsideFolder) as error:
        logger.error("Trial %s: its configuration cannot be removed: %s", trial, error)


def _piece(trial: Trial, data: bytes) -> LogPiece:
    return LogPiece(trial_id=trial.pk, offset=0, size=len(data), data=data)


def _background(names: Sequence[str]) -> str:
    return (
        f"Stopped because still running in the background when the command ended: {'; '.join(names)}. "
        "To wait for background processes, remove the & or end the command with wait."
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
