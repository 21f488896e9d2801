"""Notifications: rules, channels, occurrences, and every delivery with its status."""

from __future__ import annotations

from django.contrib import admin

from experiments.models import Channel, Delivery, Dismissal, Occurrence, Pin, Rule, SeenCause

from .base import ReadOnlyAdmin
from .filters import by_workspace


@admin.register(Channel)
class ChannelAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "workspace", "owner", "hint")
    related = ("workspace", "owner")
    list_filter = (by_workspace(),)
    experiment_path = ""
    hidden_fields = ("sealed_address", "sealed_secret")


@admin.register(Rule)
class RuleAdmin(ReadOnlyAdmin):
    list_display = ("title", "about", "workspace", "owner", "is_on")
    related = ("workspace", "owner", "experiment", "project", "view")
    list_filter = (by_workspace(),)


@admin.register(Occurrence)
class OccurrenceAdmin(ReadOnlyAdmin):
    list_display = ("kind", "workspace", "experiment", "at", "expanded_at")
    related = ("workspace", "experiment")
    console_paths = ("experiment",)


@admin.register(SeenCause)
class SeenCauseAdmin(ReadOnlyAdmin):
    list_display = ("key", "workspace", "private_to", "last_at")
    related = ("workspace", "private_to")
    list_filter = (by_workspace(),)
    experiment_path = ""


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("subject", "channel", "status", "attempts", "created_at", "error")
    list_filter = ("status",)
    related = (
        "channel__workspace",
        "rule__experiment",
        "rule__project",
        "rule__view",
        "occurrence",
        "experiment",
    )
    console_paths = ("experiment",)


@admin.register(Dismissal)
class DismissalAdmin(ReadOnlyAdmin):
    list_display = ("user", "key", "at")
    related = ("user",)


@admin.register(Pin)
class PinAdmin(ReadOnlyAdmin):
    list_display = ("user", "experiment", "at")
    related = ("user", "experiment")
