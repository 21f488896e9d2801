"""How fast trials follow one another: through a real broker, a control worker and a trial worker.

    python -m benchmarks.throughput [--trials 200] [--slots 2] [--seconds 0 1] [--pg]

Compares with `xargs -P<slots>`, which starts the same command as often and does nothing else. A trial prints
when its process began and ended, and its metric; the gap is the time from one process's end to the next one's
begin on the same slot: settling, proposing, claiming, preparing, starting.
"""

from __future__ import annotations

import argparse
import heapq
import re
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.stage import machine, stage
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from experiments.models import Experiment
    from tests.support.crew import Crew

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
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg) as data:
        from tests.support.crew import Crew

        crew = Crew(data)
        try:
            prepare()
            crew.control()
            crew.worker(slots=options.slots)
            print(machine(uses_postgres=options.pg), f"{options.slots} slots", sep=", ")
            for seconds in options.seconds:
                count = options.trials if seconds < 0.5 else max(10, options.trials // 5)
                report(seconds, count, options.slots, crew)
        finally:
            crew.end()


def report(seconds: float, count: int, slots: int, crew: Crew) -> None:
    script = SCRIPT.format(sleep=f"sleep {seconds:g}\n" if seconds else "")
    ours = through_trialdeck(script, count, slots)
    theirs = through_xargs(script, count, slots)
    between = sorted(gaps(ours, slots))
    p95 = between[int(0.95 * (len(between) - 1))]
    print(
        f"{count} trials of {seconds:g} s: {rate(ours):.1f} trials/s; "
        f"gap median {1000 * statistics.median(between):.0f} ms, p95 {1000 * p95:.0f} ms; "
        f"xargs -P{slots} {rate(theirs):.1f}/s; ratio {rate(ours) / rate(theirs):.3f}",
        flush=True,
    )


def prepare() -> None:
    from experiments.models import Queue, User, Workspace

    Queue.default()
    Workspace.open("bench", owner=User.objects.create_superuser("bench"))


def through_trialdeck(script: str, count: int, slots: int) -> list[Span]:
    """Begin and end of each trial's process, in seconds since 1970, as it printed them."""
    from experiments.models import Experiment, LogPiece, Settings, User, Workspace

    user = User.objects.get()
    document = {
        "command": script,
        "space_document": SPACE,
        "metric": "value",
        "source": "stdout",
        "pattern": "value={number}",
        "algorithm": "Random",
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
    """The same, started by xargs."""
    time.sleep(1)  # what Trialdeck does afterwards is not xargs's load
    names = "".join(f"{number}\n" for number in range(count))
    done = subprocess.run(
        ["xargs", f"-P{slots}", "-I{}", "bash", "-e", "-c", script, "{}"],
        input=names,
        capture_output=True,
        text=True,
        check=True,
    )
    # Lines of two processes mix: only the whole matters here.
    began = sorted(float(at) for at in re.findall(r"began ([\d.]+)", done.stdout))
    ended = sorted(float(at) for at in re.findall(r"ended ([\d.]+)", done.stdout))
    return list(zip(began, ended, strict=True))


def span_of(printed: str) -> Span:
    began, ended = (re.search(rf"{word} ([\d.]+)", printed)[1] for word in ("began", "ended"))
    return float(began), float(ended)


def rate(spans: list[Span]) -> float:
    """Trials a second, from the first begin to the last end."""
    return len(spans) / (max(end for _, end in spans) - min(begin for begin, _ in spans))


def gaps(spans: list[Span], slots: int) -> list[float]:
    """Seconds from an end to the next begin on the same slot. The slot that is free longest is taken first."""
    free: list[float] = []
    seconds = []
    for begin, end in sorted(spans):
        if free and (free[0] <= begin or len(free) >= slots):
            seconds.append(begin - heapq.heappop(free))
        heapq.heappush(free, end)
    return seconds


if __name__ == "__main__":
    main()
