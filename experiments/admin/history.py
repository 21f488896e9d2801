"""History: revisions, events, and stored responses of idempotent requests."""

from __future__ import annotations

from django.contrib import admin

from experiments.models import Answer, AuditEntry, Event, Revision

from .base import ReadOnlyAdmin
from .experiments import SEARCH_BY_EXPERIMENT, SEARCH_BY_TRIAL


@admin.register(Revision)
class RevisionAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "experiment", "by", "at", "note")
    related = ("experiment", "by")
    console_paths = ("experiment",)
    search_help_text = SEARCH_BY_EXPERIMENT


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("at", "by", "verb", "experiment", "trial", "before", "after", "why")
    related = ("experiment", "trial__experiment", "by")
    console_paths = ("trial", "experiment")
    trial_path = "trial"
    search_help_text = SEARCH_BY_TRIAL


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "who", "verb", "subject", "workspace", "address", "via")
    list_filter = ("kind",)
    related = ("workspace", "by")
    console_paths = ("workspace",)
    experiment_path = ""


@admin.register(Answer)
class AnswerAdmin(ReadOnlyAdmin):
    """Stored responses of API requests with an Idempotency-Key."""

    list_display = ("holder", "key", "status", "created_at")
    experiment_path = ""
