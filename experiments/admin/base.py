"""Shared by all pages of the administrators' site: pagination, read-only rows, filters."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments.models import User, Workspace, audit, secret, status
from experiments.models.fields import ExactJSONField

from . import console_links

MAX_COUNTED = 10_000


class CappedPaginator(Paginator):
    """Counts to 10,000 and no further: counting a hundred million points would take minutes."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return rows.order_by()[:MAX_COUNTED].count()


class AuditedAdmin(admin.ModelAdmin):
    """Records everything that administrators add, change or delete in the audit log, in the same transaction."""

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        _record("admin_add", request, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        _record("admin_change", request, obj, message=_fields_in(message))
        return super().log_change(request, obj, message)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        _record("admin_delete", request, obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet) -> None:
        with transaction.atomic():
            for obj in queryset:
                _record("admin_delete", request, obj)
            super().delete_queryset(request, queryset)


def _record(verb: str, request: HttpRequest, obj: models.Model, **values: Any) -> None:
    kind = str(obj._meta.verbose_name)
    workspace = obj if isinstance(obj, Workspace) else getattr(obj, "workspace", None)
    is_gone = verb == "admin_delete" and workspace is obj
    audit.record(
        verb,
        by=user_of(request),
        workspace=workspace if isinstance(workspace, Workspace) and not is_gone else None,
        subject=f"{kind} {obj}",
        **values,
    )


def _fields_in(message: Any) -> str:
    """Return the field names in Django's log of a change, never their values."""
    if not isinstance(message, list):
        return str(message)
    parts = []
    for part in message:
        for action, about in part.items():
            fields = ", ".join(about.get("fields", []))
            parts.append(f"{action} {about.get('name', '')} {about.get('object', '')} {fields}".strip())
    return "; ".join(" ".join(part.split()) for part in parts)


class BaseAdmin(AuditedAdmin):
    """Base of all pages: the number of queries does not depend on the number of rows.

    `related` names the rows that a row's text needs; `get_queryset` joins them. `console_paths` lead to what the
    console shows of a row ("self" is the row): the first that is not empty.
    """

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    related: tuple[str, ...] = ()
    search_help_text = ""
    console_paths: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        everything = getattr(self.model, "everything", self.model._default_manager)
        joins = {*self.related}
        for path in self.console_paths:
            joins |= {*console_links.joins_of(self.model, path)}
        rows = everything.select_related(*sorted(joins)) if joins else everything.all()
        return rows.order_by(*self.ordering) if self.ordering else rows

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        columns = [*super().get_list_display(request)]
        return [columns[0], self.console, *columns[1:]] if self.console_paths else columns

    def get_view_on_site_url(self, obj: models.Model | None = None) -> str | None:
        """The address behind "View on site"."""
        return self._console_url(obj) or None if obj else None

    @admin.display(description="console", empty_value="-")
    def console(self, row: models.Model) -> SafeString | None:
        """A link to the page of the console."""
        url = self._console_url(row)
        return (
            format_html('<a href="{}">Open<span class="visually-hidden"> {}</span></a>', url, row)
            if url
            else None
        )

    def _console_url(self, row: models.Model) -> str:
        for path in self.console_paths:
            target = console_links.target_of(row, path)
            if target is not None:
                return console_links.console_url(target)
        return ""


class ReadOnlyAdmin(BaseAdmin):
    """Rows that only Trialdeck writes. Search finds them by the ID of an experiment or a trial."""

    ordering = ("-pk",)
    sortable_by = ()  # a click must not sort millions of rows
    hidden_fields: tuple[str, ...] = ()
    experiment_path = "experiment"
    trial_path = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[Any]:
        """Return all columns; JSON documents are shown as stored."""
        return [
            self._display(field)
            for field in self.model._meta.concrete_fields
            if field.name not in self.hidden_fields
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[Any]:
        return self.get_fields(request, obj)

    def _display(self, field: models.Field) -> Any:
        if not isinstance(field, ExactJSONField):
            return field.name

        @admin.display(description=str(field.verbose_name))
        def document(row: models.Model) -> SafeString:
            text = secret.hidden_in(json.dumps(getattr(row, field.name), indent=2, ensure_ascii=False))
            return format_html("<pre>{}</pre>", text)

        return document

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (f"{self.experiment_path}__public_id__exact",) if self.experiment_path else ()

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet, search_term: str
    ) -> tuple[models.QuerySet, bool]:
        public_id, dash, number = search_term.strip().partition("-")
        if not public_id or not self.experiment_path:
            return queryset, False
        matches = queryset.filter(**{f"{self.experiment_path}__public_id": public_id})
        if dash and self.trial_path:
            if not (number.isascii() and number.isdigit() and len(number) < 10):
                return queryset.none(), False
            path = "number" if self.trial_path == "self" else f"{self.trial_path}__number"
            matches = matches.filter(**{path: int(number)})
        return matches, False


def state_filter(states: dict[str, status.State]) -> type[admin.SimpleListFilter]:
    """Return a filter by state with a fixed list of states. (Django's own filter would read every row to list them.)"""

    class StateFilter(admin.SimpleListFilter):
        title = parameter_name = "state"

        def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
            return [(state.word, state.label) for state in states.values()]

        def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
            return queryset.filter(state=self.value()) if self.value() else queryset

    return StateFilter


class TrashFilter(admin.SimpleListFilter):
    """Rows in the trash, or the others."""

    title, parameter_name = "trash", "trash"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("no", "Not in the trash"), ("yes", "In the trash")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() not in ("no", "yes"):
            return queryset
        return queryset.filter(trashed_at__isnull=self.value() == "no")


def user_of(request: HttpRequest) -> User:
    """Return the signed-in administrator."""
    if not isinstance(request.user, User):
        raise TypeError("This view needs a signed-in user.")
    return request.user
