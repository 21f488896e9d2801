"""Write a staged study as an experiment, in short transactions, so that others can write meanwhile.

Each transaction stores some trials with what belongs to them, and their number in the row of the import: after an
interruption the next writer deletes what is beyond that number and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from experiments import database_clock
from experiments.models import (
    Comment,
    Event,
    Experiment,
    ExperimentState,
    Failure,
    FrontTrial,
    HistoryImport,
    ImportState,
    MetricValue,
    Point,
    Revision,
    Trial,
    TrialParameter,
    TrialState,
    status,
)
from experiments.models.experiment.base import MIRRORED_FIELDS
from experiments.models.experiment.proposals import TRACE_LENGTH
from experiments.models.fields import fold
from experiments.models.plain_sql import insert_all, insert_rows
from experiments.models.trial.metric import MAX_POINTS
from experiments.models.trial.metric_value import MOST as MOST_METRICS
from experiments.models.trial.parameter import digest
from experiments.search.imports import FORMATS, ReadError, Staging
from experiments.search.imports.staging import Point as LastPoint
from experiments.search.imports.staging import StagedTrial
from experiments.search.nested_choice import flat
from experiments.search.space import MAX_COLUMN

from .choices import settings_of
from .export import COLUMNS, INSTANTS
from .revisions import revisions_of

ROWS_AT_ONCE = 1_000  # in one transaction, approximately: others wait for SQLite's lock meanwhile
TRIALS_AT_ONCE = 50  # of which the Pareto front is computed
TRIAL_ROWS = 4  # one trial takes as long as so many other rows
ENDED = {
    ExperimentState.PENDING: ExperimentState.STOPPED,
    ExperimentState.RUNNING: ExperimentState.STOPPED,
    ExperimentState.PAUSED: ExperimentState.STOPPED,
    ExperimentState.STOPPING: ExperimentState.STOPPED,
}


class Writer:
    """Writes one import. `pause` is called between two transactions; it may raise to end the work."""

    def __init__(self, row: HistoryImport, staging: Staging, *, pause: Callable[[], None]) -> None:
        self.row, self.staging, self.pause = row, staging, pause
        self.choices = row.choices
        self.study = next((study for study in staging.studies() if study.id == self.choices["study"]), None)
        if self.study is None:
            raise ReadError("The file no longer has the selected study.")
        self._last: tuple[int, dict[str, LastPoint]] = (-1, {})
        self.origin: dict[str, Any] = self.study.document.get("experiment", {})

    def write(self) -> Experiment:
        """Write everything but logs and artifacts. The experiment stays hidden until `publish`. Raise ReadError,
        `Invalid` or `Overtaken`."""
        experiment = self.row.experiment or self._create()
        experiment = Experiment.everything.select_related("revision").get(pk=experiment.pk)
        self._delete_beyond(experiment)
        revisions = {revision.number: revision for revision in experiment.revisions.all()}
        for batch in self._batches():
            with transaction.atomic():
                self.row.hold(done=batch[-1][0].number if batch[-1][2] else self.row.done)
                self._store(experiment, revisions, batch)
            self.pause()
        return experiment

    # --- the experiment ----------------------------------------------------------------------------------

    def _create(self) -> Experiment:
        with transaction.atomic():
            self.row.hold()
            project = self.row.project
            if project is None:
                project = self.row.workspace.projects.get(name="Default")
            project.hold()
            revisions = self._revisions()
            settings = revisions[-1].settings
            origin = self.origin
            experiment = Experiment(
                workspace=self.row.workspace,
                project=project,
                creator=self.row.by,
                name=self.choices["name"],
                folded_name=fold(self.choices["name"])[:600],
                description=origin.get("description", ""),
                tags=_tags(origin.get("tags", [])),
                properties=origin.get("properties", {}),
                visibility=origin.get("visibility", "workspace"),
                imported_from=self.row.format,
                is_importing=True,
                trashed_at=database_clock.now(),
                **{name: getattr(settings, name) for name in MIRRORED_FIELDS},
            )
            experiment.save(force_insert=True)
            for revision in revisions:
                revision.experiment_id = experiment.pk
                revision.save(force_insert=True)
            Experiment.everything.filter(pk=experiment.pk).update(revision=revisions[-1])
            self.row.hold(experiment=experiment)
        return experiment

    def _revisions(self) -> list[Revision]:
        if self.study is None or "revisions" not in self.study.document:
            settings = settings_of(self.choices, trials=self.row.total)
            return [Revision(number=1, document=settings.document(), by=self.row.by)]
        return revisions_of(self.study.document["revisions"])

    # --- trials ------------------------------------------------------------------------------------------

    def _delete_beyond(self, experiment: Experiment) -> None:
        """Delete the trial that was being written when the last writer ended."""
        beyond = Trial.everything.filter(experiment=experiment, number__gt=self.row.done)
        while keys := list(beyond.order_by("number").values_list("pk", flat=True)[:50]):
            with transaction.atomic():
                self.row.hold()
                Trial.everything.filter(pk__in=keys).delete()
            self.pause()

    def _batches(self) -> Iterator[list[tuple[StagedTrial, list[tuple], bool]]]:
        """Yield (trial, some of its points, whether they are the last ones), about `ROWS_AT_ONCE` rows at a time."""
        assert self.study is not None
        batch: list[tuple[StagedTrial, list[tuple], bool]] = []
        rows = 0
        for trial in self.staging.trials(self.study.id, after=self.row.done):
            points: list[tuple] = []
            for point in self._points(trial):
                points.append(point)
                if len(points) == ROWS_AT_ONCE:
                    yield [*batch, (trial, points, False)]
                    batch, points, rows = [], [], 0
            batch.append((trial, points, True))
            rows += TRIAL_ROWS + len(points) + len(trial.params) + len(trial.metrics)
            if rows >= ROWS_AT_ONCE:
                yield batch
                batch, rows = [], 0
        if batch:
            yield batch

    def _points(self, trial: StagedTrial) -> Iterator[tuple]:
        """Yield the points of a trial, of each metric the first `MAX_POINTS`."""
        current, count = None, 0
        for point in self.staging.points(trial.id):
            current, count = (point[0], 1) if point[0] != current else (current, count + 1)
            if count <= MAX_POINTS:
                yield point

    def _store(
        self,
        experiment: Experiment,
        revisions: dict[int, Revision],
        batch: list[tuple[StagedTrial, list[tuple], bool]],
    ) -> None:
        present = _keys_of(experiment, {staged.number for staged, _, _ in batch})
        new = {
            staged.number: (staged, self._trial(experiment, revisions, staged))
            for staged, _, _ in batch
            if staged.number not in present
        }
        keys = present | self._create_trials(experiment, new)
        parameters: list[tuple] = []
        values: list[tuple] = []
        comments: list[Comment] = []
        for staged, trial in new.values():
            key = keys[staged.number]
            parameters += [
                (key, experiment.pk, name, *TrialParameter.columns_of(value))
                for name, value in flat(trial.params).items()
                if len(name) <= MAX_COLUMN
            ]
            values += self._metric_values(staged, experiment, key)
            comments += [
                Comment(
                    trial_id=key,
                    author=comment["by"] or "unknown",
                    at=datetime.fromisoformat(comment["at"]),
                    text=comment["text"],
                )
                for comment in staged.extra.get("comments", ())
            ]
        insert_rows(TrialParameter, ("trial_id", "experiment_id", "name", "number", "text"), parameters)
        insert_rows(MetricValue, ("trial_id", "experiment_id", "name", "number", "is_final"), values)
        Comment.objects.bulk_create(comments, batch_size=100)
        Point.keep_rows((keys[staged.number], *point) for staged, points, _ in batch for point in points)

    def _create_trials(
        self, experiment: Experiment, new: dict[int, tuple[StagedTrial, Trial]]
    ) -> dict[int, int]:
        """Create the trials, each after the trial that it reruns, which has a lower number. Return their keys by
        number."""
        sources = {staged.extra["rerun_of"] for staged, _ in new.values() if staged.extra.get("rerun_of")}
        present = _keys_of(experiment, sources)
        pending: list[Trial] = []
        for staged, trial in new.values():
            source = staged.extra.get("rerun_of")
            if source is not None and source not in present:  # it is among those that are pending
                present |= _inserted(experiment, pending)
                pending = []
            if source is not None:
                trial.rerun_of_id = present[source]
            pending.append(trial)
        return present | _inserted(experiment, pending)

    def _trial(self, experiment: Experiment, revisions: dict[int, Revision], staged: StagedTrial) -> Trial:
        if staged.extra:
            return self._own_trial(experiment, revisions, staged)
        revision = revisions[1]
        names = self.choices["names"]
        params = {names[name]: value for name, value in staged.params.items() if name in names}
        state, value, failure, detail = self._outcome(staged)
        started, ended = _instant(staged.started), _instant(staged.ended)
        last = self._last_points(staged).get(self.choices["metric"])
        fits = revision.settings.space.to_raw(params)
        return Trial(
            experiment=experiment,
            revision=revision,
            number=staged.number,
            ordinal=staged.number,
            params=params,
            raw=fits,
            values_digest=digest(params, revision.settings.run_command),
            state=state,
            value=value,
            failure=failure,
            detail=detail,
            final_metrics=self._finals(staged),
            last_value=last[2] if last else None,
            last_step=last[1] if last else None,
            created_at=started or ended or self.row.created_at,
            started_at=started,
            ended_at=ended,
            duration_s=(staged.ended - staged.started)
            if staged.ended is not None and staged.started is not None and staged.ended >= staged.started
            else None,
            settled_rank=staged.number,
        )

    def _own_trial(
        self, experiment: Experiment, revisions: dict[int, Revision], staged: StagedTrial
    ) -> Trial:
        document = staged.extra
        revision = revisions[document["revision"]]
        columns = {name: document[name] for name in COLUMNS}
        columns |= {name: document[name] and datetime.fromisoformat(document[name]) for name in INSTANTS}
        return Trial(
            experiment=experiment,
            revision=revision,
            values_digest=digest(document["params"], revision.settings.run_command),
            comment_count=len(document["comments"]),
            **columns,
        )

    def _outcome(self, staged: StagedTrial) -> tuple[str, float | None, str, str]:
        """Return (state, value, failure, detail) by our rules: a trial without a finite result did not succeed."""
        metric = self.choices["metric"]
        reported = staged.metrics.get(metric)
        last = self._last_points(staged).get(metric)
        if reported is None and staged.state != TrialState.FAILED and last:
            reported = last[3] if last[2] is None else last[2]
        value = reported if isinstance(reported, float | int) and math.isfinite(reported) else None
        if staged.state == TrialState.SUCCEEDED and value is None:
            if reported is None:
                return TrialState.FAILED, None, Failure.NO_METRIC, f"No value of {metric}"[:300]
            return TrialState.FAILED, None, Failure.BAD_METRIC, f"Invalid metric: {metric} = {reported}"[:300]
        if staged.state == TrialState.FAILED:
            return TrialState.FAILED, None, "", staged.detail or f"Failed in {FORMATS[self.row.format]}"
        return staged.state, value, "", staged.detail

    def _last_points(self, staged: StagedTrial) -> dict[str, LastPoint]:
        if self._last[0] != staged.id:
            self._last = staged.id, self.staging.last_points(staged.id)
        return self._last[1]

    def _finals(self, staged: StagedTrial) -> dict[str, float | str]:
        further_metrics = {
            name: value for name, value in staged.metrics.items() if name != self.choices["metric"]
        }
        return dict(list(further_metrics.items())[:MOST_METRICS])

    def _metric_values(self, staged: StagedTrial, experiment: Experiment, key: int) -> list[tuple]:
        """Return the rows of a trial: trial, experiment, name, number, whether it is part of the final result."""
        if staged.extra:
            rows = staged.extra["metric_values"]
        else:
            last = {name: point[2] for name, point in self._last_points(staged).items()}
            finals = {
                name: value if isinstance(value, int | float) else None
                for name, value in staged.metrics.items()
            }
            named = {name: value for name, value in (last | finals).items() if name != self.choices["metric"]}
            rows = [[name, value, name in finals] for name, value in named.items()][:MOST_METRICS]
        return [
            (key, experiment.pk, name, None if number is None else float(number), is_final)
            for name, number, is_final in rows
        ]

    # --- the end -----------------------------------------------------------------------------------------

    def publish(self, experiment: Experiment) -> None:
        """Compute what the row of the experiment keeps of its trials, and show it, in one transaction."""
        columns = self._summary(experiment)
        if experiment.is_multi_objective:
            self._learn_front(experiment)
            columns |= {
                "best_value": None,
                "best_number": None,
                "trace": [],
                "front_size": experiment.front_size,
                "objective_bounds": experiment.objective_bounds,
            }
        with transaction.atomic():
            self.row.hold(state=ImportState.IMPORTED, done=self.row.total, choices=self._kept_choices())
            Experiment.everything.filter(pk=experiment.pk, is_importing=True).update(
                **columns, is_importing=False, trashed_at=None, updated_at=database_clock.now()
            )
            experiment.refresh_from_db()
            Event.note(
                "import",
                experiment,
                by=self.row.by,
                after=experiment.state,
                why=f"{FORMATS[self.row.format]}: {self.row.file_name}",
            )
            self.row.pieces.all().delete()

    def _learn_front(self, experiment: Experiment) -> None:
        """Recompute the Pareto front, in the order in which the trials ended."""
        FrontTrial.objects.filter(experiment=experiment).delete()
        experiment.front_size, experiment.objective_bounds, experiment.succeeded_count = 0, [], 0
        trials = Trial.objects.filter(experiment=experiment, state=TrialState.SUCCEEDED)
        keys = list(trials.order_by("settled_rank", "number").values_list("pk", flat=True))
        for start in range(0, len(keys), TRIALS_AT_ONCE):
            some = Trial.objects.in_bulk(keys[start : start + TRIALS_AT_ONCE])
            with transaction.atomic():
                self.row.hold()
                for key in keys[start : start + TRIALS_AT_ONCE]:
                    trial = some[key]
                    trial.experiment = experiment
                    experiment.succeeded_count += 1
                    if values := trial.objective_values:
                        FrontTrial.learn(trial, values)
            self.pause()

    def _kept_choices(self) -> dict[str, Any]:
        creator = self.origin.get("creator", "")
        return {**self.choices, "creator": creator} if creator else self.choices

    def _summary(self, experiment: Experiment) -> dict[str, Any]:
        trials = Trial.objects.filter(experiment=experiment)
        counts = dict.fromkeys((f"{state}_count" for state in status.TRIAL_STATES), 0)
        first = last = None
        seconds, number = 0.0, 0
        best: tuple[float, int] | None = None
        trace: list[list[float]] = []
        columns = ("state", "value", "number", "started_at", "ended_at", "duration_s")
        for state, value, number, started, ended, duration in (
            trials.order_by("settled_rank", "number").values_list(*columns).iterator(chunk_size=2_000)
        ):
            counts[f"{state}_count"] += 1
            seconds += duration or 0.0
            first = min(filter(None, (first, started)), default=None)
            last = max(filter(None, (last, ended)), default=None)
            if state == TrialState.SUCCEEDED and experiment.is_better(value, best[0] if best else None):
                best = (value, number)
                trace.append([number, value])
                if len(trace) > TRACE_LENGTH:
                    trace = [*trace[:-1:2], trace[-1]]
        total = sum(counts.values())
        origin = self.origin
        state = origin.get("state", ExperimentState.COMPLETED)
        if not origin and counts["succeeded_count"] == 0:
            state = ExperimentState.FAILED
        ended_state = ENDED.get(state, state)
        reason = origin.get("reason", "")
        if ended_state != state:
            reason = f"imported while {state}"
        return {
            **counts,
            "state": ended_state,
            "reason": reason,
            "settled_count": total,
            "last_number": max(origin.get("last_number", 0), self.row.total, number),
            "last_ordinal": max(origin.get("last_ordinal", 0), 0 if origin else self.row.total),
            "proposed_count": origin.get("proposed", total),
            "compute_s": origin.get("compute_s", seconds),
            "ran_s": origin.get(
                "ran_s", (last - first).total_seconds() if first and last and last > first else 0
            ),
            "created_at": _moment(origin.get("created_at")) or first or self.row.created_at,
            "started_at": _moment(origin.get("started_at")) if origin else first,
            "ended_at": _moment(origin.get("ended_at")) if origin else last,
            "best_value": best[0] if best else None,
            "best_number": best[1] if best else None,
            "trace": trace,
            "version": 1,
        }


def _keys_of(experiment: Experiment, numbers: Collection[int]) -> dict[int, int]:
    """Return the keys of those of the trials that there are, by number. One query; none without numbers."""
    rows = Trial.everything.filter(experiment=experiment, number__in=numbers)
    return dict(rows.values_list("number", "pk"))


def _inserted(experiment: Experiment, trials: Collection[Trial]) -> dict[int, int]:
    """Insert trials, and return their keys by number."""
    insert_all(trials)
    return _keys_of(experiment, {trial.number for trial in trials})


def _tags(tags: list[str]) -> list[str]:
    return [tag for tag in tags if tag and len(tag) <= 50 and "," not in tag][:20]


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
