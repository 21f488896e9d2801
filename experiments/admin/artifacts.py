"""Artifacts, uploaded results and registered models."""

from __future__ import annotations

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from experiments.models import Artifact, HistoryImport, ImportPiece, Model, WarmResults

from .base import ReadOnlyAdmin
from .filters import by_creator, by_workspace


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    """Output files of trials."""

    list_display = ("name", "trial", "size", "keeping", "worker")
    list_filter = ("keeping",)
    related = ("trial__experiment", "worker")
    trial_path = "trial"
    console_paths = ("trial",)


@admin.register(WarmResults)
class UploadedResultsAdmin(ReadOnlyAdmin):
    """External results for warm starts. The list does not read their rows."""

    list_display = ("name", "public_id", "workspace", "count", "creator", "created_at")
    related = ("workspace", "creator")
    hidden_fields = ("rows",)
    list_filter = (by_workspace(), by_creator())
    console_paths = ("self",)
    experiment_path = ""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[WarmResults]:
        return super().get_queryset(request).defer("rows")


@admin.register(HistoryImport)
class HistoryImportAdmin(ReadOnlyAdmin):
    """Files that are imported as experiments. The list does not read their previews."""

    list_display = ("file_name", "public_id", "workspace", "format", "state", "by", "created_at")
    related = ("workspace", "by", "experiment")
    hidden_fields = ("preview",)
    list_filter = ("state", by_workspace())
    experiment_path = "experiment"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[HistoryImport]:
        return super().get_queryset(request).defer("preview")


@admin.register(ImportPiece)
class ImportPieceAdmin(ReadOnlyAdmin):
    """Pieces of uploaded files, deleted after the import. Their content is not shown."""

    list_display = ("history_import", "offset")
    related = ("history_import",)
    hidden_fields = ("data",)
    experiment_path = ""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ImportPiece]:
        return super().get_queryset(request).defer("data")


@admin.register(Model)
class RegisteredModelAdmin(ReadOnlyAdmin):
    """Registered models. They are edited in the console."""

    list_display = ("name", "workspace", "project", "is_published", "creator", "created_at")
    list_filter = ("is_published", by_workspace(), by_creator())
    console_paths = ("self",)
    related = ("workspace", "project", "creator")
    experiment_path = ""
