"""How much of the possible rate Trialdeck reaches, beside Optuna on SQLite and a bare Celery worker with Redis.

    python -m benchmarks.peers [--trials 100] [--slots 2] [--rounds 3] [--work python] [--algorithms Random TPE]
                               [--pg] [--json]

All run the same command as often, on as many slots, in alternating rounds, so that what else the machine does meets
them alike. The limit is `xargs -P<slots>`, which only starts the command. The share of a peer is its rate by that of
xargs in the same round; the rate counts from the first begin of a process to the last end. The command is a shell that
prints a value; with `--work python` (default) it also starts a Python of about 40 ms, with `--work echo` nothing else.
Trialdeck's own processes go on beside the others, idle: about 1 % of a core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.stage import machine, stage
from benchmarks.throughput import SCRIPT, Span, prepare, rate, span_of, through_trialdeck, through_xargs

ROOT = Path(__file__).resolve().parents[1]
WORK = {"echo": "", "python": f"{sys.executable} -S -c 'import argparse, json, random, statistics'\n"}
LIMIT = "xargs"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100, help="trials of each program and round")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", choices=WORK, default="python")
    parser.add_argument("--algorithms", nargs="+", default=["Random", "TPE"], help="of Trialdeck")
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of a table")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg) as data:
        from tests.support.crew import Crew

        crew = Crew(data)
        try:
            prepare()
            crew.control()
            crew.worker(slots=options.slots)
            setup = {
                "machine": machine(uses_postgres=options.pg),
                "work": options.work,
                "trials": options.trials,
                "slots": options.slots,
            }
            if not options.json:
                print(", ".join(f"{name} {value}" for name, value in setup.items()))
            for result in rounds(data, options):
                print(json.dumps(setup | result) if options.json else row(result), flush=True)
        finally:
            crew.end()


def rounds(data: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield each program's figures of each round, and then the medians of all rounds (round 0)."""
    script = SCRIPT.format(sleep=WORK[options.work])
    programs = programs_of(data, script, options)
    rates: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(1, options.rounds + 1):
        for name in in_turn(list(programs), number):
            rates[name].append(rate(programs[name]()))
        for name, of_name in rates.items():
            yield figures(name, number, of_name[-1], of_name[-1] / rates[LIMIT][-1])
    for name, of_name in rates.items():
        shares = [own / limit for own, limit in zip(of_name, rates[LIMIT], strict=True)]
        yield figures(name, 0, statistics.median(of_name), statistics.median(shares))


def programs_of(data: Path, script: str, options: argparse.Namespace) -> dict[str, Callable[[], list[Span]]]:
    """Return the functions that run `script` repeatedly, by name, the limit first."""

    def trialdeck(algorithm: str) -> Callable[[], list[Span]]:
        return lambda: through_trialdeck(script, options.trials, options.slots, algorithm)

    def peer(name: str) -> Callable[[], list[Span]]:
        return lambda: through_peer(name, data, script, options.trials, options.slots)

    return {
        LIMIT: lambda: through_xargs(script, options.trials, options.slots),
        **{f"Trialdeck, {algorithm}": trialdeck(algorithm) for algorithm in options.algorithms},
        "Optuna on SQLite": peer("optuna"),
        "Celery and Redis": peer("celery"),
    }


def through_peer(name: str, data: Path, script: str, count: int, slots: int) -> list[Span]:
    """Run one of benchmarks.peer_programs. Return the begin and end of each process."""
    with tempfile.TemporaryDirectory(prefix="trialdeck-peers-") as folder:
        where = folder if name == "optuna" else str(data)
        words = [
            sys.executable,
            "-m",
            "benchmarks.peer_programs",
            name,
            where,
            script,
            str(count),
            str(slots),
        ]
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    outputs = json.loads(done.stdout.splitlines()[-1])
    assert len(outputs) == count, f"{name} ran {len(outputs)} of {count} trials"
    return [span_of(output) for output in outputs]


def in_turn(names: list[str], number: int) -> list[str]:
    """Return the names rotated, so that a different one is first in each round."""
    first = number % len(names)
    return names[first:] + names[:first]


def figures(name: str, number: int, per_s: float, share: float) -> dict[str, Any]:
    return {"program": name, "round": number, "per_s": round(per_s, 2), "share": round(share, 3)}


def row(result: dict[str, Any]) -> str:
    which = f"round {result['round']}" if result["round"] else "median"
    return (
        f"{which:10}{result['program']:22}{result['per_s']:8.2f} trials/s{result['share']:8.3f} of the limit"
    )


if __name__ == "__main__":
    main()
