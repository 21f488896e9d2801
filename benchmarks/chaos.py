"""Inject random faults into a running installation, and count lost or wrong results. All counts must be 0.

    python -m benchmarks.chaos [--minutes 5] [--seed 1] [--pg] [--json] [--log FILE] [--only FAULT …]

SQLite: one control, one worker and an embedded broker. With --pg: PostgreSQL, two control, three worker and two web
processes. Faults: SIGKILL, SIGTERM and SIGSTOP of processes; a broker that is killed, hangs, loses all data, is full,
read-only or a replica without its primary; duplicated and dropped messages; on PostgreSQL closed connections and lost
responses to COMMIT; on SQLite a full disk, where a tmpfs can be mounted. Recovery is the time from the end of a fault
to the next result of a trial.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.stage import brokers, machine, stage
from tests.support.crew import Crew, processes_with
from tests.support.lossy_proxy import LossyProxy
from tests.support.processes import free_port

if TYPE_CHECKING:
    from experiments.models import Experiment

TRIALS, CONCURRENCY = 24, 6  # of one experiment; another one follows
LEASE_S = 5
RECOVERS_WITHIN_S = 90.0
DISK = "512m"
# Writes its ID when it starts. Its lock on the values is held while any of its processes lives.
NO_SPACE = 28  # the exit code of a script that could not write
SCRIPT = """\
command exec 9>>{locks}/${{x}} || exit {no_space}
flock -n 9 || echo "twice $TRIALDECK_TRIAL_ID" >> {diary}
echo "began $TRIALDECK_TRIAL_ID" >> {diary}
sleep 0.$((RANDOM % 9 + 1))
echo "{{\\"value\\": "${{x}}", \\"final\\": true}}" >> "$TRIALDECK_METRICS" || exit {no_space}
"""


@dataclass
class Report:
    """The injected faults and their consequences."""

    seed: int
    minutes: float
    faults: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    lost: int = 0  # proposals without a result
    failed_on_full_disk: int = 0  # trials whose script could not write; not lost
    wrong: int = 0  # results that are not those of their trial
    twice: int = 0  # trials that began twice, or ran at the same time as another attempt
    stuck: int = 0  # experiments that did not end, trials that did not end, and faults without a recovery
    left: int = 0  # processes
    budget_errors: int = 0  # experiments that proposed more or less, and wrong counters
    recovery_s: list[float] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.wrong or self.twice or self.stuck or self.left or self.budget_errors)

    def as_dict(self) -> dict[str, object]:
        times = self.recovery_s or [0.0]
        return {
            "seed": self.seed,
            "minutes": self.minutes,
            "faults": dict(sorted(self.faults.items())),
            "trials": self.trials,
            "failed_on_full_disk": self.failed_on_full_disk,
            "lost": self.lost,
            "wrong": self.wrong,
            "twice": self.twice,
            "stuck": self.stuck,
            "left": self.left,
            "budget_errors": self.budget_errors,
            "recovery_median_s": round(statistics.median(times), 1),
            "recovery_worst_s": round(max(times), 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="+", default=(), metavar="FAULT", help="such as kill freeze")
    parser.add_argument("--log", type=Path, help="where to keep what all processes printed")
    options = parser.parse_args()
    with ExitStack() as stack:
        disk = None if options.pg else stack.enter_context(small_disk())
        data = stack.enter_context(stage(uses_postgres=options.pg))
        chaos = Chaos(
            data, options.seed, options.minutes, uses_postgres=options.pg, disk=disk, only=options.only
        )
        try:
            report = chaos.run()
        finally:
            if options.log:
                shutil.copy(chaos.crew.log, options.log)
        if options.json:
            print(json.dumps(report.as_dict()))
        else:
            print(
                machine(uses_postgres=options.pg),
                *(f"{k} {v}" for k, v in report.as_dict().items()),
                sep="\n",
            )
    sys.exit(not report.is_clean)


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a small file system for all data, and yield its folder; None if that is not permitted."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        print("No tmpfs can be mounted here: the disk is never full.", file=sys.stderr)
        folder.rmdir()
        yield None
        return
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


class Chaos:
    """One run, on a separate installation."""

    def __init__(
        self,
        data: Path,
        seed: int,
        minutes: float,
        *,
        uses_postgres: bool,
        disk: Path | None,
        only: Sequence[str] = (),
    ) -> None:
        """`only`: names of the faults; empty: all that are possible on this machine."""
        self.data, self.disk, self.uses_postgres = data, disk, uses_postgres
        self.random = random.Random(seed)  # noqa: S311 (to be repeated, not to be secret)
        self.report = Report(seed, minutes)
        self.broker = brokers[data]
        self.crew = Crew(data)
        self.services: dict[str, subprocess.Popen] = {}
        self.experiments: list[Experiment] = []
        os.environ |= {"TRIALDECK_LEASE_S": str(LEASE_S), "TRIALDECK_DRAIN_S": "1"}
        (data / "locks").mkdir()
        self.proxy = LossyProxy(os.environ["DATABASE_URL"]) if uses_postgres else None
        if self.proxy:
            os.environ["DATABASE_URL"] = self.proxy.url  # of the services; this process has read it
        self.faults = self.possible_faults()
        if unknown := set(only) - self.faults.keys():
            raise SystemExit(
                f"Unknown or impossible here: {', '.join(unknown)}. Faults: {', '.join(self.faults)}."
            )
        self.faults = {name: self.faults[name] for name in only or self.faults}

    def run(self) -> Report:
        from experiments.models import Queue, User, Workspace

        Queue.default()
        self.owner = User.objects.create_superuser("chaos")
        self.workspace = Workspace.open("chaos", owner=self.owner)
        names = ["control", "w1"]
        if self.uses_postgres:
            names += ["control-2", "w2", "w3", "web", "web-2"]
        try:
            for name in names:
                self.start(name)
            until = time.monotonic() + 60 * self.report.minutes
            while time.monotonic() < until:
                self.keep_busy()
                self.break_something()
            self.settle()
        finally:
            self.end()
        self.check()
        return self.report

    # --- the installation ----------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        if name.startswith("control"):
            process = self.crew.control()
        elif name.startswith("web"):
            process = self._web()
        else:
            process = self.crew.worker(name=name, slots=4)
        self.services[name] = process

    def start_again(self) -> None:
        """Restart processes that have ended by themselves, like a service manager."""
        for name, process in list(self.services.items()):
            if process.poll() is not None:
                self.report.faults["ended by itself"] += 1
                self.start(name)

    def _web(self) -> subprocess.Popen:
        argv = [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(free_port()), "--no-ws"]
        argv += ["--workers-kill-timeout", "10"]  # as in deploy/
        with self.crew.log.open("ab") as log:
            process = subprocess.Popen([*argv, "console.wsgi:application"], stdout=log, stderr=log)
        self.crew.processes.append(process)
        return process

    def keep_busy(self) -> None:
        """Start another experiment if none is active."""
        from experiments.models import Experiment, Settings

        if Experiment.objects.active().exists():
            return
        script = SCRIPT.format(locks=self.data / "locks", diary=self.data / "diary", no_space=NO_SPACE)
        settings = Settings.checked(
            {
                "command": script,
                "space_document": {"x": {"_type": "uniform", "_value": [0, 1]}},
                "metric": "default",
                "algorithm": "Random",
                "max_trials": TRIALS,
                "concurrency": CONCURRENCY,
                "retries": 100,
                "stop_grace_s": 1,
            }
        )
        name = f"chaos {len(self.experiments)}"
        experiment = Experiment.draft(self.workspace, by=self.owner, name=name, settings=settings)
        experiment.enqueue(by=self.owner)
        self.experiments.append(experiment)

    def results(self) -> int:
        from experiments.models import Trial

        return Trial.objects.filter(state="succeeded").count()

    # --- faults --------------------------------------------------------------------------------------------

    def possible_faults(self) -> dict[str, Callable[[], None]]:
        faults: dict[str, Callable[[], None]] = {
            "kill": self.kill,
            "terminate": self.terminate,
            "freeze": self.freeze,
            "broker killed": self.kill_broker,
            "broker wiped": self.broker.wipe,
            "broker hung": self.hang_broker,
            "broker full": lambda: self.spoil_broker("full"),
            "broker read-only": lambda: self.spoil_broker("read-only"),
            "broker stale": lambda: self.spoil_broker("stale"),
            "messages doubled": self.double,
            "messages dropped": self.drop,
        }
        if self.uses_postgres:
            faults["connections cut"] = self.cut
            faults["answers lost"] = self.lose_answers
        if self.disk:
            faults["disk full"] = self.fill
        return faults

    def break_something(self) -> None:
        """Inject one fault, and wait for the next result."""
        name = self.random.choice(sorted(self.faults))
        time.sleep(self.random.uniform(0, 1.5))
        self.faults[name]()
        self.report.faults[name] += 1
        self.recover()

    def recover(self) -> None:
        began, before = time.monotonic(), self.results()
        while self.results() == before:
            self.keep_busy()
            self.start_again()
            if time.monotonic() - began > RECOVERS_WITHIN_S:
                self.report.stuck += 1
                return
            time.sleep(0.05)
        self.report.recovery_s.append(time.monotonic() - began)

    def kill(self) -> None:
        name = self.random.choice(sorted(self.services))
        self.crew.kill(self.services[name])
        time.sleep(self.random.uniform(0, 3))
        self.start(name)

    def terminate(self) -> None:
        name = self.random.choice(sorted(self.services))
        self.services[name].send_signal(signal.SIGTERM)
        self.services[name].wait(30)
        self.start(name)

    def freeze(self) -> None:
        """SIGSTOP for up to three leases."""
        process = self.services[self.random.choice(sorted(self.services))]
        process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.5, 3 * LEASE_S))
        process.send_signal(signal.SIGCONT)

    def kill_broker(self) -> None:
        self.broker.kill()
        time.sleep(self.random.uniform(0, 5))
        self.broker.start()

    def hang_broker(self) -> None:
        self.broker.hang()
        time.sleep(self.random.uniform(0.5, 12))
        self.broker.go_on()

    def spoil_broker(self, why: str) -> None:
        self.broker.refuse(why)
        time.sleep(self.random.uniform(0.5, 6))
        self.broker.accept()

    def double(self) -> None:
        """Duplicate each waiting message, and send all of the scheduler's hints twice."""
        from experiments import dispatch
        from experiments.models import Experiment, Queue

        for _ in range(2):
            for pk in Experiment.objects.active().values_list("pk", flat=True):
                dispatch.experiment(pk)
            for queue in Queue.objects.all():
                dispatch.queue(queue.routing_key)

    def drop(self) -> None:
        """For a while, delete the waiting messages in the broker, as if they had never been sent."""
        until = time.monotonic() + self.random.uniform(0.5, 3)
        while time.monotonic() < until:
            self.broker.wipe()
            time.sleep(0.02)

    def cut(self) -> None:
        """Close all connections to the database except this one."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def lose_answers(self) -> None:
        """Let the next COMMITs of any service take effect, but drop their responses."""
        assert self.proxy
        self.proxy.lose(self.random.randint(1, 12))
        time.sleep(self.random.uniform(0.5, 3))

    def fill(self) -> None:
        assert self.disk
        filler = self.disk / "filler"
        try:
            with filler.open("wb") as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            time.sleep(self.random.uniform(1, 8))
        finally:
            filler.unlink()

    # --- results -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let started work end, without further faults."""
        deadline = time.monotonic() + RECOVERS_WITHIN_S
        for experiment in self.experiments:
            while experiment.is_active and time.monotonic() < deadline:
                self.start_again()
                time.sleep(0.1)
                experiment.refresh_from_db()

    def end(self) -> None:
        with suppress(AssertionError):  # what does not end within 10 s is counted by `processes_with`
            self.crew.end()
        time.sleep(1)
        self.report.left = len(processes_with(f"TRIALDECK_PARAMETERS={self.data}"))

    def check(self) -> None:
        report, diary = self.report, (self.data / "diary").read_text().splitlines()
        began = Counter(line for line in diary if line.startswith("began"))
        report.twice = sum(times - 1 for times in began.values())
        report.twice += sum(line.startswith("twice") for line in diary)
        for experiment in self.experiments:
            experiment.refresh_from_db()
            trials = list(experiment.trials.all())
            report.trials += len(trials)
            done = [trial for trial in trials if trial.state == "succeeded"]
            proposed = [trial for trial in trials if trial.source == "proposal"]
            report.wrong += sum(trial.value != trial.params["x"] for trial in done)
            without = {trial.params["x"] for trial in proposed} - {trial.params["x"] for trial in done}
            for trial in trials:
                if trial.params["x"] not in without or trial.failure == "worker_lost":
                    continue
                if trial.state == "failed" and trial.exit_code == NO_SPACE:  # the script's own failure
                    without.discard(trial.params["x"])
                    report.failed_on_full_disk += 1
                else:
                    print(trial, trial.state, trial.failure, trial.detail, file=sys.stderr)
            report.lost += len(without)
            report.twice += len(done) - len({trial.params["x"] for trial in done})
            report.stuck += experiment.is_active + sum(not trial.is_settled for trial in trials)
            states = Counter(trial.state for trial in trials)
            counted = {
                state: experiment.count(state)
                for state in (
                    "waiting",
                    "running",
                    "stopping",
                    "succeeded",
                    "failed",
                    "stopped",
                    "early_stopped",
                )
            }
            is_exact = len(proposed) == experiment.proposed_count == TRIALS
            report.budget_errors += not is_exact or any(
                states[name] != count for name, count in counted.items()
            )


if __name__ == "__main__":
    main()
