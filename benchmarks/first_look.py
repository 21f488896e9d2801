"""What a new process of control needs to see an experiment with many finished trials for the first time.

`python -m benchmarks.proposals --first-look 1000 10000 100000 [--pg] [--json]` writes the trials into a database of its
own, and starts a new process for each measurement, which runs `look`.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.models import Experiment

BATCH = 2000
POINTS = 5  # of each trial, for early stopping
REPEATS = 3  # processes, of which the one that needed the least processor time counts


def seed(space_document: dict, trials: int) -> Experiment:
    """Create a running experiment with finished trials that TPE proposed, each with other values and a few points."""
    from experiments.models import Experiment, Point, Queue, Settings, Trial, User, Workspace

    user = User.objects.filter(username="bench").first() or User.objects.create_superuser("bench")
    workspace = Workspace.objects.filter(name="bench").first() or Workspace.open("bench", owner=user)
    document = {
        "command": "python train.py",
        "space_document": space_document,
        "metric": "accuracy",
        "max_trials": 1_000_000,
        "early_stopping": "Medianstop",
    }
    experiment = Experiment.draft(
        workspace, by=user, name=f"{trials:,} trials", settings=Settings.checked(document)
    )
    experiment.enqueue(by=user, queue=Queue.default())
    rng = random.Random(1)
    drawn = experiment.settings.space.draws(trials, seed=1)
    for first in range(0, trials, BATCH):
        rows = []
        for number, params in enumerate(drawn[first : first + BATCH], start=first + 1):
            state = rng.choices(("succeeded", "failed", "early_stopped"), (85, 8, 7))[0]
            rows.append(
                Trial(
                    experiment=experiment,
                    revision=experiment.revision,
                    number=number,
                    ordinal=number,
                    params=params,
                    raw=params,
                    values_digest=str(number),
                    state=state,
                    failure="exit_code" if state == "failed" else "",
                    value=None if state == "failed" else rng.random(),
                    settled_rank=number,
                )
            )
        Trial.objects.bulk_create(rows)
        Point.keep_rows(
            (trial.pk, "accuracy", step, rng.random(), "", None) for trial in rows for step in range(POINTS)
        )
    Experiment.objects.filter(pk=experiment.pk).update(
        state="running",
        proposed_count=trials,
        last_number=trials,
        last_ordinal=trials,
        settled_count=trials,
    )
    return experiment


def measure(experiment: Experiment, algorithm: str) -> dict[str, Any]:
    """Return the figures of the process that needed the least processor time."""
    code = "from benchmarks.first_look import look; look(int(sys.argv[1]), sys.argv[2])"
    command = [sys.executable, "-c", f"import sys; {code}", str(experiment.pk), algorithm]
    looks = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(REPEATS)
    ]
    best: dict[str, Any] = min(looks, key=lambda look: look["read_cpu_ms"] + look["first_cpu_ms"])
    return best


def look(pk: int, algorithm: str) -> None:
    """Look at the experiment for the first time, and print the figures: milliseconds of processor time, MiB."""
    import django

    django.setup()
    from console.garbage_collection import exempt_loaded_code
    from experiments.models import Experiment
    from experiments.scheduler.early_stopping import Peers
    from experiments.scheduler.experiment_cache import cache_of
    from experiments.scheduler.past_trials import past_trials
    from experiments.search.engine import Problem, needs_past, propose

    experiment = Experiment.objects.get(pk=pk)
    settings = experiment.settings
    problem = Problem(settings.searched, algorithm, {}, settings.seed, settings.direction)
    from benchmarks.proposals import past_of

    propose(problem, past_of(problem.space, 30), [31])  # imports Optuna
    exempt_loaded_code()
    before = _memory()

    def milliseconds(step: Any) -> tuple[float, Any]:
        began = time.process_time()
        made = step()
        return round(1000 * (time.process_time() - began), 1), made

    read_ms, past = milliseconds(lambda: past_trials(experiment) if needs_past(problem) else [])
    last = experiment.last_ordinal
    first_ms, _ = milliseconds(lambda: propose(problem, past, [last + 1], cache_key="k"))
    next_ms, _ = milliseconds(lambda: propose(problem, past, [last + 2], cache_key="k"))
    peak, kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, _memory()
    peers_ms, _ = milliseconds(lambda: Peers(experiment, cache_of(experiment).early_stopping).succeeded)
    figures = {
        "algorithm": algorithm,
        "trials": experiment.last_number,
        "read_cpu_ms": read_ms,
        "first_cpu_ms": first_ms,
        "next_cpu_ms": next_ms,
        "kept_mib": round(kept - before),
        "peak_mib": round(peak),
        "early_stopping_cpu_ms": peers_ms,
    }
    print(json.dumps(figures))


def _memory() -> float:
    """Return the resident memory of this process without the pages of files, in MiB."""
    with Path("/proc/self/status").open() as status:
        kib = next(text.split()[1] for text in status if text.startswith("RssAnon"))
    return int(kib) / 1024
