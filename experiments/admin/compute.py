"""Queues, workers and their utilization, and the leases of background processes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from experiments import dispatch
from experiments.models import ComputeEvent, Lease, Queue, SlotUsage, Usage, UsageLimit, Worker

from .actions import WORKER_ACTIONS, ActionsMixin
from .base import BaseAdmin, ReadOnlyAdmin, user_of
from .filters import by_workspace


@admin.register(Queue)
class QueueAdmin(BaseAdmin):
    """Queues: who may use them, and whether they are paused. The queue's page in the console can also rename it and
    move its experiments."""

    list_display = ("name", "is_open", "is_paused", "slots_per_experiment", "slots_per_person")
    list_filter = ("is_open", "is_paused")
    console_paths = ("self",)
    search_fields = ("name",)
    fields = ("name", "is_open", "workspaces", "is_paused", "slots_per_experiment", "slots_per_person")
    filter_horizontal = ("workspaces",)

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        verb = "change" if change else "create"
        changed_fields = ", ".join(form.changed_data) if change else ""
        ComputeEvent.note(verb, queue=obj, by=user_of(request), why=changed_fields)
        dispatch.queue(obj.routing_key)

    def delete_model(self, request: HttpRequest, obj: Queue) -> None:
        obj.delete_for_good(by=user_of(request))

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        is_allowed = super().has_delete_permission(request, obj)
        if not (is_allowed and isinstance(obj, Queue)):
            return False
        return not obj.is_default and not obj.active_experiments().exists()


@admin.register(Worker)
class WorkerAdmin(ActionsMixin, ReadOnlyAdmin):
    """Workers and their last heartbeats."""

    actions = WORKER_ACTIONS
    list_display = (
        "name",
        "host",
        "pid",
        "queues",
        "slots",
        "heard_at",
        "gone_at",
        "is_draining",
        "draining_until",
    )
    ordering = ("name",)
    experiment_path = ""
    console_paths = ("self",)


@admin.register(Usage)
class UsageAdmin(ReadOnlyAdmin):
    """Utilization of each worker, one row per quarter of an hour."""

    list_display = ("worker", "at", "busy_s", "slot_s", "cpu", "memory")
    related = ("worker",)
    console_paths = ("worker",)
    experiment_path = ""


@admin.register(ComputeEvent)
class ComputeEventAdmin(ReadOnlyAdmin):
    """The audit log of queues and workers."""

    list_display = ("at", "by", "verb", "name", "before", "after", "why")
    related = ("by", "queue", "worker")
    console_paths = ("queue", "worker")
    experiment_path = ""


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display = ("name", "holder", "until")
    experiment_path = ""


@admin.register(SlotUsage)
class SlotUsageAdmin(ReadOnlyAdmin):
    list_display = ("at", "is_day", "workspace", "person", "project", "queue", "seconds", "trials")
    related = ("workspace", "person", "project", "queue")
    list_filter = (by_workspace(), "is_day")
    experiment_path = ""


@admin.register(UsageLimit)
class UsageLimitAdmin(ReadOnlyAdmin):
    list_display = ("workspace", "person", "soft_h", "hard_h")
    related = ("workspace", "person")
    list_filter = (by_workspace(),)
    experiment_path = ""
