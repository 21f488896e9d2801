"""Metrics: the intermediate results of one trial, or of all trials of an experiment."""

from __future__ import annotations

from typing import Annotated, Any

from django.db.models import F, QuerySet
from ninja import Query, Router
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.experiment.experiments import find
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.protocol.pagination import LARGEST_LIMIT, Cursor, Key, LargeLimit, PageData, page
from experiments.api.serialization import responses
from experiments.models import Experiment, Point, status
from experiments.query_parameters import MOST_NAMES, invalid, listed

from .trials import find_trial

router = Router(tags=["Trials"])

Name = Annotated[str | None, Query(max_length=200, description="Name of the metric; default: all metrics.")]


class PointOut(BaseModel):
    """One intermediate result. If the trial reported something other than a finite number, `value` is null and `text`
    holds the reported text."""

    trial: int = Field(description="Number of the trial.")
    name: str
    step: int
    value: float | None
    text: str | None
    elapsed_s: float | None = Field(
        description="Seconds from the start of the trial to the report; null where it is not known."
    )


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}/metrics",
    response=responses(schemas.Page[PointOut], may_conflict=True),
    summary="Read a trial's metrics",
)
def of_trial(
    request: ApiRequest,
    public_id: str,
    number: int,
    name: Name = None,
    cursor: Cursor = None,
    limit: LargeLimit = LARGEST_LIMIT,
) -> PageData:
    """Ordered by name and step."""
    trial = find_trial(request, public_id, number)
    points = Point.objects.filter(trial=trial)
    _check_name(trial.experiment, points, name)
    return _page(points, f"{public_id}-{number}", name, cursor, limit)


@router.get(
    "/experiments/{slug:public_id}/metrics",
    response=responses(schemas.Page[PointOut], may_conflict=True),
    summary="Read the metrics of all trials",
)
def of_experiment(
    request: ApiRequest,
    public_id: str,
    name: Name = None,
    cursor: Cursor = None,
    limit: LargeLimit = LARGEST_LIMIT,
) -> PageData:
    """Ordered by trial, name and step."""
    experiment = find(request, public_id)
    points = Point.objects.filter(trial__experiment=experiment, trial__trashed_at=None)
    _check_name(experiment, points, name)
    return _page(points, public_id, name, cursor, limit)


def _check_name(experiment: Experiment, points: QuerySet[Point], name: str | None) -> None:
    """Raise `BadRequest` with the existing names for a metric that was not reported and will not be."""
    is_expected = name == experiment.settings.metric or experiment.state in status.ACTIVE
    if name is None or is_expected or points.filter(name=name).exists():
        return
    names = points.order_by("name").values_list("name", flat=True).distinct()[: MOST_NAMES + 1]
    raise BadRequest(fields={"name": invalid("name", name, listed(list(names)) or "none")})


def _page(
    points: QuerySet[Point], owner_id: str, name: str | None, cursor: str | None, limit: int
) -> PageData:
    if name is not None:
        points = points.filter(name=name)
    keys = (Key("trial_number"), Key("name"), Key("step"))
    points = points.annotate(trial_number=F("trial__number"))
    list_name = f"points of {owner_id} {name or ''}"
    return page(points, *keys, list_name=list_name, cursor=cursor, limit=limit, serialize=serialize)


def serialize(point: Point) -> dict[str, Any]:
    """Return a point, annotated with `trial_number`, as `PointOut`."""
    return {
        "trial": getattr(point, "trial_number"),  # noqa: B009  an annotation
        "name": point.name,
        "step": point.step,
        "value": point.value,
        "text": point.text or None,
        "elapsed_s": point.elapsed_s,
    }
