"""One trial on a worker's machine, from claim to outcome."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import Error as DatabaseError
from django.db import close_old_connections
from django.db.models import F

from experiments import dispatch
from experiments.models import (
    Experiment,
    Failure,
    LogPiece,
    Outcome,
    Point,
    Source,
    Trial,
    TrialState,
    secret,
    status,
)
from experiments.models.log import PIECE_BYTES
from experiments.models.metric import MAX_POINTS
from experiments.models.trial.base import TrialBase
from experiments.runner import cgroup, configuration, container
from experiments.runner import command as commands
from experiments.runner import outcome as outcomes
from experiments.runner.container import ContainerError
from experiments.runner.dialects import clearml, native, nni
from experiments.runner.dialects.reader import Reader
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.json_metric import NoMetric, Version, expand_path, read_json_metric
from experiments.runner.keeper import remove_cgroup
from experiments.runner.log import LogReader, plain_text
from experiments.runner.memory_size import format_mebibytes
from experiments.runner.metric_pattern import PatternReader
from experiments.runner.process import Exit, Keeper, KeeperDied, LaunchError, Process, sweep
from experiments.runner.report import MAX_SERIES, Report
from experiments.runner.tool_process import Cancelled
from experiments.runner.trial_folder import TrialFolder, environment, read_regular
from experiments.worker.environment import Place, Setup, SetupFailed

if TYPE_CHECKING:
    from experiments.worker.worker import LocalWorker

logger = logging.getLogger(__name__)

T = TypeVar("T")

DIALECTS = (native, nni, clearml)
READ_BYTES = 4 * 1024 * 1024  # of one trial's metrics, a flush
SHUTDOWN_GRACE_S = 2.5  # so that `up` has ended everything within its 5 s, a busy machine included
RETRY_S = 1.0
TAIL_BYTES = 16 * 1024  # of the log, to find the reason in


class TrialRun:
    """One trial on this machine, from claim to outcome."""

    def __init__(self, trial: Trial, worker: LocalWorker) -> None:
        self.trial, self.worker = trial, worker
        self.settings = trial.revision.settings
        self.is_judged = self.settings.early_stopping != "none"  # else an Update may still say so
        self.folder = TrialFolder(worker.trials_folder, trial.experiment.public_id, trial.number)
        self.cwd = self.folder.path
        self.process: Process | None = None
        self.began = time.monotonic()
        self.lost = ""  # why this worker gave it up
        self.finals: dict[str, Report] = {}
        self._batch: Batch | None = None  # collected, not stored yet
        self._readers: list[Reader] = []  # one for each dialect
        self._run_context: RunContext | None = None  # of its dialects
        self._log: LogReader | None = None
        self._pattern: PatternReader | None = None
        self._json: tuple[Path, Version | None] | None = None  # the file with the metric, as it was before
        self._piece: LogPiece | None = None
        self._stop_grace: float | None = None
        self._has_ended = False
        self._is_container_oom = False
        self.ruin = ""  # why the experiment itself cannot go on
        self._odd: list[str] = []  # what else is to be noted
        self._stored_notes: list[str] = []  # of the notes that are in the database

    # --- run ---------------------------------------------------------------------------------------------

    def execute(self) -> Outcome:
        """Prepares, runs and reads one trial; returns how it ended. Does not touch the trial's state."""
        setup = Setup(
            self.trial,
            self.settings,
            self.folder,
            self.worker.shelf,
            is_cancelled=lambda: self._stop_grace is not None or self.worker.ending.is_set(),
            worker=self.worker.name,
        )
        try:
            self._make_folder()
            with setup.ready() as place, self.worker.keeper(self.trial) as keeper:
                return self._run(setup, place, keeper)
        except KeeperDied as gone:
            return Outcome.lost(str(gone))
        except Cancelled:
            return Outcome.lost("The worker was shut down.") if self.worker.ending.is_set() else Outcome()
        except (SetupFailed, LaunchError) as failed:
            if self.worker.ending.is_set():
                return Outcome.lost("The worker was shut down.")
            tool_output = getattr(failed, "tool_output", "")
            self._log_tool_output(tool_output)
            return Outcome(failure=Failure.SETUP, detail=self.worker.blamed(str(failed), tool_output))
        finally:
            self.ruin = setup.ruin
            clear(self.trial, self.folder)

    def _make_folder(self) -> None:
        try:
            shutil.rmtree(self.folder.path, ignore_errors=True)
            self.folder.create()
        except OSError as error:
            raise SetupFailed(f"The trial's folder cannot be created: {error.strerror}.") from error

    def _run(self, setup: Setup, place: Place, keeper: Keeper) -> Outcome:
        argv, env = self.prepare(setup, place)
        group = self._cgroup(keeper)
        engine = setup.shelf.engine
        limited_by = self.worker.limits_memory_by if group or (engine and self.trial.memory_mib) else ""
        try:
            process = self.process = keeper.launch(
                key=str(self.trial),
                argv=argv,
                cwd=place.cwd,
                env=env,
                log=self.folder.log,
                last=engine.removal(setup.container) if engine else (),
                cores=() if engine else self.trial.cores,  # the engine has them
                cgroup=group,
            )
            self.began = time.monotonic()
            if self._stop_grace is not None:
                process.stop(self._stop_grace)
            self.retrying(lambda: self.trial.begun(pid=process.pid, memory_limited_by=limited_by))
            ended = process.wait()
            assert ended is not None, "waited without a timeout"
            if engine and ended.code:
                self._is_container_oom = engine.was_out_of_memory(setup.container)
        finally:
            self._remove_container(setup)
            if group and self.process is None:
                remove_cgroup(str(group))
        if ended.background:
            self._odd.append(_background(ended.background))
        if self._run_context:
            clearml.move_uploads(self._run_context)
        self._odd += self.retrying(lambda: self.worker.collector.see(self.trial)) or []
        self._drain()
        self._learn(place)
        return self.retrying(lambda: self.outcome(ended)) or Outcome.lost("The database was not available.")

    def _cgroup(self, keeper: Keeper) -> Path | None:
        """The control group that limits its memory, where it has a limit and the worker can."""
        limit, home = self.trial.memory_mib, self.worker.home
        if not limit or home is None:
            return None
        try:
            return home.make(f"{keeper.mark}-{self.trial}", memory_mib=limit)
        except cgroup.CgroupError as why:
            self._odd.append(_sentence(f"its memory was not limited: {why}"))
            return None

    def _learn(self, place: Place) -> None:
        """What else the script could be given, and what a container's packages are, from the first run that tells."""
        revision = self.trial.revision
        if "packages" not in revision.resolved and (listed := place.installed(self.folder)) is not None:
            self.retrying(lambda: revision.resolve(packages=listed))
        context = self._run_context
        if context and "declared" not in revision.resolved and (declared := clearml.declared(context)):
            self.retrying(lambda: revision.resolve(declared=declared))

    def _remove_container(self, setup: Setup) -> None:
        """The client may be gone while the container goes on: it belongs to the engine."""
        if not setup.shelf.engine:
            return
        try:
            setup.shelf.engine.remove(setup.container)
        except ContainerError as stays:
            logger.error("Trial %s: %s", self.trial, stays)
            self._odd.append(str(stays))

    def _log_tool_output(self, tool_output: str) -> None:
        """What git or the resolver printed, as the trial's log: nothing else was written to it yet."""
        data = tool_output.strip().encode()
        if data:
            self.retrying(lambda: LogPiece.keep([_piece(self.trial, data)]))
            self.retrying(lambda: self.trial.logged(len(data)))

    def prepare(self, setup: Setup, place: Place) -> tuple[list[str], dict[str, str]]:
        """The script, the parameters, the environment."""
        settings, trial = self.settings, self.trial
        self.cwd = place.cwd
        params = settings.received(trial.params)
        names = {
            **params,
            "trial_id": trial.public_id,
            "exp_id": trial.experiment.public_id,
            "params": str(self.folder.parameters),
            "output_dir": str(self.folder.output),
        }
        groups = self._groups()
        appended = (
            configuration.arguments(groups, params, settings.arguments_as)
            if settings.passes_arguments
            else ()
        )
        script = commands.render(settings.run_command, names, append=appended)
        chosen = {**configuration.variables(groups, params), **settings.environment}
        env = environment(
            base={} if setup.shelf.engine else os.environ,  # the worker's own means nothing in a container
            folder=self.folder,
            experiment_id=trial.experiment.public_id,
            trial_id=trial.public_id,
            number=trial.number,
            metric=settings.metric,
            user=chosen,
        )
        run_context = self._run_context = RunContext(
            folder=self.folder,
            experiment_id=trial.experiment.public_id,
            number=trial.number,
            params=params,
            objective=settings.metric,
            cwd=place.cwd,
            environment=env,
            chosen=chosen,
            hyperparameters=groups,
            objects=settings.objects,
        )
        try:
            for dialect in DIALECTS:
                env = env | dialect.prepare(run_context)
            if groups or settings.objects:
                text = configuration.text(groups, settings.objects, params)
                configuration.write(self.folder.configuration, text)
                env["TRIALDECK_CONFIGURATION"] = str(self.folder.configuration)
        except OSError as error:
            raise SetupFailed(f"The trial's parameters cannot be written: {error.strerror}.") from error
        if earlier := self.retrying(self.previous_output):
            env["TRIALDECK_PREVIOUS_OUTPUT_DIR"] = str(earlier)
        if settings.gpus is not None:
            # Within a container its devices are counted anew, from 0.
            devices = range(len(trial.gpus)) if setup.shelf.engine else trial.gpus
            env["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in devices)
        if place.model:
            env["TRIALDECK_INPUT_MODEL"] = str(place.model)
        if engine := setup.shelf.engine:
            job = setup.contained(script, place, env, previous=earlier)
            try:
                argv, env = engine.argv(job), engine.environment(job, base=os.environ)
            except ContainerError as failed:
                raise SetupFailed(str(failed)) from failed
        else:
            argv, env = commands.argv(script, pipefail=settings.pipefail), place.activated(env)
        self._log = LogReader(self.folder.log)
        if settings.source == "stdout":
            self._pattern = PatternReader(settings.pattern, settings.metric)
        if settings.source == "file":
            self._json = self._metric_file(names, env)
        self._readers = [
            dialect.listen(run_context) for dialect in DIALECTS
        ]  # last: from now on the writer reads
        return argv, env

    def _metric_file(self, names: dict[str, Any], env: dict[str, str]) -> tuple[Path, Version | None]:
        """The file with the metric, and its version before the trial starts."""
        try:
            path = Path(expand_path(self.settings.metric_path, names, env)).expanduser()
        except (NoMetric, RuntimeError) as error:
            raise SetupFailed(str(error)) from None
        path = path if path.is_absolute() else self.cwd / path
        return path, Version.of(path)

    def _groups(self) -> dict[str, dict[str, dict[str, str]]]:
        """The hyperparameters with their secrets. Raises `SetupFailed` where this worker cannot read one."""
        try:
            return secret.opened(self.settings.hyperparameters)
        except secret.Unreadable as unreadable:
            raise SetupFailed(str(unreadable)) from None

    def previous_output(self) -> Path | None:
        """Return the output folder of the nearest earlier attempt that left something in it on this machine, so
        that a rerun or a retry can go on from its checkpoint. An attempt that died before it saved anything does
        not hide what the one before it had saved."""
        trial: TrialBase = self.trial
        while trial.source in (Source.RERUN, Source.RETRY) and trial.rerun_of:
            trial = trial.rerun_of
            folder = TrialFolder(self.worker.trials_folder, self.trial.experiment.public_id, trial.number)
            if _has_anything(folder.output):
                return folder.output
        return None

    def outcome(self, ended: Exit) -> Outcome:
        """What the exit, the log's tail and the metrics say together."""
        if ended.lost:
            sweep(installation=self.worker.installation)
            return Outcome.lost("The worker's keeper was lost.")
        engine = self.worker.shelf.engine
        is_seen = engine is None or engine.sees_processes  # else these would be the client's
        facts: dict[str, Any] = {
            "exit_code": ended.code,
            "signal": ended.signal,
            "gone_after_s": ended.gone_after_s,
            "peak_memory": ended.peak_memory_bytes if is_seen else None,
            "cpu_s": ended.cpu_s if is_seen else None,
            "survivors": tuple(ended.survivors),
        }
        if ended.code == 0 and self.settings.source == "sdk":
            for reader in self._readers:
                self.finals = {report.name: report for report in reader.implied()} | self.finals
        objective = self.objective(self.settings.selection)
        value, metric_failure = (objective, None) if isinstance(objective, float) else (None, objective)
        facts["final_metrics"] = self._final_metrics()
        is_done = ended.code == 0 and value is not None
        if (self.lost or self.worker.ending.is_set()) and not is_done:
            why = self.lost or "its worker was shut down"
            return Outcome(failure=Failure.WORKER_LOST, detail=_sentence(why), **facts)
        if self._stop_grace is not None:  # the row knows the target; what it has reached so far may count
            return Outcome(value=value, so_far=self.so_far(), **facts)
        tail = LogPiece.tail(self.trial.pk, size=TAIL_BYTES)
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
        )
        if metric_failure and metric_failure.kind == Failure.NO_METRIC and ended.background:
            detail = f"{metric_failure.detail} {_background(ended.background)}"
            metric_failure = replace(metric_failure, detail=outcomes.one_line(detail))
        failure = failure or metric_failure
        if failure:
            return Outcome(value=value, failure=failure.kind, detail=failure.detail, **facts)
        return Outcome(value=value, **facts)

    def _final_metrics(self) -> dict[str, float | str]:
        """What its final result says beside the value of the objective; nan and infinities as text."""
        others = {report.name: report for report in self.finals.values()}
        if not self.settings.weights:
            others.pop(self.settings.metric, None)
        return {
            name: report.text if report.value is None else report.value
            for name, report in list(others.items())[:MAX_SERIES]
        }

    def _progress(self) -> list[str]:
        """The progress that its container reports. A file that cannot be read counts as prepared."""
        try:
            return read_regular(self.folder.progress, max_bytes=READ_BYTES).splitlines()
        except (OSError, ValueError):
            return [container.PREPARED]

    def objective(self, selection: str) -> float | outcomes.Failure:
        """The value that the search uses, or why there is none."""
        settings = self.settings
        if self._pattern and self._pattern.fault:
            return outcomes.Failure(
                Failure.BAD_METRIC, outcomes.one_line(f"Invalid metric: {self._pattern.fault}.")
            )
        if self._json:
            try:
                self._read_file(*self._json)
            except NoMetric as missing:
                kind = Failure.BAD_METRIC if missing.is_bad else Failure.NO_METRIC
                return outcomes.Failure(kind, outcomes.one_line(str(missing)))
        reports = list(self.finals.values())
        if selection != "final":
            names = list(settings.weights) or [settings.metric]
            points = Point.objects.filter(trial=self.trial.pk, name__in=names).order_by("name", "step")
            rows = points.values_list("name", "step", "value", "text")
            reports = [Report(*row) for row in rows.iterator(chunk_size=5000)] + reports
        value = outcomes.final_value(
            reports,
            selection=selection,
            direction=settings.direction,
            objective=settings.metric,
            weights=settings.weights or None,
        )
        if (
            isinstance(value, outcomes.Failure)
            and value.kind == Failure.NO_METRIC
            and settings.source == "sdk"
        ):
            return self._with_names(value)
        return value

    def _read_file(self, path: Path, before: Version | None) -> None:
        """Read the final results from the file if this trial wrote it. Raise NoMetric."""
        version = Version.of(path)
        if version and not version.is_written_since(before):
            raise NoMetric(f"The trial did not write {path.name}: the file is older than the trial.")
        for name in self.settings.weights or [self.settings.metric]:
            self.finals[name] = read_json_metric(path, name)
        if version and not path.is_relative_to(self.folder.path):
            writer = self.worker.metric_files.claim(path, version, str(self.trial))
            if writer != str(self.trial):
                raise NoMetric(
                    f"The trial did not write {path.name}: it is the file that {writer} wrote in the same directory."
                )

    def _with_names(self, missing: outcomes.Failure) -> outcomes.Failure:
        """Perhaps it reported by another name."""
        wanted = {*self.settings.weights, self.settings.metric}
        points = Point.objects.filter(trial=self.trial.pk).exclude(name__in=wanted)
        others = {
            *points.order_by("name").values_list("name", flat=True).distinct()[:6],
            *self.finals,
        } - wanted
        if not others:
            return missing
        listed = ", ".join(sorted(others)[:5]) + (", …" if len(others) > 5 else "")
        return replace(missing, detail=outcomes.one_line(f"{missing.detail} It reported {listed}."))

    def so_far(self) -> float | None:
        """What an early-stopped trial is worth: its selection over what it reported, its last value for `final`."""
        selection = self.settings.selection
        if selection == "final":
            last = Point.objects.filter(trial=self.trial.pk, name=self.settings.metric).exclude(value=None)
            return last.order_by("-step").values_list("value", flat=True).first()
        value = self.objective(selection)
        return value if isinstance(value, float) else None

    # --- instructions from the row (heartbeat thread) -----------------------------------------------------

    def obey(self, row: dict | None) -> None:
        """Follows what the trial's row says now; `row` is None when this worker does not hold it any more."""
        if row is None:
            self.stop(0)
            return
        self.is_judged = self.is_judged or row["judged_by"] is not None
        limit_s = row["experiment__max_trial_duration_s"]
        if row["state"] == TrialState.STOPPING:
            self.stop(row["stop_grace_s"] or 0)
        elif limit_s and self.process and time.monotonic() - self.began > limit_s:
            trial = Trial.objects.select_related("experiment").get(pk=self.trial.pk)
            if trial.time_out(limit_s=limit_s):
                self.stop(trial.stop_grace_s or 0)

    def stop(self, grace_s: float) -> None:
        """Ends the process tree: terminate, grace, kill. Again, with a shorter grace, is possible."""
        if self._stop_grace is not None and self._stop_grace <= grace_s:
            return
        self._stop_grace = grace_s
        if self.process:
            self.process.stop(grace_s)

    def lose(self, why: str) -> None:
        """This worker has to give the trial up."""
        self.lost = self.lost or why
        self.stop(SHUTDOWN_GRACE_S)

    # --- what it reports and prints (writer thread, then its slot) ----------------------------------------

    def collect(self) -> Batch | None:
        """What is new; the same again until it was stored. Called within a flush only."""
        if self._batch is None and self._readers:
            self._batch = self._read()
        return self._batch

    def stored(self) -> None:
        """What was collected is in the database."""
        if self._batch:
            self._stored_notes, self._batch = self._batch.notes, None

    def _read(self) -> Batch | None:
        batch = Batch(self)
        reports: list[Report] = []
        for reader in self._readers:
            reports += reader.drain() if self._has_ended else reader.new(READ_BYTES)
        for piece in self._log.new(READ_BYTES) if self._log else ():
            if self._pattern:
                reports += self._pattern.feed(piece.data)
            self._add_to_log(batch, piece.offset, piece.data)
        if self._has_ended and self._pattern:
            reports += self._pattern.drain()
        for report in reports:
            if report.final:
                self.finals[report.name] = report
            else:
                batch.points.append(
                    Point(
                        trial_id=self.trial.pk,
                        name=report.name,
                        step=report.step,
                        value=report.value,
                        text=report.text,
                    )
                )
        batch.notes = self._notes()
        return batch if batch.points or batch.pieces or batch.notes != self._stored_notes else None

    def _add_to_log(self, batch: Batch, offset: int, data: bytes) -> None:
        """Grows the open piece up to its size, so that a slow log does not make a row each half second."""
        while data:
            piece = self._piece
            if piece is None or piece.size >= PIECE_BYTES or piece.offset + piece.size != offset:
                piece = self._piece = LogPiece(trial_id=self.trial.pk, offset=offset, size=0, data=b"")
            part = data[: PIECE_BYTES - piece.size]
            piece.data = bytes(piece.data) + part
            piece.size += len(part)
            batch.pieces.append(piece)
            data, offset = data[len(part) :], offset + len(part)
        batch.log_bytes = offset

    def _drain(self) -> None:
        """Reads to the end of what it left."""
        before = None
        while before != (before := [each.position for each in (*self._readers, self._log) if each]):
            self.retrying(lambda: self.worker.flush([self]))
        self._has_ended = True
        self.retrying(lambda: self.worker.flush([self]))

    def _notes(self) -> list[str]:
        """What was odd in what it reported, as sentences."""
        notes = []
        dropped = sum(reader.dropped for reader in self._readers)
        dropped += self._pattern.dropped if self._pattern else 0
        if dropped:
            notes.append(f"{dropped:,} points were dropped: a series has at most {MAX_POINTS:,}.")
        return notes + self._odd + [note for reader in self._readers for note in reader.notes()]

    def retrying(self, action: Callable[[], T]) -> T | None:
        """Does it as soon as the database is there. None when the worker ends before that."""
        while True:
            try:
                return action()
            except DatabaseError as error:
                logger.warning("Trial %s waits for the database: %s", self.trial, error)
                close_old_connections()
                if self.worker.ending.wait(RETRY_S):
                    return None


class Batch:
    """What one trial reported and printed between two flushes."""

    def __init__(self, run: TrialRun) -> None:
        self.run = run
        self.points: list[Point] = []
        self.pieces: list[LogPiece] = []
        self.log_bytes: int | None = None
        self.notes: list[str] = []

    def store_summary(self) -> None:
        """The trial's own columns that pages show while it runs."""
        trial, settings = self.run.trial, self.run.settings
        changes: dict[str, Any] = {"version": F("version") + 1}
        mine = [point for point in self.points if point.name == settings.metric]
        if mine:
            changes |= {"last_step": mine[-1].step, "last_value": mine[-1].value}
        if self.log_bytes is not None:
            changes["log_bytes"] = self.log_bytes
            LogPiece.trim(trial.pk, total=self.log_bytes)
        if self.notes:
            changes["notes"] = self.notes
        held = Trial.objects.filter(pk=trial.pk, state__in=status.TRIAL_ALIVE)
        held.update(**changes)  # a worker that lost it has no more to say
        if mine and self.run.is_judged:
            Experiment.objects.filter(pk=trial.experiment_id).update(wake=F("wake") + 1)
            dispatch.experiment(trial.experiment_id)


def clear(trial: Trial, folder: TrialFolder) -> None:
    """Removes what shall not outlast a trial's process: its copy of the code, and what is kept encrypted."""
    shutil.rmtree(folder.code, ignore_errors=True)
    hyperparameters = trial.revision.settings.hyperparameters
    if secret.hidden(hyperparameters) == hyperparameters:
        return
    try:
        folder.configuration.unlink(missing_ok=True)
        clearml.remove_task(folder, trial.public_id)
    except OSError as error:
        logger.error("Trial %s: its configuration cannot be removed: %s", trial, error)


def _piece(trial: Trial, data: bytes) -> LogPiece:
    return LogPiece(trial_id=trial.pk, offset=0, size=len(data), data=data)


def _has_anything(folder: Path) -> bool:
    try:
        return any(path.name != nni.LOG_NAME for path in folder.iterdir())
    except OSError:  # it is not on this machine, or may not be read
        return False


def _background(names: Sequence[str]) -> str:
    return (
        f"Still running in the background when the command ended, and ended with it: {'; '.join(names)}. "
        "Let the command wait for it: remove the & or end with wait."
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
