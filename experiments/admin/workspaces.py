"""Workspaces, their members, and projects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from experiments.models import (
    Baseline,
    Dashboard,
    Experiment,
    FolderRemoval,
    Member,
    Project,
    RetentionRule,
    SavedView,
    Schedule,
    ShareLink,
    Tile,
    Workspace,
)

from .base import BaseAdmin, ReadOnlyAdmin
from .filters import by_workspace


class MembersInline(admin.TabularInline):
    """The current members. Roles can change; the user of a row cannot."""

    model = Member
    readonly_fields = ("user",)
    extra = 0
    verbose_name_plural = "members"

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Member]:
        return super().get_queryset(request).select_related("user", "workspace").order_by("user__username")


class NewMembersFormSet(forms.BaseInlineFormSet):
    """Refuses users who already are members, and duplicates."""

    def clean(self) -> None:
        super().clean()
        members = set()
        if self.instance.pk:
            members |= set(self.instance.members.values_list("user", flat=True))
        for form in self.forms:
            user = form.cleaned_data.get("user") if form.is_valid() else None
            if user and user.pk in members:
                form.add_error("user", f"{user} is already a member. Change the role in the table above.")
            elif user:
                members.add(user.pk)


class NewMembersInline(admin.TabularInline):
    """New members, apart from the current ones: a user widget per member would cost a query each."""

    model = Member
    formset = NewMembersFormSet
    raw_id_fields = ("user",)
    extra = 1
    verbose_name_plural = "new members"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Member]:
        return super().get_queryset(request).none()

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class WorkspaceForm(forms.ModelForm):
    """Refuses to switch AutoML off while experiments are active."""

    def clean_has_automl(self) -> bool:
        has_automl = self.cleaned_data["has_automl"]
        if not has_automl and self.instance.pk:
            active = Experiment.objects.active().filter(workspace=self.instance)
            if active.exists():
                raise forms.ValidationError(
                    "AutoML cannot be turned off while experiments in this workspace are active. Stop them first."
                )
        return has_automl


@admin.register(Workspace)
class WorkspaceAdmin(BaseAdmin):
    """Workspaces and their members. A new workspace gets the project `Default`."""

    form = WorkspaceForm
    list_display = ("name", "slug", "has_automl", "created_at")
    search_fields = ("name", "slug")
    console_paths = ("self",)
    readonly_fields = ("created_at",)
    fields = ("name", "slug", "description", "has_automl", "created_at")
    inlines = (MembersInline, NewMembersInline)

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> tuple[str, ...]:
        return ("slug", "created_at") if obj else ("created_at",)  # the slug is part of shared addresses

    def get_prepopulated_fields(
        self, request: HttpRequest, obj: models.Model | None = None
    ) -> dict[str, Sequence[str]]:
        return {} if obj else {"slug": ("name",)}

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        is_allowed = super().has_delete_permission(request, obj)
        return is_allowed and obj is not None and not Experiment.everything.filter(workspace=obj.pk).exists()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        objects, counts, _, protected = super().get_deleted_objects(objs, request)
        return objects, counts, set(), protected  # its projects, `Default` included, are empty

    def save_model(self, request: HttpRequest, obj: Workspace, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            obj.projects.create(name="Default")


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    list_display = ("name", "workspace", "experiment", "owner", "is_shared")
    related = ("workspace", "experiment", "owner")
    list_filter = (by_workspace(),)
    search_fields = ("name", "workspace__slug")


@admin.register(Dashboard)
class DashboardAdmin(ReadOnlyAdmin):
    list_display = ("name", "workspace", "owner", "is_shared", "is_on_wall", "updated_at")
    related = ("workspace", "owner")
    list_filter = (by_workspace(),)
    search_fields = ("name", "workspace__slug")


@admin.register(Tile)
class TileAdmin(ReadOnlyAdmin):
    list_display = ("dashboard", "place", "kind", "title", "experiment", "project", "view")
    related = ("dashboard", "experiment", "project", "view")


@admin.register(ShareLink)
class ShareLinkAdmin(ReadOnlyAdmin):
    list_display = ("name", "hint", "workspace", "created_by", "expires_at", "last_opened_at", "revoked_at")
    related = ("workspace", "created_by")
    list_filter = (by_workspace(),)
    hidden_fields = ("digest",)


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    list_display = ("experiment", "cron", "time_zone", "by", "next_at", "note")
    related = ("experiment", "by")
    console_paths = ("experiment",)


@admin.register(Baseline)
class BaselineAdmin(ReadOnlyAdmin):
    list_display = ("project", "metric", "direction", "experiment", "by")
    related = ("project", "experiment", "by")
    console_paths = ("experiment",)


@admin.register(Project)
class ProjectAdmin(BaseAdmin):
    """Projects. `Default` can't be renamed: new experiments look for it by name."""

    list_display = ("name", "workspace", "created_at")
    related = ("workspace",)
    list_filter = (by_workspace(),)
    console_paths = ("self",)
    search_fields = ("name", "workspace__slug")
    raw_id_fields = ("workspace",)
    fields = ("workspace", "name", "description", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> tuple[str, ...]:
        if not isinstance(obj, Project):
            return ("created_at",)
        return ("workspace", "created_at", *(("name",) if obj.name == "Default" else ()))

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        is_allowed = super().has_delete_permission(request, obj)
        if not (is_allowed and isinstance(obj, Project)) or obj.name == "Default":
            return False
        return not Experiment.everything.filter(project=obj).exists()


@admin.register(RetentionRule)
class RetentionRuleAdmin(ReadOnlyAdmin):
    """Rules of retention, of workspaces and of the installation."""

    list_display = ("part", "workspace", "after_days", "states", "keep_best", "is_on", "by", "changed_at")
    related = ("workspace", "by")
    list_filter = (by_workspace(), "is_on")
    experiment_path = ""


@admin.register(FolderRemoval)
class FolderRemovalAdmin(ReadOnlyAdmin):
    """Folders of trials that their workers still have to remove."""

    list_display = ("trial", "worker", "rule", "is_begun", "wanted_at")
    related = ("trial__experiment", "worker", "rule__workspace")
    experiment_path = "trial__experiment"
