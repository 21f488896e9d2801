"""Global search: experiments, trials, projects and models that the user may see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Case, IntegerField, Q, When
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from experiments.filters import experiment_lists
from experiments.models import Experiment, Model, Project, Trial, User, Workspace
from experiments.models.fields import fold
from experiments.query_parameters import text
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

MOST = 10  # of each kind
LONGEST = 200
TRIAL_ID = re.compile(r"([a-z0-9]{8})-([1-9][0-9]{0,8})")


@dataclass
class SearchResults:
    """Matches, newest first, at most `MOST` of each kind; `more` names the kinds with further matches."""

    experiments: list[Experiment] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    projects: list[Project] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    more: set[str] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        return not (self.experiments or self.trials or self.projects or self.models)

    def take(self, kind: str, matching: Iterable[Any]) -> None:
        rows = list(matching)
        if len(rows) > MOST:
            self.more.add(kind)
        setattr(self, kind, rows[:MOST])


@login_required
@require_safe
@takes(q=text(LONGEST))
def show(request: SignedInRequest) -> HttpResponse:
    """`?q=`: part of an experiment's name or ID, a full trial ID, or part of a project's or model's name.

    A fixed number of queries.
    """
    q = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST]
    context = {"nav": "search", "q": q, "results": search_results(q, request.user) if q else None}
    return render(request, "search/show.html", context)


def search_results(q: str, user: User) -> SearchResults:
    """Return the matches that the user may see."""
    results, text = SearchResults(), fold(q)
    workspaces = {
        workspace.pk: workspace for workspace in Workspace.objects.visible_to(user).filter(has_automl=True)
    }
    seen = (
        Experiment.objects.visible_to(user)
        .filter(workspace__in=workspaces)
        .select_related("workspace", "project")
    )
    is_exact = Case(When(Q(public_id=text), then=0), default=1, output_field=IntegerField())
    results.take(
        "experiments",
        experiment_lists.among(seen, q=q)
        .defer("description", "properties", "trace")
        .order_by(is_exact, *experiment_lists.latest_first())[: MOST + 1],
    )
    if match := TRIAL_ID.fullmatch(text):
        of = seen.filter(public_id=match[1])
        trials = Trial.objects.filter(experiment__in=of, number=int(match[2]))
        results.trials = list(trials.select_related("experiment__workspace")[:1])
    # Names of projects are compared in Python, so that case folding is the same on every database.
    names = Project.objects.filter(workspace__in=workspaces).order_by("name", "pk").values_list("pk", "name")
    keys = [pk for pk, name in names if text in fold(name)][: MOST + 1]
    results.take(
        "projects", Project.objects.filter(pk__in=keys).select_related("workspace").order_by("name", "pk")
    )
    models = Model.objects.visible_to(user).filter(workspace__in=workspaces)
    matching = models.filter(Q(folded_name__contains=text) | Q(public_id=text))
    results.take(
        "models", matching.select_related("workspace", "project").defer("network", "labels")[: MOST + 1]
    )
    return results
