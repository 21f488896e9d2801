"""What the conductor reads of an experiment at each run: one statement instead of five."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from experiments.models import (
    Experiment,
    Queue,
    Revision,
    Settings,
    Suggestion,
    Trial,
    TrialState,
    plain_sql,
    status,
)

_KEY = -1_000_000_007


def read_experiment(pk: int) -> Experiment | None:
    """Return an experiment with its revision and queue; None if it does not exist, or was moved to the trash.

    `is_doubtful` is whether it has `doubtful_trials`, `ready_count` the number of suggestions under its settings. The
    document of its revision, and what was resolved for it, are read when they are used.
    """
    experiment = _experiment.object(pk=pk)
    if experiment is not None:
        revision = experiment.revision
        revision.settings = _settings(experiment.settings_text)  # type: ignore[attr-defined]  # an annotation
    return experiment


@lru_cache(maxsize=128)
def _settings(document: str) -> Settings:
    """Return the settings with this document, which they share: do not modify them."""
    return Revision(document=json.loads(document)).settings


def doubtful_trials(experiment: Any) -> QuerySet[Trial]:
    """Return the trials that are stopping, or that their worker no longer holds."""
    is_not_held = Q(worker=None) | Q(worker__gone_at__isnull=False) | ~Q(boot=F("worker__boot"))
    held = Trial.objects.filter(experiment=experiment, state__in=status.TRIAL_ALIVE)
    return held.filter(Q(state=TrialState.STOPPING) | is_not_held)


def _ready_count() -> Subquery:
    suggestions = Suggestion.objects.filter(
        experiment=OuterRef("pk"), revision=OuterRef("revision")
    ).order_by()
    return Subquery(suggestions.values("experiment").annotate(count=Count("pk")).values("count"))


_experiment = plain_sql.RowStatement(
    Experiment,
    lambda pk: (
        Experiment.objects.filter(pk=pk)
        .order_by()
        .annotate(
            is_doubtful=Exists(doubtful_trials(OuterRef("pk")).order_by()),
            ready_count=Coalesce(_ready_count(), 0),
            settings_text=F("revision__document"),
        )
    ),
    annotations=("is_doubtful", "ready_count", "settings_text"),
    related={
        "queue": [field.attname for field in Queue._meta.concrete_fields],
        "revision": ["id", "experiment_id", "number", "by_id", "at", "note", "author"],
    },
    pk=_KEY,
)
