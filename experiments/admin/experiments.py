"""Experiments, trials, and the rows that belong to them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments.messages import duration as duration_text
from experiments.models import (
    Comment,
    Experiment,
    FormerExperiment,
    FrontTrial,
    Hypervolume,
    Importance,
    LogPiece,
    MetricValue,
    Point,
    PythonCheck,
    Suggestion,
    Trial,
    TrialParameter,
    status,
)
from experiments.runner.output.log import plain_text

from .actions import EXPERIMENT_ACTIONS, TRIAL_ACTIONS, ActionsMixin
from .base import ReadOnlyAdmin, TrashFilter, state_filter
from .filters import by_creator, by_workspace

SEARCH_BY_EXPERIMENT = "By experiment ID."
SEARCH_BY_TRIAL = "By experiment ID (7f3k2m9q) or trial ID (7f3k2m9q-12)."


@admin.register(Experiment)
class ExperimentAdmin(ActionsMixin, ReadOnlyAdmin):
    """All experiments, including those in the trash."""

    actions = EXPERIMENT_ACTIONS
    list_display = ("public_id", "name", "workspace", "state", "creator", "created_at", "proposed_count")
    list_filter = (state_filter(status.EXPERIMENT_STATES), by_workspace(), by_creator(), TrashFilter)
    console_paths = ("self",)
    related = ("workspace", "project", "creator", "parent", "queue", "revision")
    search_help_text = "By ID, or by a part of the name."

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("public_id__exact", "folded_name__contains")

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet, search_term: str
    ) -> tuple[models.QuerySet, bool]:
        term = search_term.strip()[:200]
        if not term:
            return queryset, False
        is_match = models.Q(public_id=term) | models.Q(folded_name__contains=term.casefold())
        return queryset.filter(is_match), False


@admin.register(Trial)
class TrialAdmin(ActionsMixin, ReadOnlyAdmin):
    """All trials, including those in the trash."""

    actions = TRIAL_ACTIONS
    list_display = ("__str__", "state", "failure", "value", "worker", "created_at", "duration", "attempt")
    list_filter = (
        state_filter(status.TRIAL_STATES),
        by_workspace("experiment__workspace"),
        by_creator("experiment__creator"),
        TrashFilter,
    )
    console_paths = ("self",)
    related = ("experiment", "revision", "worker", "rerun_of__experiment")
    trial_path = "self"
    search_help_text = SEARCH_BY_TRIAL

    @admin.display(description="duration", empty_value="-")
    def duration(self, trial: Trial) -> str | None:
        return None if trial.duration_s is None else duration_text(trial.duration_s)


class TrialRowAdmin(ReadOnlyAdmin):
    """Rows that belong to one trial."""

    related: tuple[str, ...] = ("trial__experiment",)
    console_paths = ("trial",)
    experiment_path = "trial__experiment"
    trial_path = "trial"
    search_help_text = SEARCH_BY_TRIAL


@admin.register(Point)
class PointAdmin(TrialRowAdmin):
    list_display = ("trial", "name", "step", "value", "text")


@admin.register(LogPiece)
class LogPieceAdmin(TrialRowAdmin):
    """Logs of trials, in pieces. The list does not read their text."""

    list_display = ("trial", "offset", "size")
    hidden_fields = ("data",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[LogPiece]:
        return super().get_queryset(request).defer("data")

    def get_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[Any]:
        return [*super().get_fields(request, obj), self.text]

    @admin.display(description="text")
    def text(self, piece: LogPiece) -> SafeString:
        return format_html("<pre>{}</pre>", plain_text(bytes(piece.data)))


@admin.register(TrialParameter)
class TrialParameterAdmin(TrialRowAdmin):
    list_display = ("trial", "name", "number", "text")
    related = ("trial__experiment", "experiment")


@admin.register(MetricValue)
class MetricValueAdmin(TrialRowAdmin):
    list_display = ("trial", "name", "number", "is_final")
    related = ("trial__experiment", "experiment")


@admin.register(Suggestion)
class SuggestionAdmin(ReadOnlyAdmin):
    list_display = ("experiment", "ordinal", "revision")
    related = ("experiment", "revision")
    console_paths = ("experiment",)
    search_help_text = SEARCH_BY_EXPERIMENT


@admin.register(Comment)
class CommentAdmin(TrialRowAdmin):
    list_display = ("trial", "by", "at", "__str__")
    related = ("trial__experiment", "by")


@admin.register(Importance)
class ImportanceAdmin(ReadOnlyAdmin):
    list_display = ("experiment", "computed_at", "trial_count", "problem")
    related = ("experiment",)
    console_paths = ("experiment",)
    search_help_text = SEARCH_BY_EXPERIMENT


@admin.register(Hypervolume)
class HypervolumeAdmin(ReadOnlyAdmin):
    list_display = ("experiment", "computed_at", "succeeded_count", "problem")
    related = ("experiment",)
    console_paths = ("experiment",)
    search_help_text = SEARCH_BY_EXPERIMENT


@admin.register(FrontTrial)
class FrontTrialAdmin(TrialRowAdmin):
    list_display = ("trial", "joined_result", "left_result")
    related = ("trial__experiment",)


@admin.register(PythonCheck)
class PythonCheckAdmin(ReadOnlyAdmin):
    """Questions to workers about their Python; each is deleted after some minutes."""

    list_display = ("python", "folder", "queue", "worker", "created_at")
    related = ("queue", "worker")


@admin.register(FormerExperiment)
class FormerExperimentAdmin(ReadOnlyAdmin):
    """IDs of permanently deleted experiments."""

    list_display = ("public_id",)
    experiment_path = ""
