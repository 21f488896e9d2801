"""Create, describe, clone and try an experiment."""

from __future__ import annotations

from typing import Any, Self, cast

from django.db import IntegrityError, transaction
from django.db.models import Q

from experiments import database_clock
from experiments.models.account.user import User
from experiments.models.compute.queue import Queue
from experiments.models.event import Event
from experiments.models.fields import new_public_id
from experiments.models.project import Project
from experiments.models.references import require_model
from experiments.models.revision import Revision
from experiments.models.settings import Invalid, Settings, execution
from experiments.models.status import Refused
from experiments.models.warm_start import warmed
from experiments.models.workspace import Workspace

from .base import Visibility
from .former import FormerExperiment
from .lifecycle import LifecycleVerbs

# Settings of a try of a draft: one trial, without early stopping or a goal.
TRY = "try"
ONLY_TRIED: dict[str, Any] = {
    "max_trials": 1,
    "concurrency": 1,
    "breaker": 0,
    "goal": None,
    "early_stopping": "none",
    "early_stopping_arguments": {},
    "start_window": "",
}


class DescriptionVerbs(LifecycleVerbs):
    """Methods that create an experiment, and that change its name, description and other details."""

    class Meta:
        abstract = True

    @classmethod
    def draft(
        cls,
        workspace: Workspace,
        *,
        by: User,
        name: str,
        settings: Settings,
        project: Project | None = None,
        description: str = "",
        tags: list[str] | None = None,
        visibility: str = Visibility.WORKSPACE,
        parent: Self | None = None,
        queue: Queue | None = None,
        public_id: str | None = None,
    ) -> Self:
        """Create a draft with its first revision. `public_id` is a new one by default.

        Raise `Refused` if an experiment has, or had, this ID, or gets it at the same time.
        """
        workspace.require_automl()
        taken = f"The ID {public_id} is already used; choose another one."
        if public_id and cls._has_had(public_id):
            raise Refused(taken)
        described = _description(name=name, description=description, tags=tags or [], visibility=visibility)
        with transaction.atomic():
            if project:
                project.hold()
            experiment = cls(
                workspace=workspace,
                project=project or workspace.projects.get(name="Default"),
                creator=by,
                parent=parent,
                queue=queue,
                public_id=public_id or new_public_id(),
                **described,
            )
            before = parent.settings if parent else None
            require_model(workspace, settings, before=before)
            settings = warmed(experiment, settings, by=by, before=before)
            experiment._mirror(settings)
            try:
                with transaction.atomic():
                    experiment.save(force_insert=True)
            except IntegrityError:
                if public_id and cls._has_had(public_id):
                    raise Refused(taken) from None
                raise
            experiment._revise(settings, by=by)
            cls.everything.filter(pk=experiment.pk).update(
                revision=experiment.revision,
                window_opens_at=experiment.window_opens_at,
                window_closes_at=experiment.window_closes_at,
            )
            why = f"cloned from {parent.public_id}" if parent else ""
            Event.note("create", experiment, by=by, after=experiment.state, why=why)
        return experiment

    @classmethod
    def _has_had(cls, public_id: str) -> bool:
        """Return whether an experiment has this ID, or had it before it was deleted."""
        rows = (cls.everything, FormerExperiment.objects)
        return any(manager.filter(public_id=public_id).exists() for manager in rows)

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
            wanted = _description(**{**current, **changes})
            differing = sorted(name for name in current if current[name] != wanted[name])
            if project != self.project:
                project.hold()
                differing.append("project")
            if not differing:
                return False
            for name, value in wanted.items():
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

    def clone(
        self,
        *,
        by: User,
        name: str = "",
        project: Project | None = None,
        description: str | None = None,
        settings: Settings | None = None,
        queue: Queue | None = None,
    ) -> Self:
        """Return a copy as a draft with a new ID; arguments replace its values."""
        return self.draft(
            project.workspace if project else self.workspace,
            by=by,
            name=name or f"Clone of {self.name}"[:200],
            settings=settings or self.revision.as_it_ran,
            project=project or self.project,
            description=self.description if description is None else description,
            tags=self.tags,
            visibility=self.visibility,
            parent=self,
            queue=queue or self.queue,
        )

    def declared(self) -> dict[str, Any]:
        """Return the parameters that its script declares in addition to the specified ones, {group: {name: {value,
        type, description}}}: from its own trials, else from a try, a clone, or the experiment it was cloned from."""
        mine = self.revision
        if "declared" in mine.resolved:
            return mine.resolved["declared"]
        near = (
            Q(experiment__parent=self) | Q(experiment=self.parent_id)
            if self.parent_id
            else Q(experiment__parent=self)
        )
        for revision in Revision.objects.filter(near).exclude(resolved={}).order_by("-pk")[:10]:
            if declared := mine.inherits(revision).get("declared"):
                return declared
        return {}

    def try_it(self, params: dict, *, by: User) -> Self:
        """Run one trial of a draft with these values, as a separate experiment that is enqueued immediately, so that
        it neither counts toward the budget nor informs the search. Return a running try with equal settings."""
        with self.locked():
            self.allows("try_it")
            settings = Settings.checked({**self.settings.document(), **ONLY_TRIED})
            for running_try in type(self).objects.filter(parent=self).active().select_related("revision"):
                if TRY in running_try.tags and running_try.settings == settings:
                    return cast("Self", running_try)
            tried = self.draft(
                self.workspace,
                by=by,
                name=f"Test run of {self.name}"[:200],
                settings=settings,
                project=self.project,
                description=self.description,
                tags=[TRY, *(tag for tag in self.tags[:19] if tag != TRY)],
                visibility=self.visibility,
                parent=self,
                queue=self.queue,
            )
            with tried.locked():
                tried.enqueue(by=by)
                tried.suggestions.create(
                    revision=tried.revision, ordinal=1, params=params, raw=settings.space.to_raw(params)
                )
                tried.last_ordinal = 1
                tried.enqueue_trials()
            return tried


def _description(*, name: str, description: str, tags: list[str], visibility: str) -> dict[str, Any]:
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
