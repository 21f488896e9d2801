"""The throughput and cost of short trials, with a real broker, a control worker and a trial worker.

    python -m benchmarks.throughput [--trials 200] [--slots 2] [--seconds 0 1] [--algorithms Random TPE] [--pg] [--json]

Compares with `xargs -P<slots>`, which starts the same command as often and does nothing else. A trial prints
when its process began and ended, and its metric; the gap is the time from one process's end to the next one's
begin on the same slot: settling, proposing, claiming, preparing, starting. The processor time is that of control,
worker, keeper and broker, from the enqueuing to the end, without the trials' own processes; with PostgreSQL that of its
server is not in it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import re
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.process_times import processor_times
from benchmarks.stage import machine, stage
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from experiments.models import Experiment

# bash's own clock and builtins: no process but the shell (and sleep, where a trial lasts).
SCRIPT = 'echo "began $EPOCHREALTIME"\n{sleep}echo "value=0.5"\necho "ended $EPOCHREALTIME"'
SPACE = {"x": {"_type": "uniform", "_value": [0, 1]}, "n": {"_type": "randint", "_value": [1, 9]}}
Span = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200, help="how many short trials (default: 200)")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--seconds", type=float, nargs="+", default=[0, 1], help="how long a trial sleeps")
    parser.add_argument("--algorithms", nargs="+", default=["Random"])
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of sentences")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg) as data:
        from tests.support.crew import Crew

        crew = Crew(data)
        try:
            prepare()
            pids = {
                "control": crew.control().pid,
                "worker": crew.worker(slots=options.slots).pid,
                "broker": broker_pid(data),
            }
            if not options.json:
                print(machine(uses_postgres=options.pg), f"{options.slots} slots", sep=", ")
            for algorithm in options.algorithms:
                for seconds in options.seconds:
                    count = options.trials if seconds < 0.5 else max(10, options.trials // 5)
                    result = measure(seconds, count, options.slots, algorithm, pids)
                    result["machine"] = machine(uses_postgres=options.pg)
                    print(json.dumps(result) if options.json else sentence(result), flush=True)
        finally:
            crew.end()


def measure(
    seconds: float, count: int, slots: int, algorithm: str, pids: Mapping[str, int]
) -> dict[str, Any]:
    """Return the figures of `count` trials that sleep for `seconds`. Times in milliseconds."""
    script = SCRIPT.format(sleep=f"sleep {seconds:g}\n" if seconds else "")
    before = processor_times(pids)
    ours = through_trialdeck(script, count, slots, algorithm)
    used = {name: at - before[name] for name, at in processor_times(pids).items()}
    theirs = through_xargs(script, count, slots)
    between = sorted(gaps(ours, slots))
    return {
        "algorithm": algorithm,
        "seconds": seconds,
        "trials": count,
        "slots": slots,
        "per_s": round(rate(ours), 2),
        "xargs_per_s": round(rate(theirs), 2),
        "gap_ms": {
            "median": round(1000 * statistics.median(between), 1),
            "p95": round(1000 * between[int(0.95 * (len(between) - 1))], 1),
            "p99": round(1000 * between[int(0.99 * (len(between) - 1))], 1),
        },
        "processor_ms": {name: round(1000 * used_s / count, 1) for name, used_s in used.items()}
        | {"all": round(1000 * sum(used.values()) / count, 1)},
    }


def sentence(result: Mapping[str, Any]) -> str:
    gap, processor = result["gap_ms"], result["processor_ms"]
    parts = ", ".join(f"{name} {ms:g}" for name, ms in processor.items() if name != "all")
    return (
        f"{result['algorithm']}, {result['trials']} trials of {result['seconds']:g} s: {result['per_s']:.1f} trials/s; "
        f"gap median {gap['median']:.0f} ms, p95 {gap['p95']:.0f} ms, p99 {gap['p99']:.0f} ms; "
        f"processor {processor['all']:.1f} ms per trial ({parts}); xargs -P{result['slots']} "
        f"{result['xargs_per_s']:.1f}/s; ratio {result['per_s'] / result['xargs_per_s']:.3f}"
    )


def broker_pid(data: Path) -> int:
    """Return the pid of the broker of a data folder."""
    import redis

    from experiments import broker

    client = redis.Redis(unix_socket_path=str(broker.socket_path(data)))
    try:
        return int(client.info("server")["process_id"])
    finally:
        client.close()


def prepare() -> None:
    from experiments.models import Queue, User, Workspace

    Queue.default()
    Workspace.open("bench", owner=User.objects.create_superuser("bench"))


def through_trialdeck(script: str, count: int, slots: int, algorithm: str) -> list[Span]:
    """Return the start and end of each trial's process, in seconds since 1970, as it printed them."""
    from experiments.models import Experiment, LogPiece, Settings, User, Workspace

    user = User.objects.get()
    document = {
        "command": script,
        "space_document": SPACE,
        "metric": "value",
        "source": "stdout",
        "pattern": "value={number}",
        "algorithm": algorithm,
        "max_trials": count,
        "concurrency": slots,
    }
    settings = Settings.checked(document)
    experiment = Experiment.draft(Workspace.objects.get(), by=user, name="bench", settings=settings)
    experiment.enqueue(by=user)
    eventually(lambda: has_ended(experiment), within=60 + 20 * count, every=0.25, what="the end")
    states = set(experiment.trials.values_list("state", flat=True))
    assert states == {"succeeded"}, f"trials ended {states}: {experiment.trials.first().detail}"
    return [span_of(LogPiece.tail(pk).decode()) for pk in experiment.trials.values_list("pk", flat=True)]


def has_ended(experiment: Experiment) -> bool:
    experiment.refresh_from_db()
    return not experiment.is_active


def through_xargs(script: str, count: int, slots: int) -> list[Span]:
    """Return the same for processes started by xargs."""
    time.sleep(1)  # so that Trialdeck's remaining work does not affect xargs
    names = "".join(f"{number}\n" for number in range(count))
    done = subprocess.run(
        ["xargs", f"-P{slots}", "-I{}", "bash", "-e", "-c", script, "{}"],
        input=names,
        capture_output=True,
        text=True,
        check=True,
    )
    # Lines of two processes are mixed; only all of them together matter.
    began = sorted(float(at) for at in re.findall(r"began ([\d.]+)", done.stdout))
    ended = sorted(float(at) for at in re.findall(r"ended ([\d.]+)", done.stdout))
    return list(zip(began, ended, strict=True))


def span_of(printed: str) -> Span:
    began, ended = (re.search(rf"{word} ([\d.]+)", printed)[1] for word in ("began", "ended"))
    return float(began), float(ended)


def rate(spans: list[Span]) -> float:
    """Return trials per second, from the first start to the last end."""
    return len(spans) / (max(end for _, end in spans) - min(begin for begin, _ in spans))


def gaps(spans: list[Span], slots: int) -> list[float]:
    """Return the seconds from an end to the next start on the same slot. The slot that has been free longest is used
    first."""
    free: list[float] = []
    seconds = []
    for begin, end in sorted(spans):
        if free and (free[0] <= begin or len(free) >= slots):
            seconds.append(begin - heapq.heappop(free))
        heapq.heappush(free, end)
    return seconds


if __name__ == "__main__":
    main()
