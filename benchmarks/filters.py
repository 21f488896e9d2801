"""The time of filters and orders of the trials table: the counts by state, and the keys of the first page.

    python -m benchmarks.filters [--trials 100000] [--pg] [--slow 50] [--json]

Each pair is queried once to warm up, then 5 times, through Django's ORM, after ANALYZE. `--slow`: print the query plan
if the median exceeds this many milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.rows import seed, settle_in, write_metrics
from benchmarks.stage import machine, stage

if TYPE_CHECKING:
    from experiments.models import Experiment

REPEATS = 5
FILTERS = (
    "",
    "state:failed",
    "value>0.9",
    "value>0.99",
    "learning_rate<1e-4",
    "learning_rate:1e-3..1.1e-3",
    "optimizer:sgd,adam not state:failed",
    "(learning_rate<1e-4 or optimizer=sgd) value>0.8",
    "f1>0.5",
    "f1>0.92",
    "f1>0.99 or partial>0.9",
    "layers=1 optimizer=sgd",
    "optimizer!=sgd state:failed",
    "(learning_rate<2e-5 or layers=1) value>0.85",
    "duration>9m",
    "created<2d",
    "best:10",
    "detail~layer",
    "value!=none optimizer!=lamb",
    "worker=none failure:exit_code",
)
SORTS = (
    "-number",
    "-value",
    "value",
    "-duration",
    "started",
    "state",
    "p.learning_rate",
    "-p.optimizer",
    "-m.f1",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--slow", type=float, default=50.0, metavar="MS")
    parser.add_argument("--json", action="store_true", help="one JSON object per line, without plans")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg):
        from experiments.models import User, Workspace

        on = machine(uses_postgres=options.pg)
        if not options.json:
            print(on)
        user = User.objects.create_superuser("bench")
        workspace = Workspace.open("bench", owner=user)
        experiment = seed(workspace, user, trials=options.trials, name="filtered")
        write_metrics(experiment)
        settle_in()
        for filter in FILTERS:
            for sort in SORTS:
                figures = measure(experiment, filter, sort)
                if options.json:
                    print(json.dumps({"machine": on, "trials": options.trials, **figures}), flush=True)
                else:
                    show(experiment, figures, slow_ms=options.slow)


def measure(experiment: Experiment, filter: str, sort: str) -> dict[str, Any]:
    """Return how many trials the filter selects, and the medians of both times in milliseconds."""
    from django.http import QueryDict

    from experiments.web.trial.trial_query import TrialQuery
    from experiments.web.ui.pagination import slice_of

    address = QueryDict(mutable=True)
    address.update({"filter": filter, "sort": sort})
    times: list[tuple[float, float]] = []
    for _ in range(REPEATS + 1):
        query = TrialQuery.of(address, experiment)
        began = time.perf_counter()
        total, _ = query.total
        counted = time.perf_counter()
        slice_of([part.values_list("pk", flat=True) for part in query.parts], 0, 50)
        times.append((1000 * (counted - began), 1000 * (time.perf_counter() - counted)))
    return {
        "filter": filter,
        "sort": sort,
        "selected": total,
        "count_ms": round(statistics.median(count for count, _ in times[1:]), 1),
        "keys_ms": round(statistics.median(keys for _, keys in times[1:]), 1),
    }


def show(experiment: Experiment, figures: dict[str, Any], *, slow_ms: float) -> None:
    """Print the figures, and the plan of the keys' query if one of the times exceeds `slow_ms`."""
    from django.db import connection
    from django.http import QueryDict
    from django.test.utils import CaptureQueriesContext

    from experiments.web.trial.trial_query import TrialQuery
    from experiments.web.ui.pagination import slice_of

    count_ms, keys_ms = figures["count_ms"], figures["keys_ms"]
    is_slow = max(count_ms, keys_ms) > slow_ms
    print(
        f"{figures['filter']:50} {figures['sort']:16} {figures['selected']:7,} count {count_ms:6.1f} ms"
        f"  keys {keys_ms:6.1f} ms{'  slow' if is_slow else ''}",
        flush=True,
    )
    if not is_slow:
        return
    address = QueryDict(mutable=True)
    address.update({"filter": figures["filter"], "sort": figures["sort"]})
    query = TrialQuery.of(address, experiment)
    with CaptureQueriesContext(connection) as captured:
        slice_of([part.values_list("pk", flat=True) for part in query.parts], 0, 50)
    explain = "EXPLAIN (ANALYZE, BUFFERS) " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    for statement in list(captured):
        with connection.cursor() as cursor:
            cursor.execute(explain + statement["sql"])
            for row in cursor.fetchall():
                print("      ", row[-1])


if __name__ == "__main__":
    main()
