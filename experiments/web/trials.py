"""The trials of an experiment, as a table."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse


@login_required
def index(request: HttpRequest, workspace: str, public_id: str) -> HttpResponse:
    """The Trials tab."""
    raise Http404
