"""Trials, and experiments, side by side, with unrounded numbers: what the pages show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from statistics import fmean
from typing import Annotated, Any, Literal

from django.db.models import Q
from django.http import Http404
from ninja import Query, Router
from pydantic import BaseModel, Field

from experiments.api.experiment.experiments import find, settings_for
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.serialization import responses, time_of
from experiments.api.workspace import workspaces
from experiments.models import Experiment, Settings, Trial
from experiments.query_parameters import invalid, listed, quoted
from experiments.reports import comparison
from experiments.reports.comparison import NumberRow, Spread
from experiments.search.nested_choice import flat

router = Router(tags=["Compare"])

MOST_TRIALS, MOST_EXPERIMENTS = 50, 20
FLAT = ("space_document", "environment")  # settings that are objects with a name per entry

Rows = Annotated[
    Literal["diff", "all"],
    Query(description="`diff`: only rows whose values differ; `all`: also equal ones."),
]
Base = Annotated[
    str | None, Query(max_length=20, description="The baseline, one of those compared; default: the first.")
]


class SpreadOut(BaseModel):
    """Values of replicates. Without any, the numbers are null."""

    count: int
    mean: float | None
    deviation: float | None = Field(description="Standard deviation of a sample; null for fewer than three.")
    low: float | None
    high: float | None


class ComparisonRow(BaseModel):
    """One row; its lists have one entry per column, the baseline first."""

    group: Literal["result", "parameters", "run", "settings"]
    name: str
    values: list[Any]
    differs: bool
    direction: str | None = Field(description="maximize, minimize, or null where neither is better.")
    deltas: list[float | None] | None = Field(
        description="Value minus that of the baseline; null for a row that is not of numbers."
    )
    factors: list[float | None] | None = Field(
        description="Value divided by that of the baseline, for logarithmic scales and powers of two; otherwise null."
    )
    notes: list[str] | None = Field(
        description="`partial` or `so far` beside a value that is not a result; null: none."
    )


class ComparedTrial(BaseModel):
    """A column of a comparison of trials."""

    key: str = Field(description="As in the request.")
    experiment: str = Field(description="ID.")
    number: int
    state: str
    replicates: SpreadOut = Field(
        description="Results of all succeeded trials with these values and command."
    )


class TrialComparison(BaseModel):
    """Trials side by side; the first is the baseline."""

    trials: list[ComparedTrial]
    rows: list[ComparisonRow]


class ComparedExperiment(BaseModel):
    """A column of a comparison of experiments."""

    id: str
    name: str
    state: str
    metric: str
    direction: str


class ReplicateSet(BaseModel):
    """Experiments whose settings differ only in the seed, or in others that do not affect results."""

    experiments: list[str] = Field(description="IDs.")
    best: SpreadOut = Field(description="Of their best values.")
    delta: float | None = Field(description="Mean minus that of the first set.")
    trials_to_target: float | None = Field(
        description="Mean number of trials until `target`; null: never reached."
    )
    reached_target: int = Field(description="How many of them have reached `target`.")
    compute_s: float


class ExperimentComparison(BaseModel):
    """Experiments side by side; the first is the baseline. `replicates` has those with its objective."""

    experiments: list[ComparedExperiment]
    target: float | None = Field(
        description="The worst of the best values of the experiments in `replicates`."
    )
    replicates: list[ReplicateSet]
    rows: list[ComparisonRow]


@router.get(
    "/experiments/{slug:public_id}/compare",
    response=responses(TrialComparison, may_conflict=True),
    summary="Compare trials",
)
def compare_trials(
    request: ApiRequest,
    public_id: str,
    trial: Annotated[
        list[str],
        Query(
            description="2 to 50 times: a number of a trial of this experiment, or an ID such as 7f3k2m9q-12."
        ),
    ],
    base: Base = None,
    rows: Rows = "diff",
) -> dict[str, Any]:
    """2 to 50 trials of a workspace: results, parameters, run and, if they have several revisions, settings."""
    experiment = find(request, public_id)
    keys = _keys("trial", trial, base, most=MOST_TRIALS)
    trials = _trials(request, experiment, keys)
    spreads = comparison.spreads(trials)
    compared_rows = _trial_rows(request, trials)
    return {
        "trials": [
            {
                "key": key,
                "experiment": each.experiment.public_id,
                "number": each.number,
                "state": each.state,
                "replicates": _spread(spread),
            }
            for key, each, spread in zip(keys, trials, spreads, strict=True)
        ],
        "rows": [row for row in compared_rows if rows == "all" or row["differs"]],
    }


@router.get(
    "/workspaces/{slug:workspace}/compare",
    response=responses(ExperimentComparison, may_conflict=True),
    summary="Compare experiments",
)
def compare_experiments(
    request: ApiRequest,
    workspace: str,
    experiment: Annotated[list[str], Query(description="2 to 20 times: the ID of an experiment.")],
    base: Base = None,
    rows: Rows = "diff",
) -> dict[str, Any]:
    """2 to 20 experiments of a workspace: results, settings, and the spread of best values over replicates."""
    place = workspaces.find(request, workspace)
    place.require_automl()
    keys = _keys("experiment", experiment, base, most=MOST_EXPERIMENTS)
    visible = Experiment.objects.visible_to(request.user).filter(workspace=place, public_id__in=keys)
    related = visible.select_related("workspace", "project", "creator", "queue", "revision")
    by_id = {each.public_id: each for each in related.defer("description", "properties")}
    _require_all("experiment", keys, by_id)
    experiments = [by_id[key] for key in keys]
    target, sets = _replicates(experiments)
    compared_rows = _experiment_rows(request, experiments)
    return {
        "experiments": [
            {
                "id": each.public_id,
                "name": each.name,
                "state": each.state,
                "metric": each.metric,
                "direction": each.direction,
            }
            for each in experiments
        ],
        "target": target,
        "replicates": sets,
        "rows": [row for row in compared_rows if rows == "all" or row["differs"]],
    }


# --- what is compared ----------------------------------------------------------------------------------------------


def _keys(name: str, requested: Sequence[str], base: str | None, *, most: int) -> list[str]:
    """Return what is compared, each once, the baseline first. Raise `BadRequest`."""
    keys = list(dict.fromkeys(key.strip().replace("\0", "") for key in requested))
    keys = [key for key in keys if key]
    if not 2 <= len(keys) <= most:
        raise BadRequest(
            fields={name: f"{len(keys)} {name}s are selected. Select 2 to {most} different ones."}
        )
    if base is not None and base not in keys:
        raise BadRequest(fields={"base": invalid("base", base, listed(keys))})
    return keys if base is None else [base, *(key for key in keys if key != base)]


def _require_all(noun: str, keys: Sequence[str], present: dict[str, Any]) -> None:
    if missing := [quoted(key) for key in keys if key not in present]:
        raise Http404(f"No {noun} {listed(missing)} in this workspace, or not visible to you.")


def _trials(request: ApiRequest, experiment: Experiment, keys: Sequence[str]) -> list[Trial]:
    places = {key: comparison.place_of(key, experiment.public_id) for key in keys}
    visible = Experiment.objects.visible_to(request.user).filter(workspace=experiment.workspace_id)
    conditions = [Q(experiment__public_id=place[0], number=place[1]) for place in places.values() if place]
    chosen = Trial.objects.filter(reduce(or_, conditions, Q(pk__in=[])), experiment__in=visible)
    related = chosen.select_related("experiment__workspace", "experiment__revision", "revision", "worker")
    by_place = {
        (each.experiment.public_id, each.number): each for each in related.defer("raw", "sampler_attrs")
    }
    by_key = {key: by_place[place] for key, place in places.items() if place in by_place}
    _require_all("trial", keys, by_key)
    if len({each.pk for each in by_key.values()}) < len(keys):
        raise BadRequest(fields={"trial": "A trial is selected twice. Select different ones."})
    return [by_key[key] for key in keys]


# --- rows ----------------------------------------------------------------------------------------------------------


def _trial_rows(request: ApiRequest, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    objectives = list(dict.fromkeys(trial.experiment.metric for trial in trials))
    metrics = list(dict.fromkeys([*objectives, *comparison.metric_names(trials)]))
    results = comparison.result_rows(trials, metrics, comparison.last_values(trials, metrics))
    results += [
        NumberRow("duration_s", [trial.duration_s for trial in trials], direction="minimize"),
        NumberRow("peak_memory", [trial.peak_memory for trial in trials]),
        NumberRow("cpu_s", [trial.cpu_s for trial in trials]),
    ]
    rows = [_number_row("result", row) for row in results if _has_value(row.values)]
    params = [flat(trial.params) for trial in trials]
    types = comparison.parameter_types(trials)
    for name in dict.fromkeys([*types, *(name for each in params for name in each)]):
        values = [each.get(name) for each in params]
        if all(value is None or _is_number(value) for value in values):
            by_factor = comparison.compares_by_factor(types.get(name, ""), values)
            rows.append(_number_row("parameters", NumberRow(name, values, is_ratio=by_factor)))
        else:
            rows.append(_row("parameters", name, values))
    rows += [
        _row("run", "experiment", [trial.experiment.public_id for trial in trials]),
        _row("run", "worker", [trial.worker.name if trial.worker else None for trial in trials]),
        _row("run", "revision", [trial.revision.number for trial in trials]),
        _row("run", "source", [trial.source for trial in trials]),
        _row("run", "started_at", [time_of(trial.started_at) for trial in trials]),
        _row("run", "gpus", [trial.gpus for trial in trials]),
    ]
    if len({trial.revision_id for trial in trials}) > 1:
        rows += _settings_rows(request, [(trial.experiment, trial.revision.settings) for trial in trials])
    return rows


def _experiment_rows(request: ApiRequest, experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    objectives = {(each.metric, each.direction) for each in experiments}
    direction = experiments[0].direction if len(objectives) == 1 else ""
    results = [
        NumberRow("best_value", [each.best_value for each in experiments], direction=direction),
        NumberRow("trials", [each.proposed_count for each in experiments]),
        NumberRow("failed", [each.failed_count for each in experiments]),
        NumberRow("compute_s", [each.compute_s for each in experiments]),
    ]
    if any(each.is_multi_objective for each in experiments):
        sizes = [each.front_size if each.is_multi_objective else None for each in experiments]
        results.append(NumberRow("front_size", sizes))
    return [
        *(_number_row("result", row) for row in results if _has_value(row.values)),
        _row("run", "queue", [each.queue.name if each.queue else None for each in experiments]),
        _row("run", "project", [each.project.name for each in experiments]),
        _row("run", "creator", [each.creator.username for each in experiments]),
        _row("run", "tags", [each.tags for each in experiments]),
        *_settings_rows(request, [(each, each.settings) for each in experiments]),
    ]


def _settings_rows(request: ApiRequest, pairs: Sequence[tuple[Experiment, Settings]]) -> list[dict[str, Any]]:
    """Return a row per setting, by the names that settings have in requests; secrets are hidden as everywhere."""
    documents = [settings_for(request.user, experiment, settings) for experiment, settings in pairs]
    columns = [_flat_settings(document) for document in documents]
    names = dict.fromkeys(name for column in columns for name in column)
    return [_row("settings", name, [column.get(name) for column in columns]) for name in names]


def _flat_settings(document: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in document.items():
        if name in FLAT:
            named |= {f"{name}.{key}": entry for key, entry in value.items()}
        elif name == "hyperparameters":
            for group, entries in value.items():
                named |= {f"{name}.{group}.{key}": entry for key, entry in entries.items()}
        else:
            named[name] = value
    return named


def _number_row(group: str, row: NumberRow) -> dict[str, Any]:
    return {
        **_row(group, row.name, list(row.values)),
        "direction": row.direction or None,
        "deltas": row.differences,
        "factors": row.factors,
        "notes": list(row.notes) if any(row.notes) else None,
    }


def _row(group: str, name: str, values: list[Any]) -> dict[str, Any]:
    return {
        "group": group,
        "name": name,
        "values": values,
        "differs": any(_differ(value, values[0]) for value in values[1:]),
        "direction": None,
        "deltas": None,
        "factors": None,
        "notes": None,
    }


def _differ(value: object, other: object) -> bool:
    """Return whether two JSON values differ; true is not 1."""
    return value != other or isinstance(value, bool) != isinstance(other, bool)


def _has_value(values: Sequence[object]) -> bool:
    return any(value is not None for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- replicates ----------------------------------------------------------------------------------------------------


def _replicates(experiments: Sequence[Experiment]) -> tuple[float | None, list[dict[str, Any]]]:
    """Return the target, and the sets of replicates with the objective of the baseline."""
    base = experiments[0]
    sets: dict[str, list[Experiment]] = {}
    for each in experiments:
        if (each.metric, each.direction) == (base.metric, base.direction):
            sets.setdefault(comparison.replicate_key(each.settings), []).append(each)
    bests = {key: [each.best_value for each in of_set] for key, of_set in sets.items()}
    values = {key: [best for best in of_set if best is not None] for key, of_set in bests.items()}
    target = comparison.target_of((best for of_set in values.values() for best in of_set), base)
    first = Spread.of(next(iter(values.values()))).mean
    documents = []
    for key, of_set in sets.items():
        best = Spread.of(values[key])
        until = [n for each in of_set if (n := comparison.trials_until(each, target)) is not None]
        documents.append(
            {
                "experiments": [each.public_id for each in of_set],
                "best": _spread(best),
                "delta": None if best.mean is None or first is None else best.mean - first,
                "trials_to_target": fmean(until) if until else None,
                "reached_target": len(until),
                "compute_s": sum(each.compute_s for each in of_set),
            }
        )
    return target, documents


def _spread(spread: Spread) -> dict[str, float | None]:
    return {
        "count": spread.count,
        "mean": spread.mean,
        "deviation": spread.deviation,
        "low": spread.low,
        "high": spread.high,
    }
