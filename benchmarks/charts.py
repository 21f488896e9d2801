"""The time of each chart of an experiment with 1,000, 10,000 and 100,000 trials.

    python -m benchmarks.charts [--trials 1000 10000 100000] [--pg] [--repeats 15] [--json]

The rows are those of benchmarks.rows, written straight into the database. Each chart is requested as the Charts tab
polls it: one panel, through Django's test client with middleware, queries, drawing and template, but no network. The
cache of drawn charts is emptied before each request. One request to warm up, then 15. Besides the p50, it reports this
process's CPU time, which depends less on other load on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.rows import seed, settle_in
from benchmarks.stage import machine, stage

if TYPE_CHECKING:
    from django.test import Client

    from experiments.models import Experiment

REPEATS = 15
SIZES = (1_000, 10_000, 100_000)
TARGET_MS = 100.0
SHARES = {"learning_rate": 0.6, "dropout": 0.2, "layers": 0.15, "optimizer": 0.05}
FILTERED = "value>0.8 state:succeeded"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of a table")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg):
        from django.test import Client

        from experiments.models import Importance, User, Workspace

        about = machine(uses_postgres=options.pg)
        if not options.json:
            print(about)
        user = User.objects.create_superuser("bench")
        workspace = Workspace.open("bench", owner=user)
        client = Client(HTTP_HOST="localhost")
        client.force_login(user)
        for trials in options.trials:
            experiment = seed(workspace, user, trials=trials, name=f"with {trials:,} trials")
            Importance.objects.create(
                experiment=experiment,
                epoch=experiment.epoch,
                succeeded_count=experiment.succeeded_count,
                trial_count=200,
                shares=SHARES,
            )
            settle_in()
            if not options.json:
                print(f"\n{trials:,} trials", flush=True)
            for name, address in addresses(experiment).items():
                figure = measure(client, name, address, trials, options.repeats)
                if options.json:
                    at = datetime.now(UTC).isoformat(timespec="seconds")
                    figure |= {
                        "database": "postgresql" if options.pg else "sqlite",
                        "machine": about,
                        "at": at,
                    }
                print(json.dumps(figure) if options.json else _row(figure), flush=True)


def addresses(experiment: Experiment) -> dict[str, str]:
    from urllib.parse import urlencode

    from django.urls import reverse

    from experiments.web.charts.panels import PANELS

    ids = [experiment.workspace.slug, experiment.public_id]
    charts = {key: reverse("experiment-chart", args=[*ids, key]) for key in PANELS}
    return {
        **charts,
        "correlation": f"{charts['importance']}?importance=correlation",
        "history, filtered": f"{charts['history']}?{urlencode({'filter': FILTERED})}",
        "parallel, filtered": f"{charts['parallel']}?{urlencode({'filter': FILTERED})}",
    }


def measure(client: Client, name: str, address: str, trials: int, repeats: int) -> dict[str, Any]:
    """Return the times of one panel."""
    from django.core.cache import caches
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    headers = {"HX-Request": "true", "HX-Target": "panels"}
    client.get(address, headers=headers)
    caches["charts"].clear()
    with CaptureQueriesContext(connection) as capture:
        answer = client.get(address, headers=headers)
    queries = len(capture)
    if answer.status_code != 200:
        raise SystemExit(f"{address} answers {answer.status_code}")
    times, processor = [], []
    for _ in range(repeats):
        caches["charts"].clear()
        began, began_cpu = time.perf_counter(), time.process_time()
        client.get(address, headers=headers)
        times.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * (time.process_time() - began_cpu))
    p50, slowest, cpu = statistics.median(times), max(times), statistics.median(processor)
    return {
        "chart": name,
        "trials": trials,
        "p50_ms": round(p50, 1),
        "max_ms": round(slowest, 1),
        "processor_ms": round(cpu, 1),
        "queries": queries,
        "bytes": len(answer.content),
    }


def _row(figure: dict[str, Any]) -> str:
    flag = "" if figure["p50_ms"] < TARGET_MS else "  above the target"
    return (
        f"  {figure['chart']:20} p50 {figure['p50_ms']:6.1f} ms  (processor {figure['processor_ms']:5.1f})  "
        f"max {figure['max_ms']:6.1f} ms  {figure['queries']:3} queries  {figure['bytes'] / 1024:6.0f} KiB{flag}"
    )


if __name__ == "__main__":
    main()
