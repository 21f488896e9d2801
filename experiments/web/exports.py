"""Tables as .csv and .json files, with the page's filters and order, all rows and unrounded values.

docs/exports.md explains the columns.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from django.contrib.auth.decorators import login_required
from django.db.models import Model, QuerySet
from django.http import StreamingHttpResponse
from django.views.decorators.http import require_safe

from experiments import database_clock
from experiments.models import Experiment, SavedView, Trial, status
from experiments.search.nested_choice import flat
from experiments.web.experiment.page import get_experiment
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace
from experiments.web.workspace.saved_views import apply_view, note_missing_view, saved_views

from .experiment import index_table
from .table_files import AT_ONCE, as_json, csv_chunks
from .trial import columns, trial_query

LOOKED_AT = 20  # trials that are read for the names in their final results

Record = dict[str, Any]
Row = TypeVar("Row", bound=Model)


@login_required
@require_safe
@takes(index_table.ORDER_AND_FILTERS)
def experiments(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the list of experiments, filtered and sorted as on the page."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    _apply_view(request, saved_views(request.user, workspace))
    query = index_table.TableQuery.of(request.GET)
    visible = Experiment.objects.visible_to(request.user).filter(workspace=workspace)
    index_table.note_missing(request, workspace, visible)
    selection = query.select(visible, request.user)
    if selection.error:
        note_fault(request, "filter", f"{selection.error}.")
    rows = query.ordered(query.matching(selection.experiments)).select_related(
        "project", "creator", "queue", "parent"
    )
    now = database_clock.now()
    return _answer(rows, lambda row: of_experiment(row, now), EXPERIMENT, kind=kind, name=workspace.slug)


def _apply_view(request: SignedInRequest, views: list[SavedView]) -> None:
    """Complete the URL by the view that it names."""
    note_missing_view(request, views)
    request.GET, _ = apply_view(request.GET, views)  # type: ignore[assignment]


@login_required
@require_safe
@takes(trial_query.ORDER_AND_FILTERS)
def of_trials(
    request: SignedInRequest, workspace_slug: str, public_id: str, kind: str
) -> StreamingHttpResponse:
    """Send the table of trials, filtered and sorted as on the page."""
    experiment = get_experiment(request, workspace_slug, public_id)
    _apply_view(request, saved_views(request.user, experiment.workspace, experiment))
    query = trial_query.TrialQuery.of(request.GET, experiment)
    trial_query.note_faults(request, query)
    metrics = columns.requested_metrics(request)
    rows = columns.with_metrics(query.trials, metrics)
    rows = rows.select_related("worker", "rerun_of", "revision")
    if experiment.is_multi_objective:
        rows = rows.select_related("front")
    rows = rows.defer("raw", "sampler_attrs", "revision__document", "rerun_of__params", "rerun_of__raw")
    name = f"{public_id}-trials"
    if columns.QUERY_NAME not in request.GET:
        latest = experiment.trials.exclude(value=None).order_by("-number")[:LOOKED_AT]
        finals = dict.fromkeys([*experiment.further_objectives, *columns.final_names(latest)])
        names = [columns.METRIC + name for name in finals]
        names += [columns.PARAMETER + column for column in experiment.settings.space.columns()]
        front = [FRONT] if experiment.is_multi_objective else []
        return _answer(
            rows, lambda row: of_trial(row, experiment), [*TRIAL, *front, *names], kind=kind, name=name
        )
    chosen = columns.chosen(request.GET, columns.offered(experiment, metrics=metrics))
    keys = [*columns.FIXED, *(column.key for column in chosen)]
    return _answer(rows, lambda row: _shown(row, experiment, keys, metrics), keys, kind=kind, name=name)


def _shown(trial: Trial, experiment: Experiment, keys: list[str], metrics: list[str]) -> Record:
    """Return the selected columns of a trial."""
    record = of_trial(trial, experiment)
    record |= columns.with_prefix(columns.PARAMETER, flat(trial.params))
    record |= columns.with_prefix(columns.METRIC, columns.metrics_of(trial, metrics))
    return {key: record.get(key) for key in keys}


# --- rows ------------------------------------------------------------------------------------------------------

# fmt: off
EXPERIMENT = [
    "id", "name", "state", "reason", "project", "tags", "creator", "visibility", "algorithm", "metric",
    "direction", "best_value", "best_trial", "max_trials", "concurrency", "waiting", "running", "stopping",
    "succeeded", "early_stopped", "stopped", "failed", "queue", "parent", "created_at", "updated_at",
    "started_at", "ended_at", "elapsed_s", "further_objectives", "front_size", "best_of_each",
]
TRIAL = [
    "number", "id", "state", "value", "is_partial", "last_value", "last_step", "duration_s", "created_at", "started_at",
    "ended_at", "worker", "revision", "source", "attempt", "rerun_of", "failure", "detail", "exit_code",
    "signal", "gone_after_s", "peak_memory_bytes", "cpu_s",
]
FRONT = "is_on_front"  # of an experiment with several objectives
# fmt: on


def of_experiment(experiment: Experiment, now: datetime) -> Record:
    """Return the values of an experiment by the names in `EXPERIMENT`."""
    return {
        "id": experiment.public_id,
        "name": experiment.name,
        "state": experiment.state,
        "reason": experiment.reason,
        "project": experiment.project.name,
        "tags": experiment.tags,
        "creator": experiment.creator.username,
        "visibility": experiment.visibility,
        "algorithm": experiment.algorithm,
        "metric": experiment.metric,
        "direction": experiment.direction,
        "best_value": experiment.best_value,
        "best_trial": experiment.best_number,
        "max_trials": experiment.max_trials,
        "concurrency": experiment.concurrency,
        **{state: experiment.count(state) for state in status.TRIAL_STATES},
        "queue": experiment.queue.name if experiment.queue else None,
        "parent": experiment.parent.public_id if experiment.parent else None,
        "created_at": experiment.created_at,
        "updated_at": experiment.updated_at,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
        "elapsed_s": experiment.elapsed_s(now),
        "further_objectives": experiment.further_objectives or None,
        "front_size": experiment.front_size if experiment.is_multi_objective else None,
        "best_of_each": {
            name: bound[0]
            for name, bound in zip(experiment.objectives, experiment.objective_bounds, strict=False)
        }
        or None,
    }


def of_trial(trial: Trial, experiment: Experiment) -> Record:
    """Return the values of a trial by the names in `TRIAL`, and its parameters."""
    return {
        "number": trial.number,
        "id": f"{experiment.public_id}-{trial.number}",
        "state": trial.state,
        "value": trial.value,
        "is_partial": trial.is_partial,
        "last_value": trial.last_value,
        "last_step": trial.last_step,
        "duration_s": trial.duration_s,
        "created_at": trial.created_at,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
        "worker": trial.worker.name if trial.worker else None,
        "revision": trial.revision.number,
        "source": trial.source,
        "attempt": trial.attempt,
        "rerun_of": trial.rerun_of.number if trial.rerun_of else None,
        "failure": trial.failure,
        "detail": trial.detail,
        "exit_code": trial.exit_code,
        "signal": trial.signal,
        "gone_after_s": trial.gone_after_s,
        "peak_memory_bytes": trial.peak_memory,
        "cpu_s": trial.cpu_s,
        **({FRONT: trial.is_on_front} if experiment.is_multi_objective else {}),
        "final_metrics": trial.final_metrics,
        "parameters": trial.params,
    }


# --- files -----------------------------------------------------------------------------------------------------


def _answer(
    rows: QuerySet[Row], to_record: Callable[[Row], Record], names: list[str], *, kind: str, name: str
) -> StreamingHttpResponse:
    records = (to_record(row) for row in each(rows))
    if kind == "csv":
        response = StreamingHttpResponse(as_csv(records, names), content_type="text/csv; charset=utf-8")
    else:
        response = StreamingHttpResponse(as_json(records), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return response


def each(rows: QuerySet[Row]) -> Iterator[Row]:
    """Yield the rows in order, a chunk at a time; rows deleted meanwhile are left out.

    The keys are read first: a cursor that stays open for a slow client would keep SQLite's log from being truncated.
    """
    keys = array("q", rows.values_list("pk", flat=True).iterator())
    for start in range(0, len(keys), AT_ONCE):
        page_keys = keys[start : start + AT_ONCE]
        rows_by_key = {row.pk: row for row in rows.order_by().filter(pk__in=list(page_keys))}
        yield from (rows_by_key[key] for key in page_keys if key in rows_by_key)


def as_csv(records: Iterable[Record], names: list[str]) -> Iterator[str]:
    """Yield RFC 4180 text, a chunk at a time. Columns of parameters begin with `p.`."""
    return csv_chunks(names, (_cells(record, names) for record in records))


def _cells(record: Record, names: list[str]) -> list[object]:
    params: Any = record.pop("parameters", {})
    finals: Any = record.pop("final_metrics", {})
    cells = {
        **record,
        **columns.with_prefix(columns.METRIC, finals),
        **columns.with_prefix(columns.PARAMETER, flat(params)),
    }
    return [cells.get(name) for name in names]
