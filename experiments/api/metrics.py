"""Metrics: the points of one trial, or of all trials of an experiment."""

from __future__ import annotations

from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from experiments.models import Point

from . import schemas
from .experiments import find
from .pagination import MOST_SMALL, Cursor, Key, LimitOfSmall, page
from .serialization import says
from .trials import find_trial

router = Router(tags=["Trials"])

Name = Annotated[str | None, Query(max_length=200, description="Of this metric only.")]


class PointOut(BaseModel):
    """One intermediate result. `value` is null where the trial reported something that is no finite number; `text`
    then says what it was."""

    trial: int = Field(description="Its number.")
    name: str
    step: int
    value: float | None
    text: str | None


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}/metrics",
    response=says(schemas.Listed[PointOut], actions=True),
    summary="Read a trial's metrics",
)
def of_trial(
    request: HttpRequest,
    public_id: str,
    number: int,
    name: Name = None,
    cursor: Cursor = None,
    limit: LimitOfSmall = MOST_SMALL,
) -> dict[str, Any]:
    """In the order of name and step."""
    trial = find_trial(request, public_id, number)
    return _page(Point.objects.filter(trial=trial), f"{public_id}-{number}", name, cursor, limit)


@router.get(
    "/experiments/{slug:public_id}/metrics",
    response=says(schemas.Listed[PointOut], actions=True),
    summary="Read the metrics of all trials",
)
def of_experiment(
    request: HttpRequest,
    public_id: str,
    name: Name = None,
    cursor: Cursor = None,
    limit: LimitOfSmall = MOST_SMALL,
) -> dict[str, Any]:
    """In the order of trial, name and step."""
    experiment = find(request, public_id)
    points = Point.objects.filter(trial__experiment=experiment, trial__trashed_at=None)
    return _page(points, public_id, name, cursor, limit)


def _page(
    points: QuerySet[Point], of: str, name: str | None, cursor: str | None, limit: int
) -> dict[str, Any]:
    if name is not None:
        points = points.filter(name=name)
    keys = (Key("trial__number"), Key("name"), Key("step"))
    what = f"points of {of} {name or ''}"
    return page(points, *keys, what=what, cursor=cursor, limit=limit, tell=_told)


def _told(point: Point) -> dict[str, Any]:
    return {
        "trial": point.key_0,
        "name": point.name,
        "step": point.step,
        "value": point.value,
        "text": point.text or None,
    }
