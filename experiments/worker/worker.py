"""A worker process, which runs trials from claim to settled.

`LocalWorker` owns a keeper (which owns the processes), a heartbeat thread and a writer thread. Each slot is a
Celery task in a thread that calls `work`: claim, run, settle, and repeat until there is no trial to claim.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TextIO

from django.db import Error as DatabaseError
from django.db import close_old_connections, transaction

from experiments import database_clock, dispatch
from experiments.models import (
    ExperimentState,
    Failure,
    Free,
    Outcome,
    Refused,
    Trial,
    Worker,
    status,
)
from experiments.runner import cgroup, lease
from experiments.runner.boundary import Accounts, Sandbox
from experiments.runner.container import ContainerEngine
from experiments.runner.lease import SHUTDOWN_GRACE_S
from experiments.runner.machine import Machine, disk_of, full_disk_percent
from experiments.runner.process import is_alive
from experiments.runner.tool_process import is_disk_full
from experiments.worker import python_checks
from experiments.worker.boundary import Boundary
from experiments.worker.claims import Claims
from experiments.worker.db_connection import give_back_connection, release_connection, releasing
from experiments.worker.errors import CannotRun
from experiments.worker.heartbeat import Heartbeat
from experiments.worker.keepers import Keepers
from experiments.worker.output.artifacts import Collector
from experiments.worker.output.masker import Maskers
from experiments.worker.output.metric_file import SharedFiles
from experiments.worker.output.writer import Writer
from experiments.worker.recovery.boot_ids import Boots
from experiments.worker.recovery.clean_up import clean_up
from experiments.worker.recovery.outbox import RETRY_S as DELIVERY_RETRY_S
from experiments.worker.recovery.outbox import Outbox
from experiments.worker.settle import Claimant, claim, settle_and_claim
from experiments.worker.setup.environment import Shelf
from experiments.worker.slot_calls import SlotCalls
from experiments.worker.start_times import StartTimes
from experiments.worker.trial_run import TrialRun
from trialdeck import discovery

logger = logging.getLogger(__name__)

MACHINE_S = 5.0  # between two measurements of the machine


class LocalWorker:
    """One worker process: up to `slots` parallel trials from `queues`, in order of priority."""

    def __init__(
        self,
        *,
        name: str,
        queues: list[str],
        slots: int,
        data: Path,
        lease_s: float = 15,
        container: str = "",
        image: str = "",
        gpus: Sequence[int] = (),
        cores: Sequence[int] | None = None,
        memory_mib: int | None = None,
        run_as: str = "",
        sandbox: str = "",
        network: bool = True,
    ) -> None:
        """Trials can reserve `gpus`, `cores` and memory; None: all that this process may use. `run_as`, `sandbox` and
        `network` are the boundary around trials; see `Accounts` and `Sandbox`. Raise BoundaryError."""
        self.name, self.queues, self.slots, self.lease_s = name, queues, slots, lease_s
        self.gpus = list(gpus)
        self.cores = sorted(os.sched_getaffinity(0)) if cores is None else list(cores)
        self.memory_mib = cgroup.memory_mib() if memory_mib is None else memory_mib
        self._holding: dict[int, Trial] = {}  # trials with reserved devices, cores, memory
        self._taking = threading.Lock()  # two slots must not assign the same device
        self.claims = Claims()
        self.home: cgroup.CgroupParent | None = None  # if memory is limited by control groups
        self.folder = data / "workers" / _file_name(name)
        self.trials_folder = data / "trials"
        engine = (
            ContainerEngine(container, installation=self.installation, default_image=image)
            if container
            else None
        )
        self.shelf = Shelf.below(data, installation=self.installation, engine=engine)
        # Another account cannot reach the worker's home, and could not put anything in front of it either.
        hidden = (data.resolve(), *([] if run_as else [discovery.home().resolve()]))
        self.boundary = Boundary(
            data,
            accounts=Accounts(run_as, slots=slots) if run_as else None,
            sandbox=Sandbox(hidden, has_network=network) if sandbox else None,
        )
        self.ending = threading.Event()
        self.draining_until: datetime | None = None  # it ends then; until then, it claims no trials
        self.keepers = Keepers(
            installation=self.installation,
            lease_s=lease_s,
            ending=self.ending,
            sweep_more=lambda: self.home and self.home.sweep(is_alive=is_alive),
        )
        self.outbox = Outbox(self.folder / "outbox", ending=self.ending)
        self.collector = Collector(trials_folder=self.trials_folder, row=lambda: self.row, ending=self.ending)
        self.runs: dict[int, TrialRun] = {}
        self.writer = Writer(lambda: [run.reports for run in list(self.runs.values())], ending=self.ending)
        self.metric_files = SharedFiles()
        self.maskers = Maskers()
        self.without_clearml: set[int] = (
            set()
        )  # revisions of which a trial has ended without using the package
        self.starts = StartTimes()
        self.busy = 0
        self.calls = SlotCalls(self)
        self.linger_s = 0.0  # how long a slot waits for a wake-up after its last trial
        self.stuck: list[dict] = []  # trials whose processes cannot be killed; each takes up a slot
        self._lock = threading.Lock()
        self._slot_ended = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._file: TextIO | None = None  # locked while this process lives
        self._machine: dict | None = None  # measured, not sent yet
        self.heartbeat = Heartbeat(self)
        self.why_ended = ""  # for users, if it ended unexpectedly
        # Set by who owns the process: how it ends, and how a thread for `work` is started.
        self.end_process: Callable[[], None] = lambda: None
        self.start_slot: Callable[[], None] = lambda: None
        self.row: Worker

    @property
    def installation(self) -> str:
        return str(self.folder)

    @property
    def out_of_service(self) -> int:
        """Number of slots with a process that cannot be killed."""
        return len(self.stuck)

    # --- start and end -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Clean up after an earlier process of this worker, register, and start the threads. Raise `CannotRun`."""
        self.outbox.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            self._file = undo.enter_context((self.folder / "lock").open("w"))
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotRun(
                    f"A worker named {self.name} already runs on this data folder. Choose another --name."
                ) from None
            self.boots = Boots(self.folder)
            self._check_name()
            clean_up(self)
            self.boundary.check()
            self.heartbeat.note(lease.now())
            self.row = self.register()
            undo.pop_all()  # locked until `end`
        self._take_back_claims()
        for target, name in (
            (self.heartbeat.run, "heartbeat"),
            (self.heartbeat.watch, "watch"),
            (self.writer.run, "writer"),
            (self._watch_machine, "machine"),
            (self._collect, "collector"),
            (partial(python_checks.run, self), "python checks"),
        ):
            thread = threading.Thread(target=releasing(target), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def drain(self, within_s: float) -> None:
        """Stop claiming trials. Return when no trial is running, after `within_s` seconds, or after `hurry`."""
        self.draining_until = database_clock.estimate() + timedelta(seconds=within_s)
        self.calls.cancel()
        with self._slot_ended:
            if self.busy and within_s:
                text = "Draining: %s running trials can finish within %s s. A second signal stops them."
                logger.info(text, self.busy, within_s)
            self._slot_ended.wait_for(lambda: not self.busy or self.ending.is_set(), within_s)

    def hurry(self) -> None:
        """Make `drain` return immediately."""
        self.ending.set()
        self.calls.cancel()
        with self._slot_ended:
            self._slot_ended.notify_all()

    def end(self) -> None:
        """Shut down: end every trial and release the claims. The trials are retried on other workers, or later."""
        self.hurry()
        self.collector.wake()
        self.keepers.close(grace_s=SHUTDOWN_GRACE_S)
        deadline = time.monotonic() + DELIVERY_RETRY_S + 1
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.02)  # while the slots settle their trials
        for thread in self._threads:
            thread.join(1)
        try:
            self.row.leave()
        except DatabaseError as error:
            logger.warning("Could not sign off: %s", error)
        if self._file:
            self._file.close()  # releases the lock

    def end_because(self, why: str) -> None:
        """Make this process exit, for the given reason."""
        self.why_ended = why
        self.end_process()

    def _collect(self) -> None:
        self.collector.run(lambda: [run for run in list(self.runs.values()) if run.process])

    @property
    def limits_memory_by(self) -> str:
        """What enforces memory limits, as text; empty if nothing does."""
        return self.shelf.engine.program if self.shelf.engine else self.home.description if self.home else ""

    def _check_name(self) -> None:
        """Raise `CannotRun` when another worker of this name is alive, before anything is done to its trials."""
        try:
            with transaction.atomic():
                Worker.check_name(self.name, earlier_boots=self.boots.earlier)
        except Refused as refused:
            raise CannotRun(str(refused)) from None

    def register(self) -> Worker:
        """Take the name. Raise `CannotRun` when another worker of this name was faster."""
        earlier, boot = self.boots.earlier, self.boots.new()
        try:
            with transaction.atomic():
                Worker.check_name(self.name, earlier_boots=earlier)
                return self._register_as(boot)
        except Refused as refused:
            raise CannotRun(str(refused)) from None

    def _register_as(self, boot: uuid.UUID) -> Worker:
        return Worker.register(
            self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self.queues,
            slots=self.slots,
            lease_s=self.lease_s,
            container=self.shelf.engine.program if self.shelf.engine else "",
            gpus=self.gpus,
            cores=self.cores,
            memory_mib=self.memory_mib,
            limits_memory_by=self.limits_memory_by,
            boundary=str(self.boundary),
            boot=boot,
            draining_until=self.draining_until,
        )

    def _take_back_claims(self) -> None:
        """Dispatch the conductor for the trials of the earlier boot, instead of waiting for the next beat."""
        held = Trial.objects.filter(worker=self.row, state__in=status.TRIAL_ALIVE)
        for pk in set(held.values_list("experiment", flat=True)):
            dispatch.experiment(pk)

    # --- a slot ------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Run trials in one slot until there is none to claim."""
        try:
            while self._work_off() and self.calls.wait(self.linger_s):
                pass
        finally:
            release_connection()

    def _work_off(self) -> bool:
        """Run trials until there is none to claim. Return whether one ran."""
        has_run = False
        with self._slot() as is_free:
            self.starts.waits()
            trial = self._take() if is_free and self._may_claim() else None
            while trial:
                has_run = True
                trial = self.run(trial) or (self._take() if self._may_claim() else None)
        return has_run

    def is_serving(self) -> bool:
        return not (self.ending.is_set() or self.draining_until)

    def _may_claim(self) -> bool:
        """Return whether a busy slot may continue with another trial."""
        return self.is_serving() and self.busy + self.out_of_service <= self.slots and self.has_room()

    def _take(self) -> Trial | None:
        """Claim the next trial, with its resources."""
        give_back_connection()
        with self._taking, self.claims.claiming():
            if self.draining_until:
                return None
            trial = claim(Claimant(self.row, self.queues, self.free()))
            if trial:
                self._hold(trial)
            return trial

    def _hold(self, trial: Trial) -> None:
        self.claims.add(trial)
        self._holding[trial.pk] = trial

    def free(self) -> Free:
        holding = list(self._holding.values())
        gpus = {gpu for trial in holding for gpu in trial.gpus}
        cores = {core for trial in holding for core in trial.cores}
        return Free(
            gpus=[gpu for gpu in self.gpus if gpu not in gpus],
            cores=[core for core in self.cores if core not in cores],
            memory_mib=self.memory_mib - sum(trial.memory_mib or 0 for trial in holding),
        )

    def has_free_slot(self) -> bool:
        return not self.draining_until and self.busy + self.out_of_service < self.slots

    def wait_for_slot(self, within_s: float) -> bool:
        """Return whether a slot is free within this time."""
        with self._slot_ended:
            return self._slot_ended.wait_for(self.has_free_slot, within_s)

    def has_room(self) -> bool:
        """Return whether there is space on the disk for another trial."""
        return full_disk_percent(disk_of(self.folder)) is None

    @contextmanager
    def _slot(self) -> Iterator[bool]:
        with self._lock:
            is_free = self.has_free_slot()
            self.busy += is_free
        try:
            yield is_free
        finally:
            with self._slot_ended:
                self.busy -= is_free
                self._slot_ended.notify_all()

    def run(self, trial: Trial) -> Trial | None:
        """Run a claimed trial until it is settled. Return the next one, if it was claimed in the same
        transaction. If an error here leaves the trial unsettled, the heartbeat settles it."""
        try:
            return self._run(trial)
        finally:
            self.claims.drop(trial)

    def _run(self, trial: Trial) -> Trial | None:
        run = TrialRun(trial, self)
        self.runs[trial.pk] = run
        try:
            outcome = run.execute()
        except Exception as error:  # on any error the trial must end, with the error on its row
            logger.exception("Trial %s could not be run", trial)
            outcome = Outcome(failure=Failure.SETUP, detail=self.blamed(f"{type(error).__name__}: {error}"))
        finally:
            del self.runs[trial.pk]
        outcome = replace(outcome, detail=run.masker.text(outcome.detail))
        if outcome.survivors:
            self.stuck.append({"trial": trial.pk, "pids": list(outcome.survivors)})
            logger.error("Trial %s left processes that cannot be killed: %s", trial, outcome.survivors)
        else:
            self._holding.pop(trial.pk, None)  # processes that cannot be killed keep their devices
        following = self._settle(run, outcome)
        self.collector.settled(trial)
        if run.ruin:
            run.retrying(
                lambda: trial.experiment.stop(by=None, target=ExperimentState.FAILED, because=run.ruin)
            )
        return following

    def _settle(self, run: TrialRun, outcome: Outcome) -> Trial | None:
        """Settle a trial, and return the next one if it was claimed in the same transaction."""
        give_back_connection()
        try:
            with self._taking, self.claims.claiming():
                claimant = Claimant(self.row, self.queues, self.free()) if self._may_claim() else None
                settled = settle_and_claim(run.trial, outcome, run.reports.last_batch, claimant=claimant)
                if settled:
                    if settled.following:
                        self._hold(settled.following)
                    run.reports.mark_stored()
                    return settled.following
        except DatabaseError as error:  # unknown whether it was committed: the following code finds out
            logger.warning("Trial %s waits for the database: %s", run.trial, error)
            close_old_connections()
        run.store_start()
        run.store_rest()
        self.outbox.deliver(run.trial, outcome)
        return None

    def blamed(self, reason: str, tool_output: str = "") -> str:
        """Return why a trial could not be prepared. A full disk is the worker's fault, not the trial's."""
        if not is_disk_full(reason + tool_output):
            return reason
        return f"The disk of the worker {self.name} is full: free some space, then rerun. ({reason})"

    # --- machine ------------------------------------------------------------------------------

    def take_measurement(self) -> dict | None:
        """Return the latest state of the machine, once."""
        machine, self._machine = self._machine, None
        return machine

    def _watch_machine(self) -> None:
        """Measure the machine in a separate thread, because nvidia-smi may take seconds."""
        machine = Machine(folder=self.folder)
        while True:
            try:
                self._machine = machine.measure() | ({"stuck": list(self.stuck)} if self.stuck else {})
            except Exception:  # a failed measurement must not affect trials
                logger.exception("The machine could not be measured")
            if self.ending.wait(MACHINE_S):
                return


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() or character in "-_" else "_" for character in name)
