"""Filters of the lists: by workspace and by creator, each with one query for its choices."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import models
from django.http import HttpRequest

from experiments.models import Experiment, User, Workspace

MOST_CHOICES = 200


class RowFilter(admin.SimpleListFilter):
    """Rows that belong to one other row, given by its key, directly or through their experiment."""

    path = ""

    def key(self) -> int | None:
        """Return the chosen key; raise for what is none, so that nothing is shown unfiltered by mistake."""
        value = self.value()
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal() and len(value) < 16):
            raise IncorrectLookupParameters(f"{self.parameter_name} must be a number.")
        return int(value)

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        key = self.key()
        if key is None:
            return queryset
        owner, _, column = self.path.rpartition("__")
        if not owner:
            return queryset.filter(**{column: key})
        # The few experiments first: a join would read every trial.
        return queryset.filter(**{f"{owner}__in": Experiment.everything.filter(**{column: key})})


def by_workspace(path: str = "workspace") -> type[admin.SimpleListFilter]:
    """Return a filter by workspace; `path` leads to it."""

    class WorkspaceFilter(RowFilter):
        title = parameter_name = "workspace"

        def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
            rows = Workspace.objects.order_by("name").values_list("pk", "name")
            return [(str(pk), name) for pk, name in rows[:MOST_CHOICES]]

    WorkspaceFilter.path = path
    return WorkspaceFilter


def by_creator(path: str = "creator") -> type[admin.SimpleListFilter]:
    """Return a filter by the person who created the row or its experiment; `path` leads to them."""

    class CreatorFilter(RowFilter):
        title = parameter_name = "creator"

        def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
            is_of_row = "__" not in path and model_admin.model is not Experiment
            rows: models.QuerySet = (
                model_admin.model._default_manager.all() if is_of_row else Experiment.everything.all()
            )
            creators = User.objects.filter(pk__in=rows.order_by().values("creator")).order_by("username")
            return [(str(pk), name) for pk, name in creators.values_list("pk", "username")[:MOST_CHOICES]]

    CreatorFilter.path = path
    return CreatorFilter
