"""Limits of slot hours per week: owners set them for the workspace and for its members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from experiments import database_clock
from experiments.models import Invalid, Trial, UsageLimit, User, Workspace
from experiments.models.usage import limit
from experiments.permissions import require
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace


class LimitForm(forms.Form):
    """The limits of the workspace, or of a member. Blank = no limit."""

    person = forms.ModelChoiceField(
        User.objects.none(), required=False, empty_label="Whole workspace", label="For"
    )
    soft_h = forms.FloatField(
        required=False,
        label="Soft limit",
        help_text="Slot hours per week. Warns at 80% and 100%.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "class": "is-num"}),
    )
    hard_h = forms.FloatField(
        required=False,
        label="Hard limit",
        help_text="No trials start above this; running trials finish.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "class": "is-num"}),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, workspace: Workspace) -> None:
        super().__init__(data, label_suffix="")
        members = User.objects.filter(memberships__workspace=workspace).order_by("username")
        self.fields["person"].queryset = members  # type: ignore[attr-defined]


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def edit(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show all limits; POST sets one, or removes it if both fields are blank."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    form = LimitForm(request.POST if request.method == "POST" else None, workspace=workspace)
    if request.method == "POST" and form.is_valid():
        try:
            row = UsageLimit.put(workspace, **form.cleaned_data)
        except Invalid as fault:
            for name, sentences in fault.errors.items():
                form.add_error(name, " ".join(sentences))
        else:
            messages.success(request, "Limit saved." if row else "Limit removed.")
            return redirect("usage-limits", workspace.slug)
    used = limit.week(workspace.pk, Trial, database_clock.now())
    rows = (
        UsageLimit.objects.filter(workspace=workspace).select_related("person").order_by("person__username")
    )
    context = {
        "workspace": workspace,
        "nav": "usage",
        "form": form,
        "rows": [(row, used.hours(row.person_id)) for row in rows],
    }
    return render(request, "usage/limits.html", context, status=422 if form.errors else 200)
