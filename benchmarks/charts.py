"""How long each chart of an experiment takes with 1,000, 10,000 and 100,000 trials.

    python -m benchmarks.charts [--trials 1000 10000 100000] [--pg] [--json FILE]

The rows are those of benchmarks.rows, written straight into the database. Each chart is requested as the Charts tab
polls it: one panel, through Django's test client with middleware, queries, drawing and template, but no network. The
cache of drawn charts is emptied before each request. One request to warm up, then 15. Beside the p50 is the processor
time of this process, which depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
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
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg):
        from django.test import Client

        from experiments.models import Importance, User, Workspace

        print(machine(uses_postgres=options.pg))
        user = User.objects.create_superuser("bench")
        workspace = Workspace.open("bench", owner=user)
        client = Client(HTTP_HOST="localhost")
        client.force_login(user)
        figures = []
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
            print(f"\n{trials:,} trials", flush=True)
            figures += [
                measure(client, name, address, trials, options.repeats)
                for name, address in addresses(experiment).items()
            ]
        if options.json:
            document = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": machine(uses_postgres=options.pg),
                "repeats": options.repeats,
                "figures": figures,
            }
            options.json.write_text(json.dumps(document, indent=2) + "\n")


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
    """Return and print the times of one panel."""
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
    flag = "" if p50 < TARGET_MS else "  above the target"
    print(
        f"  {name:20} p50 {p50:6.1f} ms  (processor {cpu:5.1f})  max {slowest:6.1f} ms  {queries:3} queries  "
        f"{len(answer.content) / 1024:6.0f} KiB{flag}",
        flush=True,
    )
    return {
        "chart": name,
        "trials": trials,
        "p50_ms": round(p50, 1),
        "max_ms": round(slowest, 1),
        "processor_ms": round(cpu, 1),
        "queries": queries,
        "bytes": len(answer.content),
    }


if __name__ == "__main__":
    main()
