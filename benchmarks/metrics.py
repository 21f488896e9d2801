"""How many points per second a worker stores, their CPU time, and whether heartbeats are late meanwhile.

    python -m benchmarks.metrics [--trials 8] [--points 100000] [--names 2] [--pg] [--json]

Each trial writes its points as fast as it can, all trials at the same time, as JSON lines. The rate is measured from
the first start to the last end, the CPU time in the worker; the beat is the longest time between two heartbeats.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from typing import Any

from benchmarks.process_times import processor_times
from benchmarks.stage import machine, stage
from benchmarks.throughput import has_ended, prepare
from tests.support.waiting import eventually

SCRIPT = """{python} -S - <<'END'
import json, os
with open(os.environ["TRIALDECK_METRICS"], "a") as file:
    for step in range({steps}):
        for name in range({names}):
            file.write(json.dumps({{"name": f"metric {{name}}", "step": step, "value": step / 7}}) + "\\n")
    file.write(json.dumps({{"value": 0.5, "final": True}}) + "\\n")
END"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--points", type=int, default=100_000, help="of each trial")
    parser.add_argument("--names", type=int, default=2, help="of metrics")
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a sentence")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg) as data:
        from tests.support.crew import Crew

        crew = Crew(data)
        try:
            prepare()
            crew.control()
            pid = crew.worker(slots=options.trials).pid
            result = measure(pid, options.trials, options.points, options.names)
            result["machine"] = machine(uses_postgres=options.pg)
            print(json.dumps(result) if options.json else sentence(result), flush=True)
        finally:
            crew.end()


def measure(pid: int, count: int, points: int, names: int) -> dict[str, Any]:
    from django.db.models import Max, Min

    from experiments.models import Experiment, Point, Settings, User, Workspace

    document = {
        "command": SCRIPT.format(python=sys.executable, steps=points // names, names=names),
        "space_document": {"x": {"_type": "uniform", "_value": [0, 1]}},
        "algorithm": "Random",
        "max_trials": count,
        "concurrency": count,
    }
    user = User.objects.get()
    experiment = Experiment.draft(
        Workspace.objects.get(), by=user, name="points", settings=Settings.checked(document)
    )
    before, gaps = processor_times({"worker": pid}), HeartbeatGaps()
    experiment.enqueue(by=user)
    eventually(lambda: has_ended(experiment), within=1200, every=0.25, what="the end")
    used_s = processor_times({"worker": pid})["worker"] - before["worker"]
    span = experiment.trials.aggregate(begin=Min("started_at"), end=Max("ended_at"))
    stored, reported = Point.objects.count(), count * (points // names) * names
    notes = [note for trial in experiment.trials.all() for note in trial.notes]
    left_out = sum(int(note.split()[0].replace(",", "")) for note in notes if "were left out" in note)
    assert stored + left_out == reported, f"{stored:,} points are stored, {left_out:,} left out"
    return {
        "trials": count,
        "points": reported,
        "left_out": left_out,
        "per_s": round(reported / (span["end"] - span["begin"]).total_seconds()),
        "processor_us": round(1e6 * used_s / reported, 1),
        "longest_beat_s": round(gaps.end(), 2),
    }


def sentence(result: dict[str, Any]) -> str:
    return (
        f"{result['machine']}: {result['points']:,} points of {result['trials']} trials, {result['left_out']:,} of "
        f"them left out: {result['per_s']:,} points/s, processor {result['processor_us']:g} us per point, longest time "
        f"between heartbeats {result['longest_beat_s']:g} s"
    )


class HeartbeatGaps(threading.Thread):
    """Polls the worker's row many times per second, and records the longest time without a change."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ending = threading.Event()
        self._longest_s = 0.0
        self.start()

    def run(self) -> None:
        from django.db import connections

        from experiments.models import Worker

        seen, since = None, time.monotonic()
        while not self._ending.wait(0.05):
            beat = Worker.objects.values_list("beat", flat=True).get()
            if beat != seen:
                seen, since = beat, time.monotonic()
            self._longest_s = max(self._longest_s, time.monotonic() - since)
        connections.close_all()

    def end(self) -> float:
        self._ending.set()
        self.join()
        return self._longest_s


if __name__ == "__main__":
    main()
