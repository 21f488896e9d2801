"""Describe an experiment: name, description, tags, visibility, project, user properties."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from experiments import database_clock
from experiments.models.account.user import User
from experiments.models.event import Event
from experiments.models.revision import Revision
from experiments.models.settings import Invalid, execution

from .base import Visibility
from .lifecycle import LifecycleVerbs


class DescriptionVerbs(LifecycleVerbs):
    """Methods that change an experiment's name, description and other details."""

    class Meta:
        abstract = True

    def describe(self, *, by: User, **changes: Any) -> bool:
        """Change name, description, tags, visibility or project. Return False when nothing differs."""
        with self.locked():
            self.allows("describe")
            project = changes.pop("project", self.project)
            if project.workspace_id != self.workspace_id:
                raise Invalid({"project": ["This project belongs to another workspace."]})
            current = {
                "name": self.name,
                "description": self.description,
                "tags": self.tags,
                "visibility": self.visibility,
            }
            described = checked_description(**{**current, **changes})
            differing = sorted(name for name in current if current[name] != described[name])
            if project != self.project:
                project.hold()
                differing.append("project")
            if not differing:
                return False
            for name, value in described.items():
                setattr(self, name, value)
            self.project, self.updated_at = project, database_clock.now()
            self.save(update_fields=["name", "description", "tags", "visibility", "project"])
            Event.note("describe", self, by=by, why=", ".join(differing))
            return True

    def annotate(self, *, by: User, properties: dict[str, str]) -> bool:
        """Set the user properties. Return False when nothing differs."""
        with self.locked():
            self.allows("annotate")
            if faults := execution.faults_of_texts(properties):
                raise Invalid({"properties": faults})
            if properties == self.properties:
                return False
            self.properties, self.updated_at = properties, database_clock.now()
            self.save(update_fields=["properties"])
            Event.note("annotate", self, by=by, why=f"{len(properties)} properties")
            return True

    def declared(self) -> dict[str, Any]:
        """Return the parameters that its script declares in addition to the specified ones, {group: {name: {value,
        type, description}}}: from its own trials, or else from a test run, a clone, or the experiment that it was
        cloned from."""
        current = self.revision
        if "declared" in current.resolved:
            return current.resolved["declared"]
        near = (
            Q(experiment__parent=self) | Q(experiment=self.parent_id)
            if self.parent_id
            else Q(experiment__parent=self)
        )
        for revision in Revision.objects.filter(near).exclude(resolved={}).order_by("-pk")[:10]:
            if declared := current.inherits(revision).get("declared"):
                return declared
        return {}


def checked_description(*, name: str, description: str, tags: list[str], visibility: str) -> dict[str, Any]:
    """Check the description of an experiment. Raise `Invalid`."""
    errors: dict[str, list[str]] = {}
    name = " ".join(name.split())
    if not name:
        errors["name"] = ["Enter a name."]
    elif len(name) > 200:
        errors["name"] = [f"The name is {len(name):,} characters long; the maximum is 200."]
    if len(description) > 100_000:
        errors["description"] = ["The description is too long: at most 100,000 characters."]
    for field, text in (("name", name), ("description", description)):
        if "\0" in text:
            errors[field] = ["This must not contain a NUL character."]
    tags = list(dict.fromkeys(" ".join(tag.split()) for tag in tags if tag.strip()))
    if len(tags) > 20 or any(len(tag) > 50 or "\0" in tag or "," in tag for tag in tags):
        errors["tags"] = ["At most 20 tags of at most 50 characters each, without commas."]
    if visibility not in Visibility.values:
        errors["visibility"] = [f"This must be one of: {', '.join(Visibility.values)}."]
    if errors:
        raise Invalid(errors)
    return {"name": name, "description": description, "tags": tags, "visibility": visibility}
