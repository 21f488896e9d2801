"""Accuracy of the estimated ends: the share of ends within the range, and the error of its middle.

    python -m benchmarks.estimate [--rounds 40] [--json]
    TRIALDECK_DATA=… python -m benchmarks.estimate --past    # the completed experiments of a console instead

Without `--past`, experiments are made up: durations of several kinds, on several slots. Each is estimated when 10, 25,
50, 75 and 90 % of its trials have ended. The estimate gets the same data as in the console: the latest durations, and
how long running trials have run. The range should contain the end in about 80 % of the cases.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import statistics
from collections.abc import Callable, Iterator
from random import Random

from benchmarks.stage import machine

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)

Interval = tuple[float, float]  # start and end of a trial, in seconds


def kinds() -> dict[str, Callable[[Random, float], float]]:
    """Return the kinds of durations by name: functions of a random generator and the share of earlier trials."""
    return {
        "all alike": lambda random, _: random.gauss(60, 2),
        "lognormal": lambda random, _: random.lognormvariate(4, 0.5),
        "heavy tail": lambda random, _: random.lognormvariate(3, 1.2),
        "half stopped early": lambda random, _: random.gauss(100, 10) if random.random() < 0.5 else 20.0,
        "getting slower": lambda random, share: random.gauss(60, 10) * (1 + share),
        "getting faster": lambda random, share: random.gauss(60, 10) * (2 - share),
    }


def schedule(seconds: list[float], slots: int) -> list[Interval]:
    """Return the start and end of each trial if each free slot immediately starts the next one."""
    free = [0.0] * slots
    intervals = []
    for span in seconds:
        start = free[0]
        heapq.heapreplace(free, start + max(0.1, span))
        intervals.append((start, start + max(0.1, span)))
    return intervals


def looks(intervals: list[Interval], slots: int, seed: int) -> Iterator[tuple[float, float, float, float]]:
    """Yield share, low, high and actual remaining time, in seconds."""
    from experiments.scheduler.estimate import MOST_FINISHED, Finished, Running, simulate

    last = max(end for _, end in intervals)
    ends = sorted(end for _, end in intervals)
    for share in SHARES:
        now = ends[max(0, round(share * len(ends)) - 1)]
        done = sorted((end, end - start) for start, end in intervals if end <= now)
        finished = Finished([span for _, span in done[-MOST_FINISHED:]])
        running = [Running(now - start) for start, end in intervals if start <= now < end]
        to_start = sum(start > now for start, _ in intervals)
        (low, high), _ = simulate(running, finished, to_start=to_start, slots=slots, seed=seed)
        yield share, low, high, last - now


def made_up(rounds: int) -> Iterator[tuple[str, float, float, float, float]]:
    """Yield (kind, share, low, high, actual) of synthetic experiments."""
    for name, draw in kinds().items():
        for seed in range(rounds):
            random = Random(seed)
            total, slots = random.choice((20, 60, 200)), random.choice((1, 2, 4, 8))
            seconds = [draw(random, number / total) for number in range(total)]
            for look in looks(schedule(seconds, slots), slots, seed):
                yield name, *look


def past() -> Iterator[tuple[str, float, float, float, float]]:
    """Yield (kind, share, low, high, actual) of completed experiments in the console's database."""
    from experiments.models import Experiment, ExperimentState

    for experiment in Experiment.objects.filter(state=ExperimentState.COMPLETED).iterator():
        rows = experiment.trials.exclude(started_at=None).exclude(ended_at=None)
        times = rows.values_list("started_at", "ended_at")
        intervals = [(start.timestamp(), end.timestamp()) for start, end in times if start and end]
        if len(intervals) < 10:
            continue
        for look in looks(intervals, experiment.concurrency, experiment.pk):
            yield "past", *look


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40, help="experiments of each kind")
    parser.add_argument("--past", action="store_true", help="the completed experiments of the database")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")
    import django

    django.setup()
    groups: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    for name, share, low, high, actual in past() if options.past else made_up(options.rounds):
        groups.setdefault((name, share), []).append((low, high, actual))
    if not options.json:
        print(
            f"{machine(uses_postgres=False)}\n\n{'durations':<20} {'done':>5} {'inside':>7} {'off by':>7} {'width':>7}"
        )
    for (name, share), seen in groups.items():
        inside = statistics.fmean(low <= actual <= high for low, high, actual in seen)
        long = [(low, high, actual) for low, high, actual in seen if actual > 0]
        off = statistics.median(abs((low + high) / 2 - actual) / actual for low, high, actual in long)
        width = statistics.median((high - low) / actual for low, high, actual in long)
        if options.json:
            figures = {"inside": round(inside, 3), "off": round(off, 3), "width": round(width, 3)}
            print(
                json.dumps(
                    {"benchmark": "estimate", "kind": name, "share": share, "cases": len(seen), **figures}
                )
            )
        else:
            print(f"{name:<20} {share:>5.0%} {inside:>7.0%} {off:>7.0%} {width:>7.0%}")


if __name__ == "__main__":
    main()
