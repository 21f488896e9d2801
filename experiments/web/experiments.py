"""The list of a workspace's experiments, and Create experiment."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from experiments.models import Workspace


@login_required
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    """PAI-N2, PAI-F1, PAI-L1: the list."""
    room = get_object_or_404(Workspace.objects.visible_to(request.user), slug=workspace)
    return render(request, "experiments/index.html", {"workspace": room, "nav": "experiments"})


@login_required
def new(request: HttpRequest, workspace: str) -> HttpResponse:
    """TD-F: Create experiment."""
    room = get_object_or_404(Workspace.objects.visible_to(request.user), slug=workspace)
    return render(request, "experiments/new.html", {"workspace": room, "nav": "experiments"})
