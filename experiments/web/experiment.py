"""Experiment details, and the acts on an experiment by their verbs."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse


@login_required
def show(request: HttpRequest, workspace: str, public_id: str) -> HttpResponse:
    """The overview of one experiment."""
    raise Http404


@login_required
def act(request: HttpRequest, workspace: str, public_id: str, verb: str) -> HttpResponse:
    """GET draws the question, POST does it."""
    raise Http404
