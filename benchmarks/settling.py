"""The number of trials of one experiment that are settled, and next ones claimed, per second.

    python -m benchmarks.settling [--pairs 400] [--processes 4] [--pg] [--json]

Each process simulates a slot: it repeatedly settles a trial and claims the next one in one transaction, without running
anything. A thread of the first process does the work of control. For comparison, one process uses the ordinary verbs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from typing import Any

from benchmarks.stage import machine, stage


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    parser.add_argument("--slot", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.slot is not None:
        print(json.dumps(slot(options.slot)))
        return
    with stage(uses_postgres=options.pg):
        result = {
            "machine": machine(uses_postgres=options.pg),
            "verbs": measure(options.pairs // 4, 1, uses_verbs=True),
            "statements": measure(options.pairs, options.processes, uses_verbs=False),
        }
        print(json.dumps(result) if options.json else sentences(result))


def measure(pairs: int, processes: int, *, uses_verbs: bool) -> dict[str, Any]:
    """Return the figures of `pairs` ends of trials. Times in milliseconds."""
    from experiments.models import Experiment, Queue, Settings, User, Worker, Workspace
    from experiments.scheduler.conductor import schedule

    user = User.objects.filter(username="bench").first() or User.objects.create_superuser("bench")
    workspace = Workspace.objects.first() or Workspace.open("bench", owner=user)
    Worker.register("bench", host="here", pid=1, queues=["default"], slots=processes, lease_s=3600)
    settings = Settings.checked(
        {
            "command": "true",
            "space_document": {"x": {"_type": "uniform", "_value": [0, 1]}},
            "algorithm": "Random",
            "max_trials": pairs,
            "concurrency": processes,
        }
    )
    experiment = Experiment.draft(workspace, by=user, name="bench", settings=settings)
    experiment.enqueue(by=user, queue=Queue.default())
    schedule(experiment.pk)
    ending = threading.Event()

    def control() -> None:
        while not ending.wait(0.02):
            schedule(experiment.pk)

    thread = threading.Thread(target=control)
    thread.start()
    begin = time.monotonic()
    if uses_verbs:
        used = [slot(0, uses_verbs=True)]
    else:
        argv = [sys.executable, "-m", "benchmarks.settling", "--slot"]
        slots = [subprocess.Popen([*argv, str(n)], stdout=subprocess.PIPE) for n in range(processes)]
        used = [json.loads(each.communicate()[0]) for each in slots]
    ending.set()
    thread.join()
    ended = sum(each["trials"] for each in used)
    took_s = max(each["end"] for each in used) - (
        begin if uses_verbs else min(each["begin"] for each in used)
    )
    return {
        "processes": processes,
        "pairs": ended,
        "per_s": round(ended / took_s, 1),
        "processor_ms": round(1000 * sum(each["used_s"] for each in used) / ended, 2),
    }


def slot(number: int, *, uses_verbs: bool = False) -> dict[str, float]:
    """Settle and claim until there is nothing left."""
    if not uses_verbs:
        import django

        django.setup()
        from experiments.worker.db_connection import share_connections

        share_connections("trialdeck benchmark")  # as a worker does
    from experiments.models import Free, Outcome, Trial, Worker
    from experiments.worker.settle import Claimant, claim, settle_and_claim

    worker = Worker.objects.get()
    claimant = Claimant(worker, ["default"], Free())
    begin = end = time.monotonic()
    used, used_s, trials, idle = time.thread_time(), 0.0, 0, 0
    trial: Trial | None = None
    while idle < 50:
        trial = trial or (Trial.take(worker, ["default"]) if uses_verbs else claim(claimant))
        if trial is None:
            idle += 1
            time.sleep(0.01)
            continue
        idle, outcome = 0, Outcome(value=number + trials / 7, exit_code=0)
        settled = None if uses_verbs else settle_and_claim(trial, outcome, None, claimant=claimant)
        if settled is None:
            trial.settle(outcome)
        trial, trials = settled.following if settled else None, trials + 1
        end, used_s = time.monotonic(), time.thread_time() - used
    return {"trials": trials, "begin": begin, "end": end, "used_s": used_s}


def sentences(result: dict[str, Any]) -> str:
    lines = [result["machine"]]
    for name in ("verbs", "statements"):
        figures = result[name]
        lines.append(
            f"{name}, {figures['processes']} processes: {figures['per_s']:g} pairs/s, "
            f"processor {figures['processor_ms']:g} ms per pair"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
