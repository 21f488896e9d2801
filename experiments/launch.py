"""Floor 3: a worker's life on its machine, and one trial from claim to settled.

`LocalWorker` owns a keeper (which owns the processes), a heartbeat thread and a writer thread. Each slot is a
Celery task in a thread that calls `work`: claim, run, settle, claim again, until there is nothing to do.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import close_old_connections, transaction
from django.db.models import F

from experiments import nudge
from experiments.models import (
    Experiment,
    Failure,
    LogPiece,
    Outcome,
    Point,
    Refused,
    Source,
    Trial,
    TrialState,
    Worker,
    status,
)
from experiments.models.log import PIECE_BYTES
from experiments.models.metric import MAX_POINTS
from experiments.runner import command as commands
from experiments.runner import outcome as outcomes
from experiments.runner.dialects import native, nni
from experiments.runner.dialects.reader import Reader
from experiments.runner.dialects.told import Told
from experiments.runner.folder import TrialFolder, environment
from experiments.runner.log import LogReader
from experiments.runner.machine import Machine
from experiments.runner.pattern import PatternReader, read_json_metric
from experiments.runner.process import Exit, Keeper, KeeperGone, LaunchError, Process, sweep
from experiments.runner.report import Report

logger = logging.getLogger(__name__)

DIALECTS = (native, nni)
BEAT_S = 0.5
FLUSH_S = 0.5
READ_BYTES = 4 * 1024 * 1024  # of one trial's metrics, a flush
SHUTDOWN_GRACE_S = 2.5  # so that `up` has ended everything within its 5 s, a busy machine included
LATE_DELIVERY_S = 1.0
MACHINE_S = 5.0  # between two looks at the machine
TAIL_BYTES = 16 * 1024  # of the log, to find the reason in


class Taken(Exception):
    """Another process uses this worker's folder. The text is a sentence for people."""


class SetupFailed(Exception):
    """The trial could not be prepared. The text is one line for its row."""


class LocalWorker:
    """One worker process: `slots` trials at a time from `queues`, in their order."""

    def __init__(self, *, name: str, queues: list[str], slots: int, data: Path, lease_s: float = 15) -> None:
        self.name, self.queues, self.slots, self.lease_s = name, queues, slots, lease_s
        self.folder = data / "workers" / _file_name(name)
        self.trials_folder = data / "trials"
        self.outbox = self.folder / "outbox"
        self.ending = threading.Event()
        self.runs: dict[int, Run] = {}
        self.busy = 0
        self.out_of_service = 0  # slots with a process that cannot be killed
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._keeper: Keeper | None = None
        self._threads: list[threading.Thread] = []
        self._file = None
        self._machine: dict | None = None  # how it does, not told yet
        self.row: Worker

    @property
    def installation(self) -> str:
        return str(self.folder)

    # --- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes over from a former self: delivers what it could not, ends what it left. Raises `Taken`."""
        self.outbox.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken(
                f"A worker named {self.name} runs already on this data folder. Give this one another --name."
            ) from None
        swept = sweep(installation=self.installation)
        if swept:
            logger.warning("Ended %s processes that the former worker left: %s", len(swept), swept)
        self._deliver_outbox()
        if host := Worker.lives_elsewhere(self.name, host=socket.gethostname()):
            raise Taken(f"A worker named {self.name} runs on {host}. Give this one another --name.")
        self.row = self._register()
        self._take_back_claims()
        self.last_heard = time.monotonic()
        for target, name in (
            (self._beat, "heartbeat"),
            (self._watch_heartbeat, "watch"),
            (self._write, "writer"),
            (self._watch_machine, "machine"),
        ):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """An orderly shutdown: ends every trial, gives the claims up. Trials are retried elsewhere, or later."""
        self.ending.set()
        keeper = self._keeper
        if keeper:
            keeper.close(grace_s=SHUTDOWN_GRACE_S)
        deadline = time.monotonic() + LATE_DELIVERY_S + 1
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.02)  # the slots settle their trials now
        for thread in self._threads:
            thread.join(1)
        try:
            self.row.leave()
        except DatabaseError as error:
            logger.warning("Could not say goodbye: %s", error)
        self._file.close()  # and with it the lock

    def _register(self) -> Worker:
        return Worker.register(
            self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self.queues,
            slots=self.slots,
            lease_s=self.lease_s,
        )

    def _take_back_claims(self) -> None:
        """The conductor sees that the boot has changed; wake it now instead of at the next beat."""
        held = Trial.objects.filter(worker=self.row, state__in=status.TRIAL_ALIVE)
        for pk in set(held.values_list("experiment", flat=True)):
            nudge.experiment(pk)

    def keeper(self) -> Keeper:
        """The living keeper; a new one after the last has died and what it left was ended."""
        with self._lock:
            if self.ending.is_set():
                raise LaunchError("The worker is shutting down.")
            if self._keeper is None or not self._keeper.alive:
                if self._keeper is not None:
                    sweep(installation=self.installation)
                self._keeper = Keeper(installation=self.installation)
                self._keeper.start()
            return self._keeper

    # --- a slot ------------------------------------------------------------------------------------------

    def work(self) -> None:
        """One slot: runs trials until there is nothing to claim."""
        with self._slot() as is_free:
            while is_free and not self.ending.is_set():
                trial = Trial.take(self.row, self.queues)
                if trial is None:
                    return
                self.run(trial)
                is_free = self.busy + self.out_of_service <= self.slots

    @contextmanager
    def _slot(self) -> Iterator[bool]:
        with self._lock:
            is_free = self.busy + self.out_of_service < self.slots
            self.busy += is_free
        try:
            yield is_free
        finally:
            with self._lock:
                self.busy -= is_free

    def run(self, trial: Trial) -> None:
        """From claim to settled."""
        run = Run(trial, self)
        self.runs[trial.pk] = run
        try:
            outcome = run.execute()
        except Exception as error:  # whatever it is, the trial must not hang: the row says what happened
            logger.exception("Trial %s could not be run", trial)
            outcome = Outcome(failure=Failure.SETUP, detail=f"{type(error).__name__}: {error}")
        finally:
            del self.runs[trial.pk]
        if outcome.survivors:
            self.out_of_service += 1
            logger.error("Trial %s left processes that cannot be killed: %s", trial, outcome.survivors)
        self._deliver(trial, outcome)

    # --- delivery ----------------------------------------------------------------------------------------

    def _deliver(self, trial: Trial, outcome: Outcome) -> None:
        """Settles the trial; while the database is away the outcome waits in a file, and survives this process."""
        letter = self.outbox / f"{trial.pk}.json"
        for attempt in range(10**9):
            try:
                trial.settle(outcome, claim=trial.claim)
                letter.unlink(missing_ok=True)
                return
            except DatabaseError as error:
                logger.warning("Cannot settle %s yet: %s", trial, error)
                close_old_connections()
                if attempt == 0:
                    _write_whole(letter, json.dumps({"claim": trial.claim, **asdict(outcome)}))
                if self.ending.wait(LATE_DELIVERY_S):
                    return  # the next start delivers it

    def _deliver_outbox(self) -> None:
        for letter in sorted(self.outbox.glob("*.json")):
            content = json.loads(letter.read_text())
            claim = content.pop("claim")
            content["survivors"] = tuple(content["survivors"])
            trial = Trial.objects.filter(pk=letter.stem).select_related("experiment").first()
            try:
                if trial and trial.settle(Outcome(**content), claim=claim):
                    logger.info("Delivered how %s ended before this worker started", trial)
            except Refused as refused:  # its experiment is in the trash: nobody waits for this any more
                logger.warning("How %s ended is not needed any more: %s", trial, refused)
            letter.unlink()

    # --- heartbeat ---------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while not self.ending.wait(BEAT_S):
            asked = time.monotonic()
            try:
                self._beat_once()
                self.last_heard = asked
            except DatabaseError as error:
                logger.warning("No heartbeat: %s", error)
                close_old_connections()
            except Exception:  # a heartbeat that dies of a bug would lose every trial of this worker
                logger.exception("The heartbeat stumbled")

    def _beat_once(self) -> None:
        machine, self._machine = self._machine, None
        if not self.row.heartbeat(machine):
            logger.error("This worker was declared gone: its trials are ended, and it starts anew")
            for run in list(self.runs.values()):
                run.lose("its worker was declared gone")
            self.row = self._register()
        self._learn_queues()
        runs = list(
            self.runs.items()
        )  # before the look: a trial that is claimed after it is not missing there
        held = {row["pk"]: row for row in self._held()}
        for pk, run in runs:
            run.obey(held.get(pk))
        if self.busy + self.out_of_service < self.slots and self._sees_work():
            nudge.worker(worker_line(self.name))

    def _learn_queues(self) -> None:
        """A queue that was renamed is served on: its line at the broker is the same, its name is in my row."""
        mine = (
            Worker.objects.filter(pk=self.row.pk, boot=self.row.boot).values_list("queues", flat=True).first()
        )
        self.queues = mine or self.queues

    def _held(self) -> list[dict]:
        return Trial.objects.filter(worker=self.row, state__in=status.TRIAL_ALIVE).values(
            "pk", "state", "stop_grace_s", "experiment__max_trial_duration_s"
        )

    def _sees_work(self) -> bool:
        return Experiment.objects.claimable().filter(queue__name__in=self.queues).exists()

    def _watch_heartbeat(self) -> None:
        """At three quarters of the lease without a heartbeat: others may soon run these trials, so they end
        here. A thread of its own, because a heartbeat may hang for minutes in a dead connection."""
        while not self.ending.wait(BEAT_S):
            away_s = time.monotonic() - self.last_heard
            if away_s > 0.75 * self.lease_s:
                for run in list(self.runs.values()):
                    run.lose(f"its worker could not reach the database for {away_s:.0f} s")

    def _watch_machine(self) -> None:
        """A thread of its own: nvidia-smi may take seconds, and the heartbeat must not wait for it."""
        machine = Machine()
        while True:
            try:
                self._machine = machine.look()
            except Exception:  # whatever is odd about the machine, trials run
                logger.exception("The machine could not be looked at")
            if self.ending.wait(MACHINE_S):
                return

    # --- writer ------------------------------------------------------------------------------------------

    def _write(self) -> None:
        while not self.ending.wait(FLUSH_S):
            try:
                self.flush(list(self.runs.values()))
            except DatabaseError as error:
                logger.warning("Metrics and logs wait: %s", error)
                close_old_connections()
            except Exception:  # a writer that dies of a bug would silence every trial of this worker
                logger.exception("The writer stumbled")

    def flush(self, runs: list[Run]) -> None:
        """Stores what these trials reported and printed since, in one transaction. One flush at a time: the
        pieces of a log grow, and an older state of one must not overwrite a newer."""
        with self._flushing:
            batches = [batch for run in runs if (batch := run.collect())]
            if not batches:
                return
            with transaction.atomic():
                Point.keep([point for batch in batches for point in batch.points])
                LogPiece.keep([piece for batch in batches for piece in batch.pieces])
                for batch in batches:
                    batch.store_summary()
            for batch in batches:
                batch.run.stored()


class Run:
    """One trial on this machine, from claim to outcome."""

    def __init__(self, trial: Trial, worker: LocalWorker) -> None:
        self.trial, self.worker = trial, worker
        self.settings = trial.revision.settings
        self.folder = TrialFolder(worker.trials_folder, trial.experiment.public_id, trial.number)
        self.process: Process | None = None
        self.began = time.monotonic()
        self.lost = ""  # why this worker gave it up
        self.finals: dict[str, Report] = {}
        self._batch: Batch | None = None  # collected, not stored yet
        self._readers: list[Reader] = []  # one for each dialect
        self._log: LogReader | None = None
        self._pattern: PatternReader | None = None
        self._piece: LogPiece | None = None
        self._stop_grace: float | None = None
        self._has_ended = False
        self._told: list[str] = []  # of the notes that are in the database

    # --- run ---------------------------------------------------------------------------------------------

    def execute(self) -> Outcome:
        """Prepares, runs and reads one trial; returns how it ended. Does not touch the trial's state."""
        try:
            argv, cwd, env = self.prepare()
            self.process = self.worker.keeper().launch(
                key=str(self.trial), argv=argv, cwd=cwd, env=env, log=self.folder.log
            )
        except KeeperGone as gone:
            return Outcome.lost(str(gone))
        except (SetupFailed, LaunchError) as failed:
            if self.worker.ending.is_set():
                return Outcome.lost("The worker was shut down.")
            return Outcome(failure=Failure.SETUP, detail=str(failed))
        self.began = time.monotonic()
        if self._stop_grace is not None:
            self.process.stop(self._stop_grace)
        self._retrying(lambda: self.trial.begun(pid=self.process.pid))
        ended = self.process.wait()
        self._drain()
        return self._retrying(lambda: self.outcome(ended)) or Outcome.lost("The database was away.")

    def prepare(self) -> tuple[list[str], Path, dict[str, str]]:
        """The folder, the script, the parameters, the environment."""
        settings, trial = self.settings, self.trial
        try:
            shutil.rmtree(self.folder.path, ignore_errors=True)
            self.folder.create()
        except OSError as error:
            raise SetupFailed(f"The trial's folder cannot be made: {error.strerror}.") from error
        names = {
            **trial.params,
            "trial_id": trial.public_id,
            "exp_id": trial.experiment.public_id,
            "params": str(self.folder.parameters),
            "output_dir": str(self.folder.output),
        }
        appended = commands.arguments(trial.params) if settings.passes_arguments else ()
        argv = commands.argv(commands.render(settings.run_command, names, append=appended))
        cwd = self._working_directory()
        told = Told(
            folder=self.folder,
            experiment_id=trial.experiment.public_id,
            number=trial.number,
            params=trial.params,
            objective=settings.metric,
            cwd=cwd,
        )
        env = environment(
            base=os.environ,
            folder=self.folder,
            experiment_id=trial.experiment.public_id,
            trial_id=trial.public_id,
            number=trial.number,
            metric=settings.metric,
            user=settings.environment,
        )
        try:
            for dialect in DIALECTS:
                env |= dialect.prepare(told)
        except OSError as error:
            raise SetupFailed(f"The trial's parameters cannot be written: {error.strerror}.") from error
        if earlier := self._retrying(self.previous_output):
            env["TRIALDECK_PREVIOUS_OUTPUT_DIR"] = str(earlier)
        self._log = LogReader(self.folder.log)
        if settings.source == "stdout":
            self._pattern = PatternReader(settings.pattern, settings.metric)
        self._readers = [dialect.listen(told) for dialect in DIALECTS]  # last: from now on the writer reads
        return argv, cwd, env

    def _working_directory(self) -> Path:
        settings = self.settings
        try:
            cwd = Path(settings.directory).expanduser() if settings.directory else self.folder.path
        except RuntimeError:
            raise SetupFailed(
                f"The working directory {settings.directory} names a user whom the worker {self.worker.name} does "
                "not know. Write the whole path."
            ) from None
        if not cwd.is_absolute():
            raise SetupFailed(f"The working directory {cwd} must be an absolute path.")
        if not cwd.is_dir():
            raise SetupFailed(f"The working directory {cwd} does not exist on the worker {self.worker.name}.")
        return cwd

    def previous_output(self) -> Path | None:
        """TD-X2: the output folder of the nearest earlier attempt that left something in it on this machine, so
        that a rerun or a retry can go on from its checkpoint. An attempt that died before it saved anything does
        not hide what the one before it had saved."""
        trial = self.trial
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
        facts = {
            "exit_code": ended.code,
            "signal": ended.signal,
            "gone_after_s": ended.gone_after_s,
            "peak_memory": ended.peak_memory_bytes,
            "cpu_s": ended.cpu_s,
            "survivors": tuple(ended.survivors),
        }
        found = self.objective(self.settings.selection)
        value, metric_failure = (found, None) if isinstance(found, float) else (None, found)
        is_done = ended.code == 0 and value is not None
        if (self.lost or self.worker.ending.is_set()) and not is_done:
            why = self.lost or "its worker was shut down"
            return Outcome(failure=Failure.WORKER_LOST, detail=_sentence(why), **facts)
        if self._stop_grace is not None:  # the row knows the target; what it has reached so far may count
            return Outcome(value=value, so_far=self.so_far(), **facts)
        tail = LogPiece.tail(self.trial.pk, size=TAIL_BYTES)
        failure = outcomes.judge(ended, stopped=False, timed_out=False, log_tail=tail) or metric_failure
        if failure:
            return Outcome(value=value, failure=failure.kind, detail=failure.detail, **facts)
        return Outcome(value=value, **facts)

    def objective(self, selection: str) -> float | outcomes.Failure:
        """The value that the search uses, or why there is none."""
        settings = self.settings
        if settings.source == "file":
            path = Path(settings.metric_path)
            root = Path(settings.directory).expanduser() if settings.directory else self.folder.path
            report = read_json_metric(path if path.is_absolute() else root / path, settings.metric)
            if isinstance(report, str):
                return outcomes.Failure(Failure.NO_METRIC, report)
            self.finals[report.name] = report
        reports = list(self.finals.values())
        if selection != "final":
            names = list(settings.weights) or [settings.metric]
            points = Point.objects.filter(trial=self.trial.pk, name__in=names).order_by("name", "step")
            rows = points.values_list("name", "step", "value", "text")
            reports = [Report(*row) for row in rows.iterator(chunk_size=5000)] + reports
        return outcomes.final_value(
            reports,
            selection=selection,
            direction=settings.direction,
            objective=settings.metric,
            weights=settings.weights or None,
        )

    def so_far(self) -> float | None:
        """What an early-stopped trial is worth: its selection over what it reported, its last value for `final`."""
        selection = self.settings.selection
        if selection == "final":
            last = Point.objects.filter(trial=self.trial.pk, name=self.settings.metric).exclude(value=None)
            return last.order_by("-step").values_list("value", flat=True).first()
        found = self.objective(selection)
        return found if isinstance(found, float) else None

    # --- told what to do (heartbeat thread) --------------------------------------------------------------

    def obey(self, row: dict | None) -> None:
        """Follows what the trial's row says now; `row` is None when the claim does not stand any more."""
        if row is None:
            self.stop(0)
            return
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
        self._told, self._batch = self._batch.notes, None

    def _read(self) -> Batch | None:
        batch = Batch(self)
        reports: list[Report] = []
        for reader in self._readers:
            reports += reader.drain() if self._has_ended else reader.new(READ_BYTES)
        for piece in self._log.new(READ_BYTES):
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
        return batch if batch.points or batch.pieces or batch.notes != self._told else None

    def _add_to_log(self, batch: Batch, offset: int, data: bytes) -> None:
        """Grows the open piece up to its size, so that a slow log does not make a row each half second."""
        while data:
            piece = self._piece
            if piece is None or piece.size >= PIECE_BYTES or piece.offset + piece.size != offset:
                piece = self._piece = LogPiece(trial_id=self.trial.pk, offset=offset, size=0, data=b"")
            part = data[: PIECE_BYTES - piece.size]
            piece.data += part
            piece.size += len(part)
            batch.pieces.append(piece)
            data, offset = data[len(part) :], offset + len(part)
        batch.log_bytes = offset

    def _drain(self) -> None:
        """Reads to the end of what it left."""
        before = None
        while before != (before := [each.position for each in (*self._readers, self._log)]):
            self._retrying(lambda: self.worker.flush([self]))
        self._has_ended = True
        self._retrying(lambda: self.worker.flush([self]))

    def _notes(self) -> list[str]:
        """What was odd in what it reported, as sentences."""
        said = []
        dropped = sum(reader.dropped for reader in self._readers)
        dropped += self._pattern.dropped if self._pattern else 0
        if dropped:
            said.append(f"{dropped:,} points were not kept: a series has at most {MAX_POINTS:,}.")
        return said + [note for reader in self._readers for note in reader.notes()]

    def _retrying(self, act: Callable) -> object:
        """Does it as soon as the database is there. None when the worker ends before that."""
        while True:
            try:
                return act()
            except DatabaseError as error:
                logger.warning("Trial %s waits for the database: %s", self.trial, error)
                close_old_connections()
                if self.worker.ending.wait(LATE_DELIVERY_S):
                    return None


class Batch:
    """What one trial reported and printed between two flushes."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.points: list[Point] = []
        self.pieces: list[LogPiece] = []
        self.log_bytes: int | None = None
        self.notes: list[str] = []

    def store_summary(self) -> None:
        """The trial's own columns that pages show while it runs."""
        trial, settings = self.run.trial, self.run.settings
        changes = {"version": F("version") + 1}
        mine = [point for point in self.points if point.name == settings.metric]
        if mine:
            changes |= {"last_step": mine[-1].step, "last_value": mine[-1].value}
        if self.log_bytes is not None:
            changes["log_bytes"] = self.log_bytes
            LogPiece.trim(trial.pk, total=self.log_bytes)
        if self.notes:
            changes["notes"] = self.notes
        held = Trial.objects.filter(pk=trial.pk, claim=trial.claim, state__in=status.TRIAL_ALIVE)
        held.update(**changes)  # a worker that lost it has no more to say
        if mine and settings.early_stopping != "none":
            Experiment.objects.filter(pk=trial.experiment_id).update(wake=F("wake") + 1)
            nudge.experiment(trial.experiment_id)


def worker_line(name: str) -> str:
    """The broker's name of the line that only this worker reads."""
    return f"worker.{name}"


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)


def _has_anything(folder: Path) -> bool:
    try:
        return any(path.name != nni.LOG_NAME for path in folder.iterdir())
    except OSError:  # it is not on this machine, or may not be read
        return False


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _write_whole(path: Path, text: str) -> None:
    """All or nothing."""
    draft = path.with_suffix(".draft")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
