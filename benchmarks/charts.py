"""The time of each chart of an experiment with 1,000, 10,000 and 100,000 trials.

    python -m benchmarks.charts [--trials 1000 10000 100000] [--pg] [--repeats 15] [--only history] [--json]

The rows are those of benchmarks.rows, written straight into the database. Each chart is requested as the Charts tab
polls it, one panel, from a web server as `up` starts it, over HTTP and compressed; the front and the history of its
trials, from a second experiment with two objectives; the curves of five trials, as the page that compares them.
Times are medians, in milliseconds:

- cold: after a change of the experiment, so that the chart is drawn again; elapsed time, and the web server's
  processor time, which depends less on other load on the machine;
- warm: processor time when nothing has changed since;
- loop: processor time of a loop in this process before each cold request. Compare it with the same loop on the idle
  machine to see how much slower the machine was during the measurement.

Queries, and the slowest of them with fetching its rows, are counted in this process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.query_times import query_times
from benchmarks.rows import seed, settle_in
from benchmarks.stage import machine, stage
from benchmarks.web_process import WebProcess, web_process

if TYPE_CHECKING:
    from django.test import Client

    from experiments.models import Experiment

REPEATS = 15
SIZES = (1_000, 10_000, 100_000)
TARGET_MS = 100.0
LOOP = 200_000  # steps
POLL = {"HX-Request": "true", "HX-Target": "panels"}
SHARES = {"learning_rate": 0.6, "dropout": 0.2, "layers": 0.15, "optimizer": 0.05}
FILTERED = "value>0.8 state:succeeded"
COMPARED = 5  # trials


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", nargs="+", help="charts whose name contains one of these words")
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
        session = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        for trials in options.trials:
            experiment = seed(workspace, user, trials=trials, name=f"with {trials:,} trials")
            Importance.objects.create(
                experiment=experiment,
                epoch=experiment.epoch,
                succeeded_count=experiment.succeeded_count,
                trial_count=200,
                shares=SHARES,
            )
            named = f"two objectives, {trials:,} trials"
            several = seed(workspace, user, trials=trials, name=named, further={"latency_ms": "minimize"})
            settle_in()
            if not options.json:
                print(f"\n{trials:,} trials", flush=True)
            with web_process(session=session) as web:
                for name, (measured, address) in addresses(experiment, several).items():
                    if options.only and not any(word in name for word in options.only):
                        continue
                    figure = measure(web, client, measured, name, address, options.repeats)
                    if options.json:
                        at = datetime.now(UTC).isoformat(timespec="seconds")
                        database = "postgresql" if options.pg else "sqlite"
                        figure |= {"trials": trials, "database": database, "machine": about, "at": at}
                    print(json.dumps(figure) if options.json else _row(figure), flush=True)


def addresses(experiment: Experiment, several: Experiment) -> dict[str, tuple[Experiment, str]]:
    """Return the experiment and the address of each chart. `several` has two objectives."""
    from urllib.parse import urlencode

    from django.urls import reverse

    from experiments.web.charts.panels import PANELS

    ids = [experiment.workspace.slug, experiment.public_id]
    charts = {key: reverse("experiment-chart", args=[*ids, key]) for key in PANELS}
    of_one = {
        **charts,
        "correlation": f"{charts['importance']}?importance=correlation",
        "history, filtered": f"{charts['history']}?{urlencode({'filter': FILTERED})}",
        "parallel, filtered": f"{charts['parallel']}?{urlencode({'filter': FILTERED})}",
        "compared curves": f"{reverse('trials-compare', args=ids)}?{urlencode(_compared(experiment))}",
    }
    ids_of_several = [several.workspace.slug, several.public_id]
    of_several = {
        "pareto": reverse("experiment-chart", args=[*ids_of_several, "pareto"]),
        "history, two objectives": reverse("experiment-chart", args=[*ids_of_several, "history"]),
    }
    return {
        **{name: (experiment, address) for name, address in of_one.items()},
        **{name: (several, address) for name, address in of_several.items()},
    }


def _compared(experiment: Experiment) -> list[tuple[str, int]]:
    """Return the query of a comparison of trials with curves: the last ones but those that still run."""
    last = experiment.last_number
    return [("trial", number) for number in range(last - 4 - COMPARED, last - 4)]


def measure(
    web: WebProcess, client: Client, experiment: Experiment, name: str, address: str, repeats: int
) -> dict[str, Any]:
    """Return the times of one panel. Raise SystemExit unless the response is 200."""
    from django.db.models import F

    from experiments.models import Experiment

    headers = {name.replace("-", "_"): value for name, value in POLL.items()}
    client.get(address, headers=POLL)
    Experiment.objects.filter(pk=experiment.pk).update(version=F("version") + 1)
    with query_times() as queries:
        answer = client.get(address, headers=POLL)
    first = web.get(address, **headers)
    if answer.status_code != 200 or first.status != 200:
        raise SystemExit(f"{address} answers {first.status}\n{web.log.read_text()[-3000:]}")
    cold, loops = [], []
    for _ in range(repeats):
        Experiment.objects.filter(pk=experiment.pk).update(version=F("version") + 1)
        loops.append(_loop_ms())
        cold.append(web.get(address, **headers))
    warm = [web.get(address, **headers).cpu_ms for _ in range(repeats)]
    return {
        "chart": name,
        "cold_ms": round(statistics.median(each.elapsed_ms for each in cold), 1),
        "cold_cpu_ms": round(statistics.median(each.cpu_ms for each in cold), 1),
        "highest_cpu_ms": round(max(each.cpu_ms for each in cold), 1),
        "warm_cpu_ms": round(statistics.median(warm), 1),
        "loop_ms": round(statistics.median(loops), 1),
        "queries": len(queries),
        "slowest_query_ms": round(max(query.ms for query in queries), 1),
        "bytes": len(answer.content),
        "sent": first.size,
    }


def _loop_ms() -> float:
    began, total = time.process_time(), 0
    for number in range(LOOP):
        total += number * number % 7
    return 1000 * (time.process_time() - began)


def _row(figure: dict[str, Any]) -> str:
    flag = "" if figure["cold_ms"] < TARGET_MS else "  above the target"
    return (
        f"  {figure['chart']:20} cold {figure['cold_ms']:6.1f} ms  (processor {figure['cold_cpu_ms']:6.1f}, "
        f"highest {figure['highest_cpu_ms']:6.1f})  warm {figure['warm_cpu_ms']:5.1f}  loop {figure['loop_ms']:5.1f}  "
        f"{figure['queries']:3} queries, {figure['slowest_query_ms']:6.1f} ms  "
        f"{figure['bytes'] / 1024:5.0f} KiB, sent {figure['sent'] / 1024:4.0f}{flag}"
    )


if __name__ == "__main__":
    main()
