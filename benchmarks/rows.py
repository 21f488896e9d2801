"""Experiments with many trials, written directly into the database, including counters and best values, as if the
trials had run. For benchmarks of pages, charts and filters."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.models import Experiment, Trial, User, Workspace

BATCH = 2000
STEPS = 50  # points of each trial that has a curve
WITH_CURVE = 60  # the last trials
EVENTS = 5000  # of the activity, a twentieth of them by people
PARAMETERS = {
    "learning_rate": {"_type": "loguniform", "_value": [1e-5, 1e-1]},
    "dropout": {"_type": "uniform", "_value": [0, 0.5]},
    "layers": {"_type": "randint", "_value": [1, 9]},
    "optimizer": {"_type": "choice", "_value": ["adam", "sgd", "lamb"]},
    "batch_size": {"_type": "choice", "_value": [32, 64, 128, 256]},
    "momentum": {"_type": "uniform", "_value": [0, 1]},
    "weight_decay": {"_type": "loguniform", "_value": [1e-6, 1e-2]},
    "warmup": {"_type": "randint", "_value": [0, 1000]},
}


def settle_in() -> None:
    """Run ANALYZE, which databases do by themselves from time to time, so that queries are planned well."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def seed(
    workspace: Workspace, user: User, *, trials: int, name: str, further: dict[str, str] | None = None
) -> Experiment:
    """Create a running experiment with `trials` trials of every kind. `further`: a second objective, by its name."""
    from django.utils import timezone

    from experiments.models import Experiment, Queue, Settings

    document = {
        "command": "python train.py",
        "space_document": PARAMETERS,
        "metric": "accuracy",
        "max_trials": 1_000_000,
        "concurrency": 8,
        "further_objectives": further or {},
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
    if further:
        write_front(experiment)
    experiment.refresh_from_db()
    write_events(experiment, user, min(EVENTS, trials))
    return experiment


def end_trial(experiment: Experiment) -> None:
    """End one of the running trials, and start another one with the same parameters, as a worker does."""
    from django.db.models import F
    from django.utils import timezone

    from experiments.models import Experiment, Trial

    experiment.refresh_from_db()
    now, rng = timezone.now(), random.Random(experiment.last_number)
    ended = experiment.trials.filter(state="running").order_by("number")[0]
    Trial.objects.filter(pk=ended.pk).update(
        state="succeeded",
        value=round(rng.betavariate(8, 2), 6),
        ended_at=now,
        duration_s=(now - ended.started_at).total_seconds() if ended.started_at else None,
        settled_rank=experiment.settled_count + 1,
        version=F("version") + 1,
    )
    started = made_trial(experiment, experiment.last_number + 1, ended.params, rng, is_last=True)
    started.values_digest, started.started_at = ended.values_digest, now
    started.save()
    counted = ("last_number", "proposed_count", "settled_count", "succeeded_count", "version")
    Experiment.objects.filter(pk=experiment.pk).update(**{name: F(name) + 1 for name in counted})


def write_front(experiment: Experiment) -> None:
    """Write the Pareto front of the accuracy, the higher the better, and of the second objective, the lower the better;
    there is no best trial."""
    from experiments.models import Experiment, FrontTrial

    succeeded = experiment.trials.filter(state="succeeded").order_by("-value", "number")
    [name] = experiment.further_objectives
    front: list[FrontTrial] = []
    for pk, number, value, metrics in succeeded.values_list("pk", "number", "value", "final_metrics"):
        if not front or metrics[name] < front[-1].loss_2:
            losses = {"loss_1": -value, "loss_2": metrics[name]}
            front.append(
                FrontTrial(experiment=experiment, trial_id=pk, number=number, joined_result=number, **losses)
            )
    FrontTrial.objects.bulk_create(front)
    results = list(succeeded.values_list("value", "number", "final_metrics"))
    bounds = []
    for values in (
        [(-value, number) for value, number, _ in results],
        [(each[name], number) for _, number, each in results],
    ):
        (best, number), (worst, _) = min(values), max(values)
        bounds.append([best, number, worst])
    bounds[0] = [-bounds[0][0], bounds[0][1], -bounds[0][2]]  # the higher the better
    Experiment.objects.filter(pk=experiment.pk).update(
        best_value=None, best_number=None, trace=[], front_size=len(front), objective_bounds=bounds
    )


def write_events(experiment: Experiment, user: User, count: int) -> None:
    """Write activity: failed trials, and updates by a user."""
    from experiments.models import Event

    keys = list(experiment.trials.order_by("-number").values_list("pk", flat=True)[:count])
    Event.objects.bulk_create(
        (
            Event(experiment=experiment, verb="update", by=user, after="2", why="more trials")
            if place % 20 == 0
            else Event(experiment=experiment, trial_id=key, verb="failed", before="running", after="failed")
            for place, key in enumerate(keys)
        ),
        batch_size=BATCH,
    )


def write_metrics(experiment: Experiment) -> None:
    """Write the final metric f1 of all trials that have ended."""
    from experiments.models import MetricValue

    rng = random.Random(1)
    keys = experiment.trials.exclude(settled_rank=None).values_list("pk", flat=True)
    rows = (MetricValue(trial_id=pk, experiment=experiment, name="f1", number=rng.random()) for pk in keys)
    MetricValue.objects.bulk_create(rows, batch_size=BATCH)


def write_trials(experiment: Experiment, count: int) -> tuple[dict[str, int], tuple, list]:
    """Write trials and their parameters, curves and logs of the last ones, and the experiment's counts, best values and
    trace."""
    from experiments.models import LogPiece, Point, Trial, TrialParameter
    from experiments.models.trial.parameter import digest

    rng = random.Random(count)
    settings = experiment.settings
    values = settings.space.draws(min(count, 1000), seed=1)
    counts: dict[str, int] = {}
    best: tuple[float | None, int | None] = (None, None)
    trace: list[list[float]] = []
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
) -> Trial:
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
        final_metrics={
            name: round(rng.uniform(1, 100), 3)
            for name in (experiment.further_objectives if state == "succeeded" else {})
        },
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
