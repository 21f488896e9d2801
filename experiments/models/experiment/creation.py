"""Create an experiment: as a draft, as a clone of another one, or as a test run of a draft."""

from __future__ import annotations

from typing import Any, Self, cast

from django.db import IntegrityError, transaction

from experiments.models.account.user import User
from experiments.models.compute.queue import Queue
from experiments.models.event import Event
from experiments.models.fields import new_public_id
from experiments.models.references import require_model
from experiments.models.settings import Settings
from experiments.models.status import Refused
from experiments.models.warm_start import warmed
from experiments.models.workspace.project import Project
from experiments.models.workspace.workspace import Workspace

from .base import Visibility
from .description import DescriptionVerbs, checked_description
from .former_experiment import FormerExperiment

# Settings of a test run of a draft: one trial, without early stopping or a goal.
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


class CreationVerbs(DescriptionVerbs):
    """Methods that create an experiment."""

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
        described = checked_description(
            name=name, description=description, tags=tags or [], visibility=visibility
        )
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
        """Return whether an experiment has this ID, or had it before its deletion."""
        rows = (cls.everything, FormerExperiment.objects)
        return any(manager.filter(public_id=public_id).exists() for manager in rows)

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

    def try_it(self, params: dict, *, by: User) -> Self:
        """Run one trial of a draft with these values, as a separate experiment that is enqueued immediately, so that
        it neither counts toward the budget nor informs the search. If a test run with the same
        settings is running, return that one."""
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
