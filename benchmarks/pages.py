"""The cost of pages with 10,000 and 100,000 trials: CPU time, queries, and bytes on the wire.

    python -m benchmarks.pages [--trials 10000 100000] [--pg] [--repeats 15] [--only overview trials] [--json]

The rows are written straight into the database (benchmarks.rows), 200 further experiments beside the large one, and
the database has analyzed its tables (ANALYZE). The pages come from a web server as `up` starts it, over HTTP and
compressed. Times are processor time of the web server, in milliseconds, which depends less than elapsed time on what
else the machine does:

- first: the first request of this page after the server started;
- changed: median of 7, a second apart, each after one of its trials has ended and the next one has started, so that
  charts are drawn anew;
- warm: median and highest, when nothing has changed since;
- poll: median of a live fragment's request that answers 304 (the first fragment of the page); blank without one.

Queries, and the slowest of them with fetching its rows, are counted in this process.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from benchmarks.rows import end_trial, seed, settle_in, write_metrics
from benchmarks.stage import machine, stage
from benchmarks.web_process import Answer, WebProcess, web_process

if TYPE_CHECKING:
    from django.test import Client

    from experiments.models import Dashboard, Experiment, User, Workspace

REPEATS = 15
MOST_CHANGES = 7
WITHIN_S = 1.0  # as in experiments/web/charts/shared.py
OTHERS = 200  # further experiments in the list
AUDIT_ENTRIES = 20_000
FILTER = "(learning_rate<1e-4 or optimizer=sgd) value>0.8"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--others", type=int, default=OTHERS, help="further experiments beside the large one")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", nargs="+", help="pages whose name contains one of these words")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg):
        from django.test import Client

        from experiments.models import User, Workspace

        user = User.objects.create_superuser("bench")
        workspace = Workspace.open("bench", owner=user)
        others = [
            seed(workspace, user, trials=3, name=f"experiment {number}") for number in range(options.others)
        ]
        write_audit(workspace, user)
        client = Client(HTTP_HOST="localhost")
        client.force_login(user)
        session = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        on = machine(uses_postgres=options.pg)
        for trials in options.trials:
            began = time.monotonic()
            experiment = seed(workspace, user, trials=trials, name=f"with {trials:,} trials")
            write_metrics(experiment)
            dashboard = make_dashboard(workspace, user, experiment)
            settle_in()
            if not options.json:
                print(f"{on}\n\n{trials:,} trials (written in {time.monotonic() - began:.0f} s)\n\n{HEAD}")
            pages = addresses(experiment, others[0], dashboard, trials)
            with web_process(session=session) as web:
                for name, url in pages.items():
                    if options.only and not any(word in name for word in options.only):
                        continue
                    result = measure(web, client, experiment, name, url, options.repeats)
                    line = json.dumps({"trials": trials, "machine": on, **result})
                    print(line if options.json else row(result), flush=True)


def addresses(experiment: Experiment, other: Experiment, dashboard: Dashboard, trials: int) -> dict[str, str]:
    """Return the addresses of all pages that show, list or summarize trials and experiments."""
    from django.urls import reverse

    workspace = [experiment.workspace.slug]
    ids = [*workspace, experiment.public_id]
    listed, rows = reverse("experiments", args=workspace), reverse("experiment-trials", args=ids)
    deep = min(150, -(-trials // 50))
    last = [*ids, trials - 10]
    compared = urlencode([("pick", experiment.public_id), ("pick", other.public_id)])
    several = urlencode([("trial", number) for number in range(trials - 14, trials - 9)])
    sorts = {
        "by value": "value",
        "by value, descending": "-value",
        "by a parameter": "p.learning_rate",
        "by a metric": "-m.f1",
        "by duration": "-duration",
    }
    named = {
        "dashboards": "dashboards",
        "home": "workspace",
        "leaderboard": "leaderboard",
        "usage": "usage",
        "imports": "imports",
        "audit": "audit",
        "retention": "workspace-retention",
        "wall": "wall",
        "projects": "projects",
        "models": "models",
    }
    return {
        "list of experiments": listed,
        "list, filtered": f"{listed}?{urlencode({'filter': 'periment state:running'})}",
        "overview": reverse("experiment", args=ids),
        "charts": reverse("experiment-charts", args=ids),
        "charts, filtered": f"{reverse('experiment-charts', args=ids)}?{urlencode({'filter': FILTER})}",
        "trials": rows,
        **{f"trials, {label}": f"{rows}?{urlencode({'sort': sort})}" for label, sort in sorts.items()},
        "trials, failed ones": f"{rows}?{urlencode({'filter': 'state:failed'})}",
        **{
            f"trials, failed, {label}": f"{rows}?{urlencode({'filter': 'state:failed', 'sort': sort})}"
            for label, sort in sorts.items()
        },
        "trials, filtered": f"{rows}?{urlencode({'filter': FILTER})}",
        f"trials, page {deep}": f"{rows}?page={deep}",
        "one trial": reverse("trial", args=last),
        "one trial's log": reverse("trial-log", args=last),
        "configuration": reverse("experiment-configuration", args=ids),
        "activity": reverse("experiment-activity", args=ids),
        "compare trials": f"{reverse('trials-compare', args=ids)}?{several}",
        "compare experiments": f"{reverse('experiments-compare', args=workspace)}?{compared}",
        "dashboard": reverse("dashboard", args=[*workspace, dashboard.pk]),
        **{label: reverse(name, args=workspace) for label, name in named.items()},
        "queues": reverse("queues"),
        "workers": reverse("workers"),
        "search": f"{reverse('search')}?q=experiment",
        "admin: trials": reverse("admin:experiments_trial_changelist"),
        "admin: points": reverse("admin:experiments_point_changelist"),
    }


def measure(
    web: WebProcess, client: Client, experiment: Experiment, name: str, url: str, repeats: int
) -> dict[str, Any]:
    """Return the figures of one page. Raise SystemExit unless the response is 200."""
    from benchmarks.query_times import query_times

    first = web.get(url)
    response = client.get(url)
    if first.status != 200 or response.status_code != 200:
        log = web.log.read_text()[-3000:]
        raise SystemExit(f"{name}: {url} answers {first.status}\n{log}")
    with query_times() as queries:
        client.get(url)
    changed = [answer.cpu_ms for answer in after_changes(web, experiment, url, repeats)]
    warm = [web.get(url).cpu_ms for _ in range(repeats)]
    polls = [answer.cpu_ms for answer in idle_polls(web, url, response.content.decode(), repeats)]
    return {
        "page": name,
        "queries": len(queries),
        "slowest_query_ms": round(max((query.ms for query in queries), default=0.0), 1),
        "first_ms": round(first.cpu_ms, 1),
        "changed_ms": round(statistics.median(changed), 1),
        "warm_ms": round(statistics.median(warm), 1),
        "highest_ms": round(max(warm), 1),
        "poll_ms": round(statistics.median(polls), 1) if polls else None,
        "html_bytes": len(response.content),
        "sent_bytes": first.size,
        "encoding": first.encoding,
    }


def after_changes(web: WebProcess, experiment: Experiment, url: str, repeats: int) -> Iterator[Answer]:
    for _ in range(min(repeats, MOST_CHANGES)):
        time.sleep(WITHIN_S)  # else charts would not be drawn for each change
        end_trial(experiment)
        yield web.get(url)


def idle_polls(web: WebProcess, url: str, html: str, repeats: int) -> Iterator[Answer]:
    """Poll the page's first live fragment like a browser that already has it."""
    fragment = re.search(r'<\w+[^>]*\bid="([\w-]+)"[^>]*\bdata-live=', html)
    if fragment is None:
        return
    headers = {"HX_Request": "true", "HX_Target": fragment[1]}
    tag = web.get(url, **headers).tag
    for _ in range(repeats):
        answer = web.get(url, **headers, If_None_Match=tag)
        if answer.status == 304:
            yield answer
        tag = answer.tag


HEAD = (
    f"{'page':38}{'queries':>8}{'slowest':>9}{'first':>8}{'changed':>9}{'warm':>8}{'highest':>9}{'poll':>7}"
    f"{'HTML':>10}{'sent':>10}"
)


def row(result: dict[str, Any]) -> str:
    poll = "" if result["poll_ms"] is None else f"{result['poll_ms']:.1f}"
    return (
        f"{result['page']:38}{result['queries']:8}{result['slowest_query_ms']:9.1f}{result['first_ms']:8.1f}"
        f"{result['changed_ms']:9.1f}{result['warm_ms']:8.1f}{result['highest_ms']:9.1f}{poll:>7}"
        f"{result['html_bytes'] / 1000:7.1f} kB{result['sent_bytes'] / 1000:7.1f} kB"
    )


def write_audit(workspace: Workspace, user: User) -> None:
    from experiments.models import AuditEntry

    AuditEntry.objects.bulk_create(
        (
            AuditEntry(
                workspace=workspace, kind="experiment", verb="experiment.update", by=user, who=user.username
            )
            for _ in range(AUDIT_ENTRIES)
        ),
        batch_size=2000,
    )


def make_dashboard(workspace: Workspace, user: User, experiment: Experiment) -> Dashboard:
    """Return a dashboard with charts of the large experiment, a leaderboard and a number."""
    from experiments.models import Dashboard

    dashboard = Dashboard.create(workspace, by=user, name=f"of {experiment.name}", is_shared=True)
    for chart in ("history", "parallel", "importance"):
        dashboard.add("chart", experiment=experiment, chart=chart)
    dashboard.add("leaderboard", metric="accuracy", direction="maximize", tag="", by_mean=False)
    dashboard.add("number", figure="running")
    return dashboard


if __name__ == "__main__":
    main()
