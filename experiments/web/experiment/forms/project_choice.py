"""The choice of a project by its name, in one box: an existing project, or a new one that is confirmed.

A select and a text field hold the same choice: they are used without JavaScript, and by other clients.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django import forms
from django.db import models

from experiments.models import Project, Workspace


class ProjectChoice(forms.Form):
    """`project_text` counts when it differs from what the page was drawn with, else `project` and `new_project`.

    `creates_project` repeats the name of a new project, so that a confirmation counts for no other name.
    Cleaned, `project` is the project, unless `new_project` is the name of one to create.
    """

    project: forms.ModelChoiceField[Project] = forms.ModelChoiceField(
        Project.objects.none(), empty_label=None, label="Project"
    )
    new_project = forms.CharField(
        required=False,
        max_length=100,
        label="Create new",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="Name of a new project to use instead.",
    )
    project_text = forms.CharField(required=False, max_length=100)
    creates_project = forms.CharField(required=False, max_length=100)

    def offer_projects(self, workspace: Workspace) -> None:
        """Offer the projects of the workspace, and show the initial one in the box."""
        field = self.fields["project"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = workspace.projects.all()
        self.fields["project_text"].initial = lambda: self.shown_name

    @cached_property
    def shown_name(self) -> str:
        """The name of the initial project."""
        shown = self.get_initial_for_field(self.fields["project"], "project")
        if shown and not isinstance(shown, Project):
            shown = next((project for project in self._projects if str(project.pk) == str(shown)), None)
        return shown.name if shown else ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        name = _plain(cleaned.get("project_text"))
        if not name or name == self.shown_name:
            return cleaned
        self.errors.pop("project", None)  # of the hidden select
        project = next((choice for choice in self._projects if choice.name == name), None)
        if project:
            cleaned |= {"project": project, "new_project": ""}
        elif _plain(cleaned.get("creates_project")) == name:
            cleaned["new_project"] = name
        else:
            self.add_error(
                "project", f"No project is named “{name}”. Select one from the list, or check Create New."
            )
        return cleaned

    @property
    def _projects(self) -> models.QuerySet[Project]:
        field = self.fields["project"]
        assert isinstance(field, forms.ModelChoiceField) and field.queryset is not None
        return field.queryset

    @property
    def unknown_name(self) -> str:
        """The name in the box that no project has, else an empty text."""
        name = _plain(self["project_text"].value())
        if name in ("", self.shown_name) or self._projects.filter(name=name).exists():
            return ""
        return name

    @property
    def is_other_project(self) -> bool:
        """Whether a valid form chooses another project than the initial one."""
        project = self.cleaned_data.get("project")
        return bool(self.cleaned_data.get("new_project") or (project and project.name != self.shown_name))


def chosen_project(workspace: Workspace, cleaned: dict[str, Any]) -> Project:
    """Return the selected project, or the one named in `new_project`, created when the workspace has none so named."""
    if name := _plain(cleaned.get("new_project")):
        return workspace.projects.get_or_create(name=name)[0]
    project: Project = cleaned["project"]
    return project


def _plain(name: object) -> str:
    return " ".join(str(name or "").replace("\0", "").split())
