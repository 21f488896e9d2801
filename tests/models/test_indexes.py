"""Each trial writes to all indexes of the tables of a search, so that none is superfluous."""

from __future__ import annotations

import pytest
from django.db import connection, models

from experiments.models import (
    Artifact,
    Event,
    LogPiece,
    MetricValue,
    Point,
    Suggestion,
    Trial,
    TrialParameter,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "model", [Artifact, Event, LogPiece, MetricValue, Point, Suggestion, Trial, TrialParameter]
)
def test_no_index_is_the_beginning_of_another_one(model: type[models.Model]) -> None:
    """The longer one serves the same queries."""
    partial = {index.name for index in model._meta.indexes if index.condition}
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, model._meta.db_table)
    indexes = {
        name: tuple(about["columns"])
        for name, about in constraints.items()
        if (about["index"] or about["unique"]) and about["columns"] and name not in partial
    }
    assert indexes
    superfluous = [
        name
        for name, columns in indexes.items()
        if not constraints[name]["unique"]
        and any(
            other != name
            and longer[: len(columns)] == columns
            and (len(longer) > len(columns) or other > name)
            for other, longer in indexes.items()
        )
    ]
    assert superfluous == []
