"""How long pages take, and how many queries they ask, with 10,000 and 100,000 trials.

    python -m benchmarks.pages [--trials 10000 100000] [--pg]

The rows are written straight into the database, counters and best values included, as if the trials had run.
Each page is asked for once to warm up, then 15 times; the time is the whole request through Django's test
client: middleware, queries, template, no network.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from benchmarks.stage import machine, stage

if TYPE_CHECKING:
    from django.test import Client

    from experiments.models import Experiment, User, Workspace

REPEATS = 15
BATCH = 2000
STEPS = 50  # points of each trial that has a curve
WITH_CURVE = 60  # the last trials
OTHERS = 200  # further experiments in the list
PARAMETERS = {
    "learning_rate": {"_type": "loguniform", "_value": [1e-5, 1e-1]},
    "dropout": {"_type": "uniform", "_value": [0, 0.5]},
    "layers": {"_type": "randint", "_value": [1, 9]},
    "optimizer": {"_type": "choice", "_value": ["adam", "sgd", "lamb"]},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg):
        from django.test import Client

        from experiments.models import User, Workspace

        print(machine(uses_postgres=options.pg))
        user = User.objects.create_superuser("bench")
        workspace = Workspace.open("bench", owner=user)
        client = Client(HTTP_HOST="localhost")
        client.force_login(user)
        for number in range(OTHERS):
            seed(workspace, user, trials=3, name=f"experiment {number}")
        for trials in options.trials:
            began = time.monotonic()
            experiment = seed(workspace, user, trials=trials, name=f"with {trials:,} trials")
            settle_in()
            print(f"\n{trials:,} trials (written in {time.monotonic() - began:.0f} s)", flush=True)
            for name, address in addresses(experiment, trials).items():
                measure(client, name, address)


def addresses(experiment: Experiment, trials: int) -> dict[str, str]:
    from django.urls import reverse

    workspace = experiment.workspace.slug
    listed = reverse("experiments", args=[workspace])
    rows = reverse("experiment-trials", args=[workspace, experiment.public_id])
    last = [workspace, experiment.public_id, trials - 10]
    return {
        "list of experiments": listed,
        "list, searched": f"{listed}?q=periment+1",
        "overview": reverse("experiment", args=[workspace, experiment.public_id]),
        "trials": rows,
        "trials, failed ones": f"{rows}?state=failed",
        "trials, by value": f"{rows}?sort=value",
        "trials, by a parameter": f"{rows}?sort=p.learning_rate",
        "trials, far down": f"{rows}?page=150",
        "trial": reverse("trial", args=last),
        "trial's log": reverse("trial-log", args=last),
        "admin: trials": reverse("admin:experiments_trial_changelist"),
        "admin: points": reverse("admin:experiments_point_changelist"),
    }


def measure(client: Client, name: str, address: str) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    answer = client.get(address)
    with CaptureQueriesContext(connection) as capture:
        client.get(address)
    queries = list(capture)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        client.get(address)
        times.append(1000 * (time.perf_counter() - began))
    slowest = max((float(query["time"]) for query in queries), default=0)
    print(
        f"  {name:24} {answer.status_code}  median {statistics.median(times):6.1f} ms  max {max(times):6.1f} ms  "
        f"{len(queries):3} queries (slowest {1000 * slowest:.0f} ms)  {len(answer.content) / 1024:6.0f} KiB",
        flush=True,
    )


def settle_in() -> None:
    """What a database does by itself once in a while: it looks at its tables, so that it plans well."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def seed(workspace: Workspace, user: User, *, trials: int, name: str) -> Experiment:
    """An experiment that runs, with `trials` trials of every kind."""
    from django.utils import timezone

    from experiments.models import Experiment, Queue, Settings

    document = {
        "command": "python train.py",
        "space_document": PARAMETERS,
        "metric": "accuracy",
        "max_trials": 1_000_000,
        "concurrency": 8,
    }
    experiment = Experiment.draft(workspace, by=user, name=name, settings=Settings.checked(document))
    experiment.enqueue(by=user, queue=Queue.default())
    counts, best, trace = write_trials(experiment, trials)
    Experiment.objects.filter(pk=experiment.pk).update(
        state="running",
        started_at=timezone.now() - timedelta(hours=3),
        ticking_since=timezone.now() - timedelta(hours=3),
        proposed_count=trials,
        last_number=trials,
        settled_count=trials,
        best_value=best[0],
        best_number=best[1],
        trace=trace[-200:],
        **{f"{state}_count": count for state, count in counts.items()},
    )
    experiment.refresh_from_db()
    return experiment


def write_trials(experiment: Experiment, count: int) -> tuple[dict[str, int], tuple, list]:
    """Rows of trials and their parameters; curves and logs for the last ones. Counts, best and trace."""
    from experiments.models import LogPiece, Point, Trial, TrialParameter
    from experiments.models.trial.parameter import digest

    rng = random.Random(count)
    settings = experiment.settings
    values = settings.space.draws(min(count, 1000), seed=1)
    counts: dict[str, int] = {}
    best, trace = (None, None), []
    for first in range(1, count + 1, BATCH):
        batch = []
        for number in range(first, min(first + BATCH, count + 1)):
            trial = made_trial(
                experiment, number, values[number % len(values)], rng, is_last=number > count - 4
            )
            trial.values_digest = digest(trial.params, settings.command)
            counts[trial.state] = counts.get(trial.state, 0) + 1
            if trial.value is not None and (best[0] is None or trial.value > best[0]):
                best = (trial.value, number)
                trace.append([number, trial.value])
            batch.append(trial)
        Trial.objects.bulk_create(batch)
        TrialParameter.objects.bulk_create(
            (TrialParameter.of(trial, *pair) for trial in batch for pair in trial.params.items()),
            batch_size=BATCH,
        )
        for trial in batch:
            if trial.number > count - WITH_CURVE:
                curve = (
                    Point(trial=trial, name=name, step=step, value=1 - 1 / (step + 2 + rng.random()))
                    for name in ("accuracy", "loss")
                    for step in range(STEPS)
                )
                Point.objects.bulk_create(curve)
                text = b"".join(b"epoch %d of 50: accuracy 0.%d\n" % (n, n) for n in range(2000))
                LogPiece.objects.create(trial=trial, offset=0, size=len(text), data=text)
    return counts, best, trace


def made_trial(
    experiment: Experiment, number: int, params: dict, rng: random.Random, *, is_last: bool
) -> object:
    from django.utils import timezone

    from experiments.models import Trial

    state = "running" if is_last else rng.choices(("succeeded", "failed", "early_stopped"), (85, 8, 7))[0]
    seconds = rng.uniform(30, 600)
    began = timezone.now() - timedelta(hours=3) + timedelta(milliseconds=100 * number)
    ended = {} if is_last else {"ended_at": began + timedelta(seconds=seconds), "duration_s": seconds}
    failed = {"failure": "exit_code", "detail": "ValueError: no such layer", "exit_code": 1}
    return Trial(
        experiment=experiment,
        revision=experiment.revision,
        number=number,
        ordinal=number,
        params=params,
        raw=params,
        state=state,
        value=None if state in ("failed", "running") else round(rng.betavariate(8, 2), 6),
        started_at=began,
        settled_rank=None if is_last else number,
        log_bytes=60_000,
        last_value=0.5,
        last_step=STEPS - 1,
        peak_memory=200_000_000,
        cpu_s=seconds,
        **ended,
        **(failed if state == "failed" else {}),
    )


if __name__ == "__main__":
    main()
