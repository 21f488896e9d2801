"""The audience of a view: what it may see, and whether the view links to other pages."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from experiments.models import Experiment, SavedView, ShareLink, User, Worker, Workspace
from experiments.models.experiment.base import Visibility
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.permissions import visible_workers


@dataclass(frozen=True)
class Audience:
    """A member, or the public: anyone with a share link or in front of a wall. The public sees no private experiments,
    no private views, no names of machines, and no links to other pages."""

    workspace: Workspace
    experiments: ExperimentQuerySet  # of the workspace
    workers: QuerySet[Worker]
    person: User | None  # None: the public

    @classmethod
    def member(cls, user: User, workspace: Workspace) -> Audience:
        experiments = Experiment.objects.visible_to(user).filter(workspace=workspace)
        return cls(workspace, experiments, visible_workers(user), user)

    @classmethod
    def everybody(cls, workspace: Workspace, *, workers_of: User) -> Audience:
        """`workers_of`: whose workers count as the capacity."""
        experiments = Experiment.objects.filter(workspace=workspace, visibility=Visibility.WORKSPACE)
        return cls(workspace, experiments, visible_workers(workers_of), None)

    @classmethod
    def of_link(cls, link: ShareLink) -> Audience:
        return cls.everybody(link.workspace, workers_of=link.created_by)

    @property
    def has_links(self) -> bool:
        return self.person is not None

    def sees_view(self, view: SavedView) -> bool:
        return view.is_shared or (self.person is not None and view.owner_id == self.person.pk)
