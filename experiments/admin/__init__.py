"""The administrators' site. History is read-only here and changes only through actions; every page stays fast with
100,000 trials."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group

from . import artifacts, compute, experiments, history, notifications, people, workspaces

__all__ = ["artifacts", "compute", "experiments", "history", "notifications", "people", "workspaces"]

admin.site.site_header = admin.site.site_title = "Trialdeck"
admin.site.index_title = "Administration"
admin.site.disable_action(
    "delete_selected"
)  # rows are deleted one at a time, with their related objects shown
admin.site.unregister(Group)  # permissions come from roles in workspaces
