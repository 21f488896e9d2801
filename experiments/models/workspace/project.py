"""A folder of experiments within a workspace."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, models, transaction

from experiments.models import audit
from experiments.models.fields import StampField
from experiments.models.settings import Invalid
from experiments.models.status import Refused
from experiments.runner import destination as destinations

from .workspace import Workspace

DEFAULT = "Default"
MAX_DESCRIPTION = 10_000


class Project(models.Model):
    """A folder of experiments. Every workspace has the project `Default`, which cannot be renamed."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="projects")
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    destination = models.CharField(
        max_length=1000, blank=True
    )  # of artifacts of experiments without a destination
    created_at = StampField()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="project_name_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT

    @classmethod
    def create(
        cls, workspace: Workspace, *, name: str, description: str = "", destination: str = ""
    ) -> Project:
        """Create an empty project. Raise `Invalid`."""
        project = cls(workspace=workspace, **_checked(name, description, destination))
        try:
            with transaction.atomic():
                project.save(force_insert=True)
                audit.record("project_create", workspace=workspace, subject=project)
        except IntegrityError:
            raise _taken(project.name, workspace) from None
        return project

    def change(self, *, name: str, description: str, destination: str) -> bool:
        """Change name, description, or the destination of future artifacts. Return False when nothing differs. Raise
        `Invalid`, and `Refused` for another name of `Default`."""
        new_values = _checked(name, description, destination)
        if self.is_default and new_values["name"] != self.name:
            raise Refused(
                "The default project cannot be renamed: experiments without a project belong to it."
            )
        if new_values == {field: getattr(self, field) for field in new_values}:
            return False
        try:
            with transaction.atomic():
                is_there = Project.objects.filter(pk=self.pk).update(**new_values)
                if is_there:
                    changes: dict[str, Any] = {
                        field: (getattr(self, field), value) for field, value in new_values.items()
                    }
                    audit.record("project_change", workspace=self.workspace, subject=self, **changes)
        except IntegrityError:
            raise _taken(new_values["name"], self.workspace) from None
        if not is_there:
            raise Refused(f"The project {self} was just deleted.")
        for field, value in new_values.items():
            setattr(self, field, value)
        return True

    def hold(self) -> None:
        """Lock the row against deletion until the transaction ends, to put something into it. Raise `Invalid` when it
        was deleted."""
        if not Project.objects.select_for_update(no_key=True).filter(pk=self.pk).first():
            raise Invalid({"project": [f"The project {self} was just deleted. Select another one."]})

    def delete_empty(self) -> None:
        """Delete it permanently, if it still exists. Its experiments in the trash move to `Default`. Raise `Refused`
        while there are experiments or models in it."""
        if self.is_default:
            raise Refused(
                "The default project cannot be deleted: experiments without a project belong to it."
            )
        with transaction.atomic():
            if not Project.objects.select_for_update().filter(pk=self.pk).first():
                return  # already deleted
            if held := self.holds():
                raise Refused(f"The project {self} is not empty: {held} in it. Move or delete them first.")
            trashed = self.experiments.model.everything.filter(project=self)
            trashed.update(project=Project.objects.get(workspace=self.workspace_id, name=DEFAULT))
            Project.objects.get(pk=self.pk).delete()
            audit.record("project_delete", workspace=self.workspace, subject=self)

    def holds(self) -> str:
        """Return what prevents its deletion: `3 experiments and 1 model are`, or "". Private ones count."""
        experiments = self.experiments.filter(trashed_at=None).count()
        models_ = self.models.count()
        counts = [
            f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
            for count, noun in ((experiments, "experiment"), (models_, "model"))
            if count
        ]
        return f"{' and '.join(counts)} {'is' if experiments + models_ == 1 else 'are'}" if counts else ""


def _checked(name: str, description: str, destination: str) -> dict[str, str]:
    """Return the normalized columns. Raise `Invalid`."""
    errors: dict[str, list[str]] = {}
    name, destination = " ".join(name.split()), destination.strip()
    if not name:
        errors["name"] = ["Enter a name."]
    elif len(name) > 100 or "\0" in name:
        errors["name"] = ["At most 100 characters, without NUL characters."]
    if len(description) > MAX_DESCRIPTION or "\0" in description:
        errors["description"] = [f"At most {MAX_DESCRIPTION:,} characters, without NUL characters."]
    if len(destination) > 1000:
        errors["destination"] = ["At most 1,000 characters."]
    elif destination:
        try:
            destinations.parse(destination)
        except destinations.DestinationError as error:
            errors["destination"] = [str(error)]
    if errors:
        raise Invalid(errors)
    return {"name": name, "description": description, "destination": destination}


def _taken(name: str, workspace: Workspace) -> Invalid:
    return Invalid({"name": [f"The workspace {workspace} already has a project {name}."]})
