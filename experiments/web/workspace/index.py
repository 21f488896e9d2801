"""The list of the user's workspaces, the form for a new one, and the lookup of a URL's workspace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_safe

from experiments.models import Experiment, ExperimentState, Role, User, Workspace
from experiments.models.plain_sql import RowStatement
from experiments.permissions import is_administrator, require_administrator
from experiments.web.ui.requests import SignedInRequest

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def get_workspace(request: SignedInRequest, slug: str) -> Workspace:
    """Return the workspace of a URL if the user may see it, else raise 404."""
    user = request.user
    if user.token:
        return get_object_or_404(Workspace.objects.visible_to(user), slug=slug)
    workspace = (
        _any_workspace.object(slug=slug)
        if user.is_superuser
        else _own_workspace.object(user=user.pk, slug=slug)
    )
    if workspace is None:
        raise Http404
    return workspace


# Compiled once, because most pages begin with them.
_any_workspace = RowStatement(
    Workspace, lambda slug: Workspace.objects.filter(slug=slug).order_by(), slug="<workspace>"
)
_own_workspace = RowStatement(
    Workspace,
    lambda user, slug: Workspace.objects.visible_to(User(pk=user)).filter(slug=slug).order_by(),
    user=-1_000_000_007,
    slug="<workspace>",
)


@dataclass(frozen=True)
class WorkspaceRow:
    """A workspace, the user's role in it, and the numbers of visible and of running experiments."""

    workspace: Workspace
    role: str
    total: int
    running: int


@login_required
@require_safe
def index(request: SignedInRequest) -> HttpResponse:
    """List the workspaces that the user may see."""
    user = request.user
    roles = dict(user.memberships.values_list("workspace", "role"))
    visible_experiments = Experiment.objects.visible_to(user).order_by().values("workspace")
    is_running = Q(state=ExperimentState.RUNNING)
    counts = {
        row["workspace"]: (row["total"], row["running"])
        for row in visible_experiments.annotate(total=Count("pk"), running=Count("pk", filter=is_running))
    }
    rows = []
    for workspace in Workspace.objects.visible_to(user):
        role = Role(roles[workspace.pk]).label if workspace.pk in roles else "Administrator"
        total, running = counts.get(workspace.pk, (0, 0))
        rows.append(WorkspaceRow(workspace, role, total=total, running=running))
    add_url = reverse("workspace-new") if is_administrator(user) else ""
    return render(request, "workspaces/index.html", {"nav": "workspaces", "rows": rows, "add_url": add_url})


class WorkspaceForm(forms.Form):
    """A new workspace. Without a slug, its name becomes one."""

    name = forms.CharField(
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "Vision lab"}),
        error_messages={"required": "Enter a name for the workspace."},
    )
    slug = forms.CharField(
        required=False,
        max_length=64,
        label="URL name",
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "mono", "placeholder": "vision-lab"}),
        help_text="Used in URLs: lowercase letters, digits and hyphens. Blank = derived from the name.",
    )
    description = forms.CharField(
        required=False, max_length=10_000, widget=forms.Textarea(attrs={"rows": 3, "class": "is-prose"})
    )

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        slug = cleaned.get("slug") or slugify(cleaned.get("name", ""))[:64].strip("-_")
        if "name" not in cleaned or "slug" in self.errors:
            return cleaned
        if not slug:
            self.add_error("slug", "Enter a URL name: none can be derived from the name.")
        elif not SLUG.fullmatch(slug):
            self.add_error(
                "slug", "Use lowercase letters, digits and hyphens, starting with a letter or digit."
            )
        elif Workspace.objects.filter(slug=slug).exists():
            self.add_error("slug", f"Another workspace uses the URL name {slug}. Enter a different one.")
        cleaned["slug"] = slug
        return cleaned


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: SignedInRequest) -> HttpResponse:
    """Create a workspace, of which the administrator who creates it becomes the owner."""
    require_administrator(request.user)
    form = WorkspaceForm(request.POST if request.method == "POST" else None, label_suffix="")
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                workspace = Workspace.open(
                    form.cleaned_data["slug"], name=form.cleaned_data["name"], owner=request.user
                )
                workspace.description = form.cleaned_data["description"]
                workspace.save(update_fields=["description"])
        except IntegrityError:  # someone else created one with this URL a moment ago
            form.add_error("slug", "Another workspace uses this URL name. Enter a different one.")
        else:
            messages.success(request, f"Workspace {workspace} created.")
            return redirect("workspace", workspace.slug)
    status = 422 if form.is_bound else 200
    return render(request, "workspaces/new.html", {"nav": "workspaces", "form": form}, status=status)
