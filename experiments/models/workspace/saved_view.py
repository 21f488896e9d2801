"""A saved view of a table: its filter, order and columns under a name."""

from __future__ import annotations

from typing import Any, Self

from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.http import QueryDict

from experiments.models.account.user import User
from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField
from experiments.models.settings import Invalid
from experiments.models.status import Refused

from .workspace import Workspace

MAX_NAME = 60
MAX_QUERY = 4000  # characters
MOST = 50  # of one person and table
PARAMETERS = (
    "filter",
    "sort",
    "state",
    "status",
    "size",
    "columns",
    "pinned",
)  # of the URL, stored in a view


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def visible_to(self, user: User) -> Self:
        """Return the views of this person, and the shared ones."""
        return self.filter(Q(owner=user) | Q(is_shared=True))

    def of_table(self, workspace: Workspace, experiment: Experiment | None) -> Self:
        """Return the views of an experiment's trials, or of the workspace's list of experiments. Ordered by name."""
        return self.filter(workspace=workspace, experiment=experiment).order_by("name", "pk")


class SavedView(models.Model):
    """A view of the trials of `experiment`, or of the list of experiments where there is none. `query` is the part of
    the address after `?`."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="saved_views")
    experiment = models.ForeignKey(Experiment, models.CASCADE, null=True, related_name="saved_views")
    owner = models.ForeignKey(User, models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=MAX_NAME)
    query = models.CharField(max_length=MAX_QUERY, blank=True)
    is_shared = models.BooleanField(default=False)  # with the members of the workspace
    created_at = StampField()

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "owner", "name"],
                condition=Q(experiment=None),
                name="view_of_experiments_once",
            ),
            models.UniqueConstraint(
                fields=["experiment", "owner", "name"],
                condition=Q(experiment__isnull=False),
                name="view_of_trials_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def create(
        cls,
        workspace: Workspace,
        *,
        by: User,
        name: str,
        query: str,
        experiment: Experiment | None = None,
        is_shared: bool = False,
    ) -> SavedView:
        """Save a view. Raise `Invalid` for a name or an address that cannot be saved, `Refused` for one too many."""
        if cls.objects.of_table(workspace, experiment).filter(owner=by).count() >= MOST:
            raise Refused(f"You have {MOST} saved views for this table, the maximum. Delete one first.")
        view = cls(workspace=workspace, experiment=experiment, owner=by, is_shared=is_shared)
        view._write(name=name, query=query)
        return view

    def change(
        self, *, name: str | None = None, query: str | None = None, is_shared: bool | None = None
    ) -> None:
        """Rename, share or replace. Raise `Invalid`."""
        self.is_shared = self.is_shared if is_shared is None else is_shared
        self._write(name=self.name if name is None else name, query=self.query if query is None else query)

    def parameters(self) -> QueryDict:
        """Return the parameters of the URL that the view stores."""
        return QueryDict(self.query)

    def _write(self, *, name: str, query: str) -> None:
        self.name, self.query = " ".join(name.split()), stored_query(query)
        errors: dict[str, list[str]] = {}
        if not self.name or len(self.name) > MAX_NAME or "\0" in self.name:
            errors["name"] = [f"Enter a name of at most {MAX_NAME} characters."]
        if len(self.query) > MAX_QUERY:
            errors["query"] = [f"The view is too long: its URL has more than {MAX_QUERY:,} characters."]
        if errors:
            raise Invalid(errors)
        try:
            with transaction.atomic():
                self.save()
        except IntegrityError:
            raise Invalid({"name": [f"You already have a view {self.name} for this table."]}) from None


def stored_query(query: str) -> str:
    """Return the parameters of a URL that a view stores, encoded."""
    address = QueryDict(query.removeprefix("?"))
    parameters = QueryDict(mutable=True)
    for name in PARAMETERS:
        values: list[Any] = [value for value in address.getlist(name) if value]
        if values:
            parameters.setlist(name, values)
    return parameters.urlencode()
