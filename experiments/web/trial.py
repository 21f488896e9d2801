"""One trial: what it is doing, what it printed, how it ended."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse


@login_required
def show(request: HttpRequest, workspace: str, public_id: str, number: int) -> HttpResponse:
    """The page of one trial."""
    raise Http404


@login_required
def log(request: HttpRequest, workspace: str, public_id: str, number: int) -> HttpResponse:
    """What it printed."""
    raise Http404


@login_required
def stop(request: HttpRequest, workspace: str, public_id: str, number: int) -> HttpResponse:
    """Stops it at once (POST); asks without JavaScript (GET)."""
    raise Http404


@login_required
def rerun(request: HttpRequest, workspace: str, public_id: str, number: int) -> HttpResponse:
    """Asks (GET), reruns it (POST)."""
    raise Http404
