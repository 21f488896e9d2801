"""Utilization of a fleet: many workers with PostgreSQL and a single broker, on one machine.

    python -m benchmarks.fleet [--workers 8] [--slots 25] [--experiments 8] [--trial-seconds 20] [--seconds 60] [--json]

Trials only sleep, so that only the console is measured. `slots in use` is the median share of slots with a trial; CPU
is in percent of one core, of control and of all workers without their trials.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.stage import machine, stage
from tests.support.crew import Crew

EXPERIMENTS = 8
SAMPLE_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--slots", type=int, default=25, help="of each worker")
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS)
    parser.add_argument("--trial-seconds", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it is measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with stage(uses_postgres=True) as data:
        crew = Crew(data)
        os.environ["TRIALDECK_LEASE_S"] = "60"
        try:
            begin(options.experiments, options.workers * options.slots, options.trial_seconds)
            control = crew.control()
            workers = [
                crew.worker(name=f"w{number}", slots=options.slots) for number in range(options.workers)
            ]
            figures = measure(
                control, workers, slots=options.workers * options.slots, seconds=options.seconds
            )
        finally:
            crew.end()
    if options.json:
        print(json.dumps(figures))
    else:
        print(machine(uses_postgres=True), *(f"{name} {value}" for name, value in figures.items()), sep="\n")


def begin(experiments: int, slots: int, trial_s: float) -> None:
    """Enqueue experiments that together fill all slots for longer than the measurement."""
    from experiments.models import Experiment, Queue, Settings, User, Workspace

    Queue.default()
    owner = User.objects.create_superuser("fleet")
    workspace = Workspace.open("fleet", owner=owner)
    for number in range(experiments):
        settings = Settings.checked(
            {
                "command": f"sleep {trial_s:g}\necho value=0.5",
                "space_document": {"x": {"_type": "uniform", "_value": [0, 1]}},
                "metric": "value",
                "source": "stdout",
                "pattern": "value={number}",
                "algorithm": "Random",
                "max_trials": 100_000,
                "concurrency": -(-slots // experiments),
            }
        )
        Experiment.draft(workspace, by=owner, name=f"fleet {number}", settings=settings).enqueue(by=owner)


def measure(
    control: subprocess.Popen, workers: list[subprocess.Popen], *, slots: int, seconds: float
) -> dict[str, float]:
    """Wait until the slots have been filled once, or for a minute, and return the figures of the time after."""
    from experiments.models import Trial

    began = time.monotonic()
    while in_use() < slots and time.monotonic() - began < 60:
        time.sleep(SAMPLE_S)
    filled_s = time.monotonic() - began
    busy, connections, of_workers = [], [], []
    began, before = time.monotonic(), started()
    cpu_control, cpu_workers = cpu_s([control]), cpu_s(workers)
    while time.monotonic() - began < seconds:
        busy.append(in_use())
        connected = connections_by_name()
        connections.append(sum(connected.values()))
        of_workers.append(max(count for name, count in connected.items() if "worker" in name))
        time.sleep(SAMPLE_S)
    took_s = time.monotonic() - began
    return {
        "slots": slots,
        "filled_s": round(filled_s, 1),
        "slots_in_use": round(statistics.median(busy) / slots, 3),
        "starts_per_s": round((started() - before) / took_s, 2),
        "connections": max(connections),
        "connections_of_a_worker": max(of_workers),
        "control_cpu_percent": round(100 * (cpu_s([control]) - cpu_control) / took_s, 1),
        "workers_cpu_percent": round(100 * (cpu_s(workers) - cpu_workers) / took_s, 1),
        "failed": Trial.objects.filter(state="failed").count(),
    }


def in_use() -> int:
    from experiments.models import Trial, status

    return Trial.objects.filter(state__in=status.TRIAL_ALIVE).count()


def started() -> int:
    from experiments.models import Trial

    return Trial.objects.exclude(started_at=None).count()


def connections_by_name() -> dict[str, int]:
    """Return the number of database connections by application name, without this one."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT application_name, count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid != pg_backend_pid() GROUP BY application_name"
        )
        return dict(cursor.fetchall())


def cpu_s(processes: list[subprocess.Popen]) -> float:
    """Return the CPU time of these processes so far, in seconds, without that of their children."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
