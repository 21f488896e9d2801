"""Querysets of experiments: visible to a user, active, claimable by a worker."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Case, F, OuterRef, Q, Subquery, Sum, When
from django.db.models.functions import Coalesce

from experiments import database_clock
from experiments.models import status
from experiments.models.account.user import User
from experiments.models.compute.resources import Amount
from experiments.models.status import ExperimentState
from experiments.models.workspace.workspace import Member, Role

if TYPE_CHECKING:
    from .model import Experiment  # noqa: F401  (the type of the rows)


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def visible_to(self, user: User) -> ExperimentQuerySet:
        """Experiments that this user can see: those of their workspaces, and of private ones only their own."""
        if not user.is_authenticated:
            return self.none()
        rows, open_to_me = self, Q(visibility="workspace") | Q(creator=user)
        if user.token and user.token.workspace_id:
            rows = rows.filter(workspace=user.token.workspace_id)
        acts_as_owner = user.token is None or user.token.role == Role.OWNER
        if user.is_superuser:
            return rows if acts_as_owner else rows.filter(open_to_me)
        memberships = Member.objects.filter(user=user)
        if acts_as_owner:
            open_to_me |= Q(workspace__in=memberships.filter(role=Role.OWNER).values("workspace"))
        return rows.filter(open_to_me, workspace__in=memberships.values("workspace"))

    def active(self) -> ExperimentQuerySet:
        """Experiments that the conductor schedules."""
        return self.filter(state__in=status.ACTIVE)

    def claimable(
        self, *, free: Amount | None = None, now: datetime | None = None, ending_in: int | None = None
    ) -> ExperimentQuerySet:
        """Experiments of which a worker can claim a waiting trial now, by queue position.

        `free`: the resources that the worker has available; None: no limit. `ending_in`: the key of an experiment of
        which a trial will have ended, and another one will wait.
        """
        now = now or database_clock.now()
        alive = F("running_count") + F("stopping_count")
        queued = self.model.everything.filter(state__in=status.ACTIVE, queue=OuterRef("queue"))
        queued_of_creator = queued.filter(creator=OuterRef("creator")).order_by().values("creator")
        used = Coalesce(Subquery(queued_of_creator.annotate(used=Sum(alive)).values("used")), 0)
        waits = Q(waiting_count__gt=0)
        if ending_in is not None:
            alive -= Case(When(pk=ending_in, then=1), default=0)
            waits |= Q(pk=ending_in)
        needs = free._asdict().items() if free else ()
        fitting = [Q(**{name: None}) | Q(**{f"{name}__lte": most}) for name, most in needs]
        return self.filter(
            *fitting,
            Q(window_opens_at=None) | Q(window_opens_at__lte=now, window_closes_at__gt=now),
            Q(queue__slots_per_experiment=None) | Q(queue__slots_per_experiment__gt=alive),
            Q(queue__slots_per_person=None) | Q(queue__slots_per_person__gt=used),
            waits,
            state__in=(ExperimentState.PENDING, ExperimentState.RUNNING),
            concurrency__gt=alive,
            queue__is_paused=False,
            limit_hold="",
        ).order_by("position", "pk")


_Manager = models.Manager.from_queryset(ExperimentQuerySet)


class KeptManager(_Manager):
    """Experiments that are not in the trash."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(trashed_at=None)
