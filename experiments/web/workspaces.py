"""Workspaces: mine, and the way into one."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from experiments.models import Workspace


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The experiments of the only workspace, else the list of mine."""
    mine = list(Workspace.objects.visible_to(request.user)[:2])
    return redirect("experiments", mine[0].slug) if len(mine) == 1 else redirect("workspaces")


@login_required
def index(request: HttpRequest) -> HttpResponse:
    """PAI-N1: the workspaces that I may see."""
    return render(request, "workspaces/index.html", {"nav": "workspaces"})


@login_required
def show(request: HttpRequest, workspace: str) -> HttpResponse:
    """A workspace's home: its experiments."""
    room = get_object_or_404(Workspace.objects.visible_to(request.user), slug=workspace)
    return redirect("experiments", room.slug)
